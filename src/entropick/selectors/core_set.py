"""A core-set: some rows of a pool such that each other one is near one of them, its *proxy*.

Whoever selects from the core-set selects from the pool but for the largest distance of a row to its proxy. To look
for proxies among all rows would take longer than to select from them, so each row looks among a *piece* of the pool
alone: rows that lie in one cell of a grid, or in cells beside each other. That may leave more rows than are needed,
never a row whose proxy is farther than asked for.

Cells and proxies follow from the rows and their order alone, whatever shards they lie in.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors import Loose, Precision, grouped, squared_distances

# Rows of a piece: a product of all by all of them is what a row costs.
PIECE = 1024
# Rows by which a grid is made, numbers in them at most, and rows that share a cell at most, about.
_FITTED, _FITTED_NUMBERS, _OF_CELL = 1 << 14, 1 << 24, 64
# Cuts of a grid at most, and numbers that are projected at once.
_MOST_CUTS, _BLOCK_NUMBERS = 24, 1 << 22


@dataclass(frozen=True)
class Grid:
    """Cells that halve a pool again and again, along each of the `axes` (c, d) in turn, on which it varies most, the
    widest first: `cuts` are where, arrays of 1, 2, 4, ... numbers.

    Rows that are near each other, as seen from far away, are mostly in one cell.
    """

    middle: Floats
    axes: Floats
    cuts: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, X: Features, sample: Integers) -> Self:
        """A grid for the rows of X (n, d), by some of a `sample` of them."""
        n, width = X.shape
        step = -(-len(sample) // max(2, min(_FITTED, _FITTED_NUMBERS // width)))
        fitted = np.asarray(X.take(sample[::step], axis=0), np.float64)
        middle = fitted.mean(axis=0)
        fitted -= middle
        most = max(1, min(_MOST_CUTS, int(np.ceil(np.log2(max(2, n / _OF_CELL)))), int(np.log2(len(fitted)))))
        axes = _axes(fitted, most)
        places = (fitted @ axes.T).astype(np.float32)
        cell, cuts = np.zeros(len(fitted), np.int64), []
        for depth in range(most):
            along = places[:, depth % len(axes)]
            order, ends = grouped(cell, 2**depth)
            cut = np.zeros(2**depth, np.float32)
            for number, (start, stop) in enumerate(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)):
                if start < stop:
                    cut[number] = _cut(np.sort(along[order[start:stop]]))
            cuts.append(cut)
            cell = 2 * cell + (along > cut[cell])
        return cls(middle, axes, tuple(cuts))

    def cells(self, X: Features) -> Integers:
        """The cell of each row of X (n, d)."""
        found, step = np.zeros(len(X), np.int64), max(1, _BLOCK_NUMBERS // X.shape[1])
        for start in range(0, len(X), step):
            part = slice(start, start + step)
            # Products differ in the last digit by how many rows are multiplied at once: rounded, they do not.
            places = ((np.asarray(X[part], np.float64) - self.middle) @ self.axes.T).astype(np.float32)
            for depth, cut in enumerate(self.cuts):
                found[part] = 2 * found[part] + (places[:, depth % len(self.axes)] > cut[found[part]])
        return found


def _cut(along: NDArray[np.float32]) -> float:
    """Where to halve some rows, by their ascending places on an axis: in the widest gap of the middle third, as near
    copies lie on both sides of any row."""
    first = (len(along) - 1) // 3
    middle = along[first : len(along) - first]
    gap = int(np.argmax(np.diff(middle))) if len(middle) > 1 else 0
    return float(middle[gap : gap + 2].mean())


def _axes(centred: Floats, n: int) -> Floats:
    """The `n` directions, or fewer, in which centred rows (m, d) vary most; their largest numbers are positive, as
    libraries differ in signs."""
    m, width = centred.shape
    if width <= m:
        return _signed(np.ascontiguousarray(np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :n].T))
    of_rows = np.linalg.eigh(centred @ centred.T)[1][:, ::-1][:, : min(n, m)]
    axes = of_rows.T @ centred
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    return _signed(np.divide(axes, lengths, out=np.zeros_like(axes), where=lengths > 0))


def _signed(axes: Floats) -> Floats:
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], 1)
    signed: Floats = np.where(largest < 0, -axes, axes)
    return signed


def pieces(cells: Integers, groups: Integers) -> list[Integers]:
    """All rows in pieces of at most `PIECE`, by their cells (n,), no two `groups` (n,) in one; ascending in each."""
    order = np.lexsort((cells, groups))
    ends = np.flatnonzero(np.diff(groups[order])) + 1
    return [
        np.sort(order[start : min(start + PIECE, stop)])
        for first, stop in zip([0, *ends.tolist()], [*ends.tolist(), len(order)], strict=True)
        for start in range(first, stop, PIECE)
    ]


def proxies(rows: Features, limit: float, *, device: str = "auto") -> tuple[Integers, Floats]:
    """The threshold rule: each row (n, d) in order is kept unless one that was kept is within the squared `limit`, and
    the first that is becomes its proxy. The place of each row's proxy, its own if it is kept, and the squared distance
    to it in float64."""
    n = len(rows)
    loose = Loose(rows, Precision.of(rows), device=device)
    near = loose.among(np.full(n, limit))
    # Only an earlier one can be in the way.
    near = near[near.column < near.row]
    unsure = near.highest > limit
    near.highest[unsure] = loose.exact(near.row[unsure], near.column[unsure])
    near = near[near.highest <= limit]
    is_kept = in_order(np.ones(n, bool), near.column, near.row, n)
    near = near[is_kept[near.column] & ~is_kept[near.row]]
    of = np.arange(n)
    # From the last to the first: of several the first remains.
    order = np.lexsort((-near.column, near.row))
    of[near.row[order]] = near.column[order]
    squares, left_out = np.zeros(n), np.flatnonzero(~is_kept)
    squares[left_out] = squared_distances(rows, left_out, rows, of[left_out])
    return of, squares


def in_order(is_free: NDArray[np.bool_], earlier: Integers, later: Integers, most: int) -> NDArray[np.bool_]:
    """Accept what nothing keeps out, one after another, up to `most`; an accepted one keeps its `later` ones out."""
    order, ends = grouped(earlier, len(is_free))
    kept_out, free = later[order].tolist(), is_free.tolist()
    for place, (start, end) in enumerate(itertools.pairwise(ends.tolist())):
        free[place] = free[place] and most > 0
        if free[place]:
            most -= 1
            for other in kept_out[start:end]:
                free[other] = False
    return np.array(free, bool)
