"""Threshold Decay Filter: rows in random order, accepted if they are far enough from all accepted ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from entropick.arrays import Features, Integers, check_real
from entropick.neighbors.exact import digest
from entropick.neighbors.growing_set import square_within
from entropick.selectors.base import RandomState, Selection, Selector, first_in
from entropick.selectors.core_set import in_order
from entropick.selectors.dealt import shards_of
from entropick.selectors.shards import Front, Shards
from entropick.work import Work

# Candidates that are looked at together: at first and at least, at most.
_WIDTH = (1024, 4096)


@dataclass(kw_only=True)
class ThresholdDecay(Selector):
    """Accept rows, in random order, that are farther than a threshold from all accepted; lower it; start over.

    Every pass goes through the same order. After a pass the threshold is multiplied by `decay`, until `n_samples` rows
    are accepted. The nearer `decay` is to 1, the nearer the result is to `Greedy`.

    Parameters
    ----------
    n_samples : int
        How many rows to pick, at least 1.
    threshold : float or "auto"
        The first threshold, above 0, in the units of the features. The default suits DINOv2-small features. "auto" is
        the distance of the farthest row from the first candidate, at which almost nothing is accepted yet.
    decay : float
        The factor between thresholds, between 0 and 1.
    random_state : int, Generator or None
        What the order of candidates depends on.
    device : str
        Where products run: "cpu", "cuda", or "auto", a GPU if there is one. The rows are the same.
    initial, minimum : optional
        Rows that are already picked, least shares of sources: see `Selector`.

    Attributes
    ----------
    indices_ : int64 (n_samples,)
        The accepted rows, in order of acceptance.
    distances_ : float64 (n_samples,)
        Distance of each row to the nearest accepted one when it was accepted.
    threshold_ : float
        The threshold of the last pass. All distinct picks, but those of `initial`, are farther apart than this; if
        more than one pass was needed, no candidate of that pass is farther than ``threshold_ / decay`` from the picks.
    covering_radius_ : float
        The largest distance of any row of X to its nearest pick.
    n_distinct_, min_distance_ : int, float
        See `Selector`.

    Notes
    -----
    Rows are those of the plain algorithm, decided in float64. Each candidate remembers its distance to the accepted
    rows that it has seen: it is skipped while that is within the threshold, and then sees only the new ones.
    Thresholds at which nothing can be accepted are jumped over. Once only copies are left, they follow in candidate
    order, at distance 0. Memory: one copy of X, in float32 or coarser, and a few blocks.

    Source: Algorithm 2 of Shi et al. 2025, arXiv 2509.16499.

    Examples
    --------
    >>> X = [[0.0], [1.0], [5.0], [9.0]]
    >>> selector = ThresholdDecay(n_samples=3, threshold=6.0, decay=0.5, random_state=0).fit(X)
    >>> selector.threshold_ < selector.min_distance_
    True
    """

    threshold: float | str = 60.0
    decay: float = 0.95
    random_state: RandomState = None
    device: str = "auto"

    kind: ClassVar[str] = "threshold-decay"
    reads_blocks: ClassVar[bool] = True
    asks_shards: ClassVar[bool] = True

    def check(self) -> None:
        """Raise InputError if a parameter is unusable."""
        super().check()
        check_real(self.decay, name="decay", above=0, below=1)
        if self.threshold != "auto":
            check_real(self.threshold, name='threshold (or "auto")', above=0)

    def _select(self, X: Features, sources: Integers, initial: Integers, work: Work) -> Selection:
        order = first_in(np.random.default_rng(self.random_state).permutation(len(X)), initial)
        first, name = np.arange(max(1, len(initial))), f"selection-{digest(X, order, initial)}"
        shards = shards_of(X, self.n_samples, device=self.device, order=order)
        arrays, state = work.load(name) or ({}, {})
        accepted, at = arrays.get("accepted", first), arrays.get("at")
        n_begun = 0
        if self.threshold == "auto":
            n_begun = 1
            shards.accept(accepted[:1], None if at is None else at[:1])
            start = shards.radius()
        else:
            start = float(self.threshold)
        if len(accepted) > n_begun:
            shards.accept(accepted[n_begun:], None if at is None else at[n_begun:])
        passes, begin, used = (state.get(key, 0) for key in ("passes", "next", "used"))
        farthest = math.inf
        while shards.missing and farthest:
            threshold, before = start * float(self.decay) ** passes, len(shards.numbers)
            for after in scan(shards, square_within(threshold), begin):
                used = passes if len(shards.numbers) > before else used
                work.progress(len(shards.numbers), self.n_samples, f"threshold {threshold:g}")
                if work.due():
                    work.save(name, shards.picks(), {"passes": passes, "next": after, "used": used})
            farthest = math.sqrt(shards.largest())
            passes, begin = max(passes + 1, self._passes_below(start, farthest)), 0
        facts = {"covering_radius": shards.radius(), "threshold": start * float(self.decay) ** used}
        numbers, distances = shards.filled()
        return Selection(order[numbers], distances, facts)

    def _passes_below(self, start: float, distance: float) -> int:
        """The passes after which the threshold is first below `distance`, or one less: logarithms are rounded."""
        if distance == 0 or not math.isfinite(distance):
            return 0
        return math.floor((math.log(distance) - math.log(start)) / math.log(self.decay))


def scan(shards: Shards, limit: float, position: int) -> Iterator[int]:
    """One pass, from `position` in the order on: accept every candidate whose squared distance to all accepted ones is
    above `limit`. After each block, tell where the next begins."""
    width = _WIDTH[0]
    while position < shards.n and shards.missing:
        fronts = shards.waiting(limit, position, width)
        # Up to here every shard has told which of its candidates are left.
        position = int(min(shards.n, *(front.outside[0] for front in fronts)))
        n_left = _accept_in_order(shards, fronts, limit, position)
        # More together where few are left of them, fewer where many are: these are compared with each other.
        wider = 2 * width if 4 * n_left < width else width // 2 if 2 * n_left > width else width
        width = int(np.clip(wider, *_WIDTH))
        yield position


def _accept_in_order(shards: Shards, fronts: list[Front], limit: float, end: int) -> int:
    """Accept, in order, what is left before `end`; return how many are left of all that was looked at."""
    numbers, squares = (np.concatenate([getattr(of, name) for of in fronts]) for name in ("numbers", "squares"))
    if not len(numbers):
        return 0
    rows, order = shards.joined(fronts), np.argsort(numbers)
    near = rows.among(squares)
    # An earlier one can only be in the way of a later one.
    near = near[numbers[near.column] < numbers[near.row]]
    unsure = (near.lowest <= limit) & (near.highest > limit)
    near.highest[unsure] = rows.exact(near.row[unsure], near.column[unsure])
    in_way = near[near.highest <= limit]
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    is_free = (squares > limit) & (numbers < end)
    is_next = in_order(is_free[order], rank[in_way.column], rank[in_way.row], shards.missing)
    picked, is_accepted = order[is_next], is_next[rank]
    # Accepted ones are to know how near they are; of the others it is enough that they are within the limit.
    both = near[is_accepted[near.row] & is_accepted[near.column]]
    np.minimum.at(squares, both.row, rows.exact(both.row, both.column))
    kept_out = in_way[is_accepted[in_way.column] & ~is_accepted[in_way.row]]
    np.minimum.at(squares, kept_out.row, kept_out.highest)
    shards.learn(fronts, picked, squares[picked], squares, np.zeros(len(squares), bool))
    return len(numbers)
