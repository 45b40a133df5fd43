"""What lives on a GPU: a growing set, and points among which the nearest are looked for.

Every pair is computed, products propose, differences in float64 decide there, and only what is asked for comes back.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors.growing_set import GrowingSet, Members, Outside, tiles
from entropick.neighbors.precision import Precision, Reader, Vectors, on_device
from entropick.neighbors.tile import as_columns, as_rows, compare
from entropick.processes import usable_device
from entropick.processes.hardware import usable_memory_of

# Numbers in a tile, of rows whose differences are computed at once, and pairs that are decided at once; and the bytes
# that each of them takes at most, where all pairs of a tile are left open.
_TILE_NUMBERS, _DIFFERENCES, _PAIRS = 1 << 26, 1 << 24, 1 << 24
_BYTES_EACH = 64
# Squares that are computed there and here differ by less than this share: sums have other orders.
_APART = 1e-11
# Of the memory that is free there, what may be taken.
_SHARE = 0.7
# Numbers of rows that are put there at once.
_BLOCK_NUMBERS = 1 << 22
# Points that are looked at beyond the nearest that are asked for; that more are as near, within rounding, is rare.
_SPARE = 8


def growing_among(
    X: Features,
    n_samples: int,
    rows: Integers | None = None,
    *,
    device: str = "auto",
    precision: Precision | None = None,
) -> GrowingSet:
    """A `GrowingSet`, on a GPU with room for its rows one that lives there; what it tells is the same."""
    device = usable_device(device)
    n = len(X) if rows is None else len(rows)
    kind = ResidentSet if is_resident(n + n_samples, X.shape[1], device) else GrowingSet
    return kind(X, n_samples, rows, device=device, precision=precision)


def is_resident(n: int, width: int, device: str) -> bool:
    """Whether `n` rows of so many columns can live on a device: a GPU with room for them."""
    import torch

    if torch.device(device).type != "cuda":
        return False
    vectors = Precision.of(np.zeros((1, width), np.float32)).held_bytes(1, width)
    needed = n * (4 * width + 2 * vectors + 64) + _BYTES_EACH * (_TILE_NUMBERS + _DIFFERENCES + _PAIRS)
    return needed <= _SHARE * usable_memory_of(device)


class ResidentSet(GrowingSet):
    """Members are shown to all positions as soon as they join: products in float32 propose which may be nearer, and
    differences in float64 decide. There are few launches to wait for, and a GPU computes a pair for less than it costs
    to find out whether it could be left out.

    What is told of positions is computed anew from their nearest member as it is everywhere else, so that it does not
    depend on where rows live. Of members whose distances differ by a rounding error either may be the nearest.

    Parameters are those of `GrowingSet`. There are no `squares`: `settle` tells those that are asked for.
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
        import torch

        self._device, fine = usable_device(device), precision or Precision.of(X)
        self._begin(X, n_samples, rows, fine)
        n, width = len(self.rows), X.shape[1]
        self._rows, held = _put(X, rows, fine, self._device)
        # Limits are written into them: what is compared otherwise is placed anew from the rows that are there.
        self._asking = as_rows(held)
        self._levels = [
            Reader(lambda part: fine.place(self._rows[self._there(part)], self._device), None, self._device)
        ]
        self.members = Members(width, n_samples, [fine], self._device)
        self._shown = torch.empty((n_samples, width), dtype=torch.float32, device=self._device)
        self._distances = torch.full((n,), torch.inf, dtype=torch.float64, device=self._device)
        self._closest = torch.full((n,), -1, dtype=torch.int64, device=self._device)
        self._weighted = (np.empty(0), self._distances)

    def join(self, vectors: Features) -> None:
        """See `GrowingSet.join`."""
        first = len(self.members)
        super().join(vectors)
        last = len(self.members)
        self._shown[first:last] = on_device(vectors, self._device)
        for tile in tiles(first, last):
            self._show_all(*tile)

    def catch_up(self, block: Integers, limit: Floats | float) -> Integers:
        """See `GrowingSet.catch_up`: none is behind."""
        return block[self.settle(block) > limit]

    def settle(self, positions: Integers) -> Floats:
        """The squared distances of `positions`, as `exact.squared_distances` has them."""
        return self._settled(self._there(positions))[1]

    def farthest(self, width: int, weights: Floats) -> tuple[Integers, Floats, Outside]:
        """See `GrowingSet.farthest`."""
        import torch

        if not len(self._distances):
            return np.empty(0, np.int64), np.empty(0), (0.0, None)
        if self._weighted[0] is not weights:
            self._weighted = (weights, torch.from_numpy(weights).to(self._device))
        values = self._distances * self._weighted[1]
        n_top = min(width + 1, len(values))
        least = torch.topk(values, n_top).values[-1] * (1 - _APART)
        positions, squares = self._settled(torch.nonzero((values >= least) & (values > 0))[:, 0])
        exact = squares * weights[positions]
        order = np.lexsort((positions, -exact))
        top = np.sort(order[:width])
        outside = (0.0, None) if len(order) <= width else (float(exact[order[width]]), int(positions[order[width]]))
        return positions[top], squares[top], outside

    def beyond(self, limit: float, start: int, width: int) -> tuple[Integers, Floats, int | None]:
        """See `GrowingSet.beyond`."""
        import torch

        above = torch.nonzero(self._distances[start:] > limit * (1 - _APART))[:width, 0]
        block, squares = self._settled(above + start)
        last = int(block[-1]) if len(block) == width else None
        return block[squares > limit], squares[squares > limit], last

    def largest(self) -> float:
        """See `GrowingSet.largest`."""
        return float(self._distances.max()) if len(self._distances) else 0.0

    def covering_radius(self, least: float = 0.0) -> float:
        """See `GrowingSet.covering_radius`."""
        import torch

        most = self.largest() * (1 - _APART)
        _, squares = self._settled(torch.nonzero(self._distances >= most)[:, 0])
        return max(least, math.sqrt(squares.max(initial=0.0)))

    def nearest(self) -> Integers:
        """See `GrowingSet.nearest`: of all members."""
        found: Integers = self._closest.cpu().numpy()
        return found

    def look_at(self, numbers: Integers) -> None:
        """See `GrowingSet.look_at`: all have been looked at."""

    def note(self, positions: Integers, squares: Floats) -> None:
        """See `GrowingSet.note`: nothing is new."""

    def lower(self, positions: Integers, bounds: Floats) -> None:
        """See `GrowingSet.lower`: nothing is new."""

    def _know(self, positions: Integers, squares: Floats | float) -> None:
        """Nothing is new."""

    def _approach(self, positions: Integers, start: int, stop: int) -> None:
        """Nothing is new."""

    def _there(self, positions: Integers | slice) -> Any:
        """The same on the device."""
        import torch

        return positions if isinstance(positions, slice) else torch.from_numpy(positions).to(self._device)

    def _settled(self, there: Any) -> tuple[Integers, Floats]:
        """Positions that are on the device, here, and their squared distances."""
        import torch

        positions, numbers = torch.stack([there, self._closest[there]]).cpu().numpy()
        squares, known = np.full(len(positions), np.inf), numbers >= 0
        squares[known] = self.to_members(positions[known], numbers[known])
        return positions, squares

    def _show_all(self, first: int, last: int) -> None:
        """Show the members from number `first` to `last` to all positions."""
        columns = as_columns(self.members.vectors(0, first, last))
        step = max(1, _TILE_NUMBERS // len(columns.vectors))
        for start in range(0, len(self._distances), step):
            part = slice(start, min(start + step, len(self._distances)))
            tile = compare(self._asking[part], self._distances[part] * self._scale**2, columns)
            row, column, _ = tile.places(1)
            # Where rows lie in tight groups a product in float32 leaves many pairs open.
            for begin in range(0, len(row), _PAIRS):
                pairs = slice(begin, begin + _PAIRS)
                self._decide(row[pairs] + start, column[pairs] + first)

    def _decide(self, row: Any, column: Any) -> None:
        """Take over what is nearer than what was known, of these pairs of positions and members."""
        import torch

        exact = _differences(self._rows, row, self._shown, column)
        before = self._distances[row]
        self._distances.scatter_reduce_(0, row, exact, "amin")
        is_nearest = (exact == self._distances[row]) & (exact < before)
        none = torch.iinfo(torch.int64).max
        lowest = torch.full_like(self._closest, none)
        lowest.scatter_reduce_(0, row[is_nearest], column[is_nearest], "amin")
        self._closest = torch.where(lowest == none, self._closest, lowest)


class ResidentSearch:
    """The `k` nearest of points, which are counted from number `first` on, to blocks of the queries.

    Products propose a few more than are asked for. Where they cannot tell that no other point is as near, as among many
    copies, `otherwise` makes what looks for these queries.
    """

    def __init__(
        self,
        queries: Features,
        first: int,
        points: Features,
        k: int,
        exclude_self: bool,
        fine: Precision,
        device: str,
        *,
        otherwise: Callable[[], Callable[[Features, Integers], tuple[Floats, Integers]]],
    ) -> None:
        self._queries, self._first, self._k, self._exclude_self = queries, first, k, exclude_self
        self._fine, self._device, self._otherwise = fine, device, otherwise
        self._points, self._held = _put(points, None, fine, self._device)
        self._n_kept = min(k + exclude_self + _SPARE, len(points))

    def __call__(self, block: slice) -> tuple[Floats, Integers]:
        """Squared distances and rows of the nearest, nearest first, (n, k); of equals the lowest row comes first."""
        queries, numbers = self._queries[block], np.arange(block.start - self._first, block.stop - self._first)
        squares, rows, is_proven = self._nearest(queries, numbers)
        if not is_proven.all():
            squares[~is_proven], rows[~is_proven] = self._otherwise()(queries[~is_proven], numbers[~is_proven])
        return squares, rows

    def _nearest(self, queries: Features, numbers: Integers) -> tuple[Floats, Integers, Any]:
        """The same, and for each query whether nothing else can be as near."""
        import torch

        asking = on_device(queries, self._device)
        columns, least = self._proposed(as_rows(self._fine.place(asking, self._device)))
        # Of equal ones the lowest is to come first.
        columns, _ = columns.sort(dim=1)
        row = torch.arange(len(columns), device=self._device).repeat_interleave(self._n_kept)
        squares = _differences(asking, row, self._points, columns.flatten()).view(columns.shape)
        if self._exclude_self:
            squares[columns == torch.from_numpy(numbers).to(self._device)[:, None]] = torch.inf
        squares, order = squares.sort(dim=1, stable=True)
        is_proven = least / self._fine.scale**2 > squares[:, self._k - 1] * (1 + _APART)
        rows = columns.gather(1, order)[:, : self._k] + self._first
        return squares[:, : self._k].cpu().numpy(), rows.cpu().numpy(), is_proven.cpu().numpy()

    def _proposed(self, asked: Vectors) -> tuple[Any, Any]:
        """Points (n, m) that may be the nearest, and what no squared distance (n,) of any other is below, in units of
        the vectors."""
        import torch

        limits = torch.full_like(asked.norms, torch.inf)
        lowest, columns, least = limits[:, None][:, :0], limits[:, None][:, :0].long(), limits
        step = max(_TILE_NUMBERS // len(asked), 1)
        for start in range(0, len(self._points), step):
            tile = compare(asked, limits, as_columns(self._held[start : start + step]))
            n = len(tile.columns)
            gains, found = tile.largest(min(self._n_kept, n))
            gains = gains.double()
            base = tile.base[:, None]
            low = base - asked.error * base - tile.step * (gains + tile.rounding * gains.abs())
            if n > self._n_kept:
                least = torch.minimum(least, low[:, -1])
            lowest, columns = torch.cat([lowest, low], dim=1), torch.cat([columns, found + start], dim=1)
            lowest, order = lowest.sort(dim=1)
            if len(order[0]) > self._n_kept:
                least = torch.minimum(least, lowest[:, self._n_kept])
            lowest, columns = lowest[:, : self._n_kept], columns.gather(1, order[:, : self._n_kept])
        return columns, least


def _put(X: Features, rows: Integers | None, fine: Precision, device: str) -> tuple[Any, Vectors]:
    """Some rows of X on the device, (n, d), as they are and as vectors; None for all."""
    import torch

    n, width = len(X) if rows is None else len(rows), X.shape[1]
    there, held = torch.empty((n, width), dtype=torch.float32, device=device), fine.empty(n, width, device)
    for start in range(0, n, step := max(1, _BLOCK_NUMBERS // width)):
        part = slice(start, start + step)
        # A slice is not copied.
        there[part] = on_device(X[part if rows is None else rows[part]], device)
        fine.place_into(held, part, there[part], device)
    return there, held


def _differences(rows: Any, row: Any, columns: Any, column: Any) -> Any:
    """Squared distances (n,) of pairs of some rows and others, by differences in float64."""
    import torch

    found = torch.empty(len(row), dtype=torch.float64, device=rows.device)
    step = max(1, _DIFFERENCES // rows.shape[1])
    for start in range(0, len(row), step):
        part = slice(start, start + step)
        difference = rows[row[part]].double().sub_(columns[column[part]])
        found[part] = _summed(difference.square_())
    return found


def _summed(terms: Any) -> Any:
    """The sums (n,) of rows (n, d), which are written over. All are added up in the same order, wherever they stand and
    however many there are, which `sum` on a GPU does not promise: else copies would not be equally far."""
    while (width := terms.shape[1]) > 1:
        half = width // 2
        terms[:, :half] += terms[:, width - half :]
        terms = terms[:, : width - half]
    return terms[:, 0]
