"""The k nearest points of each query, and the points within given distances."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import (
    Features,
    Floats,
    Integers,
    check_count,
    check_features,
    check_same_width,
    part_of,
    some_rows,
)
from entropick.errors import InputError
from entropick.neighbors.exact import digest, distinct_rows, grouped, squared_distances
from entropick.neighbors.precision import Precision, Reader, Vectors, multiply, sampled, screen
from entropick.neighbors.resident import ResidentSearch, is_resident
from entropick.neighbors.tile import Pairs, as_columns, as_rows, compare, rows_within
from entropick.processes import usable_device
from entropick.processes.hardware import usable_memory
from entropick.work import Work

# A tile of 2048 x 1024 float32 bounds takes 8 MiB.
_QUERY_ROWS = 2048
_POINT_ROWS = 1024
# Bytes of the vectors of a tile, at most: of wide rows a tile has fewer. Points are placed again for every tile of
# queries, so there are few of these.
_QUERY_BYTES, _POINT_BYTES = 400 << 20, 128 << 20
# A tile of 1024 centers x 4096 points in float32 takes 16 MiB.
_BALL_ROWS, _BALL_COLUMNS = 1024, 4096
# Candidates kept beyond the k that are asked for; more than that within rounding error is rare.
_SPARE = 8
# Times as many may be kept for now, as later points may leave few of them.
_CROWD = 8
# A forecast times products of rows with so many columns at most.
_TIMED = 2048
# And of so many neighbours.
_CROWDED = 16
# Up to this size, and this share of memory, points are placed once and held, not placed anew for every block of
# queries.
_HELD_BYTES, _HELD_SHARE = 256 << 20, 0.125


@dataclass(frozen=True)
class Neighbors:
    """The nearest points of each query, nearest first.

    Attributes
    ----------
    distances : float64 (n_queries, k)
        Euclidean distances in the units of the features, ascending.
    indices : int64 (n_queries, k)
        Rows of `points`; of points at the same distance the lowest row comes first.
    """

    distances: Floats
    indices: Integers


def nearest_neighbors(
    queries: ArrayLike,
    points: ArrayLike,
    *,
    k: int = 1,
    exclude_self: bool = False,
    work: Work | None = None,
    device: str = "auto",
) -> Neighbors:
    """Find the `k` nearest points of every query, exactly, as a float64 brute force would.

    Parameters
    ----------
    queries : array (n, d)
        Features, float32 or cast to it; a memory map is read in blocks.
    points : array (m, d)
        Features to search.
    k : int
        How many neighbours, at most m (m - 1 with `exclude_self`).
    exclude_self : bool
        `queries` and `points` are the same rows, and row i is not its own neighbour. Copies of it in other rows are.
    work : Work
        Hears of progress, keeps what is finished, and may have workers that look side by side.
    device : str
        Where the matrix products run: ``"cpu"``, ``"cuda"``, or "auto", a GPU if there is one.

    Raises
    ------
    InputError
        For unusable features, differing widths, or fewer points than `k`.

    Notes
    -----
    Memory: two tiles of a few thousand rows and some 60 bytes for each row; never n x m. Copies among the points are
    searched once.

    Examples
    --------
    >>> found = nearest_neighbors([[0.0], [5.0]], [[1.0], [7.0], [-1.0]], k=2)
    >>> found.distances.tolist(), found.indices.tolist()
    ([[1.0, 1.0], [2.0, 4.0]], [[0, 2], [1, 0]])
    """
    asking, known = check_features(queries, name="queries"), check_features(points, name="points")
    check_same_width(("queries", asking), ("points", known))
    n, work = len(asking), work or Work()
    _check_k(check_count(k, name="k"), n, len(known), exclude_self)
    fine = Precision.of(asking, known)
    name = f"neighbors-{digest(asking, known, np.array([k, exclude_self]))}"
    arrays, state = work.load(name) or ({}, {"done": 0})
    distances = np.array(arrays["distances"]) if arrays else np.empty((n, k))
    indices = np.array(arrays["indices"]) if arrays else np.empty((n, k), np.int64)
    kept = bool(arrays)
    parts = _parts(work.for_workers(known), work.n_workers)
    recipes = [(work.for_workers(asking), *part, k, exclude_self, fine, usable_device(device)) for part in parts]
    # Every worker has all points, and is asked of a block of its own; or a part of them, and all are asked of the same.
    at_once = 1 if parts[1:] else work.n_workers or 1
    rounds = _rounds(int(state["done"]), n, _query_rows(asking.shape[1], fine), at_once)
    questions = [blocks * len(parts) for blocks in rounds]
    for blocks, answers in zip(rounds, work.deal(_search, recipes * at_once, questions), strict=True):
        for number, rows in enumerate(blocks):
            distances[rows], indices[rows] = _nearest_of_all(answers[number :: len(blocks)], k)
        done = blocks[-1].stop
        work.progress(done, n, "nearest neighbours")
        # What was once worth keeping is kept to its end: the next search may be stopped, too.
        kept = kept or work.due()
        if kept and (work.due() or done == n):
            work.save(name, {"distances": distances, "indices": indices}, {"done": done})
    return Neighbors(distances, indices)


def _check_k(k: int, n_queries: int, n_points: int, exclude_self: bool) -> None:
    if exclude_self and n_queries != n_points:
        raise InputError(
            f"exclude_self: expected queries and points to be the same rows, got {n_queries} and {n_points} rows. "
            "Pass the same array twice, or leave exclude_self out."
        )
    if k > n_points - exclude_self:
        raise InputError(
            f"k: expected at most {n_points - exclude_self} neighbours among {n_points} points"
            f"{', itself excluded' if exclude_self else ''}, got {k}. Lower k or pass more points."
        )


# A search is dealt to workers in one of two ways, and one worker, this process, is the plain case of both. Few points
# are held by every worker, and each is asked of queries of its own. Many points are cut into parts: all workers are
# asked of the same queries, each looks among its own part only, which it reads from files for every block of them, and
# the nearest of all parts are the nearest. So the many rows that are read again and again are read by one worker each,
# and which way it is changes no number, for distances are exact and of equal ones the lowest row comes first.


def _parts(points: Features, n_workers: int) -> list[tuple[int, Features]]:
    """The points as workers get them, each with the number of its first: all of them, or one part for each worker."""
    if n_workers < 2 or _are_held(points):
        return [(0, points)]
    ends = np.linspace(0, len(points), min(n_workers, len(points)) + 1).astype(int).tolist()
    return [(start, cast(Features, part_of(points, start, stop))) for start, stop in itertools.pairwise(ends)]


def _are_held(points: Features) -> bool:
    return points.nbytes <= min(_HELD_BYTES, _HELD_SHARE * usable_memory())


def _rounds(start: int, n: int, most: int, n_blocks: int) -> list[list[slice]]:
    """Blocks of at most so many rows that cover `start` to `n`, in rounds of up to `n_blocks` of one size."""
    rounds = []
    while start < n:
        size = min(most, -(-(n - start) // n_blocks))
        stop = min(start + n_blocks * size, n)
        rounds.append([slice(first, min(first + size, stop)) for first in range(start, stop, size)])
        start = stop
    return rounds


def _query_rows(width: int, fine: Precision) -> int:
    """How many queries are asked of at once: so many as fit into a tile of coarse vectors."""
    import torch

    return rows_within(_QUERY_BYTES, width, replace(fine, dtype=torch.bfloat16), most=_QUERY_ROWS)


def _nearest_of_all(found: Sequence[tuple[Floats, Integers]], k: int) -> tuple[Floats, Integers]:
    """Distances and rows (n, k) of the nearest, of the squares and rows that were found in each part of the points."""
    if len(found) == 1:
        return np.sqrt(found[0][0]), found[0][1]
    squares, rows = (np.concatenate(of, axis=1) for of in zip(*found, strict=True))
    order = np.lexsort((rows, squares), axis=1)[:, :k]
    return np.sqrt(np.take_along_axis(squares, order, 1)), np.take_along_axis(rows, order, 1)


def _search(
    queries: Features, first: int, points: Features, k: int, exclude_self: bool, fine: Precision, device: str
) -> _Search | ResidentSearch:
    """What finds the `k` nearest of some of the points: on a GPU where these can live there, else in tiles."""
    asked = (queries, first, points, k, exclude_self, fine, device)
    if len(points) < k + exclude_self or not is_resident(len(points) + _QUERY_ROWS, points.shape[1], device):
        return _Search(*asked)
    return ResidentSearch(*asked, otherwise=lru_cache(lambda: _Search(*asked).nearest))


class _Search:
    """Some of the points, from number `first` on, and how to find the `k` nearest of them to blocks of the queries."""

    def __init__(
        self,
        queries: Features,
        first: int,
        points: Features,
        k: int,
        exclude_self: bool,
        fine: Precision,
        device: str,
    ) -> None:
        lowest, group = distinct_rows(points)
        self.queries, self.first, self.k, self.exclude_self = queries, first, k, exclude_self
        self.points = points if len(lowest) == len(points) else some_rows(points, lowest)
        self.members = _lowest_members(group, len(lowest), k + exclude_self)
        self.wanted = min(k + exclude_self, len(lowest))
        self.device = device
        coarse = screen(fine, self.points, self.device)
        kinds = [*([coarse] if coarse else []), fine, fine.double()]
        everything, hold = np.arange(len(self.points)), _are_held(self.points)
        self.levels = [
            (kind, kind.reader(self.points, everything, self.device, hold=hold and kind is kinds[0])) for kind in kinds
        ]

    def __call__(self, block: slice) -> tuple[Floats, Integers]:
        """Squared distances and rows of the nearest, nearest first, (n, k) or fewer where there are fewer points; what
        is none, as a query itself may not be, is infinitely far."""
        # A slice is not copied, wide rows are many bytes.
        return self.nearest(self.queries[block], np.arange(block.start - self.first, block.stop - self.first))

    def nearest(self, queries: Features, numbers: Integers) -> tuple[Floats, Integers]:
        """The same for some rows, which have these numbers among the points where they are themselves points."""
        squares, places = self._nearest_distinct(queries)
        rows = self.members[places].reshape(len(squares), -1)
        spread = np.repeat(squares, self.members.shape[1], axis=1)
        absent = rows < 0
        if self.exclude_self:
            absent |= rows == numbers[:, None]
        spread[absent] = np.inf
        order = np.lexsort((rows, spread), axis=1)[:, : self.k]
        return np.take_along_axis(spread, order, 1), np.take_along_axis(rows, order, 1) + self.first

    def _nearest_distinct(self, queries: Features) -> tuple[Floats, Integers]:
        squares = np.full((len(queries), self.wanted), np.inf)
        places = np.zeros((len(queries), self.wanted), np.int64)
        open_ = np.arange(len(queries))
        for precision, read in self.levels:
            left = []
            at_once = rows_within(_QUERY_BYTES, queries.shape[1], precision, most=_QUERY_ROWS)
            for start in range(0, len(open_), at_once):
                some = open_[start : start + at_once]
                asking = queries[start : start + len(some)] if len(open_) == len(queries) else queries[some]
                rows, columns, unsure = self._candidates(asking, precision, read)
                self._settle(queries, some[rows], columns, squares, places)
                left.append(some[unsure])
            open_ = np.concatenate(left) if left else open_
        for query in open_:
            everything = np.arange(len(self.points))
            self._settle(queries, np.full(len(everything), query), everything, squares, places)
        return squares, places

    def _candidates(self, queries: Features, precision: Precision, read: Reader) -> tuple[Integers, Integers, Integers]:
        """Pairs (query, point) among which the nearest are, and the queries with too many to say."""
        import torch

        # Placed block by block, as points are: much faster than all at once, which would leave the cache.
        placed = precision.hold(queries, np.arange(len(queries)), self.device)
        asked, most, n = as_rows(placed), self.wanted + _SPARE, len(queries)
        reach, unsure = torch.full_like(placed.norms, torch.inf), np.zeros(n, bool)
        found, enough = Pairs.none(), n * self.wanted
        step = rows_within(_POINT_BYTES, self.points.shape[1], precision, most=_POINT_ROWS)
        parts = [slice(start, start + step) for start in range(0, len(self.points), step)]
        for part, placed in zip(parts, read.in_turn(parts), strict=True):
            start, shown = part.start, as_columns(placed)
            near, within = compare(asked, reach, shown).near(self.wanted)
            reach = torch.minimum(reach, within)
            found = found.extended(near, start)
            is_last = start + step >= len(self.points)
            if len(found.row) > enough or is_last:
                limits = torch.from_numpy(found.limits(n, self.wanted)).to(reach.device)
                reach = torch.minimum(reach, limits)
                found = found[found.lowest <= reach.cpu().numpy()[found.row]]
                unsure |= np.bincount(found.row, minlength=n) > (most if is_last else _CROWD * most)
                found = found[~unsure[found.row]]
                reach[torch.from_numpy(unsure)] = -1.0
                enough = 2 * len(found.row) + n
        return found.row, found.column, np.flatnonzero(unsure)

    def _settle(self, queries: Features, rows: Integers, columns: Integers, squares: Floats, places: Integers) -> None:
        """Write the nearest of the candidate pairs, by float64 differences, into `squares` and `places`."""
        exact = squared_distances(queries, rows, self.points, columns)
        order = np.lexsort((columns, exact, rows))
        rows, columns, exact = rows[order], columns[order], exact[order]
        starts = np.searchsorted(rows, rows, side="left")
        rank = np.arange(len(rows)) - starts
        chosen = rank < self.wanted
        squares[rows[chosen], rank[chosen]] = exact[chosen]
        places[rows[chosen], rank[chosen]] = columns[chosen]


def _lowest_members(group: Integers, n_groups: int, most: int) -> Integers:
    """Return the lowest rows of each group (n_groups, w), up to `most`, filled up with -1."""
    order, ends = grouped(group, n_groups)
    rank = np.arange(len(group)) - ends[group[order]]
    chosen = rank < most
    table = np.full((n_groups, rank[chosen].max() + 1), -1)
    table[group[order][chosen], rank[chosen]] = order[chosen]
    return table


def count_balls(points: Features, *, centers: Features, radii: Floats, work: Work | None = None) -> Integers:
    """In how many of the closed balls each point lies, int64 ``(n_points,)``, exactly.

    The time does not depend on how full the balls are, so a collapsed set takes no longer than another.
    """
    work = work or Work()
    first, place = distinct_rows(points)
    seen = points if len(first) == len(points) else some_rows(points, first)
    precision, n = Precision.of(seen, centers), len(seen)
    counts = np.zeros(n, np.int64)
    most = rows_within(_QUERY_BYTES, seen.shape[1], precision, most=_BALL_COLUMNS)
    recipes = [(work.for_workers(seen), work.for_workers(centers), radii, precision)] * (work.n_workers or 1)
    rounds = _rounds(0, n, most, len(recipes))
    for blocks, answers in zip(rounds, work.deal(_Balls, recipes, rounds), strict=True):
        for rows, found in zip(blocks, answers, strict=True):
            counts[rows] = found
        work.progress(blocks[-1].stop, n, "balls around neighbours")
    return counts[place]


class _Balls:
    """Balls, and how to count in how many of them the points of a block lie."""

    def __init__(self, points: Features, centers: Features, radii: Floats, precision: Precision) -> None:
        self.points, self.centers, self.radii, self.precision = points, centers, radii, precision
        self._placed, self._asked = (
            precision.reader(X, np.arange(len(X)), "cpu", hold=False) for X in (points, centers)
        )

    def __call__(self, block: slice) -> Integers:
        placed = as_columns(self._placed(block))
        counts = np.zeros(block.stop - block.start, np.int64)
        n_rows = rows_within(_POINT_BYTES, self.points.shape[1], self.precision, most=_BALL_ROWS)
        for rows in _slices(len(self.centers), n_rows):
            limits = np.square(self.radii[rows] * self.precision.scale)
            inside, on_border = _sides(as_rows(self._asked(rows)), placed, limits)
            counts += np.count_nonzero(inside, axis=0)
            row, column = np.divmod(np.flatnonzero(on_border), inside.shape[1])
            exact = np.sqrt(squared_distances(self.centers, row + rows.start, self.points, column + block.start))
            held = column[exact <= self.radii[rows][row]]
            counts += np.bincount(held, minlength=inside.shape[1])
        return counts


def _sides(centers: Vectors, points: Vectors, limits: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which points are surely within a squared distance of each center, and which cannot be told, ``(n, m)``."""
    import torch

    reach = torch.from_numpy(limits)
    tile = compare(centers, reach, points)
    gains = tile.gains[:, : len(points)]
    inside = gains >= tile.sure(reach)[:, None]
    return inside.numpy(), ((gains >= tile.least[:, None]) & ~inside).numpy()


