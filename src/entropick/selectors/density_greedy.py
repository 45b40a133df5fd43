"""Density Greedy: the row farthest from everything picked so far, but for less where trusted rows are sparse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from entropick.arrays import Features, Floats, Integers, check_count, check_real
from entropick.selectors.greedy import Greedy
from entropick.selectors.guards import closeness
from entropick.work import Work

# Weights below this are as good as none; products with squared distances stay normal numbers.
_SMALLEST = 1e-100


@dataclass(kw_only=True)
class DensityGreedy(Greedy):
    """Greedy Selection in which distance counts for less off the trusted data: diversity weighed against density.

    Let r be the distance of a row to its `k`-th nearest trusted row, and s what it typically is for trusted rows. The
    next pick has the largest ``distance to the picks * min(1, s / r) ** power``. Where trusted rows are as dense as
    usual this is Greedy Selection. What lies off them is discounted the more the farther off it is, and garbage, which
    is far from every pick but at least as far from what is trusted, is picked late or never.

    Parameters
    ----------
    n_samples, initial, minimum, random_state, device
        As for `Greedy`.
    trusted : int or tuple of int
        The source or sources (values of `y`) whose density counts; 0, real data, unless told otherwise. Without `y`
        every row is of source 0.
    k : int
        Which neighbour measures the spacing. More than one, so that a stray trusted row does not vouch for garbage
        around it.
    quantile : float
        Between 0 and 1: s is this quantile of r among the trusted rows. A higher one discounts fewer rows.
    power : float
        At least 0; 0 is `Greedy`. At 1 a row far off is about as good as one in the midst of the data, as its distance
        to the picks grows with r; from 2 on it is worse.

    Attributes
    ----------
    indices_, distances_, covering_radius_, n_distinct_, min_distance_
        As for `Greedy`, in plain distances; `distances_` need not fall.

    Notes
    -----
    Unlike `OutlierGuard` it has no border: a row that is somewhat off and like no other may still come. The first row
    is drawn from all: to be sure of it, give a trusted one as `initial`. Weighted distances to the picks only fall, as
    plain ones do, so the picks are found by the same look-ahead, and are those of a float64 loop.

    Source: farthest-point sampling with a weight, Eldar, Lindenbaum, Porat and Zeevi, "The farthest point strategy for
    progressive image sampling", 1997; density by nearest neighbours, Loftsgaarden and Quesenberry, 1965.

    Examples
    --------
    The last row is farthest, and far from what is trusted:

    >>> X = [[0.0], [1.0], [2.0], [3.0], [4.0], [40.0]]
    >>> DensityGreedy(n_samples=3, k=1, initial=[0]).fit(X, y=[0, 0, 0, 0, 0, 1]).indices_.tolist()
    [0, 4, 2]
    >>> Greedy(n_samples=3, initial=[0]).fit(X).indices_.tolist()
    [0, 5, 4]
    """

    trusted: int | tuple[int, ...] = 0
    k: int = 5
    quantile: float = 0.5
    power: float = 2.0

    kind: ClassVar[str] = "density-greedy"

    @property
    def least_trusted(self) -> int:
        """One row more than the neighbour that measures the spacing."""
        return self.k + 1

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        check_count(self.k, name="k")
        check_real(self.quantile, name="quantile", above=0, below=1)
        check_real(self.power, name="power", minimum=0)

    def _of_all(self, X: Features, sources: Integers, work: Work) -> dict[str, Floats]:
        close = closeness(self, X, sources, self.k, work, quantile=self.quantile, device=self.device)
        weights: Floats = np.maximum(close ** (2 * float(self.power)), _SMALLEST)
        return {"weights": weights}
