"""Candidates for a growing set: each knows how near the set has come, as far as it has looked."""

from __future__ import annotations

import itertools
import math

import numpy as np

from entropick.arrays import Integers
from entropick.neighbors import Cloud, Floats, Reach, distinct_numbers, fingerprint
from entropick.selectors.base import Selection, squares_in_order
from entropick.work import State, Work

# Candidates that are looked at together.
_BLOCK_ROWS = 512
# Candidates that have seen almost the same members catch up together; up to this many members are then seen twice.
_OVERLAP = 512


class Candidates:
    """Rows of a cloud, of which some are `accepted`, one after another.

    `reach` holds each candidate's squared distance to the first `seen` (n,) accepted ones. Distances to a growing set
    only fall, so it is an upper bound of the distance to the whole set: who is not needed by it does not have to look
    at the rest. Each pair is computed at most about once, many not at all.
    What `further` decides who is accepted, a checkpoint is known by.
    """

    def __init__(self, cloud: Cloud, n_samples: int, first: Integers, *further: Floats) -> None:
        self.cloud, self.n_samples = cloud, n_samples
        # One stage may choose several times, among different rows.
        self._name = f"selection-{fingerprint(cloud.X, cloud.rows, first, *further)}"
        self.reach = Reach(cloud)
        self.seen = np.zeros(len(cloud), np.int64)
        self.accepted: list[int] = []
        self.at: list[float] = []

    def begin(self, positions: Integers) -> None:
        """Accept those that come before any choice."""
        self.accept(positions.tolist(), squares_in_order(self.cloud, positions).tolist())

    @property
    def squares(self) -> Floats:
        """Upper bounds of squared distances to the whole set (n,)."""
        return self.reach.squares

    @property
    def missing(self) -> int:
        """How many are still to be accepted."""
        return self.n_samples - len(self.accepted)

    def accept(self, positions: list[int], squares: list[float]) -> None:
        """Accept some, in order, each at the given squared distance to those accepted before it."""
        self.accepted += positions
        self.at += squares
        self.reach.know(np.array(positions, np.int64), 0.0)

    def save(self, work: Work, **state: int) -> None:
        """Keep the accepted ones, if it is time to. How near they are to the others is computed again when asked."""
        if work.due():
            arrays = {"accepted": np.array(self.accepted), "at": np.array(self.at)}
            work.save(self._name, arrays, dict(state))

    def load(self, work: Work) -> State | None:
        """Accept those that were kept of the same candidates; return the `state` kept with them, or None."""
        saved = work.load(self._name)
        if saved is None:
            return None
        arrays, state = saved
        self.accept(arrays["accepted"].tolist(), arrays["at"].tolist())
        return state

    def catch_up(self, block: Integers, limit: Floats | float) -> Integers:
        """Show all accepted ones to the candidates of `block` until they are within `limit`, one for all or one each;
        return those that may not be. These have seen all, so once settled, their `squares` are the distances to the
        whole set.
        """
        accepted = np.array(self.accepted)
        for start, stop in self._stretches(block):
            behind = block[(self.seen[block] < stop) & (self.squares[block] > limit)]
            self.reach.approach(behind, accepted[start:stop])
            self.seen[behind] = stop
        return block[self.squares[block] > limit]

    def _stretches(self, block: Integers) -> list[tuple[int, int]]:
        """Stretches of the accepted ones that a block has to see, such that little is seen twice."""
        marks: list[int] = []
        for seen in distinct_numbers(self.seen[block]).tolist():
            if not marks or seen - marks[-1] > _OVERLAP:
                marks.append(seen)
        return list(itertools.pairwise([*marks, len(self.accepted)]))

    def know(self, positions: Integers, squares: Floats) -> None:
        """Note squared distances to the whole set."""
        self.reach.know(positions, squares)
        self.seen[positions] = len(self.accepted)

    def covering_square(self) -> float:
        """The largest squared distance to the whole set; only those who might be the farthest catch up."""
        order = np.argsort(-self.squares, kind="stable")
        largest = 0.0
        for start in range(0, len(order), _BLOCK_ROWS):
            if self.squares[order[start]] <= largest:
                break
            block = self.catch_up(order[start : start + _BLOCK_ROWS], largest)
            largest = max(largest, float(self.reach.settle(block).max(initial=0.0)))
        return largest

    def selection(self, **facts: float) -> Selection:
        """The rows accepted, filled up with the first others, which are copies of them."""
        is_left = np.ones(len(self.cloud), bool)
        is_left[self.accepted] = False
        others = np.flatnonzero(is_left)[: self.missing]
        positions = np.concatenate([self.accepted, others]).astype(np.int64)
        distances = np.sqrt(np.concatenate([self.at, np.zeros(len(others))]))
        covering_radius = math.sqrt(self.covering_square())
        return Selection(self.cloud.rows[positions], distances, {"covering_radius": covering_radius, **facts})
