"""The one distance kernel: float32 matrix products propose, float64 differences decide.

``|x - y|^2 = |x|^2 + |y|^2 - 2 x.y`` makes distances a matrix product, which is fast, but rounding hides near-copies.
So the product is only used for *lower bounds* that are proven to hold in spite of rounding. Every pair that the bounds
cannot rule out is computed again as a difference in float64. What leaves this module is therefore exact; the product
decides how long it takes, never what comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, Integers, check_count, check_features, check_same_width
from entropick.errors import InputError
from entropick.work import Work

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

# A tile of 2048 x 4096 float32 bounds takes 32 MiB.
_QUERY_ROWS = 2048
_POINT_ROWS = 4096
# Columns multiplied at once when a set grows.
_BATCH_COLUMNS = 1024
_BATCH_ROWS = 1024
# When more than this share of a tile (and more pairs than this) cannot be told apart, float64 products take over.
_CROWD = 0.02
_CROWD_ROWS = 1 << 14
# Candidates kept beyond the k that are asked for; more than that within rounding error is rare.
_SPARE = 8
# Squared differences of this size, where the largest coordinate is 1, may be lost to underflow.
_UNDERFLOW = 1e-30
# Powers of two up to this one and their inverses are normal float32 numbers.
_EXPONENT = 126
# The name under which finished neighbours are kept.
_CHECKPOINT = "neighbors"
# Elements of a float64 difference computed at once, small enough to stay in the cache.
_CACHED_ELEMENTS = 1 << 15


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
    device: str = "cpu",
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
        Where the matrix products run, in the words of torch: ``"cpu"``, ``"cuda"``.

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
    search = _Search(known, k + exclude_self, Frame.of(asking, known), device)
    distances, indices, done = _load(work, len(asking), k)
    while done < len(asking):
        rows = np.arange(done, min(done + _QUERY_ROWS, len(asking)))
        distances[rows], indices[rows] = search.nearest(asking[rows], k, rows if exclude_self else None)
        done += len(rows)
        work.progress(done, len(asking), "nearest neighbours")
        if work.due():
            work.save(_CHECKPOINT, {"distances": distances, "indices": indices}, {"done": done})
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


def _load(work: Work, n: int, k: int) -> tuple[Floats, Integers, int]:
    saved = work.load(_CHECKPOINT)
    if saved is None or saved[0]["indices"].shape != (n, k):
        return np.empty((n, k)), np.empty((n, k), np.int64), 0
    arrays, state = saved
    return np.array(arrays["distances"]), np.array(arrays["indices"]), int(state["done"])


def distinct_rows(X: Features) -> tuple[Integers, Integers]:
    """Return the first row of every distinct point, ascending, and for each row its place in that list.

    Rows are the same if all their values are (-0.0 is 0.0).

    Examples
    --------
    >>> first, group = distinct_rows(np.array([[1], [2], [1]], np.float32))
    >>> first.tolist(), group.tolist()
    ([0, 1], [0, 1, 0])
    """
    seen: dict[bytes, int] = {}
    first: list[int] = []
    group = np.empty(len(X), np.int64)
    for row, values in enumerate(X):
        # Adding 0.0 turns -0.0 into 0.0.
        key = blake2b((values + np.float32(0)).tobytes(), digest_size=16).digest()
        group[row] = seen.setdefault(key, len(first))
        if group[row] == len(first):
            first.append(row)
    return np.array(first, np.int64), group


def squared_distances(X: Features, rows: Integers, Y: Features, columns: Integers) -> Floats:
    """Return ``|X[rows[i]] - Y[columns[i]]|^2``, float64 ``(n,)``, computed as differences in float64."""
    squares = np.empty(len(rows))
    step = max(1, _CACHED_ELEMENTS // X.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        difference = X[rows[part]].astype(np.float64)
        difference -= Y[columns[part]]
        np.einsum("ij,ij->i", difference, difference, out=squares[part])
    return squares


@dataclass(frozen=True)
class Placed:
    """Rows in a frame: `vectors` (n, d) on the device, and their squared lengths in float64 (n,)."""

    vectors: torch.Tensor
    norms: torch.Tensor

    def __getitem__(self, rows: Integers) -> Placed:
        """A copy of some of the rows."""
        import torch

        index = torch.from_numpy(rows).to(self.norms.device)
        return Placed(self.vectors.index_select(0, index), self.norms.index_select(0, index))


@dataclass(frozen=True)
class Frame:
    """Where distances are computed: rows shifted by `center`, scaled by a power of two so that none overflows.

    A common shift changes no distance, but shortens the vectors, and the rounding error grows with their lengths.
    """

    center: NDArray[np.float32]
    scale: float

    @classmethod
    def of(cls, *matrices: Features) -> Self:
        """The frame of the rows of all `matrices`: their largest value becomes 1, their mean the origin."""
        largest = max(float(np.abs(block).max()) for X in matrices for block in _blocks(X))
        scale = 2.0 ** -float(np.clip(np.frexp(largest)[1], -_EXPONENT, _EXPONENT))
        total = np.zeros(matrices[0].shape[1])
        for block in (block for X in matrices for block in _blocks(X)):
            total += np.sum(block, axis=0, dtype=np.float64)
        return cls((total / sum(map(len, matrices)) * scale).astype(np.float32), scale)

    def place(self, rows: Features, dtype: torch.dtype, device: str = "cpu") -> Placed:
        """The rows as tensors in this frame."""
        import torch

        kind = np.float64 if dtype == torch.float64 else np.float32
        scaled = np.multiply(rows, kind(self.scale), dtype=kind) - self.center.astype(kind)
        vectors = torch.from_numpy(scaled).to(device)
        return Placed(vectors, torch.linalg.vector_norm(vectors, dim=1, dtype=torch.float64).square())


def _blocks(X: Features) -> Iterator[Features]:
    return (X[start : start + _POINT_ROWS] for start in range(0, len(X), _POINT_ROWS))


def rounding(width: int, dtype: torch.dtype) -> float:
    """The share c for which ``c (|x|^2 + |y|^2)`` bounds the error of a squared distance by matrix product.

    A sum of ``width + 1`` products, whatever its order, errs by at most ``(width + 1) u`` times the sum of their sizes,
    where u is half the distance from 1 to the next float; here the sizes add up to less than ``2 (|x|^2 + |y|^2)``.
    Shifting the rows and rounding their lengths adds less than 14 u.
    """
    import torch

    unit = torch.finfo(dtype).eps / 2
    return (2 * width + 16) * unit / (1 - (2 * width + 16) * unit)


@contextmanager
def full_precision() -> Iterator[None]:
    """Hold torch to true float32 products: TF32 or bfloat16, which a caller may have allowed, break the bounds."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _Search:
    """The distinct points, and how to find the nearest of them."""

    def __init__(self, points: Features, wanted: int, frame: Frame, device: str) -> None:
        first, group = distinct_rows(points)
        self.points = points if len(first) == len(points) else points[first]
        self.members = _members(group, len(first), wanted)
        self.wanted, self.frame, self.device = min(wanted, len(first)), frame, device

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
        import torch

        squares = np.full((len(queries), self.wanted), np.inf)
        places = np.zeros((len(queries), self.wanted), np.int64)
        open_ = np.arange(len(queries))
        for dtype in (torch.float32, torch.float64):
            if len(open_):
                rows, columns, unsure = self._candidates(queries[open_], dtype)
                self._settle(queries, open_[rows], columns, squares, places)
                open_ = open_[unsure]
        for query in open_:
            everything = np.arange(len(self.points))
            self._settle(queries, np.full(len(everything), query), everything, squares, places)
        return squares, places

    def _candidates(self, queries: Features, dtype: torch.dtype) -> tuple[Integers, Integers, Integers]:
        """Pairs (query, point) among which the nearest are, and the queries with too many to say."""
        import torch

        share = rounding(self.points.shape[1], dtype)
        asked = self.frame.place(queries, dtype, self.device)
        kept = min(self.wanted + _SPARE, len(self.points))
        lower, upper, place = self._smallest_bounds(asked, kept, share, dtype)
        reach = torch.topk(upper, self.wanted, dim=1, largest=False).values[:, -1:]
        possible = lower <= reach
        unsure = possible.all(dim=1) if kept < len(self.points) else torch.zeros(len(queries), dtype=torch.bool)
        possible &= ~unsure[:, None].to(possible.device)
        rows, slots = torch.nonzero(possible, as_tuple=True)
        return rows.cpu().numpy(), place[rows, slots].cpu().numpy(), torch.nonzero(unsure)[:, 0].cpu().numpy()

    def _smallest_bounds(
        self, asked: Placed, kept: int, share: float, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The `kept` smallest lower bounds of each query, with their upper bounds and points."""
        import torch

        best: list[torch.Tensor] = []
        for start in range(0, len(self.points), _POINT_ROWS):
            placed = self.frame.place(self.points[start : start + _POINT_ROWS], dtype, self.device)
            tile = bound_products(asked, placed, share)
            value, column = torch.topk(tile, min(kept, tile.shape[1]), dim=1, largest=False)
            found = [value.double(), placed.norms[column], column + start]
            best = [torch.cat(pair, dim=1) for pair in zip(best, found, strict=True)] if best else found
            slot = torch.topk(best[0], min(kept, best[0].shape[1]), dim=1, largest=False).indices
            best = [part.gather(1, slot) for part in best]
        value, norms, place = best
        lower = value + offsets(asked, share)[:, None]
        return lower, lower + 2 * (share * (asked.norms[:, None] + norms) + _UNDERFLOW), place

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


def _members(group: Integers, n_groups: int, most: int) -> Integers:
    """The lowest rows of each group, up to `most`, filled up with -1."""
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n_groups))
    rank = np.arange(len(group)) - starts[group[order]]
    chosen = rank < most
    members = np.full((n_groups, rank[chosen].max() + 1), -1)
    members[group[order][chosen], rank[chosen]] = order[chosen]
    return members


def bound_products(asked: Placed, placed: Placed, share: float) -> torch.Tensor:
    """Return the tile (n, m) that, with `offsets` added to its rows, is a lower bound of squared distances."""
    import torch

    lengths = (placed.norms * (1 - share)).to(placed.vectors.dtype)
    with full_precision():
        return torch.addmm(lengths, asked.vectors, placed.vectors.T, alpha=-2)


def offsets(asked: Placed, share: float) -> torch.Tensor:
    """What is missing in the rows of `bound_products`, in float64 (n,)."""
    return asked.norms * (1 - share) - _UNDERFLOW


class Cloud:
    """Rows of X held on the device, for asking again and again how near a growing set of them has come.

    A *position* counts the rows held; `rows` maps positions to rows of X. Squared distances to the set live with the
    caller, one float64 per position, and are exact at all times: each is the float64 difference to the nearest row.
    """

    def __init__(self, X: Features, rows: Integers | None = None, *, device: str = "cpu") -> None:
        import torch

        self.X = X
        self.rows = np.arange(len(X)) if rows is None else rows
        self.frame = Frame.of(X)
        self.placed = self._place(self.rows, torch.float32, device)

    def _place(self, rows: Integers, dtype: torch.dtype, device: str) -> Placed:
        """The rows in blocks, so that no second copy of them all ever exists."""
        import torch

        held = Placed(
            torch.empty((len(rows), self.X.shape[1]), dtype=dtype, device=device),
            torch.empty(len(rows), dtype=torch.float64, device=device),
        )
        for start in range(0, len(rows), _POINT_ROWS):
            part = slice(start, start + _POINT_ROWS)
            block = self.frame.place(self.X[rows[part]], dtype, device)
            held.vectors[part], held.norms[part] = block.vectors, block.norms
        return held

    def __len__(self) -> int:
        return len(self.rows)

    def approach(self, squares: Floats, rows: Integers, columns: Integers) -> None:
        """Lower `squares`, at the positions `rows`, where one of the positions `columns` is nearer."""
        for first in range(0, len(columns), _BATCH_COLUMNS):
            batch = columns[first : first + _BATCH_COLUMNS]
            placed = self.placed[batch]
            for start in range(0, len(rows), _BATCH_ROWS):
                positions, nearest = self._nearer(squares, rows[start : start + _BATCH_ROWS], batch, placed)
                exact = squared_distances(self.X, self.rows[positions], self.X, self.rows[nearest])
                np.minimum.at(squares, positions, exact)

    def _nearer(
        self, squares: Floats, positions: Integers, columns: Integers, placed: Placed
    ) -> tuple[Integers, Integers]:
        """Pairs of positions among which each row's nearest column is, if it is nearer than `squares` says."""
        import torch

        limits = torch.from_numpy(squares[positions] * self.frame.scale**2).to(placed.norms.device)
        rows, slots = nearest_pairs(self.placed[positions], placed, limits)
        if len(rows) > _CROWD * len(positions) * len(columns) and len(rows) > _CROWD_ROWS:
            # So many within the error of float32 are near-copies: a float64 product tells them apart.
            device = str(placed.norms.device)
            asked = self._place(self.rows[positions], torch.float64, device)
            rows, slots = nearest_pairs(asked, self._place(self.rows[columns], torch.float64, device), limits)
        return positions[rows], columns[slots]

    def mutual(self, positions: Integers, squares: Floats) -> Floats:
        """Squared distances (b, b) among `positions`; infinite where they are beyond both rows' `squares` (b,).

        What is beyond can lower neither row's distance to the set, so it need not be known.
        """
        import torch

        held = self.placed[positions]
        share = rounding(self.X.shape[1], held.vectors.dtype)
        limits = torch.from_numpy(np.maximum.outer(squares, squares) * self.frame.scale**2).to(held.norms.device)
        tile = bound_products(held, held, share)
        near = tile <= (limits - offsets(held, share)[:, None]).to(tile.dtype)
        rows, columns = np.divmod(np.flatnonzero(near.triu(1).cpu().numpy()), len(positions))
        exact = squared_distances(self.X, self.rows[positions[rows]], self.X, self.rows[positions[columns]])
        result = np.full((len(positions), len(positions)), np.inf)
        result[rows, columns] = result[columns, rows] = exact
        np.fill_diagonal(result, 0.0)
        return result


def nearest_pairs(asked: Placed, placed: Placed, limits: torch.Tensor) -> tuple[Integers, Integers]:
    """Return pairs (row, column) that contain the nearest column of every row which is nearer than its limit (n,)."""
    import torch

    share = rounding(asked.vectors.shape[1], asked.vectors.dtype)
    tile = bound_products(asked, placed, share)
    limits = limits - offsets(asked, share)
    rows = torch.nonzero(tile.amin(dim=1) <= limits.to(tile.dtype))[:, 0]
    tile = tile.index_select(0, rows)
    lowest, column = tile.min(dim=1)
    margin = 2 * (share * (asked.norms[rows] + placed.norms[column]) + _UNDERFLOW)
    reach = torch.minimum(lowest + margin, limits[rows]).to(tile.dtype)
    # NumPy finds the few hits in a flat array many times faster than torch finds pairs.
    hits = np.flatnonzero((tile <= reach[:, None]).cpu().numpy())
    near, columns = np.divmod(hits, tile.shape[1])
    return rows.cpu().numpy()[near], columns
