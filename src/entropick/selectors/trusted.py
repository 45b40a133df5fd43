"""How far every row is from what is trusted: small where trusted rows are dense, large where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Integers
from entropick.errors import InputError
from entropick.neighbors import Floats, nearest_neighbors
from entropick.work import Work

# Rows that are looked up at once: so many of a memory map are in memory.
_BLOCK_ROWS = 1 << 16


def check_trusted(trusted: Any) -> tuple[int, ...]:
    """Return the sources that are meant; InputError unless `trusted` is a whole number or a tuple of some."""
    numbers = trusted if isinstance(trusted, tuple | list) else (trusted,)
    if not numbers or any(isinstance(one, bool) or not isinstance(one, int | np.integer) for one in numbers):
        raise InputError(
            f"trusted: expected a source, a whole number as in y, or a tuple of them, got {trusted!r}. "
            "0 is the first one, in loops the real data."
        )
    return tuple(numbers)


def spacing(
    X: Features,
    sources: Integers,
    trusted: int | tuple[int, ...],
    k: int,
    work: Work | None = None,
    *,
    device: str = "auto",
) -> tuple[NDArray[np.bool_], Floats]:
    """Return which rows are `trusted` (n,), and the distance (n,) of each row to its `k`-th nearest trusted row.

    A trusted row is left out of its own neighbours.

    Raises
    ------
    InputError
        For `k` or fewer trusted rows.
    """
    is_trusted = np.isin(sources, trusted)
    rows, others = np.flatnonzero(is_trusted), np.flatnonzero(~is_trusted)
    if len(rows) <= k:
        raise InputError(
            f"trusted: expected more than k = {k} rows of source {trusted}, got {len(rows)}. "
            "Name another source, or lower k."
        )
    points = X if len(rows) == len(X) else X[rows]
    distances = np.empty(len(X))
    # Progress only: the searches would take each other's checkpoints for their own.
    telling = None if work is None else _Telling(work)

    def kth(queries: Features, *, are_points: bool = False) -> Floats:
        found = nearest_neighbors(queries, points, k=k, exclude_self=are_points, device=device, work=telling)
        return found.distances[:, k - 1]

    distances[rows] = kth(points, are_points=True)
    for start in range(0, len(others), _BLOCK_ROWS):
        block = others[start : start + _BLOCK_ROWS]
        distances[block] = kth(X[block])
    return is_trusted, distances


class _Telling(Work):
    """Passes progress on and keeps nothing."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._work.progress(done, total, f"trusted rows: {note}")
