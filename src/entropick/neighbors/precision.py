"""Vectors in several precisions, and bounds of squared distances by their products, proven for each.

Let x be held as ``x'`` with the error ``e = |x - x'|``, and y as ``y'`` with ``f = |y - y'|``. By Cauchy and Schwarz

    |x.y - x'.y'| <= |x| f + |y| e + e f,

and as ``2ab <= k a^2 + b^2 / k`` for every k > 0, twice that is at most ``k (|x|^2 + |y|^2) + (1 + 1/k) (e^2 + f^2)``.
The product of ``x'`` and ``y'`` is itself computed with an error of at most ``c |x'| |y'|``, where c is known for each
precision, and ``2 |x'| |y'| <= |x'|^2 + |y'|^2 <= 2 (|x|^2 + e^2 + |y|^2 + f^2)``. So the error of a squared distance
is at most the sum of two numbers, one for each row, its *slack*:

    slack(x) = (k + 2c) |x|^2 + (1 + 1/k + 2c) e^2

The errors e are measured row by row, not assumed, so that the bounds hold for whatever was rounded or cut off. k is the
ratio of the typical e to the typical \\|x\\|, which makes the slack smallest.

    float64, float32   e = 0; a sum of d products errs by c = (2d + 16) u, u half the distance from 1 to the next float
    bfloat16           a relative e of about 2^-10; c = (2d + 16) 2^-24, and 2^-8 because the result is bfloat16 too
    int8               multiples of a unit, products summed in int32 without any error; c = 2^-40, and half a step
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Integers

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

    def shift(self, rows: Features, kind: type[np.floating]) -> NDArray[np.floating]:
        """The rows in this frame, as float32 or float64."""
        shifted = np.multiply(rows, kind(self.scale), dtype=kind)
        shifted -= self.center
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
    """Rows in a frame: `vectors` (n, d) on the device in multiples of `unit`, and in float64 (n,) their squared lengths
    `norms` and their `slack`."""

    vectors: torch.Tensor
    norms: torch.Tensor
    slack: torch.Tensor
    unit: float

    def __getitem__(self, rows: Integers) -> Placed:
        """A copy of some of the rows."""
        import torch

        index = torch.from_numpy(rows).to(self.norms.device)
        vectors, norms, slack = (part.index_select(0, index) for part in (self.vectors, self.norms, self.slack))
        return Placed(vectors, norms, slack, self.unit)

    def __len__(self) -> int:
        return len(self.norms)


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
        return min(_ways(frame, sample, dtype), key=lambda way: float(way.place(sample).slack.mean()))

    @property
    def is_coarse(self) -> bool:
        """Whether there is a finer product that is still fast."""
        return str(self.dtype) not in ("torch.float32", "torch.float64")

    def place(self, rows: Features, device: str = "cpu") -> Placed:
        """The rows as vectors, with what is known of their errors."""
        import torch

        exact = torch.from_numpy(self.frame.shift(rows, np.float64 if self.dtype == torch.float64 else np.float32))
        exact = exact.to(device)
        norms = torch.linalg.vector_norm(exact, dim=1, dtype=torch.float64).square()
        twice = 2 * self._product_error(rows.shape[1])
        if not self.is_coarse:
            return Placed(exact, norms, twice / 2 * norms + UNDERFLOW, 1.0)
        vectors, error = self._round(exact)
        # What the measurement itself adds, and the rounding of the shift.
        square = (error * (1 + 2.0**-20) + 2.0**-22 * norms.sqrt()).square()
        slack = (self.balance + twice) * norms + (1 + 1 / self.balance + twice) * square + UNDERFLOW
        if self.dtype == torch.int8:
            # The tile counts whole steps.
            slack += 1.01 * self.unit**2
        return Placed(vectors, norms, slack, self.unit)

    def _round(self, exact: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The coarse vectors, and how far each is from the exact one, float64 (n,)."""
        import torch

        if self.dtype == torch.int8:
            vectors = (exact / self.unit).round_().clamp_(-_LARGEST - 1, _LARGEST).to(torch.int8)
        else:
            vectors = exact.to(self.dtype)
        difference = exact.sub_(vectors.float().mul_(self.unit))
        return vectors, torch.linalg.vector_norm(difference, dim=1, dtype=torch.float64)

    def _product_error(self, width: int) -> float:
        """The c of this precision. In float32 and float64 it also covers the shift and the rounding of lengths."""
        import torch

        if self.dtype == torch.int8:
            return 2.0**-40
        unit = torch.finfo(torch.float64 if self.dtype == torch.float64 else torch.float32).eps / 2
        summed = (2 * width + 16) * unit / (1 - (2 * width + 16) * unit)
        return summed + (2.0**-8 if self.dtype == torch.bfloat16 else 0.0)


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


