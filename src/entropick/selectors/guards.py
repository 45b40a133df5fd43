"""A guard against garbage: rows that are too far from what is trusted are set aside before anything is selected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import Features, Integers, check_count, check_features, check_real, check_sources
from entropick.component import Component
from entropick.errors import InputError
from entropick.neighbors import Floats, nearest_neighbors
from entropick.selectors.base import Unfitted
from entropick.work import Work


@dataclass(kw_only=True)
class OutlierGuard(Unfitted, Component):
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
    set_aside_ : int64
        Rows of X, the farthest first.
    kept_ : int64
        All other rows, ascending.
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

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_count(self.k, name="k")
        check_real(self.quantile, name="quantile", above=0, below=1)
        if check_real(self.factor, name="factor", above=0) < 1:
            raise InputError(f"factor: expected at least 1, got {self.factor!r}. Lower the quantile instead.")

    def fit(self, X: ArrayLike, y: ArrayLike | None = None, *, work: Work | None = None) -> Self:
        """Find the rows of `X` (n, d) that are to be set aside; `y` (n,) is the source of each row.

        Raises
        ------
        InputError
            For an unusable parameter, unusable features or sources, `k` or fewer trusted rows, or trusted rows of which
            most are copies of each other.
        """
        self.check()
        features = check_features(X)
        is_trusted = np.isin(check_sources(y, len(features)), self.trusted)
        rows = np.flatnonzero(is_trusted)
        if len(rows) <= self.k:
            raise InputError(
                f"trusted: expected more than k = {self.k} rows of source {self.trusted}, got {len(rows)}. "
                "Name another source, or lower k."
            )
        points = features if len(rows) == len(features) else features[rows]
        distances = np.empty(len(features))
        distances[rows] = _distances(points, points, self.k, work, exclude_self=True)
        self.threshold_ = self._threshold(distances[rows])
        others = np.flatnonzero(~is_trusted)
        if len(others):
            distances[others] = _distances(features[others], points, self.k, work)
        extreme = others[distances[others] > self.threshold_]
        self.distances_ = distances
        self.set_aside_: Integers = extreme[np.argsort(-distances[extreme], kind="stable")]
        self.kept_ = np.setdiff1d(np.arange(len(features)), extreme)
        return self

    def _threshold(self, distances: Floats) -> float:
        rank = min(math.ceil((len(distances) + 1) * self.quantile), len(distances))
        limit = self.factor * float(np.sort(distances)[rank - 1])
        if limit == 0:
            raise InputError(
                f"trusted: expected different rows, but nearly all have {self.k} copies, so that any other row would "
                "be extreme. Remove the copies, or raise k."
            )
        return limit

    def summary(self) -> dict[str, Any]:
        """What was done, as JSON-able numbers."""
        return {"threshold": self.threshold_, "n_set_aside": len(self.set_aside_), "n_kept": len(self.kept_)}


def _distances(queries: Features, points: Features, k: int, work: Work | None, exclude_self: bool = False) -> Floats:
    # Progress only: the two searches would take each other's checkpoints for their own.
    telling = None if work is None else _Telling(work)
    return nearest_neighbors(queries, points, k=k, exclude_self=exclude_self, work=telling).distances[:, k - 1]


class _Telling(Work):
    """Passes progress on and keeps nothing."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def progress(self, done: int, total: int, note: str = "") -> None:
        self._work.progress(done, total, f"guard: {note}")
