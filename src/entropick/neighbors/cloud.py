"""Rows among which a set grows, and how near it has come to each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Integers
from entropick.neighbors.device import usable_device
from entropick.neighbors.differences import bound_differences, squared_distances
from entropick.neighbors.level import Level
from entropick.neighbors.precision import (
    Floats,
    Frame,
    Placed,
    Precision,
    as_limits,
    offsets,
    tile_of_bounds,
    within,
)
from entropick.neighbors.screening import is_sharp, screen

# Rows and columns of a tile, small enough to stay in the cache.
_TILE_ROWS, _TILE_COLUMNS = 2048, 1024
# When a product leaves more than this share of its pairs undecided (and more than this many), a finer one follows.
_CROWD, _CROWD_PAIRS = 0.005, 1 << 12


class Cloud:
    """Some rows of X, in every precision that is of use. A *position* counts them; `rows` maps positions to rows of X.

    Rows of a memory map stay there, and are placed block by block.
    """

    def __init__(self, X: Features, rows: Integers | None = None, *, device: str = "auto") -> None:
        import torch

        device = usable_device(device)
        self.X = X
        self.rows = np.arange(len(X)) if rows is None else rows
        frame, hold = Frame.of(X), device != "cpu" or not isinstance(X, np.memmap)
        coarse = screen(frame, X, device) if hold else None
        sharp = coarse is not None and is_sharp(coarse, X)
        kinds = [(coarse, True)] if coarse else []
        kinds += [(Precision(frame, torch.float32), hold and not sharp), (Precision(frame, torch.float64), False)]
        self.levels = [Level(X, self.rows, kind, device, hold=held) for kind, held in kinds]
        # Where a coarse product rules out little, it is not asked for distances among few.
        self._among = self.levels[0 if sharp or not coarse else 1]

    def __len__(self) -> int:
        return len(self.rows)

    def exact(self, positions: Integers, others: Integers) -> Floats:
        """Squared distances (n,) of pairs of positions, in float64."""
        return squared_distances(self.X, self.rows[positions], self.X, self.rows[others])

    def bounds(self, positions: Integers, others: Integers) -> tuple[Floats, Floats]:
        """Bounds (n,) of squared distances of pairs of positions, which differ by little."""
        return bound_differences(self.X, self.rows[positions], self.X, self.rows[others], self.levels[0].scale)

    def mutual(self, positions: Integers, squares: Floats) -> Floats:
        """Squared distances (b, b) among `positions`; infinite where they are beyond both rows' `squares` (b,).

        What is beyond can lower neither row's distance to the set, so it need not be known.
        """
        import torch

        held = self._among[positions]
        limits = torch.from_numpy(np.maximum.outer(squares, squares) * self._among.scale**2).to(held.norms.device)
        tile, step = tile_of_bounds(held, held)
        possible = tile <= as_limits(limits - offsets(held)[:, None], step, tile)
        rows, columns = np.divmod(np.flatnonzero(possible.triu(1).cpu().numpy()), len(positions))
        lowest, _ = self.bounds(positions[rows], positions[columns])
        near = lowest <= np.maximum(squares[rows], squares[columns])
        rows, columns = rows[near], columns[near]
        result = np.full((len(positions), len(positions)), np.inf)
        result[rows, columns] = result[columns, rows] = self.exact(positions[rows], positions[columns])
        np.fill_diagonal(result, 0.0)
        return result


@dataclass(frozen=True)
class Nearer:
    """Pairs of a tile, by number and sorted by `row`, that contain the nearest column of each row that has come nearer.

    `lowest` and `highest` are bounds of their squared distances, float64; all four are (n,).
    """

    row: Integers
    column: Integers
    lowest: Floats
    highest: Floats

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Nearer:
        return Nearer(self.row[chosen], self.column[chosen], self.lowest[chosen], self.highest[chosen])

    def per_row(self) -> tuple[Integers, Floats]:
        """For each pair, how many its row has, and the smallest upper bound of its row."""
        new = np.ones(len(self.row), bool)
        np.not_equal(self.row[1:], self.row[:-1], out=new[1:])
        first = np.flatnonzero(new)
        counts = np.diff(np.append(first, len(new)))
        smallest = np.minimum.reduceat(self.highest, first) if len(first) else self.highest
        return np.repeat(counts, counts), np.repeat(smallest, counts)


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
            shown: list[Placed | None] = [None] * len(self.cloud.levels)
            for start in range(0, len(positions), _TILE_ROWS):
                self._show(positions[start : start + _TILE_ROWS], columns, shown)

    def _show(self, positions: Integers, columns: Integers, shown: list[Placed | None]) -> None:
        """One tile, by finer and finer products for the rows that are left open, and in the end by differences."""
        for depth, level in enumerate(self.cloud.levels):
            placed = shown[depth] = shown[depth] or level[columns]
            nearer = self._note_clear(positions, columns, self._compare(level, positions, placed))
            crowd = max(_CROWD_PAIRS, _CROWD * len(positions) * len(columns))
            if len(nearer.row) <= crowd or level is self.cloud.levels[-1]:
                break
            positions = positions[np.unique(nearer.row)]
        nearer = self._note_clear(positions, columns, self._tighten(positions, columns, nearer))
        self._decide(positions[nearer.row], columns[nearer.column])

    def _tighten(self, positions: Integers, columns: Integers, nearer: Nearer) -> Nearer:
        """The same pairs with bounds by differences, without those that turn out to be farther."""
        rows = positions[nearer.row]
        lowest, highest = self.cloud.bounds(rows, columns[nearer.column])
        nearer = Nearer(nearer.row, nearer.column, lowest, highest)[lowest < self.squares[rows]]
        return nearer[nearer.lowest <= nearer.per_row()[1]]

    def _note_clear(self, positions: Integers, columns: Integers, nearer: Nearer) -> Nearer:
        """Note where one column is surely nearer than all others and than what was known; return what remains."""
        counts, _ = nearer.per_row()
        clear = (counts == 1) & (nearer.highest < self._lowest[positions[nearer.row]])
        noted, rows = nearer[clear], positions[nearer.row[clear]]
        self._lowest[rows], self.squares[rows] = noted.lowest, noted.highest
        self._nearest[rows] = columns[noted.column]
        return nearer[~clear]

    def _decide(self, positions: Integers, members: Integers) -> None:
        """Show members to positions, pair by pair, in float64."""
        self.settle(np.unique(positions))
        np.minimum.at(self.squares, positions, self.cloud.exact(positions, members))
        self._lowest[positions] = self.squares[positions]

    def _compare(self, level: Level, positions: Integers, placed: Placed) -> Nearer:
        import torch

        asked, scale = level[positions], level.scale**2
        (tile, step), offset = tile_of_bounds(asked, placed), offsets(asked)
        limit = torch.from_numpy(self.squares[positions] * scale).to(offset.device) - offset
        least = tile.amin(dim=1)
        touched = torch.nonzero(least <= as_limits(limit, step, tile))[:, 0]
        slack = asked.slack[touched]
        reach = torch.minimum(least[touched] * step + 2 * (slack + placed.slack.max()), limit[touched])
        tile = tile if len(touched) == len(tile) else tile.index_select(0, touched)
        hits = torch.from_numpy(within(tile, as_limits(reach, step, tile))).to(offset.device)
        row, column = hits // len(placed), hits % len(placed)
        low = tile.view(-1)[hits] * step + offset[touched][row]
        high = low + 2 * (slack[row] + placed.slack[column])
        lowest, highest = (bound.clamp_(min=0).cpu().numpy() / scale for bound in (low, high))
        nearer = Nearer(touched[row].cpu().numpy(), column.cpu().numpy(), lowest, highest)
        return nearer[nearer.lowest <= nearer.per_row()[1]]
