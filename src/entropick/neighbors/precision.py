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

    float64, float32   e = 0, slack c |x|^2; of n terms c = (2n + 16) u, u half the distance from 1 to the next float;
                       of wide rows n is the columns of a block and the number of blocks, which are summed one by one
    bfloat16           a relative e of about 2^-9; c = (2n + 16) 2^-24, as sums are float32, and 2^-16 for lengths; with
                       2n for n on a GPU, whose tensor cores cut off each term, and each sum of 8 or 16 of them, where
                       others round the sum (Fasi, Higham, Mikaitis, Pranesh 2021: 10 units 2^-24 for 8 terms)
    int8               multiples of a unit, products summed in int32 without any error; c = 2^-40, and half a step

A coarse product goes first where it is faster on this machine, and sharp enough for these data. bfloat16 holds anything
well enough: what it leaves open costs little beside the time of a float32 product. int8 holds only some data almost
without error, above all pixels 0..255; of others it would leave open too much.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Floats, Integers
from entropick.processes.ahead import ahead
from entropick.processes.hardware import full_precision, usable_memory_of

if TYPE_CHECKING:
    import torch

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
# Set to "int8", "bfloat16" or "none", it is what goes first, whatever was measured.
_forced: str | None = None
# Times the speed of float32 from which a coarse product goes first.
_FASTER = 1.3
# Slack in units of squared lengths up to which a kind holds rows well enough; int8 is for what it holds nearly exactly.
_SHARP = {"int8": 2.0**-10, "bfloat16": 2.0**-6}
# Numbers in the rows by which a precision is chosen, at most about so many.
_SAMPLE_NUMBERS = 1 << 22
# Products of wider rows are sums over blocks of so many columns, which keeps what rounding may add small.
_SUMMED = 1 << 12
# The product that is measured: a tile as those of a growing set; on a GPU one that takes longer than to begin it.
_PROBE_ROWS, _PROBE_WIDTH, _PROBE_TIMES = {"cpu": 1024, "cuda": 4096}, 512, 5
# Narrower rows gain nothing (and torch 2.13 returns a wrong int8 product where there is one column).
_NARROWEST = 16
# What is held of a row beside its vector, and what a growing set knows of it.
_LENGTH_BYTES, _STATE_BYTES = 16, 48
# Of memory, what vectors that are held may take.
_SHARE = 0.6
# Wider rows may overflow the int32 in which int8 products are summed.
_WIDEST = 1 << 14
# On a GPU, torch multiplies int8 in some shapes only.
_KINDS = {"cpu": ("int8", "bfloat16"), "cuda": ("bfloat16",)}


@dataclass(frozen=True)
class Vectors:
    """Rows in some precision: `vectors` on the device, in multiples of `unit`, and in float64 (n,) their squared
    lengths `norms` and their `slack`; `error` is c.

    Vectors of int8 have the `width` of the rows, others have more columns: see `BESIDE`.
    """

    vectors: torch.Tensor
    norms: torch.Tensor
    slack: torch.Tensor
    width: int
    unit: float
    error: float

    def __getitem__(self, rows: Integers | slice) -> Vectors:
        """Some of the rows; a slice is not copied."""
        import torch

        parts = (self.vectors, self.norms, self.slack)
        if isinstance(rows, slice):
            vectors, norms, slack = (part[rows] for part in parts)
        else:
            numbers = torch.from_numpy(rows).to(self.norms.device)
            vectors, norms, slack = (part.index_select(0, numbers) for part in parts)
        return replace(self, vectors=vectors, norms=norms, slack=slack)

    def __len__(self) -> int:
        return len(self.norms)

    @property
    def offsets(self) -> torch.Tensor:
        """What squared lengths surely are not below, float64 (n,)."""
        return self.norms - self.slack


@dataclass(frozen=True)
class Extent:
    """Of some rows the largest absolute value, the sum, float64 (d,), and their number."""

    largest: float
    total: Floats
    n: int

    @classmethod
    def of(cls, X: Features) -> Self:
        """That of the rows of X, read block by block."""
        largest, total = 0.0, np.zeros(X.shape[1])
        for block in (X[part] for part in _blocks(*X.shape)):
            largest = max(largest, float(block.max()), -float(block.min()))
            total += np.sum(block, axis=0, dtype=np.float64)
        return cls(largest, total, len(X))


