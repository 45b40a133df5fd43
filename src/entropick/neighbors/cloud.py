"""Rows among which a set grows, and how near it has come to each of them."""

from __future__ import annotations

import numpy as np

from entropick.arrays import Features, Integers
from entropick.neighbors.differences import bound_differences, squared_distances
from entropick.neighbors.distinct import distinct_numbers
from entropick.neighbors.level import Level
from entropick.neighbors.precision import Floats, Frame, Placed, Precision
from entropick.neighbors.screening import screen
from entropick.neighbors.tile import Near, as_columns, as_rows, compare
from entropick.processes.device import usable_device

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
        kinds = [coarse] if coarse else []
        kinds += [Precision(frame, torch.float32), Precision(frame, torch.float64)]
        self.levels = [Level(X, self.rows, kind, device, hold=hold and kind is kinds[0]) for kind in kinds]
        self.scale = frame.scale

    def __len__(self) -> int:
        return len(self.rows)

    def exact(self, positions: Integers, others: Integers) -> Floats:
        """Squared distances (n,) of pairs of positions, in float64."""
        return squared_distances(self.X, self.rows[positions], self.X, self.rows[others])

    def bounds(self, positions: Integers, others: Integers) -> tuple[Floats, Floats]:
        """Bounds (n,) of squared distances of pairs of positions, which differ by little."""
        return bound_differences(self.X, self.rows[positions], self.X, self.rows[others], self.scale)

    def near(self, rows: Placed, squares: Floats, columns: Placed, wanted: int | None = None) -> Near:
        """Pairs of a tile that may be within the `squares` of their rows, and of the `wanted` nearest to them."""
        import torch

        limits = torch.from_numpy(squares * self.scale**2).to(rows.norms.device)
        found = compare(rows, limits, columns).near(wanted)[0]
        return Near(found.row, found.column, found.lowest / self.scale**2, found.highest / self.scale**2)

    def among(self, positions: Integers, squares: Floats) -> Near:
        """Pairs (row, column) of different places in `positions` of which the column may be within the squared distance
        of the row in `squares` (b,)."""
        if len(positions) == 0:
            return Near.none()
        level = self.levels[0]
        found = self.near(as_rows(level[positions]), squares, as_columns(level[positions]))
        return found[found.row != found.column]


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

    def lower(self, positions: Integers, bounds: Floats) -> None:
        """Note upper bounds from members that are yet to be shown to `positions`."""
        # The next number: who is shown the member at just this distance is to find it nearer.
        self.squares[positions] = np.minimum(self.squares[positions], np.nextafter(bounds, np.inf))

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

    def _show(self, positions: Integers, members: Integers, shown: list[Placed | None]) -> None:
        """One tile, by finer and finer products for the rows that are left open, and in the end by differences."""
        for depth, level in enumerate(self.cloud.levels):
            columns = shown[depth] = shown[depth] or as_columns(level[members])
            near = self.cloud.near(as_rows(level[positions]), self.squares[positions], columns, wanted=1).nearest()
            near = self._note_clear(positions, members, near)
            crowd = max(_CROWD_PAIRS, _CROWD * len(positions) * len(members))
            if len(near.row) <= crowd or level is self.cloud.levels[-1]:
                break
            positions = positions[distinct_numbers(near.row)]
        near = self._note_clear(positions, members, self._tighten(positions, members, near))
        self._decide(positions[near.row], members[near.column])

    def _tighten(self, positions: Integers, members: Integers, near: Near) -> Near:
        """The same pairs with bounds by differences, without those that turn out to be farther."""
        rows = positions[near.row]
        lowest, highest = self.cloud.bounds(rows, members[near.column])
        return Near(near.row, near.column, lowest, highest)[lowest < self.squares[rows]].nearest()

    def _note_clear(self, positions: Integers, members: Integers, near: Near) -> Near:
        """Note where one column is surely nearer than all others and than what was known; return what remains."""
        counts, _ = near.per_row()
        clear = (counts == 1) & (near.highest < self._lowest[positions[near.row]])
        noted, rows = near[clear], positions[near.row[clear]]
        self._lowest[rows], self.squares[rows] = noted.lowest, noted.highest
        self._nearest[rows] = members[noted.column]
        return near[~clear]

    def _decide(self, positions: Integers, members: Integers) -> None:
        """Show members to positions, pair by pair, in float64."""
        self.settle(distinct_numbers(positions))
        np.minimum.at(self.squares, positions, self.cloud.exact(positions, members))
        self._lowest[positions] = self.squares[positions]
