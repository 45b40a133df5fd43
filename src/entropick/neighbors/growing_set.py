"""A set that grows among rows, one after another, and how near it has come to each of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors.exact import bound_differences, distinct_numbers, squared_distances
from entropick.neighbors.precision import Precision, Vectors, holdable, screen
from entropick.neighbors.tile import Pairs, as_columns, as_rows, compare
from entropick.processes import usable_device

# Rows and columns of a tile, small enough to stay in the cache.
_TILE_ROWS, _TILE_COLUMNS = 2048, 1024
# When a product leaves more than this share of its pairs undecided (and more than this many), a finer one follows.
_CROWD, _CROWD_PAIRS = 0.005, 1 << 12
# Rows that are looked at together, and numbers of rows that are compared with one member each.
_BLOCK_ROWS, _LOOKED_AT = 512, 1 << 22
# Rows that have seen almost the same members catch up together; up to this many members are then seen twice.
_OVERLAP = 512
# Rows brought up to date at once, per row that is asked for as one of the farthest; most turn out to be nearer.
_BROUGHT = 4

# A squared distance as it counts, and the position of a row that has it, None where only the distance is known.
Outside = tuple[float, int | None]


class GrowingSet:
    """Some `rows` of X, and a set of at most `n_samples` members that grows: rows of X that are accepted, or vectors
    from elsewhere that join. A *position* counts the rows, which are held as vectors in the coarsest precision that is
    fast, or that fits into memory (`entropick.neighbors.precision.holdable`). A *member* is known by its number in the
    set.

    Distances to a growing set only fall. So the distance of a row to those members that it has seen is an upper bound
    of its distance to the whole set: what is near enough does not have to look at the rest. Each pair is computed at
    most about once, many not at all.

    Parameters
    ----------
    X, n_samples, rows
        float32 (n, d), how many members there will be at most, and which rows of X count; None for all.
    device
        Where products run.
    precision
        float32 for rows and members; None for that of X, where no member is from elsewhere.

    Attributes
    ----------
    accepted, at
        Positions in order, and the squared distance of each to those before it.
    squares : float64 (n,)
        Squared distance of each position to the nearest of the members that it has seen, or, where a product has
        said all that was needed, an upper bound that is hardly larger; `settle` makes it exact. Infinite at first.
    """

    def __init__(
        self,
        X: Features,
        n_samples: int,
        rows: Integers | None = None,
        *,
        device: str = "auto",
        precision: Precision | None = None,
    ) -> None:
        device, fine = usable_device(device), precision or Precision.of(X)
        self._begin(X, n_samples, rows, fine)
        coarse, hold = holdable(fine, X, len(self.rows), device)
        kinds = [*([coarse] if coarse else []), fine, fine.double()]
        self._levels = [kind.reader(X, self.rows, device, hold=hold and kind is kinds[0]) for kind in kinds]
        self.members = Members(X.shape[1], n_samples, kinds, device)
        self.squares = np.full(len(self.rows), np.inf)
        self._lowest = self.squares.copy()
        # The nearest of the members that each position has seen, and how many these are.
        self._nearest = np.full(len(self.rows), -1)
        self._seen = np.zeros(len(self.rows), np.int64)

    def _begin(self, X: Features, n_samples: int, rows: Integers | None, fine: Precision) -> None:
        """What there is before any row is held."""
        self.X, self.n_samples, self._scale = X, n_samples, fine.scale
        self.rows = np.arange(len(X)) if rows is None else rows
        self.accepted: list[int] = []
        self.at: list[float] = []

    @property
    def missing(self) -> int:
        """How many are still to be accepted."""
        return self.n_samples - len(self.accepted)

    def accept(self, positions: list[int], squares: list[float]) -> None:
        """Accept some, in order, each at the given squared distance to those accepted before it."""
        self.accepted += positions
        self.at += squares
        numbers = np.array(positions, np.int64)
        self.join(self.X.take(self.rows[numbers], axis=0))
        self._know(numbers, 0.0)

    def join(self, vectors: Features) -> None:
        """Let vectors (m, d) be members, whatever rows they are of."""
        self.members.add(vectors)

    def accept_in_order(self, positions: Integers) -> None:
        """Accept the first of all, whose distances to those before them are yet to be found."""
        for start in range(0, len(positions), _BLOCK_ROWS):
            block = positions[start : start + _BLOCK_ROWS]
            self._approach(block, len(self.members) - start, len(self.members))
            squares = self.settle(block)
            near = self.among(block, squares)
            near = near[near.column < near.row]
            np.minimum.at(squares, near.row, self.exact(block[near.row], block[near.column]))
            self.accept(block.tolist(), squares.tolist())

    def exact(self, positions: Integers, others: Integers) -> Floats:
        """Squared distances (n,) of pairs of positions, in float64."""
        return squared_distances(self.X, self.rows[positions], self.X, self.rows[others])

    def to_members(self, positions: Integers, numbers: Integers) -> Floats:
        """Squared distances (n,) of positions to members, in float64."""
        return squared_distances(self.X, self.rows[positions], self.members.rows, numbers)

    def among(self, positions: Integers, squares: Floats) -> Pairs:
        """Pairs (row, column) of different places in `positions` of which the column may be within the squared distance
        of the row in `squares` (b,)."""
        if len(positions) == 0:
            return Pairs.none()
        return _different(self._levels[0](positions), squares, self._scale)

    def catch_up(self, block: Integers, limit: Floats | float) -> Integers:
        """Show all members to the positions of `block` until they are within `limit`, one for all or one each;
        return those that may not be. These have seen all, so once settled, their `squares` are the distances to the
        whole set.
        """
        # Stretches of the members, such that little is seen twice.
        marks: list[int] = []
        for seen in distinct_numbers(self._seen[block]).tolist():
            if not marks or seen - marks[-1] > _OVERLAP:
                marks.append(seen)
        for start, stop in itertools.pairwise([*marks, len(self.members)]):
            for first, last in tiles(start, stop):
                behind = block[(self._seen[block] < last) & (self.squares[block] > limit)]
                self._approach(behind, first, last)
                self._seen[behind] = last
        return block[self.squares[block] > limit]

    def settle(self, positions: Integers) -> Floats:
        """Make the squared distances of `positions` exact, and return them."""
        vague = positions[self._lowest[positions] < self.squares[positions]]
        self._know(vague, self.to_members(vague, self._nearest[vague]))
        return self.squares[positions]

    def farthest(self, width: int, weights: Floats) -> tuple[Integers, Floats, Outside]:
        """The `width` positions that are farthest from the whole set, ascending, of equal ones the lowest, and their
        exact squares; then what no other position is farther than, but the farthest of these is. Squared distances
        count as much as `weights` (n,)."""
        while True:
            top, (value, position) = self._maybe_farthest(width, weights)
            squares = self.settle(top)
            # What was hardly too large may fall behind the rest once it is exact; then the rest has its turn.
            values = squares * weights[top]
            outside = (value, 1 if position is None else -position)
            if not len(top) or (values.max(), -int(top[np.argmax(values)])) > outside:
                return top, squares, (value, position)

    def _maybe_farthest(self, width: int, weights: Floats) -> tuple[Integers, Outside]:
        """The same by squares some of which are hardly too large."""
        self._begin_to_look(_BROUGHT * width, weights)
        alive, limit = np.empty(0, np.int64), np.inf
        while len(alive) < width and limit > 0:
            block, limit = _above(self.squares * weights, limit, _BROUGHT * width)
            alive = np.concatenate([alive, block])
            # A square that is within the next number below the quotient is within the limit when it is weighted.
            alive = self.catch_up(alive, np.nextafter(limit / weights[alive], 0.0))
            alive = alive[self.squares[alive] * weights[alive] > limit]
        values = self.squares[alive] * weights[alive]
        order = np.lexsort((alive, -values))
        outside = (values[order[width]], int(alive[order[width]])) if len(order) > width else (limit, None)
        return np.sort(alive[order[:width]]), outside

    def _begin_to_look(self, n: int, weights: Floats) -> None:
        """Show members to positions that have seen none, as all those of a set that was made anew: all members to about
        `n` of them, to the others until they are nearer than the farthest of these."""
        unseen = np.flatnonzero(self.squares * weights == np.inf)
        if len(unseen) <= n:
            return
        some = unseen[:: len(unseen) // n]
        self.catch_up(some, 0.0)
        limit = float((self.squares[some] * weights[some]).max())
        self.catch_up(unseen, np.nextafter(limit / weights[unseen], 0.0))

    def beyond(self, limit: float, start: int, width: int) -> tuple[Integers, Floats, int | None]:
        """Of the next `width` positions, from `start` on, that may be farther than the squared `limit` from the whole
        set, those that are, and their exact squares; then the last that was looked at, None where that was all."""
        block, step = np.empty(0, np.int64), 2 * width
        while start < len(self.squares) and len(block) < width:
            above = np.flatnonzero(self.squares[start : start + step] > limit) + start
            block, start, step = np.concatenate([block, above]), start + step, 2 * step
        block = block[:width]
        last = int(block[-1]) if len(block) == width else None
        left = self.catch_up(block, limit)
        squares = self.settle(left)
        return left[squares > limit], squares[squares > limit], last

    def largest(self) -> float:
        """What no squared distance of a position to the whole set is above, hardly; 0 where only copies are left."""
        most = float(self.squares.max(initial=0.0))
        # One that was made anew knows no distance yet; without one a rule might go on for ever.
        return most if np.isfinite(most) else self.covering_radius() ** 2

    def note(self, positions: Integers, squares: Floats) -> None:
        """Note exact squared distances to the whole set."""
        self._know(positions, squares)
        self._seen[positions] = len(self.members)

    def lower(self, positions: Integers, bounds: Floats) -> None:
        """Note upper bounds from members that `positions` have yet to see."""
        # The next number: what sees the member at just this distance is to find it nearer.
        self.squares[positions] = np.minimum(self.squares[positions], np.nextafter(bounds, np.inf))

    def filled(self) -> tuple[Integers, Floats]:
        """The rows accepted, filled up with the first others, which are copies of them, and the distance of each."""
        is_left = np.ones(len(self.rows), bool)
        is_left[self.accepted] = False
        others = np.flatnonzero(is_left)[: self.missing]
        positions = np.concatenate([self.accepted, others]).astype(np.int64)
        return self.rows[positions], np.sqrt(np.concatenate([self.at, np.zeros(len(others))]))

    def nearest(self) -> Integers:
        """Of each position the nearest of the members that it has seen, as far as that is noted; -1 where it is not."""
        return self._nearest

    def look_at(self, numbers: Integers) -> None:
        """Compare each position with one member, of which it is presumed that it is near."""
        step = max(1, _LOOKED_AT // self.X.shape[1])
        for start in range(0, len(numbers), step):
            positions = np.arange(start, min(start + step, len(numbers)))
            squares = self.to_members(positions, numbers[positions])
            nearer = squares < self._lowest[positions]
            self._know(positions[nearer], squares[nearer])
            self._nearest[positions[nearer]] = numbers[positions[nearer]]

    def covering_radius(self, least: float = 0.0) -> float:
        """The largest distance to the whole set, or `least` if that is more; only those that might be the farthest
        catch up."""
        order = np.argsort(-self.squares, kind="stable")
        largest = square_within(least)
        for start in range(0, len(order), _BLOCK_ROWS):
            if self.squares[order[start]] <= largest:
                break
            block = self.catch_up(order[start : start + _BLOCK_ROWS], largest)
            largest = max(largest, float(self.settle(block).max(initial=0.0)))
        return max(least, math.sqrt(largest))

    def _know(self, positions: Integers, squares: Floats | float) -> None:
        """Set exact squared distances."""
        self.squares[positions] = self._lowest[positions] = squares

    def _approach(self, positions: Integers, start: int, stop: int) -> None:
        """Show the members from number `start` to `stop` to `positions`."""
        for first, last in tiles(start, stop):
            shown: list[Vectors | None] = [None] * len(self._levels)
            blocks = [positions[begin : begin + _TILE_ROWS] for begin in range(0, len(positions), _TILE_ROWS)]
            for block, placed in zip(blocks, self._levels[0].in_turn(blocks), strict=True):
                self._show(block, placed, first, last, shown)

    def _show(self, positions: Integers, placed: Vectors, first: int, last: int, shown: list[Vectors | None]) -> None:
        """One tile, by finer and finer products for the rows that are left open, and in the end by differences."""
        for depth, read in enumerate(self._levels):
            columns = shown[depth] = shown[depth] or as_columns(self.members.vectors(depth, first, last))
            asked = as_rows(read(positions) if depth else placed)
            near = self._near(asked, self.squares[positions], columns, wanted=1).nearest()
            near = self._note_clear(positions, first, near)
            crowd = max(_CROWD_PAIRS, _CROWD * len(positions) * (last - first))
            if len(near.row) <= crowd or read is self._levels[-1]:
                break
            positions = positions[distinct_numbers(near.row)]
        near = self._note_clear(positions, first, self._tighten(positions, first, near))
        rows = positions[near.row]
        self.settle(distinct_numbers(rows))
        np.minimum.at(self.squares, rows, self.to_members(rows, first + near.column))
        self._lowest[rows] = self.squares[rows]

    def _near(self, rows: Vectors, squares: Floats, columns: Vectors, wanted: int | None = None) -> Pairs:
        return _pairs(rows, squares, columns, self._scale, wanted)

    def _tighten(self, positions: Integers, first: int, near: Pairs) -> Pairs:
        """The same pairs with bounds by differences, without those that turn out to be farther."""
        rows = positions[near.row]
        lowest, highest = bound_differences(
            self.X, self.rows[rows], self.members.rows, first + near.column, self._scale
        )
        return Pairs(near.row, near.column, lowest, highest)[lowest < self.squares[rows]].nearest()

    def _note_clear(self, positions: Integers, first: int, near: Pairs) -> Pairs:
        """Note where one column is surely nearer than all others and than what was known; return what remains."""
        counts, _ = near.per_row()
        clear = (counts == 1) & (near.highest < self._lowest[positions[near.row]])
        noted, rows = near[clear], positions[near.row[clear]]
        self._lowest[rows], self.squares[rows] = noted.lowest, noted.highest
        self._nearest[rows] = first + noted.column
        return near[~clear]


class Members:
    """The members of a set, float32 `rows` (n, d) in the order in which they joined, and as vectors of each precision.

    Those of the first precision, which every tile is of, are placed once and held; of others, when they are asked for.
    """

    def __init__(self, width: int, n: int, kinds: Sequence[Precision], device: str) -> None:
        self._all = np.empty((n, width), np.float32)
        self._kinds, self._device = kinds, device
        self._held = kinds[0].empty(n, width, device)
        self._n = self._n_placed = 0

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> Features:
        """All that have joined."""
        return self._all[: self._n]

    def add(self, rows: Features) -> None:
        """Let some join, (m, d)."""
        self._all[self._n : self._n + len(rows)] = rows
        self._n += len(rows)

    def vectors(self, kind: int, first: int, last: int) -> Vectors:
        """Those from number `first` to `last` in the given of the precisions."""
        if kind:
            return self._kinds[kind].place(self._all[first:last], self._device)
        if self._n_placed < self._n:
            part = slice(self._n_placed, self._n)
            self._kinds[0].place_into(self._held, part, self._all[part], self._device)
            self._n_placed = self._n
        return self._held[first:last]


class Loose:
    """Rows without a set, float32 (n, d), that can be compared with each other."""

    def __init__(self, rows: Features, precision: Precision, *, device: str = "auto") -> None:
        device = usable_device(device)
        self._rows, self._scale = rows, precision.scale
        self._vectors = (screen(precision, rows, device) or precision).place(rows, device)

    def among(self, squares: Floats) -> Pairs:
        """Pairs (row, column) of which the column may be within the squared distance of the row in `squares` (n,)."""
        if len(squares) == 0:
            return Pairs.none()
        return _different(self._vectors, squares, self._scale)

    def exact(self, rows: Integers, others: Integers) -> Floats:
        """Squared distances of pairs, in float64."""
        return squared_distances(self._rows, rows, self._rows, others)

    def vectors(self, rows: Integers) -> Features:
        """Some of the rows."""
        return self._rows.take(rows, axis=0)


def _above(values: Floats, limit: float, width: int) -> tuple[Integers, float]:
    """At least `width` more positions, the farthest among those at most at `limit`, and the limit beneath them."""
    below = np.flatnonzero((values <= limit) & (values > 0))
    if len(below) <= width:
        return below, 0.0
    least = np.partition(values[below], len(below) - width)[len(below) - width]
    chosen = values[below] >= least
    return below[chosen], float(values[below[~chosen]].max(initial=0.0))


def square_within(distance: float) -> float:
    """The largest float whose root is at most `distance`: comparing squares with it is comparing distances."""
    # Of a narrower float there is no next one here.
    distance = float(distance)
    square = distance * distance
    while math.sqrt(square) > distance:
        square = math.nextafter(square, 0.0)
    while math.sqrt(math.nextafter(square, math.inf)) <= distance:
        square = math.nextafter(square, math.inf)
    return square


def tiles(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Members from number `start` to `stop`, a tile's columns at a time."""
    for first in range(start, stop, _TILE_COLUMNS):
        yield first, min(first + _TILE_COLUMNS, stop)


def _pairs(rows: Vectors, squares: Floats, columns: Vectors, scale: float, wanted: int | None = None) -> Pairs:
    """Pairs of a tile that may be within the `squares` of their rows, and of the `wanted` nearest to them."""
    import torch

    limits = torch.from_numpy(squares * scale**2).to(rows.norms.device)
    found = compare(rows, limits, columns).near(wanted)[0]
    return Pairs(found.row, found.column, found.lowest / scale**2, found.highest / scale**2)


def _different(placed: Vectors, squares: Floats, scale: float) -> Pairs:
    """Pairs of different rows of which the second may be within the limit of the first."""
    # Limits are written into the rows of a tile.
    rows = replace(placed, vectors=placed.vectors.clone())
    found = _pairs(as_rows(rows), squares, as_columns(placed), scale)
    return found[found.row != found.column]
