"""Tiles: by how much pairs of rows are surely, and possibly, nearer than a limit, for many pairs by one product.

The *gain* of row x with limit l, and y, is ``(l - |x - y|^2) / 2 = x.y - (|x|^2 - l) / 2 - |y|^2 / 2``: what is not
negative is within the limit. The last two terms are columns of the vectors, each in two parts, which meet ones on the
other side (`precision.BESIDE`), so that the product itself is the gain, summed in float32 even where it is rounded to
bfloat16 in the end: near the limit, where it matters, that rounding is smallest, and it never changes a sign.
int8 has no room for such columns; its tiles get lengths subtracted, and limits compared.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Floats, Integers
from entropick.neighbors.exact import is_new
from entropick.neighbors.precision import BESIDE, UNDERFLOW, Precision, Vectors, multiply, write_parts

if TYPE_CHECKING:
    import torch

# Columns of a tile that are looked at as one, to see where there may be something, at most; a power of two.
_FOLDS = 16
# Groups of columns that a tile must have for each of the nearest that are asked for.
_GROUPS = 4
# Sizes of products. Those of bfloat16 and int8 are compiled for each shape, which takes much longer than to multiply,
# so there are only this size and its doubles; others are multiples.
_COARSE, _FINE = 256, 16
# The gain of what is not there.
_NOTHING, _LARGEST = -1e30, 1 << 30


@dataclass(frozen=True)
class Pairs:
    """Pairs of a tile, by number and sorted by `row`, with bounds of their squared distances, float64; all are (n,)."""

    row: Integers
    column: Integers
    lowest: Floats
    highest: Floats

    def __getitem__(self, chosen: NDArray[np.bool_]) -> Pairs:
        return Pairs(self.row[chosen], self.column[chosen], self.lowest[chosen], self.highest[chosen])

    def per_row(self) -> tuple[Integers, Floats]:
        """For each pair, how many its row has, and the smallest upper bound of its row."""
        first = np.flatnonzero(is_new(self.row))
        counts = np.diff(np.append(first, len(self.row)))
        smallest = np.minimum.reduceat(self.highest, first) if len(first) else self.highest
        return np.repeat(counts, counts), np.repeat(smallest, counts)

    @classmethod
    def none(cls) -> Pairs:
        """No pair."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))

    def extended(self, other: Pairs, first: int) -> Pairs:
        """These and those of another tile, whose columns count from `first`; no longer sorted."""
        return Pairs(
            np.append(self.row, other.row),
            np.append(self.column, other.column + first),
            np.append(self.lowest, other.lowest),
            np.append(self.highest, other.highest),
        )

    def nearest(self) -> Pairs:
        """Those that may be nearest to their rows."""
        return self[self.lowest <= self.per_row()[1]]

    def limits(self, n: int, wanted: int) -> Floats:
        """Squared distances (n,) within which `wanted` surely are, for each of n rows; infinite where there are
        fewer."""
        order = np.lexsort((self.highest, self.row))
        counts = np.bincount(self.row, minlength=n)
        last = np.cumsum(counts) - counts + wanted - 1
        limits = np.full(n, np.inf)
        limits[counts >= wanted] = self.highest[order[last[counts >= wanted]]]
        return limits


