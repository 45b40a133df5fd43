"""Shards: a pool in parts, each of which knows how near the picks have come to its rows.

Greedy Selection asks the same of a pool whether it lies in one process or on many machines: which rows are farthest
from the picks, and how far anything else can be. Each *shard* has rows and answers for them; the picks are all that
shards have to know of each other, and all that is needed to begin a lost one anew. A *carrier* takes calls to shards:
to those of this process, or of others (`workers.py`).

Every call may be repeated without harm, and a shard may be lost between any two of them: it is then made anew from its
rows, answers that it is `Behind`, and is told what it missed. Every round picks at least one row, whatever was lost, as
a shard answers only once its best row ranks before all that it does not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

import numpy as np

from entropick.arrays import Features, Floats, Integers
from entropick.errors import InputError, ProcessLost
from entropick.neighbors import Extent, GrowingSet, Loose, Precision, Speed, growing_among
from entropick.processes.hardware import usable_memory
from entropick.selectors.core_set import Grid, proxies

# How often in a row shards may be lost before they have answered one question.
_PATIENCE = 20

# A weighted squared distance and the number of a row, counted down: of two that are equal the lower row comes first.
Rank = tuple[float, int]


@dataclass(frozen=True)
class Front:
    """The rows of a shard that are farthest from the picks, (b,) each, ascending; `outside` is a rank that no other row
    of it comes before. If there are any, the best of them comes before `outside`.

    `numbers` count the rows of the whole pool, `positions` those of the shard that count. `squares` are squared
    distances to all picks, `weights` what these count.
    """

    numbers: Integers
    positions: Integers
    squares: Floats
    weights: Floats
    outside: Rank
    rows: Rows


class Rows(Protocol):
    """A few rows."""

    def vectors(self, places: Integers) -> Features:
        """Some of them, float32."""


class Compared(Rows, Protocol):
    """A few rows that can be compared with each other."""

    def among(self, squares: Floats) -> Any:
        """Pairs (row, column) of which the column may be within the squared distance of the row in `squares` (b,)."""

    def exact(self, places: Integers, others: Integers) -> Floats:
        """Squared distances of pairs, in float64."""


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


@dataclass(frozen=True)
class Behind:
    """The answer of a shard that does not know all picks before the news: it knows so many, or -1 if it was not even
    told to begin."""

    known: int


@dataclass(frozen=True)
class Part:
    """The rows of one shard that may be picked, as numbers in the pool, ascending: all of the shard, or some `rows` of
    it, ascending too; and what their squared distances count, (m,), None for 1 each."""

    numbers: Integers | range
    rows: Integers | None = None
    weights: Floats | None = None


@dataclass(frozen=True)
class Beginning:
    """What a choice is about, for one shard: under which `name` all its questions come, how rows become vectors, how
    many picks there will be, and what may be picked here."""

    name: str
    precision: Precision
    n_samples: int
    part: Part


class Shard:
    """Rows of a pool, float32 (n, d); `whole` is the pool, where not all of it are these."""

    def __init__(self, X: Features, *, device: str = "auto", whole: Features | None = None) -> None:
        self.X, self.device, self._whole = X, device, X if whole is None else whole
        self._name = ""
        self._extent: Extent | None = None

    def extent(self) -> Extent:
        """How large its values are and where their middle is."""
        self._extent = self._extent or Extent.of(self.X)
        return self._extent

    def condition(self) -> tuple[Speed, int]:
        """How fast distances are computed here and now, and how much memory there is."""
        return Speed.measured(self.X.shape[1]), usable_memory()

    def cells(self, grid: Grid) -> Integers:
        """In which cell of a grid each row is."""
        return grid.cells(self.X)

    def proxies(self, pieces: Sequence[Integers], limit: float) -> list[tuple[Integers, Floats]]:
        """For some rows of the pool, wherever they lie, their proxies within the squared `limit`, each among the rows
        of its piece: see `entropick.selectors.core_set`."""
        found = []
        for rows in pieces:
            places, squares = proxies(self._whole.take(rows, axis=0), limit, device=self.device)
            found.append((rows[places], squares))
        return found

    def begin(self, beginning: Beginning) -> None:
        """Forget all picks of other choices."""
        if self._name == beginning.name:
            return
        part, n = beginning.part, len(beginning.part.numbers)
        if n != (n_rows := len(self.X if part.rows is None else part.rows)):
            raise InputError(f"numbers: expected one of each of {n_rows} rows, got {n}.")
        # Not both at once: each holds its rows.
        vars(self).pop("_growing", None)
        self._growing = growing_among(
            self.X, beginning.n_samples, part.rows, device=self.device, precision=beginning.precision
        )
        self._numbers = np.asarray(part.numbers, np.int64)
        self._weights = np.ones(n) if part.weights is None else part.weights
        self._name = beginning.name

    def vectors(self, name: str, numbers: Integers, news: News) -> tuple[Integers, Features] | Behind:
        """Which of these rows are here, as places in `numbers`, and their vectors."""
        if behind := self._learn(name, news):
            return behind
        positions = np.searchsorted(self._numbers, numbers)
        is_here = np.zeros(len(numbers), bool)
        is_near = positions < len(self._numbers)
        is_here[is_near] = self._numbers[positions[is_near]] == numbers[is_near]
        return np.flatnonzero(is_here), self.X.take(self._growing.rows[positions[is_here]], axis=0)

    def front(self, name: str, width: int, news: News) -> Front | Behind:
        """The `width` rows that are farthest, after the news."""
        if behind := self._learn(name, news):
            return behind
        positions, squares, (value, position) = self._growing.farthest(width, self._weights)
        outside = (value, 1 if position is None else -int(self._numbers[position]))
        rows = _Here(self._growing, positions)
        return Front(self._numbers[positions], positions, squares, self._weights[positions], outside, rows)

    def waiting(self, name: str, limit: float, number: int, width: int, news: News) -> Front | Behind:
        """Of the next `width` rows, from `number` on, that may be farther than the squared `limit` from the picks,
        those that are; nothing outside is farther before the number with which `outside` begins."""
        if behind := self._learn(name, news):
            return behind
        start = int(np.searchsorted(self._numbers, number))
        left, squares, last = self._growing.beyond(limit, start, width)
        end = np.inf if last is None else float(self._numbers[last] + 1)
        rows = _Here(self._growing, left)
        return Front(self._numbers[left], left, squares, self._weights[left], (end, 0), rows)

    def largest(self, name: str, news: News) -> float | Behind:
        """What no squared distance of a row to its nearest pick is above, hardly; 0 where only copies are left."""
        if behind := self._learn(name, news):
            return behind
        return self._growing.largest()

    def radius(self, name: str, news: News) -> float | Behind:
        """The largest distance of a row to its nearest pick, after the news."""
        return self._learn(name, news) or self._growing.covering_radius()

    def nearest(self, name: str, news: News) -> Integers | Behind:
        """For each row that may be picked here the number of a pick that is near it, the nearest of those it has seen
        mostly; -1 where it has seen none."""
        return self._learn(name, news) or self._growing.nearest()

    def farther(self, name: str, near: Integers, least: float, news: News) -> float | Behind:
        """The largest distance of a row to its nearest pick, or `least` if that is more; `near` (n,) is for each row
        that may be picked here a pick that should be within `least` of it."""
        if behind := self._learn(name, news):
            return behind
        self._growing.look_at(near)
        return self._growing.covering_radius(least)

    def _learn(self, name: str, news: News) -> Behind | None:
        """Take the picks that are new; tell if some before them are missing."""
        if name != self._name:
            return Behind(-1)
        growing = self._growing
        known = len(growing.members)
        if known < news.first:
            return Behind(known)
        growing.join(news.picks[known - news.first :])
        if known == news.first:
            growing.note(news.positions[news.is_exact], news.squares[news.is_exact])
            growing.lower(news.positions[~news.is_exact], news.squares[~news.is_exact])
            growing.note(news.own, np.zeros(len(news.own)))
        return None


class _Here:
    """Rows of a shard of this process, held as vectors already; to another process go float32 rows alone."""

    def __init__(self, growing: GrowingSet, positions: Integers) -> None:
        self._growing, self._positions = growing, positions

    def among(self, squares: Floats) -> Any:
        return self._growing.among(self._positions, squares)

    def exact(self, places: Integers, others: Integers) -> Floats:
        return self._growing.exact(self._positions[places], self._positions[others])

    def vectors(self, places: Integers) -> Features:
        return self._growing.X.take(self._growing.rows[self._positions[places]], axis=0)

    def __reduce__(self) -> Any:
        return _Elsewhere, (self.vectors(np.arange(len(self._positions))),)


class _Elsewhere:
    """Rows of a shard of another process."""

    def __init__(self, rows: Features) -> None:
        self._rows = rows

    def vectors(self, places: Integers) -> Features:
        return self._rows[places]


class Carrier(Protocol):
    """What takes calls to shards. A lost shard is made anew from its rows."""

    def __len__(self) -> int: ...

    def call(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """What this method of each shard returns, each called with its element of every argument, side by side.

        Raises
        ------
        ProcessLost
            Where a shard is lost whenever it is made anew.
        """


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
    squared distance of each to those before it.

    Parameters
    ----------
    carrier, n_samples
        What takes calls to the shards, and how many rows will be picked.
    parts
        What may be picked in each shard.
    device
        Where products run of what is compared here.
    """

    def __init__(self, carrier: Carrier, n_samples: int, parts: Sequence[Part], *, device: str = "auto") -> None:
        self._carrier, self.n_samples, self._name, self._device = carrier, n_samples, uuid4().hex, device
        self.n = sum(len(part.numbers) for part in parts)
        extents: list[Extent] = carrier.call("extent")
        self._precision = Precision.around(*extents)
        self._beginnings = [Beginning(self._name, self._precision, n_samples, part) for part in parts]
        carrier.call("begin", self._beginnings)
        self._picks = np.empty((n_samples, len(extents[0].total)), np.float32)
        self.numbers: list[int] = []
        self.at: list[float] = []
        self._news = [self._of_picks(0) for _ in extents]

    @property
    def missing(self) -> int:
        """How many are still to be picked."""
        return self.n_samples - len(self.numbers)

    def accept(self, numbers: Integers, squares: Floats | None = None) -> None:
        """Pick rows by their numbers, in order; `squares` are found where they are not given."""
        vectors = np.empty((len(numbers), self._picks.shape[1]), np.float32)
        for places, found in self._told("vectors", [numbers] * len(self._carrier)):
            vectors[places] = found
        if squares is None:
            known = np.concatenate([self._picks[: len(self.numbers)], vectors])
            among = GrowingSet(known, len(known), device=self._device)
            among.accept_in_order(np.arange(len(among.rows)))
            squares = np.array(among.at[len(self.numbers) :])
        self._add(numbers, squares, vectors)

    def follow(self, others: Shards) -> None:
        """Know the picks of `others`, from among other rows of the pool, as if they had been picked here."""
        self._add(np.full(len(others.numbers), -1), np.array(others.at), others._picks[: len(others.numbers)])

    def fronts(self, width: int) -> list[Front]:
        """The farthest rows of each shard, about `width` in all."""
        each = -(-width // len(self._carrier))
        return self._told("front", [each] * len(self._carrier))

    def waiting(self, limit: float, number: int, width: int) -> list[Front]:
        """Of each shard the next rows, from `number` on, that are farther than the squared `limit`; `width` in all."""
        each = len(self._carrier)
        return self._told("waiting", [limit] * each, [number] * each, [-(-width // each)] * each)

    def largest(self) -> float:
        """What no squared distance to the picks is above, 0 where only copies are left."""
        return float(max(self._told("largest")))

    def picks(self) -> dict[str, Any]:
        """The picks so far, as arrays."""
        return {"accepted": np.array(self.numbers), "at": np.array(self.at)}

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

    def joined(self, fronts: Sequence[Front]) -> Compared:
        """All rows of the fronts, to be compared with each other."""
        if len(fronts) == 1 and isinstance(here := fronts[0].rows, _Here):
            return here
        rows = [front.rows.vectors(np.arange(len(front.numbers))) for front in fronts]
        return Loose(np.concatenate(rows), self._precision, device=self._device)

    def radius(self) -> float:
        """The largest distance of any row to its nearest pick."""
        return float(max(self._told("radius")))

    def nearest(self) -> Integers:
        """For each row, by its number, a pick that is near it: see `Shard.nearest`."""
        found = np.empty(self.n, np.int64)
        for beginning, near in zip(self._beginnings, self._told("nearest"), strict=True):
            found[np.asarray(beginning.part.numbers)] = near
        found[self.numbers] = np.arange(len(self.numbers))
        return found

    def farther(self, near: Integers, least: float) -> float:
        """`radius`, or `least` if that is more: sooner where `near` (n,) are picks near the rows."""
        of_shards = [near[np.asarray(beginning.part.numbers)] for beginning in self._beginnings]
        return float(max(self._told("farther", of_shards, [least] * len(of_shards))))

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
        """What a method returns once each shard knows all picks: one that was lost begins anew and is told them all."""
        for _ in range(_PATIENCE):
            found = self._carrier.call(method, [self._name] * len(self._carrier), *arguments, self._news)
            known = [answer.known if isinstance(answer, Behind) else len(self.numbers) for answer in found]
            self._news = [self._of_picks(max(of, 0)) for of in known]
            if not any(isinstance(answer, Behind) for answer in found):
                return found
            if min(known) < 0:
                self._carrier.call("begin", self._beginnings)
        raise ProcessLost(
            f"{len(self._carrier)} shards: expected answers from all of them at once, but {_PATIENCE} times in a row "
            "one had been lost and was made anew. What was chosen is kept; see why processes end (memory?), and repeat "
            "the same command."
        )
