"""What a selection or a score will cost on this machine, before it starts: seconds and bytes, features not included."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entropick.errors import InputError
from entropick.metrics.suite import MEASURES
from entropick.neighbors import Speed, resident_bytes
from entropick.processes.hardware import usable_memory
from entropick.selectors.approximate import SAMPLED
from entropick.selectors.core_set import PIECE
from entropick.selectors.greedy import MOST_SHOWN

# Columns of the matrix whose eigenvalues are computed to see how fast that is.
_PROBE_COLUMNS = 512
_DAY = 86_400.0
# Times what tiles take in a growing set, and seconds of each row of a search or a growing set beside them: deciding in
# float64 what tiles leave open. As measured on CIFAR-10 pixels and a Gaussian.
_RECHECKS, _PER_ROW = 1.3, 2e-5
# What the sets of all thresholds of that rule take together, in growing sets: most of them look at few rows.
_GIST_SETS = 3
# Python, torch, and the blocks that are worked on.
WORKING_BYTES = 384 << 20
# Differences a pick in a growing set, and in the control beside it.
_EXACT_PER_PICK = 180
# How many times the placing of the rows that it is fitted to the axes of the map take; passes over a pool; a page.
_MAP_PLACES, _PASSES, _PAGE_SECONDS = 30, 6, 1.0
# Beside the features, a selector holds a second copy of them in its own frame; not of a memory map, or of pixels.
_COPIES = 2
# Of all picks those that a row of a worker is shown, what is then decided exactly included, and how many times the
# placing of a row what is done for each beside: as measured on 100,000 and 200,000 rows, normal and of low rank.
_SHOWN, _PLACES = 0.75, 4
# Picks that a row is shown, mostly, until it is nearer than the farthest from a random choice: a tile or two.
_SEEN = 2048
# Bytes of a row that a worker shows beside its numbers, and of each number of a pick in a worker, as it is and placed.
_BESIDE_ROW, _PICK_BYTES = 40, 8
# Rows that a growing set looks at together at most, and how often it has them, as vectors and as they are.
_BLOCK_ROWS, _BLOCK_COPIES = 1024, 4
# Of each row of a score: what tells copies from others, and where it comes from.
_ROW_BYTES = 96
# Searched once for all measures that ask for them; see `entropick.metrics.base.Roles`.
_SHARED = (("generated", "training"), ("reference", "training"))
# Multiplications that a search for duplicates in a pool may take: seconds. Neighbours by which they are found.
DUPLICATE_PRODUCTS, DUPLICATE_NEIGHBORS = 5e11, 16
# Rows that the two axes of a map are fitted to, and numbers, for which fewer rows of more columns are taken.
MAP_ROWS, MAP_NUMBERS = 8192, 1 << 25
# A product in float64 with a cube on top.
_KERNEL_PRODUCTS = 1.2
# Beside its searches a measure passes over its rows: to check, to convert, to sum. Seconds a number, of the slowest.
_PASS = 2e-9


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
    speed = Speed.measured(width)
    growing = speed.tile * n_samples * (n_samples / 2 + (0 if method == "random" else n_pool))
    if method == "approximate-greedy":
        growing += _core_set(speed, n_pool, n_samples)
    if method == "gist":
        growing *= _GIST_SETS
    # The rule and a random choice beside it: rows are placed, and what is near in time is compared exactly.
    seconds = _RECHECKS * growing + 2 * speed.place * (n_pool + 2 * n_samples)
    seconds += _EXACT_PER_PICK * speed.difference * n_samples
    # For duplicates in the pool, see `entropick.selection.duplicates`.
    looked_up = min(n_pool, int(DUPLICATE_PRODUCTS / (n_pool * width)))
    seconds += speed.of_search(looked_up, n_pool, DUPLICATE_NEIGHBORS + 1)
    # The radius of the control, of a random choice too, both entropies, and the guard.
    seen = min(n_samples, _SEEN) * (2 if method == "random" else 1)
    seconds += speed.tile * n_pool * seen + speed.place * n_pool
    searches = [(n_samples, n_samples), (n_samples, n_samples), (n_pool, n_trusted)]
    seconds += sum(speed.of_search(*search) for search in searches)
    # The map of the page, and the page.
    seconds += _MAP_PLACES * speed.place * min(n_pool, MAP_ROWS, MAP_NUMBERS / width) + _PAGE_SECONDS
    seconds += _PER_ROW * (3 * n_pool + 4 * n_samples + n_trusted) + _PASSES * _PASS * n_pool * width
    block = 4 * width * min(n_pool, _BLOCK_ROWS) * _BLOCK_COPIES
    return Forecast(seconds, 4 * n_pool * width * _COPIES + block + WORKING_BYTES)


def core_set_seconds(n_pool: int, width: int, n_samples: int) -> float:
    """What an approximate choice takes in any case, however small the core-set turns out to be."""
    return _core_set(Speed.measured(width), n_pool, n_samples)


def _core_set(speed: Speed, n_pool: int, n_samples: int) -> float:
    """Seconds in which a sample is chosen from, and each row looks for a proxy."""
    if n_pool <= SAMPLED * n_samples:
        return 0.0
    sample = _RECHECKS * speed.tile * SAMPLED * n_samples**2
    return sample + (_RECHECKS * speed.tile * PIECE + 2 * speed.place + speed.difference) * n_pool


def round_bytes(width: int) -> int:
    """What the rows that workers show take in a round at most, all together; of these, each is told those picked."""
    return MOST_SHOWN * (4 * width + _BESIDE_ROW)


def worker_bytes(n_rows: int, width: int, n_samples: int) -> int:
    """The least memory of a worker with so many rows, which stay in files, and all picks."""
    return resident_bytes(n_rows, width, beside=WORKING_BYTES + _PICK_BYTES * n_samples * width)


def workers_seconds(speeds: Sequence[Speed], sizes: Sequence[int], n_samples: int) -> float:
    """What workers with so many rows each, all of them measured at the same time, take for a choice."""
    return max(
        (_SHOWN * speed.tile * n_samples + _PLACES * speed.place) * n_rows
        + (speed.place + _EXACT_PER_PICK * speed.difference) * n_samples
        for speed, n_rows in zip(speeds, sizes, strict=True)
    )


def check_workers(memory: Sequence[int], sizes: Sequence[int], width: int, n_samples: int) -> None:
    """Refuse what some worker, each with so much memory and so many rows, cannot hold."""
    for number, (n_bytes, n_rows) in enumerate(zip(memory, sizes, strict=True)):
        if (least := worker_bytes(n_rows, width, n_samples)) > n_bytes:
            raise InputError(
                f"engine: expected workers that can hold their rows, but worker {number} of {len(sizes)} needs at "
                f"least {least / 2**30:,.1f} GiB for {n_rows:,} rows of {width:,} numbers and {n_samples:,} picks, and "
                f"has {n_bytes / 2**30:,.1f}. Use machines with more memory (or a larger --memory, where "
                "one was given), or more of them; on one machine fewer workers, or none."
            )


def score_forecast(
    sizes: Mapping[str, int],
    width: int,
    metrics: Collection[str],
    *,
    n_splits: int = 0,
    in_memory: int | None = None,
) -> Forecast:
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
    in_memory
        Bytes of those features that are in memory, where the others stay in files; None where all are.
    """
    speed = Speed.measured(width)
    records = [MEASURES[name] for name in metrics]
    # Searched once for all measures that ask; the first one for the gallery, in any case.
    searches = {("generated", "training"): 1}
    apart: list[tuple[str, str]] = []
    for record in records:
        for asked, among in record.searches:
            if asked == among or (asked, among) in _SHARED:
                searches[asked, among] = max(record.k, searches.get((asked, among), 1))
            else:
                apart.append((asked, among))
    seconds = sum(speed.of_search(sizes[asked], sizes[among], k) for (asked, among), k in searches.items())
    seconds += sum(speed.of_search(sizes[asked], sizes[among]) for asked, among in apart)
    seconds += _PER_ROW * sum(sizes[role] for search in [*searches, *apart] for role in search)
    seconds += _PASS * width * sum(sizes[role] for record in records for role in record.roles)
    products = [sizes[a] * sizes[b] for record in records for a, b in record.products]
    seconds += _KERNEL_PRODUCTS * speed.product * sum(products)
    # Two halves each time: as many queries, and half as many points where these are split, too.
    seconds *= 1 + n_splits
    squares = 0
    for record in (record for record in records if record.n_spectra):
        # Of rows by rows where there are fewer of them than columns.
        most = max(sizes[role] for role in record.roles)
        side = min(width, most)
        seconds += record.n_spectra * (seconds_per_spectrum(side) + speed.product * most * side)
        squares = max(squares, 8 * side * side * 3)
    # The features, and the frame in which the largest set is searched; what is known of a row and its neighbours.
    held = 4 * width * (sum(sizes.values()) + max(sizes.values())) if in_memory is None else 2 * in_memory
    known = sum(sizes.values()) * (_ROW_BYTES + 16 * max((record.k for record in records), default=1))
    return Forecast(seconds, held + known + squares + WORKING_BYTES)


