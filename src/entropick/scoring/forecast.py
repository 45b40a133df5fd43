"""How long a score will take and how much memory, before it starts."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from entropick.metrics.suite import MEASURES
from entropick.neighbors import seconds_per_pair
from entropick.scoring.measuring import N_SPLITS
from entropick.sources.cost import PER_ROW, RECHECKS, WORKING_BYTES, Forecast, seconds_per_spectrum

# Products in float64 cost twice, and a cube on top.
_KERNEL_PRODUCTS = 3
# Searched once for all measures that ask for them; see `Roles`.
_SHARED = (("generated", "training"), ("reference", "training"))


def forecast(
    sizes: Mapping[str, int], width: int, metrics: Collection[str], *, with_intervals: bool = False
) -> Forecast:
    """Forecast one space from sizes and from the speed of a tile of distances on this machine, now.

    Parameters
    ----------
    sizes
        Rows of training, generated and reference, as far as they are there.
    width
        Columns.
    metrics
        What is measured.
    with_intervals
        Whether halves are measured as well.
    """
    product, pair = seconds_per_pair(width)
    records = [MEASURES[name] for name in metrics]
    searches = [search for record in records for search in record.searches if search not in _SHARED]
    # For the gallery, in any case.
    searches += {_SHARED[0], *(search for record in records for search in record.searches if search in _SHARED)}
    seconds = sum(RECHECKS * pair * sizes[asked] * sizes[among] for asked, among in searches)
    seconds += PER_ROW * sum(sizes[role] for search in searches for role in search)
    products = [sizes[a] * sizes[b] for record in records for a, b in record.products]
    seconds += _KERNEL_PRODUCTS * product * sum(products)
    if with_intervals:
        # Two halves each time: as many queries, and half as many points where these are split, too.
        seconds *= 1 + N_SPLITS
    n_spectra = sum(record.n_spectra for record in records)
    seconds += seconds_per_spectrum(width) * n_spectra
    squares = 8 * width * width * 3 if n_spectra else 0
    # The features, and the frame in which the largest set is searched.
    held = 4 * width * (sum(sizes.values()) + max(sizes.values()))
    return Forecast(seconds, held + squares + WORKING_BYTES)
