"""Approximate Greedy: Greedy Selection from a core-set of the pool, with a certificate of what that may have cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, cast

import numpy as np

from entropick.arrays import Features, Floats, Integers, check_real
from entropick.neighbors.exact import digest
from entropick.neighbors.growing_set import square_within
from entropick.selectors.base import Selection
from entropick.selectors.core_set import Grid, pieces
from entropick.selectors.dealt import Dealt, in_one, only, shards_of
from entropick.selectors.greedy import Greedy, farthest_first
from entropick.selectors.shards import Shards
from entropick.work import Work

# Rows of a sample, for each that is picked, by which it is found how far apart picks can be.
SAMPLED = 4
# Pieces in which a shard looks for proxies between two checkpoints.
_PIECES = 16


@dataclass(kw_only=True)
class ApproximateGreedy(Greedy):
    """Greedy Selection from a core-set: rows of which each other row of the pool is near one, its *proxy*.

    It looks at fewer rows than `Greedy` where many are near others, as copies, frames and crops are, and takes as long
    where none are. What it may have lost is computed from the run, whatever the data are: see Notes.

    Parameters
    ----------
    n_samples, initial, minimum, random_state, device
        As for `Greedy`.
    eps : float
        Between 0 and 1: a proxy is at most `eps` times a proven lower bound of the best covering radius away. So no
        selection of the same size has less than ``1 / (2 + eps)`` of this one's covering radius (with `initial` or
        `minimum` that is not promised).

    Attributes
    ----------
    indices_, distances_, n_distinct_, min_distance_
        As for `Greedy`.
    covering_radius_ : float
        The largest distance of any row of X to its nearest pick, found by one more pass over what is not in the
        core-set.
    core_rows_ : int
        The rows of the core-set.
    core_distance_ : float
        delta, the largest distance of a row to its proxy.
    core_radius_ : float
        r_T, the largest distance of a row of the core-set to its nearest pick.
    radius_at_most_ : float
        r_T + delta, which `covering_radius_` cannot be above.
    factor_at_most_ : float
        How many times the smallest possible covering radius that is at most; infinite where it says nothing.

    Notes
    -----
    Let S be the n picks, T the core-set with S in it, L the smallest distance between two picks, and r* the smallest
    covering radius of any n rows, or points, for the whole pool.

    *Radius.* A row is within delta of its proxy, and the proxy within r_T of a pick: all rows are within r_T + delta.

    *Factor.* S and the row of T farthest from it are n + 1 rows of the pool no two of which are nearer than
    min(L, r_T). Whatever n points are chosen, two of these rows have the same nearest one, and one of the two is at
    least half their distance from it: r* >= min(L, r_T) / 2. So the radius is at most
    2 (r_T + delta) / min(L, r_T) times r*. Neither argument asks how T or S were found.

    *Promise.* Greedy on a sample gives n + 1 rows at least 2 B apart, so B <= r*, and T is made such that
    delta <= eps B. Greedy picks have L >= r_T, hence r_T <= 2 r* and the radius is at most (2 + eps) r*.

    The core-set keeps rows in order unless one that was kept is near enough; each row looks among some thousand that
    lie in cells beside its own (`entropick.selectors.core_set`). A pool with fewer than four rows for each pick
    is its own core-set. All of it follows from rows and parameters, however many shards or workers there are.

    Source: Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985; core-sets of k-center, Malkomes
    et al., NeurIPS 2015, and Ceccarello, Pietracaprina and Pucci, 2019, arXiv 1802.09205.

    Examples
    --------
    >>> X = [[0.0], [0.01], [1.0], [5.0], [5.01], [9.0], [9.01], [9.02], [0.02], [5.02], [1.01], [1.02]]
    >>> found = ApproximateGreedy(n_samples=2, eps=0.1, initial=[0]).fit(X)
    >>> found.indices_.tolist(), found.core_rows_, found.covering_radius_ <= found.radius_at_most_
    ([0, 5], 4, True)
    """

    eps: float = 0.1

    kind: ClassVar[str] = "approximate-greedy"

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        check_real(self.eps, name="eps", above=0, below=1)

    def _within_quotas(
        self, X: Features, sources: Integers, initial: Integers, work: Work, columns: Mapping[str, Any]
    ) -> Selection:
        here = cast(Features, in_one(X, device=self.device))
        return super()._within_quotas(here, sources, initial, work, columns)

    def _of_all(self, X: Features, sources: Integers, work: Work) -> dict[str, Any]:
        """The proxy of each row, by its number, and the distance to it; a least share is owed by proxies of its own."""
        n, groups = len(X), sources if self.minimum else np.zeros(len(X), np.int64)
        proxies, apart = np.arange(n), np.zeros(n)
        if n > SAMPLED * self.n_samples:
            sample = np.sort(np.random.default_rng(0).choice(n, SAMPLED * self.n_samples, replace=False))
            limit = square_within(float(self.eps) * self._least_radius(X, sample, work.part("sample")))
            _find_proxies(X, sample, limit, groups, proxies, apart, work)
        return {"is_core": proxies == np.arange(n), "proxies": proxies, "apart": apart}

    def _least_radius(self, X: Features, sample: Integers, work: Work) -> float:
        """What no covering radius of so many rows is below: half the distance that one more row than these have."""
        shards = shards_of(only(X, sample), self.n_samples, device=self.device)
        found = farthest_first(shards, np.zeros(1, np.int64), work, f"selection-{digest(X, sample)}")
        return found.facts["covering_radius"] / 2

    def _select(
        self,
        X: Features,
        sources: Integers,
        initial: Integers,
        work: Work,
        is_core: Any = None,
        proxies: Any = None,
        apart: Any = None,
    ) -> Selection:
        first = initial if len(initial) else np.random.default_rng(self.random_state).integers(len(X), size=1)
        rows = _with(is_core, first, self.n_samples)
        shards = shards_of(only(X, rows), self.n_samples, device=self.device)
        name = f"selection-{digest(X, rows, first)}"
        found = farthest_first(shards, np.searchsorted(rows, first), work, name)
        selection = Selection(rows[found.rows], found.distances, {})
        return selection if self.minimum else self._certified(X, selection, shards, rows, proxies, apart)

    def _completed(self, X: Features, selection: Selection, work: Work, **known: Any) -> Selection:
        rows = _with(known["is_core"], selection.rows, self.n_samples)
        shards = shards_of(only(X, rows), self.n_samples, device=self.device)
        shards.accept(np.searchsorted(rows, selection.rows), np.square(selection.distances))
        return self._certified(X, selection, shards, rows, known["proxies"], known["apart"])

    def _certified(
        self, X: Features, selection: Selection, shards: Shards, rows: Integers, proxies: Integers, apart: Floats
    ) -> Selection:
        """The selection with what it proves, and its covering radius; `shards` know the distances of `rows`."""
        radius, delta = shards.radius(), float(apart.max())
        # Added and rounded up, so that it holds.
        at_most = math.nextafter(radius + delta, math.inf) if delta else radius
        least = min(float(selection.distances.min()), radius) / 2
        facts = {
            "covering_radius": self._radius(X, shards, rows, proxies, apart, radius),
            "core_rows": len(rows),
            "core_distance": delta,
            "core_radius": radius,
            "radius_at_most": at_most,
            "factor_at_most": at_most / least if least > 0 else math.inf,
        }
        return Selection(selection.rows, selection.distances, facts)

    def _radius(
        self, X: Features, shards: Shards, rows: Integers, proxies: Integers, apart: Floats, radius: float
    ) -> float:
        """The covering radius, which that of the core-set is a part of: each other row looks first at a pick that is
        near its proxy."""
        others = np.setdiff1d(np.flatnonzero(apart > 0), rows, assume_unique=True)
        if not len(others):
            return radius
        near = shards.nearest()[np.searchsorted(rows, proxies[others])]
        further = shards_of(only(X, others), self.n_samples, device=self.device)
        further.follow(shards)
        return further.farther(near, radius)


def _with(is_core: Any, first: Integers, n: int) -> Integers:
    """The rows of the core-set and those that are picked first, ascending; at least `n`, if need be by the next."""
    taken = np.array(is_core, bool)
    taken[first] = True
    if (missing := n - np.count_nonzero(taken)) > 0:
        taken[np.flatnonzero(~taken)[:missing]] = True
    return np.flatnonzero(taken)


def _find_proxies(
    X: Features, sample: Integers, limit: float, groups: Integers, proxies: Integers, apart: Floats, work: Work
) -> None:
    """Write into `proxies` and `apart` the proxy of each row within the squared `limit`, in its group."""
    assert isinstance(X, Dealt)
    carrier, parts = X.carrier, X.parts
    grid = Grid.of(X, sample)
    cells = np.empty(len(X), np.int64)
    for part, found in zip(parts, carrier.call("cells", [grid] * len(carrier)), strict=True):
        cells[np.asarray(part.numbers)] = found
    of_pool, name = pieces(cells, groups), f"core-set-{digest(X, sample, groups)}"
    begin = 0
    if (saved := work.load(name)) is not None and saved[1]["limit"] == limit:
        begin, proxies[:], apart[:] = saved[1]["begin"], saved[0]["proxies"], saved[0]["apart"]
    step = _PIECES * len(carrier)
    for start in range(begin, len(of_pool), step):
        batch = of_pool[start : start + step]
        dealt = [batch[number :: len(carrier)] for number in range(len(carrier))]
        answers = carrier.call("proxies", dealt, [limit] * len(carrier))
        for rows, (of, squares) in zip(chain(*dealt), chain(*answers), strict=True):
            proxies[rows], apart[rows] = of, np.sqrt(squares)
        work.progress(min(start + step, len(of_pool)), len(of_pool), "core-set: pieces of the pool")
        if work.due():
            work.save(name, {"proxies": proxies, "apart": apart}, {"begin": start + step, "limit": limit})