def check_searchers(memory: int, n_workers: int, n_rows: int) -> None:
    """Refuse workers, each with so much memory, that cannot look for neighbours among their part of so many rows."""
    least = WORKING_BYTES + _ROW_BYTES * -(-n_rows // n_workers)
    if least > memory:
        raise InputError(
            f"engine: expected at least {least / 2**30:,.1f} GiB for each of {n_workers:,} workers, which look for "
            f"neighbours among {n_rows:,} rows, got {memory / 2**30:,.1f}. Use machines with more memory (or a larger "
            "--memory, where one was given), or fewer workers, or none."
        )


def kept_in_files(cost: Forecast, n_rows: int, width: int) -> Forecast:
    """The same where rows stay in their files, and only their vectors are in memory: int8 at least."""
    return Forecast(cost.seconds, resident_bytes(n_rows, width, beside=WORKING_BYTES))


def check_affordable(cost: Forecast, *, memory: int | None = None) -> None:
    """Refuse what would end without memory, or after more than a day; `memory` in bytes, None for this machine's."""
    memory = usable_memory() if memory is None else memory
    if cost.bytes <= memory and cost.seconds <= _DAY:
        return
    raise InputError(
        f"forecast: expected what fits into {memory / 2**30:.1f} GiB of memory and a day, got "
        f"{cost.bytes / 2**30:,.1f} GiB and {cost.seconds / 3600:,.1f} hours. Compare in a space with fewer columns "
        "(--resize N (resize=N), --features NAME (features=NAME), or embeddings), allow more memory (a larger "
        "--memory, where one was given), give fewer images, or ask for less."
    )


def seconds_per_spectrum(width: int) -> float:
    """What the eigenvalues of a matrix of `width` columns cost: of a small one, scaled by the cube of the width."""
    rows = np.random.default_rng(0).standard_normal((_PROBE_COLUMNS, _PROBE_COLUMNS))
    started = time.perf_counter()
    np.linalg.eigvalsh(rows @ rows.T)
    return (time.perf_counter() - started) * (width / _PROBE_COLUMNS) ** 3
