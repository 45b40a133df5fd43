"""Greedy Selection: always the row farthest from everything picked so far."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import ClassVar

import numpy as np

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors import GrowingSet, grouped
from entropick.selectors.base import RandomState, Selection, Selector
from entropick.work import Work

# Rows among which a round looks ahead: at first, at least, at most.
_WIDTH = (256, 64, 2048)
# Rows brought up to date at once, per row among which a round looks ahead; most of them turn out to be nearer.
_BROUGHT = 4


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

    def _select(
        self, X: Features, sources: Integers, initial: Integers, work: Work, weights: Floats | None = None
    ) -> Selection:
        first = initial if len(initial) else np.random.default_rng(self.random_state).integers(len(X), size=1)
        weights = np.ones(len(X)) if weights is None else weights
        growing = GrowingSet(X, self.n_samples, device=self.device)
        growing.begin(first, work, weights)
        width = _WIDTH[0]
        while growing.missing:
            top, bound = _farthest(growing, weights, width)
            if len(top) == 0:
                break
            picks = _look_ahead(growing, weights[top], top, bound)
            # Farther ahead where half of what was looked at was picked, less far where little was.
            wider = 2 * width if 3 * picks > width else width // 2 if 8 * picks < width else width
            width = int(np.clip(wider, *_WIDTH[1:]))
            work.progress(len(growing.accepted), self.n_samples, "greedy selection")
            growing.save(work)
        return Selection(*growing.filled(), {"covering_radius": growing.covering_radius()})


# A weighted squared distance and a position, counted down: of two that are equal the lower row comes first.
Rank = tuple[float, int]


def _farthest(growing: GrowingSet, weights: Floats, width: int) -> tuple[Integers, Rank]:
    """The `width` positions that may be farthest, ascending, which have seen the whole set, and a rank that nothing
    outside comes before."""
    alive, limit = np.empty(0, np.int64), np.inf
    while len(alive) < width and limit > 0:
        block, limit = _above(growing.squares * weights, limit, _BROUGHT * width)
        alive = np.concatenate([alive, block])
        # A square that is within the next number below the quotient is within the limit when it is weighted.
        alive = growing.catch_up(alive, np.nextafter(limit / weights[alive], 0.0))
        alive = alive[growing.squares[alive] * weights[alive] > limit]
    values = growing.squares[alive] * weights[alive]
    order = np.lexsort((alive, -values))
    outside = (values[order[width]], -int(alive[order[width]])) if len(order) > width else (limit, 1)
    return np.sort(alive[order[:width]]), outside


def _above(values: Floats, limit: float, width: int) -> tuple[Integers, float]:
    """At least `width` more positions, the farthest among those at most at `limit`, and the limit beneath them."""
    below = np.flatnonzero((values <= limit) & (values > 0))
    if len(below) <= width:
        return below, 0.0
    least = np.partition(values[below], len(below) - width)[len(below) - width]
    chosen = values[below] >= least
    return below[chosen], float(values[below[~chosen]].max(initial=0.0))


def _look_ahead(growing: GrowingSet, weights: Floats, top: Integers, bound: Rank) -> int:
    """Pick among `top` for as long as the best ranks before everything outside; return how many."""
    squares = growing.settle(top)
    ends, nearer, between = _nearer(growing, weights, top, bound[0])
    positions, factors, current, missing = top.tolist(), weights.tolist(), squares.tolist(), growing.missing
    picked: list[int] = []
    at: list[float] = []
    # What may still be picked, the best on top of a heap; of a row that has come nearer, old entries stay.
    ranks = list(zip((-squares * weights).tolist(), range(len(top)), strict=True))
    heapify(ranks)
    while len(picked) < missing and ranks:
        value, place = -ranks[0][0], ranks[0][1]
        square = current[place]
        if value != square * factors[place]:
            heappop(ranks)
            continue
        if value == 0 or (value, -positions[place]) < bound:
            break
        picked.append(positions[place])
        at.append(square)
        current[place] = 0.0
        for pair in range(ends[place], ends[place + 1]):
            other, square = nearer[pair], between[pair]
            if square < current[other]:
                current[other] = square
                heappush(ranks, (-square * factors[other], other))
    growing.accept(picked, at)
    now = np.array(current)
    # Those beneath the bound may be upper bounds: they still have to see which came nearest.
    is_exact = (now * weights >= bound[0]) | (now == 0)
    growing.note(top[is_exact], now[is_exact])
    growing.lower(top[~is_exact], now[~is_exact])
    return len(picked)


def _nearer(
    growing: GrowingSet, weights: Floats, top: Integers, bound: float
) -> tuple[list[int], list[int], list[float]]:
    """Which places of `top` come nearer when one is picked: those that do with place p, and the squared distances to
    them, lie from number ends[p] to ends[p + 1]. Of those that are then surely beneath `bound` these are upper bounds
    beneath it."""
    near = growing.among(top, growing.squares[top])
    between = near.highest
    is_open = between * weights[near.row] >= bound
    between[is_open] = growing.exact(top[near.row[is_open]], top[near.column[is_open]])
    order, ends = grouped(near.column, len(top))
    return ends.tolist(), near.row[order].tolist(), between[order].tolist()
