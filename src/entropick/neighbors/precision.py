"""Vectors in several precisions, and bounds of squared distances by their products, proven for each.

Let x be held as ``x'`` with the error ``e = |x - x'|``, and y as ``y'`` with ``f = |y - y'|``. By Cauchy and Schwarz

    |x.y - x'.y'| <= |x| f + |y| e + e f,

and as ``2ab <= k a^2 + b^2 / k`` for every k > 0, twice that is at most ``k (|x|^2 + |y|^2) + (1 + 1/k) (e^2 + f^2)``.
The product of ``x'`` and ``y'`` is itself computed with an error: a sum of terms errs by at most ``c/2`` times the sum
of their sizes, where c is known for each precision, and ``2 |x'| |y'|`` is at most ``2 (|x|^2 + e^2 + |y|^2 + f^2)``.
The squared lengths are terms of the same sum (`tile`), which adds another ``c/2`` of each. So the error of a squared
distance is at most the sum of two numbers, one for each row, its *slack*:

    slack(x) = (k + 2c) |x|^2 + (1 + 1/k + 2c) e^2

The errors e are measured row by row, not assumed, so that the bounds hold for whatever was rounded or cut off. k is the
ratio of the typical e to the typical \\|x\\|, which makes the slack smallest.

    float64, float32   e = 0, slack c |x|^2; of n terms c = (2n + 16) u, u half the distance from 1 to the next float
    bfloat16           a relative e of about 2^-9; c = (2n + 16) 2^-24, as sums are float32, and 2^-16 for lengths
    int8               multiples of a unit, products summed in int32 without any error; c = 2^-40, and half a step
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float64]

# Elements that are shifted, placed or measured at once, few enough to stay in the cache.
BLOCK_ELEMENTS = 1 << 19
# Squared differences of this size, where the largest coordinate is 1, may be lost to underflow.
UNDERFLOW = 1e-30
# Powers of two up to this one and their inverses are normal float32 numbers.
_EXPONENT = 126
# Rows that tell how coarse vectors are best held.
_SAMPLE_ROWS = 1024
# The largest number of int8.
_LARGEST = 127
# Columns beside those of a row: its length in two parts, of which the second is what the first was rounded by, and two
# ones, which meet the parts of the other row.
BESIDE = 4
# Rows of bfloat16 are filled up to a multiple of this, which processors multiply at once.
_COLUMNS = 32


@dataclass(frozen=True)
class Frame:
    """Where distances are computed: rows scaled by a power of two, so that none overflows, and shifted by `center`.

    A common shift changes no distance, but shortens the vectors, and errors grow with their lengths.
    """

    center: NDArray[np.float32]
    scale: float

    @classmethod
    def of(cls, *matrices: Features) -> Self:
        """The frame of the rows of all `matrices`: their largest value becomes 1, their mean the origin."""
        largest, total = 0.0, np.zeros(matrices[0].shape[1])
        for block in (X[part] for X in matrices for part in blocks(*X.shape)):
            largest = max(largest, float(block.max()), -float(block.min()))
            total += np.sum(block, axis=0, dtype=np.float64)
        scale = 2.0 ** -float(np.clip(np.frexp(largest)[1], -_EXPONENT, _EXPONENT))
        return cls((total / sum(map(len, matrices)) * scale).astype(np.float32), scale)

    def shift(self, rows: Features, kind: type[np.floating], columns: int | None = None) -> NDArray[np.floating]:
        """The rows in this frame, as float32 or float64, filled up with zeros to so many `columns`."""
        n, width = rows.shape
        shifted = np.zeros((n, columns or width), kind)
        np.multiply(rows, kind(self.scale), out=shifted[:, :width], dtype=kind)
        shifted[:, :width] -= self.center
        return shifted


def blocks(n: int, width: int) -> Iterator[slice]:
    """Slices that cover `n` rows, of few enough elements to stay in the cache."""
    step = max(1, BLOCK_ELEMENTS // width)
    return (slice(start, start + step) for start in range(0, n, step))


def sample_rows(X: Features) -> Features:
    """Rows from all over `X`, about a thousand."""
    return X[:: max(1, len(X) // _SAMPLE_ROWS)]


@dataclass(frozen=True)
class Placed:
    """Rows in a frame: `vectors` on the device, in multiples of `unit`, and in float64 (n,) their squared lengths
    `norms` and their `slack`; `error` is c.

    Vectors of int8 have the `width` of the rows, others have more columns: see `BESIDE`.
    """

    vectors: torch.Tensor
    norms: torch.Tensor
    slack: torch.Tensor
    width: int
    unit: float
    error: float

    def __getitem__(self, rows: torch.Tensor | slice) -> Placed:
        """Some of the rows; a slice is not copied."""
        parts = (self.vectors, self.norms, self.slack)
        if isinstance(rows, slice):
            vectors, norms, slack = (part[rows] for part in parts)
        else:
            vectors, norms, slack = (part.index_select(0, rows) for part in parts)
        return replace(self, vectors=vectors, norms=norms, slack=slack)

    def __len__(self) -> int:
        return len(self.norms)

    @property
    def offsets(self) -> torch.Tensor:
        """What squared lengths surely are not below, float64 (n,)."""
        return self.norms - self.slack


@dataclass(frozen=True)
class Precision:
    """How rows become vectors of `dtype` in a `frame`; `balance` is k, `unit` what 1 means in int8."""

    frame: Frame
    dtype: torch.dtype
    unit: float = 1.0
    balance: float = 0.0

    @staticmethod
    def coarse(frame: Frame, X: Features, dtype: torch.dtype) -> Precision:
        """bfloat16 or int8, held such that the rows of `X`, by a sample of them, have little slack."""
        sample = sample_rows(X)
        first, *others = _ways(frame, sample, dtype)
        return min(first, *others, key=lambda way: float(way.place(sample).slack.mean())) if others else first

    @property
    def is_coarse(self) -> bool:
        """Whether there is a finer product that is still fast."""
        return str(self.dtype) not in ("torch.float32", "torch.float64")

    def columns(self, width: int) -> int:
        """The columns of vectors of rows of so many."""
        if str(self.dtype) == "torch.int8":
            return width
        beside = width + BESIDE
        return -(-beside // _COLUMNS) * _COLUMNS if self.is_coarse else beside

    def place(self, rows: Features, device: str = "cpu") -> Placed:
        """The rows as vectors, with what is known of their errors."""
        import torch

        width, kind = rows.shape[1], np.float64 if self.dtype == torch.float64 else np.float32
        exact = torch.from_numpy(self.frame.shift(rows, kind, self.columns(width))).to(device)
        norms = torch.linalg.vector_norm(exact, dim=1, dtype=torch.float64).square()
        c = self._product_error(exact.shape[1])
        if self.is_coarse:
            vectors, error = self._round(exact)
            # What the measurement itself adds, and the rounding of the shift.
            square = (error * (1 + 2.0**-20) + 2.0**-22 * norms.sqrt()).square()
            slack = (self.balance + 2 * c) * norms + (1 + 1 / self.balance + 2 * c) * square + UNDERFLOW
        else:
            vectors, slack = exact, c * norms + UNDERFLOW
        if self.dtype == torch.int8:
            # Tiles count whole steps.
            slack += 1.01 * self.unit**2
        else:
            write_parts(vectors[:, width:], (slack - norms) / 2)
            vectors[:, width + 2 : width + BESIDE] = 1
        return Placed(vectors, norms, slack, width, self.unit, c)

    def _round(self, exact: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The coarse vectors, and how far each is from the exact one, float64 (n,)."""
        import torch

        if self.dtype == torch.int8:
            vectors = (exact / self.unit).round_().clamp_(-_LARGEST - 1, _LARGEST).to(torch.int8)
        else:
            vectors = exact.to(self.dtype)
        difference = exact.sub_(vectors.float().mul_(self.unit))
        return vectors, torch.linalg.vector_norm(difference, dim=1, dtype=torch.float64)

    def _product_error(self, terms: int) -> float:
        """The c of this precision. In float32 and float64 it also covers the shift and the rounding of lengths."""
        import torch

        if self.dtype == torch.int8:
            return 2.0**-40
        unit = torch.finfo(torch.float64 if self.dtype == torch.float64 else torch.float32).eps / 2
        summed = (2 * terms + 16) * unit / (1 - (2 * terms + 16) * unit)
        return summed + (2.0**-16 if self.dtype == torch.bfloat16 else 0.0)


