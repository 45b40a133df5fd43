"""How long a selection will take and how much memory, before it starts."""

from __future__ import annotations

from entropick.neighbors import seconds_per_pair
from entropick.sources.cost import PER_ROW, RECHECKS, WORKING_BYTES, Forecast

# Beside the features, a selector holds a second copy of them in its own frame; not of a memory map, or of pixels.
_COPIES = 2


def forecast(n_pool: int, width: int, n_samples: int, *, method: str, n_trusted: int = 0) -> Forecast:
    """Forecast from sizes and from the speed of a tile of distances on this machine, now.

    Parameters
    ----------
    n_pool, width, n_samples
        Rows to choose from, columns, rows to choose.
    method
        The kind of a selector.
    n_trusted
        Rows of what the guard and the selector trust, 0 if they need none.
    """
    in_order = n_samples * n_samples / 2
    growing = in_order + (0 if method == "random" else n_pool * n_samples)
    # The radius of the control, of a random choice too, both entropies, and the guard.
    radii = n_pool * n_samples * (2 if method == "random" else 1)
    searched = radii + 2 * n_samples * n_samples + n_pool * n_trusted
    _, pair = seconds_per_pair(width)
    rows = 3 * n_pool + 4 * n_samples + n_trusted
    seconds = RECHECKS * pair * (growing + searched) + PER_ROW * rows
    return Forecast(seconds, 4 * n_pool * width * _COPIES + WORKING_BYTES)
