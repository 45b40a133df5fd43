"""What a selection or a score will cost on this machine, before it starts: seconds and bytes, features not included."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from entropick.errors import InputError
from entropick.metrics.suite import MEASURES
from entropick.neighbors import seconds_per_pair
from entropick.processes.hardware import usable_memory

# Columns of the matrix whose eigenvalues are computed to see how fast that is.
_PROBE_COLUMNS = 256
# A forecast times products of rows with so many columns at most, and goes on in proportion.
_TIMED_COLUMNS = 2048
_DAY = 86_400.0
# Times what tiles take alone, and seconds of each row of a search or a growing set beside them: placing it, and
# deciding in float64 what tiles leave open. As measured on CIFAR-10 pixels and a Gaussian.
_RECHECKS, _PER_ROW = 1.3, 2e-5
# Python, torch, and the blocks that are worked on.
_WORKING_BYTES = 384 << 20
# Beside the features, a selector holds a second copy of them in its own frame; not of a memory map, or of pixels.
_COPIES = 2
# Searched once for all measures that ask for them; see `entropick.metrics.base.Roles`.
_SHARED = (("generated", "training"), ("reference", "training"))
# Multiplications that a search for duplicates in a pool may take: seconds.
DUPLICATE_PRODUCTS = 5e11
# Products in float64 cost twice, and a cube on top.
_KERNEL_PRODUCTS = 3


@dataclass(frozen=True)
class Forecast:
    """Seconds and bytes that a computation should need, features not included."""

    seconds: float
    bytes: int


def selection_forecast(n_pool: int, width: int, n_samples: int, *, method: str, n_trusted: int = 0) -> Forecast:
    """Forecast a selection from sizes and from the speed of a tile of distances on this machine, now.

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
    # For duplicates in the pool, see `entropick.selection.duplicates`.
    repeats = min(n_pool * n_pool, DUPLICATE_PRODUCTS / width)
    searched = radii + 2 * n_samples * n_samples + n_pool * n_trusted + repeats
    _, pair = _per_pair(width)
    rows = 3 * n_pool + 4 * n_samples + n_trusted
    seconds = _RECHECKS * pair * (growing + searched) + _PER_ROW * rows
    return Forecast(seconds, 4 * n_pool * width * _COPIES + _WORKING_BYTES)


def score_forecast(sizes: Mapping[str, int], width: int, metrics: Collection[str], *, n_splits: int = 0) -> Forecast:
    """Forecast one space of a score from sizes and from the speed of a tile of distances on this machine, now.

    Parameters
    ----------
    sizes
        Rows of training, generated and reference, as far as they are there.
    width
        Columns.
    metrics
        What is measured.
    n_splits
        How often the sets are split into halves, which are measured as well.
    """
    product, pair = _per_pair(width)
    records = [MEASURES[name] for name in metrics]
    searches = [search for record in records for search in record.searches if search not in _SHARED]
    # For the gallery, in any case.
    searches += {_SHARED[0], *(search for record in records for search in record.searches if search in _SHARED)}
    seconds = sum(_RECHECKS * pair * sizes[asked] * sizes[among] for asked, among in searches)
    seconds += _PER_ROW * sum(sizes[role] for search in searches for role in search)
    products = [sizes[a] * sizes[b] for record in records for a, b in record.products]
    seconds += _KERNEL_PRODUCTS * product * sum(products)
    # Two halves each time: as many queries, and half as many points where these are split, too.
    seconds *= 1 + n_splits
    n_spectra = sum(record.n_spectra for record in records)
    # Of rows by rows where there are fewer of them than columns.
    side = min(width, max(sizes.values()))
    if n_spectra:
        seconds += seconds_per_spectrum(side) * n_spectra
    squares = 8 * side * side * 3 if n_spectra else 0
    # The features, and the frame in which the largest set is searched.
    held = 4 * width * (sum(sizes.values()) + max(sizes.values()))
    return Forecast(seconds, held + squares + _WORKING_BYTES)


def check_affordable(cost: Forecast, *, memory: int | None = None) -> None:
    """Refuse what would end without memory, or after more than a day; `memory` in bytes, None for this machine's."""
    memory = usable_memory() if memory is None else memory
    if cost.bytes <= memory and cost.seconds <= _DAY:
        return
    raise InputError(
        f"forecast: expected what fits into {memory / 2**30:.1f} GiB of memory and a day, got "
        f"{cost.bytes / 2**30:,.1f} GiB and {cost.seconds / 3600:,.1f} hours. Compare in a space with fewer columns "
        "(--resize N, --features NAME, or embeddings), give fewer images, or ask for less."
    )


def _per_pair(width: int) -> tuple[float, float]:
    timed = min(width, _TIMED_COLUMNS)
    product, pair = seconds_per_pair(timed)
    return product * width / timed, pair * width / timed


def seconds_per_spectrum(width: int) -> float:
    """What the eigenvalues of a matrix of `width` columns cost: of a small one, scaled by the cube of the width."""
    rows = np.random.default_rng(0).standard_normal((_PROBE_COLUMNS, _PROBE_COLUMNS))
    started = time.perf_counter()
    np.linalg.eigvalsh(rows @ rows.T)
    return (time.perf_counter() - started) * (width / _PROBE_COLUMNS) ** 3