def write_parts(columns: torch.Tensor, values: torch.Tensor) -> None:
    """Write float64 `values` (n,) as the sum of the first two of the `columns`."""
    columns[:, 0] = values
    columns[:, 1] = values - columns[:, 0]


def _ways(frame: Frame, sample: Features, dtype: torch.dtype) -> list[Precision]:
    """Ways to hold coarse vectors: around the mean, and for int8 whole numbers 0..255 as they are."""
    import torch

    if dtype != torch.int8:
        return [_balanced(Precision(frame, dtype), sample)]
    shifted = np.abs(frame.shift(sample, np.float32)).max()
    ways = [Precision(frame, dtype, float(np.float32(max(float(shifted), 1e-30) / _LARGEST)))]
    if np.array_equal(sample, np.clip(np.rint(sample), 0, 255)):
        middle = np.full_like(frame.center, (_LARGEST + 1) * frame.scale)
        ways.append(Precision(replace(frame, center=middle), dtype, frame.scale))
    return [_balanced(way, sample) for way in ways]


def _balanced(way: Precision, sample: Features) -> Precision:
    """The same with the k that makes the slack of the sample smallest."""
    import torch

    exact = torch.from_numpy(way.frame.shift(sample, np.float32))
    length = float(torch.linalg.vector_norm(exact))
    error = float(torch.linalg.vector_norm(way._round(exact)[1]))
    return replace(way, balance=max(error / length if length else 0.0, 2.0**-21))
