"""Embeddings of every kind of number as float32, in which they still differ by what they differed in.

Distances do not change where the same is subtracted from all rows, and so an offset that float32 has no digits left
beside is subtracted in float64. Directions do: they are those of the rows as they came, and subtracted from afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import (
    BlockRows,
    Features,
    FileRows,
    Floats,
    JoinedRows,
    check_features,
    finite_kind,
    in_files,
    is_mapped,
    non_finite_rows,
    numbers_of,
    part_of,
)
from entropick.sources.embeddings import Embeddings
from entropick.sources.scratch import Room, are_large

# float32 may blur the spread of a column by so much, before the column is moved to its mean.
_BLUR = 1e-3
# By what factor lengths of embeddings may vary before it is worth a line; rows that are measured at once.
_VARIED, _BLOCK_ROWS = 2.0, 4096


class Rounded(NamedTuple):
    """Embeddings as they are compared.

    Attributes
    ----------
    X
        float32 ``(n, d)``.
    problems
        Row -> why it cannot be used.
    offset
        What was subtracted from every row, float64 ``(d,)``; None for nothing.
    notes
        What is worth a line.
    """

    X: Features
    problems: dict[int, str]
    offset: Floats | None = None
    notes: tuple[str, ...] = ()


def as_features(named: Mapping[str, Embeddings]) -> list[Rounded]:
    """Of each, float32 ``(n, d)`` and why rows cannot be used; a float32 matrix, also a memory map, is not copied.

    Others are read block by block; where all of them together are large, they are read from their files whenever they
    are asked for (`entropick.arrays.FileRows`). Where numbers of 64 bits have an offset so large that float32 would
    blur what they differ in, that is subtracted first, the same from all; distances do not change by it.
    """
    offset = next((found for of in named.values() if (found := _offset(of)) is not None), None)
    large = are_large(sum(4 * math.prod(of.shape) for of in named.values()))
    made = []
    for name, of in named.items():
        own = offset if offset is not None and len(of.shape) == 2 and of.shape[1] == len(offset) else None
        X, notes = _as_float32(of, own, name, large=large)
        kind = finite_kind(np.result_type(*of.parts))
        made.append(Rounded(X, {**non_finite_rows(X, kind=kind, came=of.value), **of.problems}, own, notes))
    return made


class UnitRows(BlockRows):
    """Rows at length 1 of a matrix of which nothing is copied, made whenever they are asked for.

    Parameters
    ----------
    X, offset
        The matrix, and what is added to its rows before they are brought to length 1, see `Rounded.offset`.
    mean
        What is subtracted afterwards; both float64 ``(d,)``, None for nothing.
    """

    def __init__(self, X: Features | BlockRows, offset: Floats | None, mean: Floats | None) -> None:
        super().__init__(*X.shape)
        self._X, self._offset, self._mean = X, offset, mean

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, int | np.integer):
            return cast(NDArray[Any], self.take(numbers_of([rows], len(self)))[0])
        return self._made(self._X[rows])

    def take(self, rows: Any, axis: int = 0) -> NDArray[Any]:
        """Some rows, by their numbers."""
        return self._made(self._X.take(rows, axis=0))

    def part(self, start: int, stop: int) -> UnitRows:
        """The rows from `start` to `stop`."""
        return UnitRows(part_of(self._X, start, stop), self._offset, self._mean)

    @property
    def lie_in_files(self) -> bool:
        """Whether the matrix does."""
        return isinstance(self._X, BlockRows) and self._X.lie_in_files

    def in_files(self, write: Callable[[Features], FileRows]) -> UnitRows:
        """The same, of rows that lie in files."""
        return UnitRows(in_files(self._X, write), self._offset, self._mean)

    def _made(self, X: Features) -> NDArray[Any]:
        made = np.empty(X.shape, np.float32)
        start = 0
        for block in _directions([(X, self._offset)]):
            made[start : start + len(block)] = block if self._mean is None else block - self._mean
            start += len(block)
        return made


def directions(parts: Sequence[tuple[Features, Floats | None]]) -> tuple[Features, NDArray[np.bool_]]:
    """The rows of all parts, each a matrix and its `Rounded.offset`, at length 1; and which have none, and so stay 0.

    They are divided in float64. Where all point the same way but for what float32 would blur, their mean is subtracted.
    Where they are large, that is done whenever they are asked for.
    """
    blocks = partial(_directions, parts)
    n, width = sum(len(X) for X, _ in parts), parts[0][0].shape[1]
    mean = _blurred_mean(blocks, width)
    is_large = are_large(4 * n * width)
    made, are_none, start = np.empty((0 if is_large else n, width), np.float32), np.empty(n, bool), 0
    for block in blocks():
        stop = start + len(block)
        are_none[start:stop] = ~block.any(axis=1)
        if not is_large:
            made[start:stop] = block if mean is None else block - mean
        start = stop
    if is_large:
        units = [UnitRows(X, offset, mean) for X, offset in parts]
        return cast(Features, units[0] if len(units) == 1 else JoinedRows(units)), are_none
    return made, are_none


def about_lengths(place: str, X: Features, offset: Floats | None = None) -> tuple[str, ...]:
    """A line where the lengths of embeddings vary so much that distances and cosines are two things."""
    least, most = np.inf, 0.0
    for block in _blocks(X, offset):
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
        least, most = min(least, lengths.min(initial=np.inf)), max(most, lengths.max(initial=0.0))
    if most <= _VARIED * least:
        return ()
    return (
        f"{place}: rows have lengths from {least:.3g} to {most:.3g}. Where only their directions mean something "
        "(cosine), give --normalize (normalize=True).",
    )


def _blocks(X: Features, offset: Floats | None) -> Iterator[Floats]:
    """The rows as they came, float64, a few at a time."""
    for start in range(0, len(X), _BLOCK_ROWS):
        block = np.asarray(X[start : start + _BLOCK_ROWS], np.float64)
        yield block if offset is None else block + offset


def _directions(parts: Sequence[tuple[Features, Floats | None]]) -> Iterator[Floats]:
    for X, offset in parts:
        for block in _blocks(X, offset):
            lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
            # Rows that are not finite are problems already.
            with np.errstate(invalid="ignore"):
                units = block / np.where(lengths == 0, 1.0, lengths)[:, None]
            yield units


def _as_float32(of: Embeddings, offset: Floats | None, name: str, *, large: bool) -> tuple[Features, tuple[str, ...]]:
    """The matrix, and what is worth a line."""
    first = of.parts[0]
    is_ready = first.dtype == np.float32 and first.flags.c_contiguous and offset is None
    if len(of.parts) == 1 and (is_ready or first.ndim != 2 or not first.size or first.dtype.kind not in "fiub"):
        return check_features(first, name=name, finite=False), ()
    if large and all(map(is_mapped, of.parts)):
        return cast(Features, FileRows(cast(Any, of.parts), offset=offset)), ()
    # Of another layout, or in memory already.
    instead = sum(4 * part.size for part in of.parts if not isinstance(part, np.memmap))
    room, start = Room(name, cast(tuple[int, int], of.shape), np.float32, instead=instead), 0
    with np.errstate(over="ignore"):
        for block in of.blocks():
            room.matrix[start : start + len(block)] = block if offset is None else block - offset
            room.wrote(len(block))
            start += len(block)
    made = room.finished()
    return cast(Features, FileRows([made]) if isinstance(made, np.memmap) else made), room.notes


def _offset(of: Embeddings) -> Floats | None:
    """What to subtract from each column; None if float32 holds the numbers as well as need be."""
    kind = np.result_type(*of.parts)
    if len(of.shape) != 2 or kind.kind not in "fiu" or kind.itemsize < 8 or 0 in of.shape:
        return None
    return _blurred_mean(of.blocks, of.shape[1])


def _blurred_mean(blocks: Callable[[], Iterator[NDArray[Any]]], width: int) -> Floats | None:
    """The mean of each column that float32 would blur, 0 of the others; None where there is no such column."""
    n, total, largest = 0, np.zeros(width), np.zeros(width)
    # Of numbers whose squares are none there is no spread, and nothing is subtracted.
    with np.errstate(over="ignore", invalid="ignore"):
        for finite in _finite(blocks()):
            n += len(finite)
            total += finite.sum(axis=0)
            largest = np.maximum(largest, np.abs(finite).max(axis=0))
        if not n:
            return None
        mean = total / n
        spread = np.sqrt(sum(((finite - mean) ** 2).sum(axis=0) for finite in _finite(blocks())) / n)
    blurred = (largest * np.finfo(np.float32).eps > _BLUR * spread) & (spread > 1e-12 * largest)
    return np.where(blurred, mean, 0.0) if blurred.any() else None


def _finite(blocks: Iterator[NDArray[Any]]) -> Iterator[Floats]:
    for block in blocks:
        finite = np.asarray(block[np.isfinite(block).all(axis=1)], np.float64)
        if len(finite):
            yield finite
