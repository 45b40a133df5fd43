"""The k nearest points of each query, and the points within given distances."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, Floats, Integers, check_count, check_features, check_same_width, some_rows
from entropick.errors import InputError
from entropick.neighbors.exact import digest, distinct_rows, grouped, squared_distances
from entropick.neighbors.precision import Precision, Vectors, multiply, sampled, screen
from entropick.neighbors.tile import Pairs, as_columns, as_rows, compare, rows_within
from entropick.processes import usable_device
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
# Up to this size, points are placed once and held, not placed anew for every block of queries.
_HELD_BYTES = 256 << 20


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
        Hears of progress, and keeps what is finished.
    device : str
        Where the matrix products run: ``"cpu"``, ``"cuda"``, or "auto", a GPU if there is one.

    Raises
    ------
    InputError
        For unusable features, differing widths, or fewer points than `k`.

    Notes
    -----
    Memory: two tiles of a few thousand rows; never n x m. Copies among the points are searched once.

    Examples
    --------
    >>> found = nearest_neighbors([[0.0], [5.0]], [[1.0], [7.0], [-1.0]], k=2)
    >>> found.distances.tolist(), found.indices.tolist()
    ([[1.0, 1.0], [2.0, 4.0]], [[0, 2], [1, 0]])
    """
    asking, known = check_features(queries, name="queries"), check_features(points, name="points")
    check_same_width(("queries", asking), ("points", known))
    _check_k(check_count(k, name="k"), len(asking), len(known), exclude_self)
    work = work or Work()
    search = _Search(known, k + exclude_self, Precision.of(asking, known), usable_device(device))
    name = f"neighbors-{digest(asking, known, np.array([k, exclude_self]))}"
    arrays, state = work.load(name) or ({}, {"done": 0})
    distances = np.array(arrays["distances"]) if arrays else np.empty((len(asking), k))
    indices = np.array(arrays["indices"]) if arrays else np.empty((len(asking), k), np.int64)
    done, kept = int(state["done"]), bool(arrays)
    while done < len(asking):
        rows = np.arange(done, min(done + search.query_rows, len(asking)))
        # A slice is not copied, wide rows are many bytes.
        queries = asking[done : done + len(rows)]
        distances[rows], indices[rows] = search.nearest(queries, k, rows if exclude_self else None)
        done += len(rows)
        work.progress(done, len(asking), "nearest neighbours")
        # What was once worth keeping is kept to its end: the next search may be stopped, too.
        kept = kept or work.due()
        if kept and (work.due() or done == len(asking)):
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


class _Search:
    """The distinct points, and how to find the nearest of them."""

    def __init__(self, points: Features, wanted: int, fine: Precision, device: str) -> None:
        first, group = distinct_rows(points)
        self.points = points if len(first) == len(points) else some_rows(points, first)
        self.members = _lowest_members(group, len(first), wanted)
        self.wanted = min(wanted, len(first))
        coarse = screen(fine, self.points, device)
        kinds = [*([coarse] if coarse else []), fine, fine.double()]
        everything, hold = np.arange(len(self.points)), self.points.nbytes <= _HELD_BYTES
        self.device = device
        self.levels = [
            (kind, kind.reader(self.points, everything, device, hold=hold and kind is kinds[0])) for kind in kinds
        ]

    @property
    def query_rows(self) -> int:
        """How many queries are best asked at once."""
        return rows_within(_QUERY_BYTES, self.points.shape[1], self.levels[0][0], most=_QUERY_ROWS)

    def nearest(self, queries: Features, k: int, selves: Integers | None) -> tuple[Floats, Integers]:
        """Distances and rows (n, k); `selves` are the rows that the queries themselves have among the points."""
        squares, places = self._nearest_distinct(queries)
        rows = self.members[places].reshape(len(queries), -1)
        spread = np.repeat(squares, self.members.shape[1], axis=1)
        absent = rows < 0 if selves is None else (rows < 0) | (rows == selves[:, None])
        spread[absent] = np.inf
        order = np.lexsort((rows, spread), axis=1)[:, :k]
        return np.sqrt(np.take_along_axis(spread, order, 1)), np.take_along_axis(rows, order, 1)

    def _nearest_distinct(self, queries: Features) -> tuple[Floats, Integers]:
        squares = np.full((len(queries), self.wanted), np.inf)
        places = np.zeros((len(queries), self.wanted), np.int64)
        open_ = np.arange(len(queries))
        for precision, read in self.levels:
            left = []
            at_once = rows_within(_QUERY_BYTES, queries.shape[1], precision, most=_QUERY_ROWS)
            for start in range(0, len(open_), at_once):
                some = open_[start : start + at_once]
                asking = queries if len(some) == len(queries) else queries[some]
                rows, columns, unsure = self._candidates(asking, precision, read)
                self._settle(queries, some[rows], columns, squares, places)
                left.append(some[unsure])
            open_ = np.concatenate(left) if left else open_
        for query in open_:
            everything = np.arange(len(self.points))
            self._settle(queries, np.full(len(everything), query), everything, squares, places)
        return squares, places

    def _candidates(
        self, queries: Features, precision: Precision, read: Callable[[slice], Vectors]
    ) -> tuple[Integers, Integers, Integers]:
        """Pairs (query, point) among which the nearest are, and the queries with too many to say."""
        import torch

        # Placed block by block, as points are: much faster than all at once, which would leave the cache.
        placed = precision.hold(queries, np.arange(len(queries)), self.device)
        asked, most, n = as_rows(placed), self.wanted + _SPARE, len(queries)
        reach, unsure = torch.full_like(placed.norms, torch.inf), np.zeros(n, bool)
        found, enough = Pairs.none(), n * self.wanted
        step = rows_within(_POINT_BYTES, self.points.shape[1], precision, most=_POINT_ROWS)
        for start in range(0, len(self.points), step):
            shown = as_columns(read(slice(start, start + step)))
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


def count_balls(points: Features, *, centers: Features, radii: Floats) -> Integers:
    """In how many of the closed balls each point lies, int64 ``(n_points,)``, exactly.

    The time does not depend on how full the balls are, so a collapsed set takes no longer than another.
    """
    first, place = distinct_rows(points)
    seen = points if len(first) == len(points) else points[first]
    precision = Precision.of(seen, centers)
    counts = np.zeros(len(seen), np.int64)
    width: int = seen.shape[1]
    n_columns = rows_within(_QUERY_BYTES, width, precision, most=_BALL_COLUMNS)
    n_rows = rows_within(_POINT_BYTES, width, precision, most=_BALL_ROWS)
    shown, asked = (precision.reader(X, np.arange(len(X)), "cpu", hold=False) for X in (seen, centers))
    for columns in _slices(len(seen), n_columns):
        placed = as_columns(shown(columns))
        for rows in _slices(len(centers), n_rows):
            limits = np.square(radii[rows] * precision.scale)
            inside, on_border = _sides(as_rows(asked(rows)), placed, limits)
            counts[columns] += np.count_nonzero(inside, axis=0)
            row, column = np.divmod(np.flatnonzero(on_border), inside.shape[1])
            exact = np.sqrt(squared_distances(centers, row + rows.start, seen, column + columns.start))
            held = column[exact <= radii[rows][row]]
            counts[columns] += np.bincount(held, minlength=inside.shape[1])
    return counts[place]


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
