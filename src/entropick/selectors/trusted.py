"""How far every row is from what is trusted: small where trusted rows are dense, large where there are none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Integers
from entropick.errors import InputError
from entropick.neighbors import Floats, nearest_neighbors
from entropick.work import Work


def spacing(
    X: Features, sources: Integers, trusted: int | tuple[int, ...], k: int, work: Work | None = None
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
    distances[rows] = _distances(points, points, k, work, exclude_self=True)
    if len(others):
        distances[others] = _distances(X[others], points, k, work)
    return is_trusted, distances


def _distances(queries: Features, points: Features, k: int, work: Work | None, exclude_self: bool = False) -> Floats:
    # Progress only: the two searches would take each other's checkpoints for their own.
    telling = None if work is None else _Telling(work)
    return nearest_neighbors(queries, points, k=k, exclude_self=exclude_self, work=telling).distances[:, k - 1]


class _Telling(Work):
    """Passes progress on and keeps nothing."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._work.progress(done, total, f"trusted rows: {note}")