@dataclass(frozen=True)
class Tile:
    """Gains (n, m) of `rows` by `columns`; more columns than these are filling.

    A lower bound of a squared distance is ``base - step * gain``, but for a relative `rounding` of the gain, and for
    that of the sum, in which the base is a term. Only what has a gain of at least `least` (n,) may be within the limit
    of its row.
    """

    gains: torch.Tensor
    least: torch.Tensor
    base: torch.Tensor
    step: float
    rounding: float
    rows: Vectors
    columns: Vectors

    def sure(self, limits: torch.Tensor) -> torch.Tensor:
        """Gains (n,) of at least this are of pairs that are surely within `limits`, in float32."""
        import torch

        enough = (self.base - limits + self._spread) / self.step
        return torch.nextafter(enough.float(), enough.new_tensor(torch.inf, dtype=torch.float32))

    def near(self, wanted: int | None = None) -> tuple[Pairs, torch.Tensor]:
        """Pairs that may be within their limits, and among the `wanted` nearest of their rows if that is a number; also
        squared distances (n,) within which so many surely are, infinite where there are fewer."""
        row, column, reach = self.places(wanted)
        gain = self._values(_in_order(self.gains)[row, column])
        base, rounded = self.base[row], self.rows.error * self.base[row]
        low = base - rounded - self.step * (gain + self.rounding * gain.abs())
        high = base + rounded - self.step * (gain - self.rounding * gain.abs())
        high += 2 * (self.rows.slack[row] + self.columns.slack[column])
        bounds = (bound.clamp_(min=0).cpu().numpy() for bound in (low, high))
        return Pairs(row.cpu().numpy(), column.cpu().numpy(), *bounds), reach

    def places(self, wanted: int | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The same pairs as rows and columns, sorted by row, on the device, and the same squared distances."""
        import torch

        codes, least = _in_order(self.gains), _in_order(self.least)
        groups = _grouped(codes, wanted or 1)
        _, folds, n_groups = groups.shape
        maxima = groups.amax(dim=1) if folds > 1 else codes
        rows = torch.nonzero(maxima.amax(dim=1) >= least)[:, 0]
        maxima, least = maxima.index_select(0, rows), least[rows]
        reach = torch.full_like(self.base, torch.inf)
        if wanted and wanted <= n_groups:
            # So many groups have something of this gain; nothing of a clearly lower one is wanted.
            kth = torch.topk(maxima, wanted, dim=1).values[:, -1] if wanted > 1 else maxima.amax(dim=1)
            gain, spread = self._values(kth), self._spread[rows]
            high = self.base[rows] - self.step * (gain - self.rounding * gain.abs()) + spread
            reach[rows] = torch.where(kth >= least, high, torch.inf)
            least = torch.maximum(least, self._codes(gain - 2 * self.rounding * gain.abs() - spread / self.step))
        place, group = _places(maxima, least)
        slot, fold = _places(groups[rows[place], :, group], least[place])
        place, column = place[slot], fold * n_groups + group[slot]
        return rows[place], column, reach

    def largest(self, k: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The `k` largest gains of each row, the largest first, and their columns, (n, k). They are in those `k` groups
        that have the largest maxima, so that all gains are read but once."""
        import torch

        groups = _grouped(self.gains, k)
        n, folds, n_groups = groups.shape
        group = torch.topk(groups.amax(dim=1), k, dim=1).indices
        gains, place = torch.topk(groups.gather(2, group[:, None].expand(n, folds, k)).flatten(1), k, dim=1)
        fold = torch.div(place, k, rounding_mode="floor")
        return gains, fold * n_groups + group.gather(1, place % k)

    @property
    def _spread(self) -> torch.Tensor:
        """By how much upper and lower bounds in a row may differ (n,)."""
        return 2 * (self.rows.slack + self.columns.slack.max() + self.rows.error * self.base)

    def _values(self, codes: torch.Tensor) -> torch.Tensor:
        return codes.view(self.gains.dtype).double()

    def _codes(self, values: torch.Tensor) -> torch.Tensor:
        """Gains that are hardly larger than `values`, or negative."""
        if self.gains.dtype.is_floating_point:
            return _in_order(values.clamp(min=0).to(self.gains.dtype))
        return values.floor().clamp(-_LARGEST, _LARGEST).to(self.gains.dtype)


def _grouped(gains: torch.Tensor, wanted: int) -> torch.Tensor:
    """The same (n, folds, groups), in as large groups of columns as leave enough of them for each that is wanted."""
    n, m = gains.shape
    folds = _FOLDS
    while folds > 1 and (m % folds or m < folds * _GROUPS * wanted):
        folds //= 2
    return gains.view(n, folds, m // folds)


def _in_order(gains: torch.Tensor) -> torch.Tensor:
    """What is ordered like `gains`, as far as these are not negative. Whole numbers are compared much faster."""
    import torch

    return gains.view(torch.int16) if gains.dtype == torch.bfloat16 else gains


def _places(values: torch.Tensor, least: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and columns of what is at least as large as the `least` of its row."""
    import torch

    if values.device.type != "cpu":
        row, column = torch.nonzero(values >= least[:, None], as_tuple=True)
        return row, column
    # NumPy finds the few hits in a flat array many times faster than torch finds pairs.
    flat = torch.from_numpy(np.flatnonzero((values >= least[:, None]).cpu().numpy())).to(values.device)
    return torch.div(flat, values.shape[1], rounding_mode="floor"), flat % values.shape[1]


def as_rows(placed: Vectors) -> Vectors:
    """The same as the rows of tiles, in which `compare` writes; nothing else may use these vectors."""
    vectors = _filled(placed.vectors, 1)
    vectors[:, placed.width : placed.width + 2] = 1
    return replace(placed, vectors=vectors)


def as_columns(placed: Vectors) -> Vectors:
    """The same as the columns of tiles."""
    n, vectors = len(placed), _filled(placed.vectors, _FINE)
    if len(vectors) > n and vectors.shape[1] > placed.width:
        vectors[n:, placed.width] = _NOTHING
    return replace(placed, vectors=vectors)


def compare(rows: Vectors, limits: torch.Tensor, columns: Vectors) -> Tile:
    """The tile of gains of `as_rows` with squared `limits`, float64 (n,), in units of the vectors, by `as_columns`.

    The limits are written into columns of the rows, and stay there.
    """
    import torch

    # No distance is larger, and what is to be exact near a limit needs a limit that is near.
    limits = torch.minimum(limits, 2.02 * (rows.norms + columns.norms.max()) + UNDERFLOW)
    if rows.vectors.dtype == torch.int8:
        step = 2 * rows.unit * columns.unit
        gains = multiply(rows.vectors, columns.vectors)[: len(rows)]
        gains[:, : len(columns)].sub_((columns.offsets / step).floor().clamp_(-_LARGEST, _LARGEST).int())
        gains[:, len(columns) :] = -_LARGEST
        least = ((rows.offsets - limits) / step).floor().clamp_(1 - _LARGEST, _LARGEST).int()
        return Tile(gains, least, rows.offsets, step, 0.0, rows, columns)
    base = limits * (1 + 2 * rows.error)
    write_parts(rows.vectors[: len(rows), rows.width + 2 :], (base - rows.offsets) / 2)
    gains = multiply(rows.vectors, columns.vectors)[: len(rows)]
    # Bounds are computed from gains in float64, which counts where the gains themselves are no coarser.
    rounding = torch.finfo(gains.dtype).eps + 8 * torch.finfo(torch.float64).eps
    return Tile(gains, gains.new_zeros(len(rows)), base, 2.0, rounding, rows, columns)


def rows_within(size: int, width: int, precision: Precision, *, most: int) -> int:
    """How many rows of so many columns take up to `size` bytes as vectors: `most`, or that halved as often as needed,
    but not below what products are filled up to."""
    least = _COARSE if precision.is_coarse else _FINE
    bytes_of_row = precision.dtype.itemsize * (width + BESIDE)
    rows = most
    while rows > least and rows * bytes_of_row > size:
        rows //= 2
    return rows


def _filled(vectors: torch.Tensor, fine: int) -> torch.Tensor:
    """The vectors, and zeros up to a number of rows that products are fast with, a multiple of `fine` in float32."""
    n = len(vectors)
    size = max(_COARSE, 1 << (n - 1).bit_length()) if vectors.element_size() < 4 else -(-n // fine) * fine
    if size == n:
        return vectors
    filled = vectors.new_empty((size, vectors.shape[1]))
    filled[:n], filled[n:] = vectors, 0
    return filled
