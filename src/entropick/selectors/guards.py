"""A guard against garbage: rows that are too far from what is trusted are set aside before anything is selected."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import Integers, check_count, check_features, check_real, check_sources
from entropick.component import Component
from entropick.errors import InputError
from entropick.neighbors import Floats
from entropick.selectors.base import Unfitted
from entropick.selectors.trusted import check_trusted, spacing
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

    @property
    def trusts(self) -> tuple[int, ...]:
        """The sources that are trusted."""
        return check_trusted(self.trusted)

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        check_trusted(self.trusted)
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
        is_trusted, distances = spacing(features, check_sources(y, len(features)), self.trusted, self.k, work)
        self.threshold_ = self._threshold(distances[is_trusted])
        others = np.flatnonzero(~is_trusted)
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
