"""Density Greedy: always the row farthest from everything picked so far, as the spacing of trusted rows measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from entropick.arrays import Features, Integers, check_count, check_real
from entropick.errors import InputError
from entropick.neighbors import Floats
from entropick.selectors.greedy import Greedy
from entropick.selectors.trusted import spacing
from entropick.work import Work

# Weights below this are as good as none; products with squared distances stay normal numbers.
_SMALLEST = 1e-100


@dataclass(kw_only=True)
class DensityGreedy(Greedy):
    """Greedy Selection in which a row's distance counts for less where trusted rows are sparse.

    A row is ``distance to the picks / r ** power`` far, where r is its distance to its `k`-th nearest trusted row. What
    lies off the trusted data has a large r and is picked late, however far it is from everything; what lies where they
    are dense and yet unlike every pick comes early. So diversity is weighed against density, without a threshold.

    Parameters
    ----------
    n_samples, initial, minimum, random_state, device
        As for `Greedy`.
    trusted : int or tuple of int
        The source or sources (values of `y`) whose density counts; 0, real data, unless told otherwise.
    k : int
        Which neighbour measures the spacing of trusted rows; more than one, so that a copy of a trusted row is not
        infinitely welcome.
    power : float
        At least 0. 0 is `Greedy`: picks are spread evenly over wherever there is anything. At 1 the picks' spacing goes
        with that of the trusted rows: in d dimensions both r and the spacing go with density ** (-1/d), so the picks
        have the density of the trusted rows, but no near-copies; yet single rows far off stand in no one's way and
        still come. From 2 on they do not (docs/choosing-a-selector.md).

    Attributes
    ----------
    indices_, distances_, covering_radius_, n_distinct_, min_distance_
        As for `Greedy`, in plain distances; `distances_` need not fall.

    Notes
    -----
    Weighted distances to the picks only fall, as plain ones do, so the picks are found by the same look-ahead, and
    are those of a float64 loop.

    Source: farthest-point sampling of a given density, Eldar, Lindenbaum, Porat and Zeevi, "The farthest point strategy
    for progressive image sampling", 1997; the density by nearest neighbours, Loftsgaarden and Quesenberry, 1965.

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
    power: float = 2.0

    kind: ClassVar[str] = "density-greedy"

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        check_count(self.k, name="k")
        check_real(self.power, name="power", minimum=0)

    def _weights(self, X: Features, sources: Integers, work: Work) -> Floats:
        _, r = spacing(X, sources, self.trusted, self.k, work)
        if not r.any():
            raise InputError(
                f"trusted: expected different rows, but all have {self.k} copies. Remove the copies, or raise k."
            )
        # What coincides with k trusted rows counts as the densest of the others.
        r = np.maximum(r, r[r > 0].min())
        return np.maximum((r.min() / r) ** (2 * self.power), _SMALLEST)
