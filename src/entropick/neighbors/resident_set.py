"""A growing set whose rows live on a GPU: every row sees every member, and nothing but what is asked for comes back."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors.growing_set import GrowingSet, Members, Outside, tiles
from entropick.neighbors.precision import Precision, Vectors
from entropick.neighbors.tile import as_columns, as_rows, compare
from entropick.processes import usable_device

# Numbers in a tile, and of rows whose differences are computed at once.
_TILE_NUMBERS, _DIFFERENCES = 1 << 27, 1 << 24
# Squares that are computed there and here differ by less than this share: sums have other orders.
_APART = 1e-11
# Of the memory that is free there, what may be taken.
_SHARE = 0.7
# Rows that are put there at once.
_BLOCK_NUMBERS = 1 << 24


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
    kind = ResidentSet if _has_room(n, X.shape[1], n_samples, device) else GrowingSet
    return kind(X, n_samples, rows, device=device, precision=precision)


def _has_room(n: int, width: int, n_samples: int, device: str) -> bool:
    import torch

    if torch.device(device).type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    vectors = Precision.of(np.zeros((1, width), np.float32)).held_bytes(1, width)
    needed = (n + n_samples) * (4 * width + 2 * vectors + 64) + 16 * _TILE_NUMBERS + 32 * _DIFFERENCES
    return needed <= _SHARE * free


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
        self._held = fine.hold(X, self.rows, self._device)
        self._levels = [fine.reader(X, self.rows, self._device, hold=False)]
        self._rows = torch.empty((n, width), dtype=torch.float32, device=self._device)
        for start in range(0, n, step := max(1, _BLOCK_NUMBERS // width)):
            part = slice(start, start + step)
            self._rows[part] = torch.from_numpy(np.ascontiguousarray(X[self.rows[part]])).to(self._device)
        self.members = Members(width, n_samples, [fine], self._device)
        self._shown = torch.empty((n_samples, width), dtype=torch.float32, device=self._device)
        self._distances = torch.full((n,), torch.inf, dtype=torch.float64, device=self._device)
        self._closest = torch.full((n,), -1, dtype=torch.int64, device=self._device)
        self._weighted = (np.empty(0), self._distances)

    def join(self, vectors: Features) -> None:
        """See `GrowingSet.join`."""
        import torch

        first = len(self.members)
        super().join(vectors)
        last = len(self.members)
        self._shown[first:last] = torch.from_numpy(np.ascontiguousarray(vectors)).to(self._device)
        for tile in tiles(first, last):
            self._show_all(*tile)

    def catch_up(self, block: Integers, limit: Floats | float) -> Integers:
        """See `GrowingSet.catch_up`: none is behind."""
        return block[self.settle(block) > limit]

    def settle(self, positions: Integers) -> Floats:
        """The squared distances of `positions`, as `exact.squared_distances` has them."""
        import torch

        squares = np.full(len(positions), np.inf)
        numbers = self._closest[torch.from_numpy(positions).to(self._device)].cpu().numpy()
        known = numbers >= 0
        squares[known] = self.to_members(positions[known], numbers[known])
        return squares

    def farthest(self, width: int, weights: Floats) -> tuple[Integers, Floats, Outside]:
        """See `GrowingSet.farthest`."""
        import torch

        if self._weighted[0] is not weights:
            self._weighted = (weights, torch.from_numpy(weights).to(self._device))
        values = self._distances * self._weighted[1]
        n_top = min(width + 1, len(values))
        least = torch.topk(values, n_top).values[-1] * (1 - _APART)
        positions = torch.nonzero((values >= least) & (values > 0))[:, 0].cpu().numpy()
        squares = self.settle(positions)
        exact = squares * weights[positions]
        order = np.lexsort((positions, -exact))
        top = np.sort(order[:width])
        outside = (0.0, None) if len(order) <= width else (float(exact[order[width]]), int(positions[order[width]]))
        return positions[top], squares[top], outside

    def beyond(self, limit: float, start: int, width: int) -> tuple[Integers, Floats, int | None]:
        """See `GrowingSet.beyond`."""
        import torch

        above = torch.nonzero(self._distances[start:] > limit * (1 - _APART))[:width, 0]
        block = above.cpu().numpy() + start
        squares = self.settle(block)
        last = int(block[-1]) if len(block) == width else None
        return block[squares > limit], squares[squares > limit], last

    def largest(self) -> float:
        """See `GrowingSet.largest`."""
        return float(self._distances.max()) if len(self._distances) else 0.0

    def covering_radius(self, least: float = 0.0) -> float:
        """See `GrowingSet.covering_radius`."""
        import torch

        most = self.largest() * (1 - _APART)
        farthest = torch.nonzero(self._distances >= most)[:, 0].cpu().numpy()
        return max(least, math.sqrt(self.settle(farthest).max(initial=0.0)))

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

    def _show_all(self, first: int, last: int) -> None:
        """Show the members from number `first` to `last` to all positions."""
        columns = as_columns(self.members.vectors(0, first, last))
        step = max(1, _TILE_NUMBERS // len(columns.vectors))
        for start in range(0, len(self._distances), step):
            part = slice(start, min(start + step, len(self._distances)))
            # Limits are written into rows of a tile.
            rows = as_rows(_cloned(self._held[part]))
            row, column, _ = compare(rows, self._distances[part] * self._scale**2, columns).places(1)
            self._decide(row + start, column + first)

    def _decide(self, row: Any, column: Any) -> None:
        """Take over what is nearer than what was known, of these pairs of positions and members."""
        import torch

        exact = self._between(row, column)
        before = self._distances[row]
        self._distances.scatter_reduce_(0, row, exact, "amin")
        is_nearest = (exact == self._distances[row]) & (exact < before)
        none = torch.iinfo(torch.int64).max
        lowest = torch.full_like(self._closest, none)
        lowest.scatter_reduce_(0, row[is_nearest], column[is_nearest], "amin")
        self._closest = torch.where(lowest == none, self._closest, lowest)

    def _between(self, row: Any, column: Any) -> Any:
        """Squared distances (n,) of positions and members, by differences in float64."""
        import torch

        found = torch.empty(len(row), dtype=torch.float64, device=self._device)
        step = max(1, _DIFFERENCES // self._rows.shape[1])
        for start in range(0, len(row), step):
            part = slice(start, start + step)
            difference = self._rows[row[part]].double() - self._shown[column[part]].double()
            found[part] = difference.square_().sum(dim=1)
        return found


def _cloned(placed: Vectors) -> Vectors:
    return replace(placed, vectors=placed.vectors.clone())
