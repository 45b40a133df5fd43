"""Greedy Selection: always the row farthest from everything picked so far."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import ClassVar

import numpy as np

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors import grouped
from entropick.neighbors.exact import digest
from entropick.selectors.base import RandomState, Selection, Selector
from entropick.selectors.dealt import shards_of
from entropick.selectors.shards import Compared, Front, Shards
from entropick.work import Work

# Rows among which a round looks ahead: at first, at least, at most.
MOST_SHOWN = 2048
_WIDTH = (256, 64, MOST_SHOWN)


@dataclass(kw_only=True)
class Greedy(Selector):
    """Pick a random first row, then always the row farthest from all picked ones (farthest-point sampling).

    The picks cover the data: no selection of the same size has less than half of its covering radius (with `initial`
    or `minimum` that is not promised). They also pick outliers first, so garbage must go before: see `OutlierGuard`.

    Parameters
    ----------
    n_samples : int
        How many rows to pick, at least 1.
    initial, minimum : optional
        Rows that are already picked (None or empty: one random row), least shares of sources: see `Selector`.
    random_state : int, Generator or None
        What the random first row depends on.
    device : str
        Where products run: "cpu", "cuda", or "auto", a GPU if there is one. The rows are the same.

    Attributes
    ----------
    indices_ : int64 (n_samples,)
        The picked rows, in order of selection.
    distances_ : float64 (n_samples,)
        Distance of each pick to the nearest earlier one; falls from the first row after `initial` on.
    covering_radius_ : float
        The largest distance of any row of X to its nearest pick.
    n_distinct_, min_distance_ : int, float
        See `Selector`.

    Notes
    -----
    Distances to the picks only fall. So a round takes the rows that are farthest now, and picks among them for as
    long as the best of them is farther than any row outside; these are the picks of the plain algorithm. A row is
    brought up to date, by matrix products, only when its last known distance puts it among the farthest. Every
    comparison is decided in float64: the rows are those of a float64 loop over picks, and of rows equally far the
    lowest is picked. Once only copies of picked points are left, they follow, lowest row first, at distance 0.
    Memory: one copy of X, in float32 or coarser, and a few blocks.

    Source: Algorithm 1 of Shi et al. 2025, arXiv 2509.16499.

    Examples
    --------
    >>> X = [[0.0], [1.0], [5.0], [9.0]]
    >>> selector = Greedy(n_samples=3, initial=[0]).fit(X)
    >>> selector.indices_.tolist(), selector.distances_.tolist(), selector.covering_radius_
    ([0, 3, 2], [inf, 9.0, 4.0], 1.0)
    """

    random_state: RandomState = None
    device: str = "auto"

    kind: ClassVar[str] = "greedy"
    reads_blocks: ClassVar[bool] = True
    asks_shards: ClassVar[bool] = True

    def _select(
        self, X: Features, sources: Integers, initial: Integers, work: Work, weights: Floats | None = None
    ) -> Selection:
        first = initial if len(initial) else np.random.default_rng(self.random_state).integers(len(X), size=1)
        shards = shards_of(X, self.n_samples, device=self.device, weights=weights)
        further = [] if weights is None else [weights]
        return farthest_first(shards, first, work, f"selection-{digest(X, first, *further)}")


def farthest_first(shards: Shards, first: Integers, work: Work, name: str) -> Selection:
    """Pick `first`, in order, then always the row farthest from all picks; `name` is that of checkpoints."""
    if (saved := work.load(name)) is None:
        shards.accept(first)
    else:
        shards.accept(saved[0]["accepted"], saved[0]["at"])
    width = _WIDTH[0]
    while shards.missing:
        fronts = shards.fronts(width)
        if not any(len(front.numbers) for front in fronts):
            break
        picks = _look_ahead(shards, fronts)
        # Farther ahead where a third of what was looked at was picked (of near-copies one of each two is), less far
        # where little was.
        wider = 2 * width if 3 * picks > width else width // 2 if 8 * picks < width else width
        width = int(np.clip(wider, *_WIDTH[1:]))
        work.progress(len(shards.numbers), shards.n_samples, "greedy selection")
        if work.due():
            work.save(name, shards.picks(), {})
    return Selection(*shards.filled(), {"covering_radius": shards.radius()})


def _look_ahead(shards: Shards, fronts: list[Front]) -> int:
    """Pick among the fronts for as long as the best ranks before everything outside; return how many."""
    bound = max(front.outside for front in fronts)
    numbers, squares, weights = (
        np.concatenate([getattr(front, name) for front in fronts]) for name in ("numbers", "squares", "weights")
    )
    ends, nearer, between = _nearer(shards.joined(fronts), squares, weights, bound[0])
    rows, factors, current, missing = numbers.tolist(), weights.tolist(), squares.tolist(), shards.missing
    picked: list[int] = []
    at: list[float] = []
    # What may still be picked, the best on top of a heap; of a row that has come nearer, old entries stay.
    ranks = list(zip((-squares * weights).tolist(), rows, range(len(rows)), strict=True))
    heapify(ranks)
    while len(picked) < missing and ranks:
        value, number, place = -ranks[0][0], ranks[0][1], ranks[0][2]
        square = current[place]
        if value != square * factors[place]:
            heappop(ranks)
            continue
        if value == 0 or (value, -number) < bound:
            break
        picked.append(place)
        at.append(square)
        current[place] = 0.0
        for pair in range(ends[place], ends[place + 1]):
            other, square = nearer[pair], between[pair]
            if square < current[other]:
                current[other] = square
                heappush(ranks, (-square * factors[other], rows[other], other))
    now = np.array(current)
    # Those beneath the bound may be upper bounds: they still have to see which came nearest.
    is_exact = (now * weights >= bound[0]) | (now == 0)
    shards.learn(fronts, np.array(picked, np.int64), np.array(at), now, is_exact)
    return len(picked)


def _nearer(rows: Compared, squares: Floats, weights: Floats, bound: float) -> tuple[list[int], list[int], list[float]]:
    """Which of some rows come nearer when one is picked: those that do with place p, and the squared distances to them,
    lie from number ends[p] to ends[p + 1]. Of those that are then surely beneath `bound` these are upper bounds beneath
    it."""
    near = rows.among(squares)
    between = near.highest
    is_open = between * weights[near.row] >= bound
    between[is_open] = rows.exact(near.row[is_open], near.column[is_open])
    order, ends = grouped(near.column, len(squares))
    return ends.tolist(), near.row[order].tolist(), between[order].tolist()
