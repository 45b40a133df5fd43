"""A guard against garbage: rows that are too far from what is trusted are set aside before anything is selected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import BlockRows, Features, Floats, Integers, check_count, check_real, some_rows
from entropick.errors import InputError, shown
from entropick.neighbors import nearest_neighbors
from entropick.selectors.base import Guard, Rule, check_trusted
from entropick.work import Passing, Work

# Rows that are looked up at once: so many of a memory map are in memory.
_BLOCK_ROWS = 1 << 16


@dataclass(kw_only=True)
class OutlierGuard(Guard):
    """Set rows aside that are farther from a trusted source than its own rows are from each other.

    A selector that looks for what is far from everything finds garbage first. The guard measures the distance of every
    row to its `k`-th nearest trusted row, and the same among the trusted rows themselves, each left out of its own
    neighbours. A row is set aside if its distance is above `factor` times the `quantile` of theirs. Trusted rows never
    are.

    Parameters
    ----------
    trusted : int or tuple of int
        The source or sources (values of `y`) that are known to be clean; 0, real data, unless told otherwise.
    k : int
        Which neighbour. More than one, so that a stray trusted row does not vouch for garbage around it.
    quantile : float
        Between 0 and 1; of m distances the one of rank ``ceil((m + 1) * quantile)``, at most m.
    factor : float
        At least 1. Above 1 it leaves room for sources that differ honestly from the trusted one.

    Attributes
    ----------
    set_aside_, kept_ : int64
        See `Guard`.
    distances_ : float64 (n,)
        Of each row to its k-th nearest trusted row, in the units of the features.
    threshold_ : float
        Distances above it are extreme.

    Notes
    -----
    The rule scales with the features and assumes no distribution. A new row that comes from where the trusted ones
    came from is set aside with a probability of at most ``1 - quantile`` (``1 / (m + 1)`` if m is too small for that
    quantile) at a factor of 1, and less at a larger one: among m + 1 exchangeable rows the new one has each rank with
    equal probability, and the m distances without it are at least those with it.

    Source: the bound is that of conformal prediction, Vovk et al., "Algorithmic learning in a random world", 2005.

    Examples
    --------
    >>> X = [[0.0], [1.0], [2.0], [3.0], [1.5], [50.0]]
    >>> guard = OutlierGuard(k=2).fit(X, y=[0, 0, 0, 0, 1, 1])
    >>> guard.set_aside_.tolist(), guard.kept_.tolist()
    ([5], [0, 1, 2, 3, 4])
    """

    trusted: int | tuple[int, ...] = 0
    k: int = 5
    quantile: float = 0.999
    factor: float = 1.2

    kind: ClassVar[str] = "outlier-guard"

    @property
    def least_trusted(self) -> int:
        """One row more than the neighbour that is looked at."""
        return self.k + 1

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_trusted(self.trusted)
        check_count(self.k, name="k")
        check_real(self.quantile, name="quantile", above=0, below=1)
        if check_real(self.factor, name="factor", above=0) < 1:
            raise InputError(f"factor: expected at least 1, got {shown(self.factor)}. Lower the quantile instead.")

    def _measure(self, X: Features, sources: Integers, work: Work) -> tuple[Floats, float]:
        is_trusted, distances = spacing(X, sources, self.trusts, self.k, work)
        self.judge_trusted(is_trusted, distances)
        among = distances[is_trusted]
        rank = min(math.ceil((len(among) + 1) * float(self.quantile)), len(among))
        threshold = float(self.factor) * float(np.sort(among)[rank - 1])
        if threshold == 0:
            raise InputError(
                f"trusted: expected different rows, but nearly all have {self.k} copies, so that any other row would "
                "be extreme. Remove the copies, or raise k."
            )
        return distances, threshold


def closeness(
    rule: Rule,
    X: Features,
    sources: Integers,
    k: int,
    work: Work,
    *,
    quantile: float = 0.5,
    device: str = "auto",
) -> Floats:
    """How close each row is to what the rule trusts, (n,), above 0 and at most 1: ``min(1, s / r)``.

    r is the distance of a row to its `k`-th nearest trusted row, s the `quantile` of it among the trusted rows.

    Raises
    ------
    InputError
        For `k` or fewer trusted rows, or so many copies among them that s is 0.
    """
    is_trusted, r = spacing(X, sources, rule.trusts, k, work, device=device)
    rule.judge_trusted(is_trusted, r)
    typical = float(np.quantile(r[is_trusted], float(quantile)))
    if typical == 0:
        raise InputError(
            f"trusted: expected different rows, but a share of {quantile:g} or more have {k} copies, so that any other "
            "row would count for nothing. Remove the copies, or raise k or quantile."
        )
    close: Floats = typical / np.maximum(r, typical)
    return close


def spacing(
    X: Features,
    sources: Integers,
    trusted: tuple[int, ...],
    k: int,
    work: Work,
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
            f"trusted: expected more than k = {k} rows of source {', '.join(map(str, trusted))}, got {len(rows)}. "
            "Name another source, or lower k."
        )
    points = X if len(rows) == len(X) else some_rows(X, rows)
    distances = np.empty(len(X))
    # Progress only: the searches would take each other's checkpoints for their own.
    telling = _Telling(work)

    def kth(queries: Features, *, are_points: bool = False) -> Floats:
        found = nearest_neighbors(queries, points, k=k, exclude_self=are_points, device=device, work=telling)
        return found.distances[:, k - 1]

    distances[rows] = kth(points, are_points=True)
    # Of what is read in blocks anyway nothing is copied.
    step = max(1, len(others)) if isinstance(X, BlockRows) else _BLOCK_ROWS
    for start in range(0, len(others), step):
        block = others[start : start + step]
        distances[block] = kth(some_rows(X, block))
    return is_trusted, distances


class _Telling(Passing):
    """Passes progress and questions on, and keeps nothing."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        super().progress(done, total, f"trusted rows: {note}")

    def due(self) -> bool:
        return False

    def load(self, name: str) -> None:
        return None