@dataclass(frozen=True)
class Precision:
    """How rows become vectors of `dtype`: multiplied by `scale`, a power of two, so that nothing overflows, and shifted
    by `center`. A common shift changes no distance, but shortens the vectors, and errors grow with their lengths.

    `balance` is k, `unit` what 1 means in int8.
    """

    center: NDArray[np.float32]
    scale: float
    dtype: torch.dtype
    unit: float = 1.0
    balance: float = 0.0

    @classmethod
    def of(cls, *matrices: Features) -> Self:
        """float32 for the rows of all `matrices`: their largest value becomes about 1, their mean the origin."""
        return cls.around(*map(Extent.of, matrices))

    @classmethod
    def around(cls, *extents: Extent) -> Self:
        """The same for all rows that these extents are of."""
        import torch

        largest = max(extent.largest for extent in extents)
        mean = sum((extent.total for extent in extents), np.zeros(1)) / sum(extent.n for extent in extents)
        scale = 2.0 ** -float(np.clip(np.frexp(largest)[1], -_EXPONENT, _EXPONENT))
        return cls((mean * scale).astype(np.float32), scale, torch.float32)

    def double(self) -> Precision:
        """The same rows in float64."""
        import torch

        return replace(self, dtype=torch.float64)

    def coarse(self, X: Features, dtype: torch.dtype) -> Precision:
        """bfloat16 or int8, held such that the rows of `X`, by a sample of them, have little slack: around the mean,
        or for int8 whole numbers 0..255 as they are."""
        import torch

        sample, ways = _sample(X), [replace(self, dtype=dtype)]
        if dtype == torch.int8:
            largest = float(self._shifted(sample, "cpu").abs().max())
            ways = [replace(self, dtype=dtype, unit=float(np.float32(max(largest, 1e-30) / _LARGEST)))]
            if np.array_equal(sample, np.clip(np.rint(sample), 0, 255)):
                middle = np.full_like(self.center, (_LARGEST + 1) * self.scale)
                ways.append(replace(self, dtype=dtype, center=middle, unit=self.scale))
        balanced = [way._balanced(sample) for way in ways]
        return min(balanced, key=lambda way: float(way.place(sample).slack.mean()))

    def _balanced(self, sample: Features) -> Precision:
        """The same with the k that makes the slack of the sample smallest."""
        import torch

        exact = self._shifted(sample, "cpu")
        length = float(torch.linalg.vector_norm(exact))
        error = float(torch.linalg.vector_norm(self._round(exact)[1]))
        return replace(self, balance=max(error / length if length else 0.0, 2.0**-21))

    def _shifted(self, rows: Features | torch.Tensor, device: str, columns: int | None = None) -> torch.Tensor:
        """The rows scaled and shifted, in float32 or float64, filled up with zeros to so many `columns`."""
        import torch

        n, width = rows.shape
        kind = torch.float64 if self.dtype == torch.float64 else torch.float32
        shifted = torch.empty((n, columns or width), dtype=kind, device=device)
        shifted[:, width:] = 0
        shifted[:, :width] = rows if isinstance(rows, torch.Tensor) else on_device(rows, device)
        shifted[:, :width].mul_(self.scale).sub_(on_device(self.center, device))
        return shifted

    @property
    def is_coarse(self) -> bool:
        """Whether there is a finer product that is still fast."""
        return str(self.dtype) not in ("torch.float32", "torch.float64")

    def _columns(self, width: int) -> int:
        """The columns of vectors of rows of so many."""
        if str(self.dtype) == "torch.int8":
            return width
        beside = width + BESIDE
        return -(-beside // _COLUMNS) * _COLUMNS if self.is_coarse else beside

    def held_bytes(self, n: int, width: int) -> int:
        """What `n` rows of so many columns take as vectors."""
        return n * (self._columns(width) * self.dtype.itemsize + _LENGTH_BYTES)

    def place(self, rows: Features | torch.Tensor, device: str = "cpu") -> Vectors:
        """The rows, which may lie on the device already, as vectors with what is known of their errors."""
        import torch

        width = rows.shape[1]
        exact = self._shifted(rows, device, self._columns(width))
        norms = torch.linalg.vector_norm(exact, dim=1, dtype=torch.float64).square()
        c = self._product_error(exact.shape[1], device)
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
        return Vectors(vectors, norms, slack, width, self.unit, c)

    def empty(self, n: int, width: int, device: str) -> Vectors:
        """Room for `n` rows of so many columns."""
        import torch

        return replace(
            self.place(np.zeros((1, width), np.float32), device),
            vectors=torch.empty((n, self._columns(width)), dtype=self.dtype, device=device),
            norms=torch.empty(n, dtype=torch.float64, device=device),
            slack=torch.empty(n, dtype=torch.float64, device=device),
        )

    def place_into(self, held: Vectors, part: slice, rows: Features | torch.Tensor, device: str) -> None:
        """Write the rows as vectors where there is room for them."""
        block = self.place(rows, device)
        held.vectors[part], held.norms[part], held.slack[part] = block.vectors, block.norms, block.slack

    def hold(self, X: Features, rows: Integers, device: str) -> Vectors:
        """Some rows of X as vectors, placed in blocks that stay in the cache, without a second copy of them all."""
        held = self.empty(len(rows), X.shape[1], device)
        for part in _blocks(len(rows), X.shape[1]):
            self.place_into(held, part, X[rows[part]], device)
        return held

    def reader(self, X: Features, rows: Integers, device: str, *, hold: bool) -> Reader:
        """What gives the vectors of some of the `rows` of X: all are held on the device, or some are placed anew
        whenever they are asked for."""
        held = self.hold(X, rows, device) if hold else None
        return Reader(lambda part: self.hold(X, rows[part], device), held, device)

    def _round(self, exact: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The coarse vectors, and how far each is from the exact one, float64 (n,)."""
        import torch

        if self.dtype == torch.int8:
            vectors = (exact / self.unit).round_().clamp_(-_LARGEST - 1, _LARGEST).to(torch.int8)
        else:
            vectors = exact.to(self.dtype)
        difference = exact.sub_(vectors.float().mul_(self.unit))
        return vectors, torch.linalg.vector_norm(difference, dim=1, dtype=torch.float64)

    def bears(self, width: int) -> bool:
        """Whether rows of so many columns, held as well as those that this was made for, have little slack."""
        summed = self._product_error(self._columns(width))
        return 2 * (self.balance + summed) <= _SHARP[str(self.dtype).removeprefix("torch.")]

    def _product_error(self, terms: int, device: str = "cpu") -> float:
        """The c of this precision. In float32 and float64 it also covers the shift and the rounding of lengths."""
        import torch

        if self.dtype == torch.int8:
            return 2.0**-40
        unit = torch.finfo(torch.float64 if self.dtype == torch.float64 else torch.float32).eps / 2
        if self.dtype != torch.bfloat16 and terms > _SUMMED:
            terms = _SUMMED + -(-terms // _SUMMED)
        if self.dtype == torch.bfloat16 and torch.device(device).type != "cpu":
            terms *= 2
        summed = (2 * terms + 16) * unit / (1 - (2 * terms + 16) * unit)
        return summed + (2.0**-16 if self.dtype == torch.bfloat16 else 0.0)


@dataclass(frozen=True)
class Reader:
    """Gives vectors of rows by their numbers: of those that are `held`, or placed anew on the device."""

    place: Callable[[Integers | slice], Vectors]
    held: Vectors | None
    device: str

    def __call__(self, part: Integers | slice) -> Vectors:
        """Some of them."""
        return self.place(part) if self.held is None else self.held[part]

    def in_turn(self, parts: Iterable[Integers | slice]) -> Iterator[Vectors]:
        """Part after part; of what is placed anew on a GPU, the next is on its way while one is computed with."""
        if self.held is None and self.device != "cpu":
            return ahead(self._in_the_same_stream(), parts, threads=1)
        return map(self, parts)

    def _in_the_same_stream(self) -> Callable[[Integers | slice], Vectors]:
        """What a thread of its own places on the caller's device, where the caller's work waits for it."""
        import torch

        if torch.device(self.device).type != "cuda":
            return self
        stream = torch.cuda.current_stream(self.device)

        def place(part: Integers | slice) -> Vectors:
            with torch.cuda.stream(stream):
                return self(part)

        return place


def on_device(rows: Features, device: str) -> torch.Tensor:
    """The rows as a tensor on a device. To a GPU they go from pinned memory, and nobody waits until they are there."""
    import torch

    if torch.device(device).type != "cuda":
        # torch does not look at arrays that must not be written to.
        return torch.from_numpy(rows if rows.flags.writeable and rows.flags.c_contiguous else np.array(rows)).to(device)
    pinned = torch.empty(rows.shape, dtype=torch.float32, device="cpu", pin_memory=True)
    pinned.numpy()[...] = rows
    return pinned.to(device, non_blocking=True)


def write_parts(columns: torch.Tensor, values: torch.Tensor) -> None:
    """Write float64 `values` (n,) as the sum of the first two of the `columns`."""
    columns[:, 0] = values
    columns[:, 1] = values - columns[:, 0]


def _blocks(n: int, width: int) -> Iterator[slice]:
    """Slices that cover `n` rows, of few enough elements to stay in the cache."""
    step = max(1, BLOCK_ELEMENTS // width)
    return (slice(start, start + step) for start in range(0, n, step))


def _sample(X: Features) -> Features:
    """Rows from all over `X`, about a thousand, or fewer where they are very wide."""
    return X[:: _sample_step(*X.shape)]


def _sample_step(n: int, width: int) -> int:
    return max(1, n // _SAMPLE_ROWS, n * width // _SAMPLE_NUMBERS)


def sampled(n: int, width: int) -> int:
    """How many numbers of so many rows a precision is chosen by."""
    return -(-n // _sample_step(n, width)) * width


def multiply(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the product (n, m) of two sets of vectors, int32 of int8."""
    import torch

    with full_precision:
        if a.dtype == torch.int8:
            return torch._int_mm(a, b.T)
        if a.dtype == torch.bfloat16:
            # Blocks would each be rounded to bfloat16.
            return torch.mm(a, b.T)
        product = torch.mm(a[:, :_SUMMED], b[:, :_SUMMED].T)
        for start in range(_SUMMED, a.shape[1], _SUMMED):
            product.addmm_(a[:, start : start + _SUMMED], b[:, start : start + _SUMMED].T)
        return product


def screen(fine: Precision, X: Features, device: str) -> Precision | None:
    """Return the coarse precision that goes first for the rows of `X`, or None if `fine` does."""
    import torch

    if X.shape[1] < _NARROWEST or _forced == "none":
        return None
    if _forced:
        return fine.coarse(X, getattr(torch, _forced))
    measured = speeds(device, torch.get_num_threads())
    for name in sorted(_KINDS.get(device.partition(":")[0], ()), key=lambda kind: -measured[kind]):
        if measured[name] >= _FASTER and (name != "int8" or X.shape[1] <= _WIDEST):
            precision = fine.coarse(X, getattr(torch, name))
            if is_sharp(precision, X):
                return precision
    return None


def holdable(fine: Precision, X: Features, n: int, device: str) -> tuple[Precision | None, bool]:
    """Return the coarse precision that goes first for `n` rows of `X` (None if `fine` does), and whether all of them
    are held as vectors: the one that is fast, or where that leaves too little memory int8, however much it leaves
    open. Where not even that fits, rows are placed anew whenever they are asked for, which takes much longer. A GPU has
    no int8."""
    import torch

    coarse, is_gpu = screen(fine, X, device), torch.device(device).type == "cuda"
    is_beside = isinstance(X, np.ndarray) and not isinstance(X, np.memmap) and not is_gpu
    room = _SHARE * usable_memory_of(device) - (X.nbytes if is_beside else 0)
    if (coarse or fine).held_bytes(n, X.shape[1]) <= room:
        return coarse, True
    if _NARROWEST <= X.shape[1] <= _WIDEST and not is_gpu:
        smallest = fine.coarse(X, torch.int8)
        if smallest.held_bytes(n, X.shape[1]) <= room:
            return smallest, True
    return None, False


def resident_bytes(n: int, width: int, *, beside: int = 0) -> int:
    """The least memory for `n` rows that lie in files, such that they are held as vectors of int8, of which these take
    at most a share; what is known of each row, and so many bytes `beside`, are in the rest."""
    held = n * (max(width, _NARROWEST) + _LENGTH_BYTES)
    return max(math.ceil(held / _SHARE), held + n * _STATE_BYTES + beside)


def is_sharp(precision: Precision, X: Features) -> bool:
    """Whether the products of this precision leave little undecided."""
    placed = precision.place(_sample(X))
    limit = _SHARP[str(precision.dtype).removeprefix("torch.")]
    return float(placed.slack.mean()) <= limit * float(placed.norms.mean())


@lru_cache
def speeds(device: str, n_threads: int) -> dict[str, float]:
    """Return how many times as fast as float32 each kind of coarse product is, here and now, with so many threads.

    A kind whose product of small whole numbers, which every kind holds exactly, is wrong has speed 0.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    kind = device.partition(":")[0]
    rows = torch.randint(-3, 4, (_PROBE_ROWS[kind], _PROBE_WIDTH), generator=generator).float().to(device)
    kinds, right = ("float32", *_KINDS[kind]), rows.double() @ rows.double().T
    seconds = {name: _seconds(rows.to(getattr(torch, name)), right) for name in kinds}
    return {name: seconds["float32"] / value for name, value in seconds.items()}


def _seconds(rows: torch.Tensor, right: torch.Tensor) -> float:
    """The time of a product, the best of a few; infinite if it is not the right one."""
    best = float("inf")
    for _ in range(_PROBE_TIMES):
        started = time.perf_counter()
        product = multiply(rows, rows)
        # Reading a value waits until a GPU is done.
        product[0, 0].item()
        best = min(best, time.perf_counter() - started)
    return best if (product == right.to(product.dtype)).all() else float("inf")
