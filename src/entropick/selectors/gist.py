"""GIST: rows of high utility that are far apart, by a greedy independent set at each of a grid of thresholds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from entropick.arrays import Features, Floats, Integers, check_count, check_real
from entropick.errors import InputError, shown
from entropick.neighbors.exact import digest
from entropick.neighbors.growing_set import square_within
from entropick.selectors.base import RandomState, Selection, Selector, best_first, first_in
from entropick.selectors.dealt import covering_radius, shards_of
from entropick.selectors.greedy import farthest_first
from entropick.selectors.guards import closeness
from entropick.selectors.threshold_decay import scan
from entropick.work import Work

UNIFORM, DENSITY = "uniform", "density"


@dataclass(kw_only=True)
class Gist(Selector):
    """Pick the rows with the largest sum of utility and diversity, up to a factor that is proved.

    What is maximized over sets S of `n_samples` rows is ``mean utility of S + diversity * d(S) / reach``: d(S) is the
    smallest distance between two rows of S, and `reach` that of a set of as many rows by farthest-point sampling, so
    that both terms are about 1 at most. For each of a grid of thresholds, rows are gone through from the highest
    utility on, and one is accepted if it is farther than the threshold from all accepted; of the sets that become full,
    and the farthest-first one, the best is taken.

    Parameters
    ----------
    n_samples : int
        How many rows to pick, at least 1.
    utility : "density", "uniform", or numbers (n,)
        What each row is worth, at least 0. "density": ``min(1, s / r)``, with r the distance of a row to its `k`-th
        nearest trusted row, and s the median of it among trusted rows: rows off the trusted data are worth less.
        "uniform": all the same, so that only distance counts. Numbers: one per row of X; not in loops, whose pools
        grow.
    diversity : float
        At least 0: how much the smallest distance counts beside the mean utility. Sets differ more in their smallest
        distance than in their mean utility: at 1 it is nearly always the farthest-first set that is taken.
    epsilon : float
        Between 0 and 1: neighbouring thresholds differ by a factor of 1 + epsilon.
    trusted : int or tuple of int
        For utility="density": the source or sources (values of `y`) whose density counts; 0, real data, unless told
        otherwise. Without `y` every row is of source 0: then it is the density of X itself.
    k : int
        Which neighbour measures the density.
    random_state : int, Generator or None
        What the order of rows of equal utility depends on.
    device : str
        Where products run: "cpu", "cuda", or "auto", a GPU if there is one. The rows are the same.
    initial, minimum : optional
        Rows that are already picked, least shares of sources: see `Selector`.

    Attributes
    ----------
    indices_ : int64 (n_samples,)
        The picked rows, in order of acceptance.
    distances_ : float64 (n_samples,)
        Distance of each pick to the nearest earlier one.
    threshold_ : float
        The threshold of the set that was taken: all of its distances are above it. Of the farthest-first set, its
        smallest distance.
    covering_radius_ : float
        The largest distance of any row of X to its nearest pick.
    n_distinct_, min_distance_ : int, float
        See `Selector`.

    Notes
    -----
    No set of `n_samples` distinct rows is more than ``2 * (1 + epsilon)`` times better (without `initial` and
    `minimum`). Let S be the best one, and t a threshold just below d(S) / 2. Two rows of S cannot both be within t of
    one row, so each acceptance closes at most one of them: the set of t becomes full, its utility is at least that of
    S, as its i-th row was the best of those still open, and its smallest distance is above d(S) / (2 (1 + epsilon)).
    Where d(S) is below the grid, that is less than epsilon times the diversity of the farthest-first set.

    The paper allows fewer than `n_samples` rows and asks of utility that it is monotone and submodular; it has a factor
    of 1/2 for that, and of 2/3 where utility is a sum over rows, as here, with sets of at most that many rows. A
    training set has a given size, so here it is exactly that many. The paper leaves utility to whoever uses it:
    "density", for data without labels, is our choice, and so are the units of the two terms. Other than for most
    rules, the picks of a smaller `n_samples` need not be among those of a larger one.

    Source: Fahrbach, Ramalingam, Zadimoghaddam, Ahmadian, Citovsky, DeSalvo, "GIST: Greedy independent set
    thresholding for max-min diversification with submodular utility", NeurIPS 2025, arXiv 2405.18754, Algorithm 1.

    Examples
    --------
    The second row is worth most, and too near to it is the third:

    >>> X = [[0.0], [4.0], [5.0], [9.0]]
    >>> Gist(n_samples=3, utility=[0.5, 1.0, 0.9, 0.4]).fit(X).indices_.tolist()
    [1, 3, 0]
    """

    utility: ArrayLike | str = DENSITY
    diversity: float = 0.3
    epsilon: float = 0.1
    trusted: int | tuple[int, ...] = 0
    k: int = 5
    random_state: RandomState = None
    device: str = "auto"

    kind: ClassVar[str] = "gist"
    by_row: ClassVar[tuple[str, ...]] = ("utility",)
    reads_blocks: ClassVar[bool] = True

    @property
    def trusts(self) -> tuple[int, ...]:
        """The sources that are meant by `trusted`, where density is what counts."""
        return super().trusts if self._named == DENSITY else ()

    @property
    def least_trusted(self) -> int:
        """One row more than the neighbour that measures the density."""
        return self.k + 1 if self._named == DENSITY else 0

    @property
    def _named(self) -> str:
        return self.utility if isinstance(self.utility, str) else ""

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        check_real(self.diversity, name="diversity", minimum=0)
        check_real(self.epsilon, name="epsilon", above=0, below=1)
        check_count(self.k, name="k")
        if isinstance(self.utility, str):
            if self.utility not in (UNIFORM, DENSITY):
                raise InputError(
                    f'utility: expected "{DENSITY}", "{UNIFORM}" or a number per row, got {shown(self.utility)}.'
                )
            return
        given = np.asarray(self.utility)
        if given.ndim != 1 or given.dtype.kind not in "fiu" or not np.isfinite(given).all() or (given < 0).any():
            raise InputError(
                f'utility: expected "{DENSITY}", "{UNIFORM}" or finite numbers (n,) of at least 0, got '
                f"{shown(self.utility)}."
            )

    def _of_all(self, X: Features, sources: Integers, work: Work) -> dict[str, Floats]:
        if self._named == UNIFORM:
            return {"utility": np.ones(len(X))}
        if self._named == DENSITY:
            return {"utility": closeness(self, X, sources, self.k, work, device=self.device)}
        given = np.asarray(self.utility, np.float64)
        if len(given) != len(X):
            raise InputError(f"utility: expected a number for each of the {len(X)} rows of X, got {len(given)}.")
        return {"utility": given}

    def _select(
        self, X: Features, sources: Integers, initial: Integers, work: Work, utility: Floats | None = None
    ) -> Selection:
        assert utility is not None, "every row has its utility"
        order = first_in(best_first(utility, self.random_state), initial)
        n_first, name = max(1, len(initial)), f"selection-{digest(X, order, initial, utility)}"
        shards = shards_of(X, self.n_samples, device=self.device)
        best = farthest_first(shards, order[:n_first], work.part("farthest"), name)
        reach = float(best.distances[n_first:].min(initial=math.inf))
        if math.isinf(reach):
            return Selection(best.rows, best.distances, {**best.facts, "threshold": 0.0})
        threshold, value = reach, self._value(best, utility, n_first, reach)
        arrays, state = work.load(name) or ({}, {})
        if arrays:
            best = Selection(arrays["rows"], arrays["distances"], {})
            threshold, value = state["threshold"], state["value"]
        thresholds = self._thresholds(reach)
        for number in range(state.get("next", 0), len(thresholds)):
            found = self._independent(X, order, n_first, thresholds[number], work)
            if found is not None and (worth := self._value(found, utility, n_first, reach)) > value:
                best, threshold, value = found, thresholds[number], worth
            if work.due():
                kept = {"rows": best.rows, "distances": best.distances}
                work.save(name, kept, {"next": number + 1, "threshold": threshold, "value": value})
        radius = covering_radius(X, best.rows, device=self.device)
        return Selection(best.rows, best.distances, {"covering_radius": radius, "threshold": threshold})

    def _thresholds(self, reach: float) -> list[float]:
        """From what no set of as many rows is above down to what hardly counts, and 0."""
        if reach == 0:
            return [0.0]
        epsilon = float(self.epsilon)
        n_steps = math.ceil(math.log(4 / epsilon) / math.log1p(epsilon))
        return [*(2 * reach / (1 + epsilon) ** step for step in range(n_steps + 1)), 0.0]

    def _independent(
        self, X: Features, order: Integers, n_first: int, threshold: float, work: Work
    ) -> Selection | None:
        """The first rows in the order that are farther than the threshold from one another; None for too few."""
        shards = shards_of(X, self.n_samples, device=self.device, order=order)
        shards.accept(np.arange(n_first))
        for _ in scan(shards, square_within(threshold), 0):
            work.progress(len(shards.numbers), self.n_samples, f"threshold {threshold:g}")
        if shards.missing and threshold:
            return None
        numbers, distances = shards.filled()
        return Selection(order[numbers], distances, {})

    def _value(self, found: Selection, utility: Floats, n_first: int, reach: float) -> float:
        """What is maximized."""
        smallest = float(found.distances[n_first:].min())
        return float(utility[found.rows].mean()) + (float(self.diversity) * smallest / reach if reach else 0.0)