def _slices(n: int, step: int) -> Iterator[slice]:
    return (slice(start, min(start + step, n)) for start in range(0, n, step))


@dataclass(frozen=True)
class Speed:
    """What rows of some width cost here and now, in seconds.

    Attributes
    ----------
    product : float
        Of a pair, in a product in float64.
    tile, crowd : float
        Of a pair, in a tile, in whatever precision goes first, and more for each neighbour beyond the first.
    place : float
        Of a row, made a vector.
    difference : float
        Of a pair, by its differences in float64.
    choice : float
        Of a number of the points by which a precision is chosen, see `sampled`.
    query_rows : int
        How many queries share a reading of the points.
    """

    product: float
    tile: float
    crowd: float
    place: float
    difference: float
    choice: float
    width: int
    query_rows: int

    @classmethod
    def measured(cls, width: int) -> Speed:
        """Time rows of at most `_TIMED` columns, the best of a few, and go on in proportion to the width."""
        import torch

        timed = min(width, _TIMED)
        rows = np.random.default_rng(0).standard_normal((_QUERY_ROWS, timed)).astype(np.float32)
        fine = Precision.of(rows)
        precision = screen(fine, rows, "cpu") or fine
        if precision.is_coarse and not precision.bears(width):
            precision = fine
        everything, some = np.arange(len(rows)), np.arange(_POINT_ROWS)
        asked, shown = as_rows(precision.hold(rows, everything, "cpu")), as_columns(precision.place(rows[some]))
        doubles, limits = torch.from_numpy(rows[some]).double(), torch.full_like(asked.norms, torch.inf)
        # The first tile finds limits such as rows have later, which leave little to look at.
        _, limits = compare(asked, limits, shown).near(1)
        pairs, wider = len(rows) * len(some), width / timed
        multiplied = _best(lambda: multiply(asked.vectors, shown.vectors))
        tile = max(multiplied, _best(lambda: compare(asked, limits, shown).near(1)))
        # Of rows without limits: those of a few tiles leave less to look at.
        wide_open = torch.full_like(limits, torch.inf)
        _, wide_open = compare(asked, wide_open, shown).near(_CROWDED)
        crowded = max(tile, _best(lambda: compare(asked, wide_open, shown).near(_CROWDED)))
        return cls(
            product=_best(lambda: doubles @ doubles.T) / len(some) ** 2 * wider,
            tile=(tile - multiplied + multiplied * wider) / pairs,
            crowd=(crowded - tile) / pairs / (_CROWDED - 1),
            place=_best(lambda: (Precision.of(rows), precision.hold(rows, everything, "cpu"))) / len(rows) * wider,
            difference=_best(lambda: squared_distances(rows, some, rows, some[::-1])) / len(some) * wider,
            choice=_best(lambda: screen(fine, rows, "cpu")) / sampled(*rows.shape),
            width=width,
            query_rows=rows_within(_QUERY_BYTES, width, precision, most=_QUERY_ROWS),
        )

    def of_search(self, n_queries: int, n_points: int, k: int = 1) -> float:
        """Seconds of a search for the `k` nearest."""
        readings = -(-n_queries // self.query_rows)
        return (
            (self.tile + self.crowd * (k - 1)) * n_queries * n_points
            + self.place * (n_queries + readings * n_points)
            + self.difference * n_queries * (k + 1)
            + self.choice * sampled(n_points, self.width)
        )


def _best(function: Callable[[], object]) -> float:
    best = math.inf
    for _ in range(3):
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best