@contextmanager
def full_precision() -> Iterator[None]:
    """Hold torch to true float32 sums: TF32 or bfloat16, which a caller may have allowed, break the bounds."""
    import torch

    products, sums = torch.get_float32_matmul_precision(), torch.backends.cuda.matmul
    reduced = sums.allow_bf16_reduced_precision_reduction
    torch.set_float32_matmul_precision("highest")
    sums.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        sums.allow_bf16_reduced_precision_reduction = reduced


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the product (n, m) of two sets of coarse vectors, int32 of int8."""
    import torch

    with full_precision():
        return torch._int_mm(a, b.T) if a.dtype == torch.int8 else torch.mm(a, b.T)


def tile_of_bounds(asked: Placed, placed: Placed) -> tuple[torch.Tensor, float]:
    """Return a tile (n, m), and the step that makes it, with `offsets` added to its rows, lower bounds of squared
    distances.

    The upper bound is higher by twice the slack of both rows. The tile of int8 counts whole steps, which needs no way
    to float32; others have a step of 1. What they are compared with may be rounded to their dtype.
    """
    import torch

    lengths = placed.norms - placed.slack
    if asked.vectors.dtype == torch.int8:
        step = 2 * asked.unit * placed.unit
        product = multiply(asked.vectors, placed.vectors)
        # Up to 2^14 columns, what is cut here is surely beneath 0, and nothing overflows.
        return torch.sub((lengths / step).floor_().clamp_(-(2.0**30), 2.0**30).int(), product, out=product), step
    if asked.vectors.dtype == torch.bfloat16:
        return torch.add(lengths.float(), multiply(asked.vectors, placed.vectors), alpha=-2), 1.0
    with full_precision():
        return torch.addmm(lengths.to(asked.vectors.dtype), asked.vectors, placed.vectors.T, alpha=-2), 1.0


def bound_products(asked: Placed, placed: Placed) -> torch.Tensor:
    """Return the tile (n, m) that, with `offsets` added to its rows, is a lower bound of squared distances."""
    tile, step = tile_of_bounds(asked, placed)
    return tile if step == 1 else tile.double().mul_(step)


def as_limits(bounds: torch.Tensor, step: float, tile: torch.Tensor) -> torch.Tensor:
    """Bounds in the dtype of a tile, such that whatever is within a bound is within its limit."""
    import torch

    if tile.dtype != torch.int32:
        return bounds.to(tile.dtype)
    return (bounds / step).clamp_(-(2.0**31), 2.0**31 - 1).ceil_().to(torch.int32)


def within(tile: torch.Tensor, limits: torch.Tensor) -> Integers:
    """The places, in the flat tile (n, m), of what is at most the limit (n,) of its row."""
    # NumPy finds the few hits in a flat array many times faster than torch finds pairs, and compares faster on a CPU.
    if tile.device.type == "cpu":
        return np.flatnonzero(tile.numpy() <= limits.numpy()[:, None])
    return np.flatnonzero((tile <= limits[:, None]).cpu().numpy())


def offsets(asked: Placed) -> torch.Tensor:
    """What is missing in the rows of `bound_products`, in float64 (n,)."""
    return asked.norms - asked.slack
