"""Rows among which a set grows, and how near it has come to each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entropick.arrays import Features, Integers
from entropick.neighbors.choice import coarse_dtype
from entropick.neighbors.precision import (
    BLOCK_ROWS,
    Floats,
    Frame,
    Placed,
    Precision,
    bound_products,
    offsets,
    squared_distances,
)

# Rows and columns of a tile, small enough to stay in the cache.
_TILE_ROWS, _TILE_COLUMNS = 1024, 1024
# When a product leaves more than this share of its pairs undecided (and more than this many), a finer one follows.
_CROWD, _CROWD_PAIRS = 0.005, 1 << 12


class Level:
    """Rows of X in one precision; held on the device, or placed anew whenever they are asked for."""

    def __init__(self, X: Features, rows: Integers, precision: Precision, device: str, *, hold: bool) -> None:
        self.X, self.rows, self.precision, self.device = X, rows, precision, device
        self.scale = precision.frame.scale
        self._held = self._hold() if hold else None

    def _hold(self) -> Placed:
        """All rows, placed in blocks, so that no second copy of them all ever exists."""
        import torch

        n, dtype = len(self.rows), self.precision.dtype
        held = Placed(
            torch.empty((n, self.X.shape[1]), dtype=dtype, device=self.device),
            torch.empty(n, dtype=torch.float64, device=self.device),
            torch.empty(n, dtype=torch.float64, device=self.device),
            self.precision.unit,
        )
        for start in range(0, n, BLOCK_ROWS):
            part = slice(start, start + BLOCK_ROWS)
            block = self.precision.place(self.X[self.rows[part]], self.device)
            held.vectors[part], held.norms[part], held.slack[part] = block.vectors, block.norms, block.slack
        return held

    def __getitem__(self, positions: Integers) -> Placed:
        if self._held is not None:
            return self._held[positions]
        return self.precision.place(self.X[self.rows[positions]], self.device)


class Cloud:
    """Some rows of X, in every precision that is of use. A *position* counts them; `rows` maps positions to rows of X.

    Rows of a memory map stay there, and are placed block by block.
    """

    def __init__(self, X: Features, rows: Integers | None = None, *, device: str = "cpu") -> None:
        import torch

        self.X = X
        self.rows = np.arange(len(X)) if rows is None else rows
        frame, hold = Frame.of(X), device != "cpu" or not isinstance(X, np.memmap)
        self.fine = Level(X, self.rows, Precision(frame, torch.float32), device, hold=hold)
        self.levels = [self.fine, Level(X, self.rows, Precision(frame, torch.float64), device, hold=False)]
        dtype = coarse_dtype(device) if hold else None
        if dtype is not None:
            coarse = Precision.coarse(frame, X, dtype)
            self.levels.insert(0, Level(X, self.rows, coarse, device, hold=True))

    def __len__(self) -> int:
        return len(self.rows)

    def exact(self, positions: Integers, others: Integers) -> Floats:
        """Squared distances (n,) of pairs of positions, in float64."""
        return squared_distances(self.X, self.rows[positions], self.X, self.rows[others])

    def mutual(self, positions: Integers, squares: Floats) -> Floats:
        """Squared distances (b, b) among `positions`; infinite where they are beyond both rows' `squares` (b,).

        What is beyond can lower neither row's distance to the set, so it need not be known.
        """
        import torch

        held = self.fine[positions]
        limits = torch.from_numpy(np.maximum.outer(squares, squares) * self.fine.scale**2).to(held.norms.device)
        tile = bound_products(held, held)
        near = tile <= (limits - offsets(held)[:, None]).to(tile.dtype)
        rows, columns = np.divmod(np.flatnonzero(near.triu(1).cpu().numpy()), len(positions))
        result = np.full((len(positions), len(positions)), np.inf)
        result[rows, columns] = result[columns, rows] = self.exact(positions[rows], positions[columns])
        np.fill_diagonal(result, 0.0)
        return result


@dataclass(frozen=True)
class Nearer:
    """Of the rows of a tile (by number), those that a column may be nearer to than was known.

    `clear` (n,) have one such column at `column` (n,), between `lowest` and `highest` (n,), squared, in float64. For each
    of the others, the pairs (`row`, `slot`) contain its nearest column.
    """

    clear: Integers
    column: Integers
    lowest: Floats
    highest: Floats
    row: Integers
    slot: Integers


class Reach:
    """How near a growing set has come to each position of a cloud.

    `squares` (n,) are squared distances to the nearest member that a position has been shown, or, where a product has
    said all that was needed, upper bounds that are hardly larger; `settle` makes them exact. Infinite at first.
    """

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.squares = np.full(len(cloud), np.inf)
        self._lowest = self.squares.copy()
        self._nearest = np.full(len(cloud), -1)

    def know(self, positions: Integers | int, squares: Floats | float) -> None:
        """Set exact squared distances."""
        self.squares[positions] = self._lowest[positions] = squares

    def settle(self, positions: Integers) -> Floats:
        """Make the squared distances of `positions` exact, and return them."""
        vague = positions[self._lowest[positions] < self.squares[positions]]
        self.know(vague, self.cloud.exact(vague, self._nearest[vague]))
        return self.squares[positions]

    def approach(self, positions: Integers, members: Integers) -> None:
        """Show `members` of the set to `positions`."""
        for first in range(0, len(members), _TILE_COLUMNS):
            columns = members[first : first + _TILE_COLUMNS]
            shown = [None] * len(self.cloud.levels)
            for start in range(0, len(positions), _TILE_ROWS):
                self._show(positions[start : start + _TILE_ROWS], columns, shown)

    def _show(self, positions: Integers, columns: Integers, shown: list[Placed | None]) -> None:
        """One tile, by finer and finer products for the rows that are left open, and in the end by differences."""
        for depth, level in enumerate(self.cloud.levels):
            placed = shown[depth] = shown[depth] or level[columns]
            nearer = self._compare(level, positions, placed)
            clear = positions[nearer.clear]
            self.squares[clear], self._lowest[clear] = nearer.highest, nearer.lowest
            self._nearest[clear] = columns[nearer.column]
            crowd = max(_CROWD_PAIRS, _CROWD * len(positions) * len(columns))
            if len(nearer.row) <= crowd or level is self.cloud.levels[-1]:
                break
            positions = positions[np.unique(nearer.row)]
        unclear = positions[nearer.row]
        self.settle(np.unique(unclear))
        np.minimum.at(self.squares, unclear, self.cloud.exact(unclear, columns[nearer.slot]))
        self._lowest[unclear] = self.squares[unclear]

    def _compare(self, level: Level, positions: Integers, placed: Placed) -> Nearer:
        import torch

        asked, scale = level[positions], level.scale**2
        device = asked.norms.device
        tile, offset = bound_products(asked, placed), offsets(asked)
        limit = torch.from_numpy(self.squares[positions] * scale).to(device) - offset
        rows = torch.nonzero(tile.amin(dim=1) <= limit.to(tile.dtype))[:, 0]
        tile = tile.index_select(0, rows)
        lowest, column = tile.min(dim=1)
        highest = lowest + 2 * (asked.slack[rows] + placed.slack[column])
        reach = torch.minimum(highest, limit[rows]).to(tile.dtype)
        possible = (tile <= reach[:, None]).cpu().numpy()
        lowest, highest = ((bound + offset[rows]).cpu().numpy() / scale for bound in (lowest, highest))
        rows, column = rows.cpu().numpy(), column.cpu().numpy()
        clear = (np.count_nonzero(possible, axis=1) == 1) & (highest < self._lowest[positions[rows]])
        # NumPy finds the few hits in a flat array many times faster than torch finds pairs.
        row, slot = np.divmod(np.flatnonzero(possible[~clear]), possible.shape[1])
        lowest = np.maximum(lowest[clear], 0.0)
        return Nearer(rows[clear], column[clear], lowest, highest[clear], rows[~clear][row], slot)
