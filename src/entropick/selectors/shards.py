"""Shards: a pool in parts, each of which knows how near the picks have come to its rows.

Greedy Selection asks the same of a pool whether it lies in one process or on many machines: which rows are farthest
from the picks, and how far anything else can be. Each *shard* has rows and answers for them; the picks are all that
shards have to know of each other, and all that is needed to begin a lost one anew. A *carrier* takes calls to shards:
to those of this process, or of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from entropick.arrays import Features, Floats, Integers
from entropick.errors import InputError
from entropick.neighbors import Extent, GrowingSet, Loose, Precision
from entropick.neighbors.exact import digest

# Rows brought up to date at once, per row that is asked for; most of them turn out to be nearer.
_BROUGHT = 4

# A weighted squared distance and the number of a row, counted down: of two that are equal the lower row comes first.
Rank = tuple[float, int]


@dataclass(frozen=True)
class Front:
    """The rows of a shard that are farthest from the picks, (b,) each, ascending; `outside` is a rank that no other row
    of it comes before.

    `numbers` count the rows of the whole pool, `positions` those of the shard. `squares` are squared distances to all
    picks, `weights` what these count. `rows` compares them with each other.
    """

    numbers: Integers
    positions: Integers
    squares: Floats
    weights: Floats
    outside: Rank
    rows: Rows


class Rows(Protocol):
    """A few rows that can be compared with each other."""

    def among(self, squares: Floats) -> Any:
        """Pairs (row, column) of which the column may be within the squared distance of the row in `squares` (b,)."""

    def exact(self, places: Integers, others: Integers) -> Floats:
        """Squared distances of pairs, in float64."""

    def vectors(self, places: Integers) -> Features:
        """Some of them, float32."""


@dataclass(frozen=True)
class News:
    """What a round has found out, for one shard: the vectors of the picks, from number `first` on, which `own`
    positions of the shard are among them, and what is now known of the others of its last front."""

    first: int
    picks: Features
    own: Integers
    positions: Integers
    squares: Floats
    is_exact: Any


class Shard:
    """Rows of a pool, float32 (n, d), of which `numbers` tell the places in the pool, ascending.

    Every call may be repeated: news that is known already changes nothing.
    """

    def __init__(self, X: Features, numbers: Integers | None = None, *, device: str = "auto") -> None:
        self.X, self.device = X, device
        self.numbers = np.arange(len(X)) if numbers is None else numbers
        if len(self.numbers) != len(X):
            raise InputError(f"numbers: expected one of each of {len(X)} rows, got {len(self.numbers)}.")

    def extent(self) -> tuple[Extent, str]:
        """How large its values are and where their middle is, and a digest of its rows."""
        return Extent.of(self.X), digest(self.X, self.numbers)

    def begin(self, precision: Precision, n_samples: int, weights: Floats | None) -> None:
        """Forget all picks."""
        self._growing = GrowingSet(self.X, n_samples, device=self.device, precision=precision)
        self._weights = np.ones(len(self.X)) if weights is None else weights

    def vectors(self, numbers: Integers) -> tuple[Integers, Features]:
        """Which of these rows are here, as places in `numbers`, and their vectors."""
        positions = np.searchsorted(self.numbers, numbers)
        is_here = self.numbers[np.minimum(positions, len(self.numbers) - 1)] == numbers
        return np.flatnonzero(is_here), self.X.take(positions[is_here], axis=0)

    def learn(self, news: News) -> int:
        """Take the picks that are new, if none before them is missing; return how many are known now."""
        growing = self._growing
        known = len(growing.members)
        if known == news.first:
            growing.join(news.picks)
            growing.note(news.positions[news.is_exact], news.squares[news.is_exact])
            growing.lower(news.positions[~news.is_exact], news.squares[~news.is_exact])
            growing.note(news.own, np.zeros(len(news.own)))
        elif known > news.first:
            growing.join(news.picks[known - news.first :])
        return len(growing.members)

    def front(self, width: int, news: News) -> Front | int:
        """The `width` rows that are farthest, after the news; or how many picks are known, where some are missing."""
        if (known := self.learn(news)) < news.first + len(news.picks):
            return known
        positions, outside = self._farthest(width)
        squares = self._growing.settle(positions)
        value, position = outside
        return Front(
            self.numbers[positions],
            positions,
            squares,
            self._weights[positions],
            (value, -int(self.numbers[-position]) if position <= 0 else 1),
            _Here(self._growing, positions),
        )

    def radius(self, news: News) -> float | int:
        """The largest distance of a row to its nearest pick, after the news; or how many are known."""
        if (known := self.learn(news)) < news.first + len(news.picks):
            return known
        return self._growing.covering_radius()

    def _farthest(self, width: int) -> tuple[Integers, Rank]:
        """The `width` positions that may be farthest, ascending, which have seen the whole set, and a rank that nothing
        outside comes before."""
        growing, weights = self._growing, self._weights
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


class _Here:
    """Rows of a shard of this process."""

    def __init__(self, growing: GrowingSet, positions: Integers) -> None:
        self._growing, self._positions = growing, positions

    def among(self, squares: Floats) -> Any:
        return self._growing.among(self._positions, squares)

    def exact(self, places: Integers, others: Integers) -> Floats:
        return self._growing.exact(self._positions[places], self._positions[others])

    def vectors(self, places: Integers) -> Features:
        return self._growing.X.take(self._growing.rows[self._positions[places]], axis=0)


class Carrier(Protocol):
    """What takes calls to shards. A lost shard is made anew from its rows, and has forgotten all picks."""

    def __len__(self) -> int: ...

    def call(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """What this method of each shard returns, each called with its element of every argument, side by side."""


class InProcess:
    """Shards of this process, called one after another: each uses all threads."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self.shards = shards

    def __len__(self) -> int:
        return len(self.shards)

    def call(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """See `Carrier`."""
        each = zip(*arguments, strict=True) if arguments else [()] * len(self)
        return [getattr(shard, method)(*of) for shard, of in zip(self.shards, each, strict=True)]


class Shards:
    """The shards of a pool as whoever picks sees them, and the picks: `numbers` of rows in the pool, and `at`, the
    squared distance of each to those before it."""

    def __init__(self, carrier: Carrier, n_samples: int, weights: Sequence[Floats | None] | None = None) -> None:
        self._carrier, self.n_samples = carrier, n_samples
        found: list[tuple[Extent, str]] = carrier.call("extent")
        self.n = sum(extent.n for extent, _ in found)
        self.digests = [of for _, of in found]
        self._precision = Precision.around(*(extent for extent, _ in found))
        each = len(carrier)
        self._start = ([self._precision] * each, [n_samples] * each, weights or [None] * each)
        carrier.call("begin", *self._start)
        self._picks = np.empty((n_samples, len(found[0][0].total)), np.float32)
        self.numbers: list[int] = []
        self.at: list[float] = []
        self._news = [self._of_picks(0) for _ in range(each)]

    @property
    def missing(self) -> int:
        """How many are still to be picked."""
        return self.n_samples - len(self.numbers)

    def accept(self, numbers: Integers, squares: Floats | None = None) -> None:
        """Pick rows by their numbers, in order; `squares` are found where they are not given."""
        vectors = np.empty((len(numbers), self._picks.shape[1]), np.float32)
        for places, found in self._carrier.call("vectors", [numbers] * len(self._carrier)):
            vectors[places] = found
        if squares is None:
            among = GrowingSet(np.concatenate([self._picks[: len(self.numbers)], vectors]), self.n_samples)
            among.accept_in_order(np.arange(len(among.rows)))
            squares = np.array(among.at[len(self.numbers) :])
        self._add(numbers, squares, vectors)

    def fronts(self, width: int) -> list[Front]:
        """The farthest rows of each shard, about `width` in all."""
        each = -(-width // len(self._carrier))
        return self._told("front", [each] * len(self._carrier))

    def learn(self, fronts: Sequence[Front], picked: Integers, at: Floats, squares: Floats, is_exact: Any) -> None:
        """Pick these places, counted through all `fronts`, of which the others now have these `squares`."""
        ends = np.cumsum([0, *(len(front.numbers) for front in fronts)])
        numbers = np.concatenate([front.numbers for front in fronts])
        vectors = np.empty((len(picked), self._picks.shape[1]), np.float32)
        is_picked = np.zeros(len(numbers), bool)
        is_picked[picked] = True
        for start, stop, front in zip(ends[:-1], ends[1:], fronts, strict=True):
            of_front = (picked >= start) & (picked < stop)
            vectors[of_front] = front.rows.vectors(picked[of_front] - start)
        first = len(self.numbers)
        self._add(numbers[picked], at, vectors)
        self._news = [
            News(
                first,
                vectors,
                front.positions[is_picked[start:stop]],
                front.positions[~is_picked[start:stop]],
                squares[start:stop][~is_picked[start:stop]],
                is_exact[start:stop][~is_picked[start:stop]],
            )
            for start, stop, front in zip(ends[:-1], ends[1:], fronts, strict=True)
        ]

    def joined(self, fronts: Sequence[Front]) -> Rows:
        """All rows of the fronts, to be compared with each other."""
        if len(fronts) == 1:
            return fronts[0].rows
        rows = [front.rows.vectors(np.arange(len(front.numbers))) for front in fronts]
        return Loose(np.concatenate(rows), self._precision)

    def radius(self) -> float:
        """The largest distance of any row to its nearest pick."""
        return float(max(self._told("radius")))

    def filled(self) -> tuple[Integers, Floats]:
        """The picks, filled up with the first other rows, which are copies of them, and the distance of each."""
        others = np.setdiff1d(np.arange(min(self.n, 2 * self.n_samples)), self.numbers)[: self.missing]
        numbers = np.concatenate([self.numbers, others]).astype(np.int64)
        return numbers, np.sqrt(np.concatenate([self.at, np.zeros(len(others))]))

    def _add(self, numbers: Integers, squares: Floats, vectors: Features) -> None:
        first = len(self.numbers)
        self._picks[first : first + len(numbers)] = vectors
        self.numbers += numbers.tolist()
        self.at += squares.tolist()
        self._news = [self._of_picks(first) for _ in range(len(self._carrier))]

    def _of_picks(self, first: int) -> News:
        nothing = np.empty(0, np.int64)
        return News(first, self._picks[first : len(self.numbers)], nothing, nothing, np.empty(0), np.empty(0, bool))

    def _told(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """What a method returns once each shard knows all picks: one that was lost is told all of them."""
        found = self._carrier.call(method, *arguments, self._news)
        while behind := [isinstance(of, int) for of in found]:
            if not any(behind):
                break
            self._news = [
                self._of_picks(of) if isinstance(of, int) else self._of_picks(len(self.numbers)) for of in found
            ]
            found = self._carrier.call(method, *arguments, self._news)
        self._news = [self._of_picks(len(self.numbers)) for _ in found]
        return found
