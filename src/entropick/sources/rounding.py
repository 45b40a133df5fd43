"""Embeddings of every kind of number as float32, in which they still differ by what they differed in.

Distances do not change where the same is subtracted from all rows, and so an offset that float32 has no digits left
beside is subtracted in float64. Directions do: they are those of the rows as they came, and subtracted from afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, FileRows, Floats, check_features, non_finite_rows
from entropick.processes.hardware import usable_memory
from entropick.sources.embeddings import LARGE, Embeddings

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
    """

    X: Features
    problems: dict[int, str]
    offset: Floats | None = None


def as_features(named: Mapping[str, Embeddings]) -> list[Rounded]:
    """Of each, float32 ``(n, d)`` and why rows cannot be used; a float32 matrix, also a memory map, is not copied.

    Others are read block by block; large ones in memory maps stay there (`entropick.arrays.FileRows`). Where numbers of
    64 bits have an offset so large that float32 would blur what they differ in, that is subtracted first, the same from
    all; distances do not change by it.
    """
    offset = next((found for of in named.values() if (found := _offset(of)) is not None), None)
    made = []
    for name, of in named.items():
        own = offset if offset is not None and len(of.shape) == 2 and of.shape[1] == len(offset) else None
        X = _as_float32(of, own, name)
        made.append(Rounded(X, {**non_finite_rows(X), **of.problems}, own))
    return made


def directions(parts: Sequence[tuple[Features, Floats | None]]) -> tuple[Features, NDArray[np.bool_]]:
    """The rows of all parts, each a matrix and its `Rounded.offset`, at length 1; and which have none, and so stay 0.

    They are divided in float64. Where all point the same way but for what float32 would blur, their mean is subtracted.
    """
    blocks = partial(_directions, parts)
    n, width = sum(len(X) for X, _ in parts), parts[0][0].shape[1]
    offset = _blurred_mean(blocks, width)
    made, are_none, start = np.empty((n, width), np.float32), np.empty(n, bool), 0
    for block in blocks():
        stop = start + len(block)
        are_none[start:stop] = ~block.any(axis=1)
        made[start:stop] = block if offset is None else block - offset
        start = stop
    return made, are_none


def about_lengths(place: str, X: Features, offset: Floats | None = None) -> tuple[str, ...]:
    """A line where the lengths of embeddings vary so much that distances and cosines are two things."""
    lengths = np.concatenate([np.sqrt(np.einsum("ij,ij->i", block, block)) for block in _blocks(X, offset)])
    lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
    if not len(lengths) or lengths.max() <= _VARIED * lengths.min():
        return ()
    return (
        f"{place}: rows have lengths from {lengths.min():.3g} to {lengths.max():.3g}. Where only their directions mean "
        "something (cosine), give --normalize.",
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
            yield block / np.where(lengths == 0, 1.0, lengths)[:, None]


def _as_float32(of: Embeddings, offset: Floats | None, name: str) -> Features:
    first = of.parts[0]
    is_ready = first.dtype == np.float32 and first.flags.c_contiguous and offset is None
    if len(of.parts) == 1 and (is_ready or first.ndim != 2 or not first.size or first.dtype.kind not in "fiub"):
        return check_features(first, name=name, finite=False)
    n_bytes = 4 * int(np.prod(of.shape))
    if offset is None and n_bytes > LARGE * usable_memory() and all(map(_is_map, of.parts)):
        return cast(Features, FileRows(cast(Any, of.parts)))
    made, start = np.empty(of.shape, np.float32), 0
    with np.errstate(over="ignore"):
        for block in of.blocks():
            made[start : start + len(block)] = block if offset is None else block - offset
            start += len(block)
    return made


def _is_map(part: NDArray[Any]) -> bool:
    return isinstance(part, np.memmap) and part.ndim == 2 and part.flags.c_contiguous and part.dtype.kind in "fiub"


def _offset(of: Embeddings) -> Floats | None:
    """What to subtract from each column; None if float32 holds the numbers as well as need be."""
    kind = np.result_type(*of.parts)
    if len(of.shape) != 2 or kind.kind not in "fiu" or kind.itemsize < 8 or 0 in of.shape:
        return None
    return _blurred_mean(of.blocks, of.shape[1])


def _blurred_mean(blocks: Callable[[], Iterator[NDArray[Any]]], width: int) -> Floats | None:
    """The mean of each column that float32 would blur, 0 of the others; None where there is no such column."""
    n, total, largest = 0, np.zeros(width), np.zeros(width)
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
