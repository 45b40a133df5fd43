"""What needs no product: squared distances as differences, copies of rows, groups of numbers.

A difference of two float32 rows has no cancellation: each coordinate errs by a factor within 1 +- u, u = 2^-24, its
square within (1 +- u)^3, and a sum of d squares, in whatever order, adds d - 1 such factors. So the squared distance is
known up to a factor of (1 +- u)^(d + 2), even of near-copies, at about half the price of float64.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Floats, Integers
from entropick.neighbors.precision import UNDERFLOW

# Elements of a difference computed at once, small enough to stay in the cache.
_CACHED_ELEMENTS = 1 << 15
# Rows that tell one matrix from another, and numbers in them at most, about.
_SAMPLE_ROWS, _SAMPLE_NUMBERS = 256, 1 << 20
# Numbers of a row that are looked at first to see whether it is like another.
_GLANCE = 64
# Numbers of rows that are hashed at once.
_HASHED_NUMBERS = 1 << 22


def squared_distances(X: Features, rows: Integers, Y: Features, columns: Integers) -> Floats:
    """Return ``|X[rows[i]] - Y[columns[i]]|^2``, float64 ``(n,)``, computed as differences in float64."""
    return _differences(X, rows, Y, columns, np.float64, 1.0).astype(np.float64, copy=False)


def bound_differences(
    X: Features, rows: Integers, Y: Features, columns: Integers, scale: float
) -> tuple[Floats, Floats]:
    """Return lower and upper bounds of `squared_distances`, float64 ``(n,)``, by differences in float32.

    `scale` is that of a precision: it keeps squares from overflow.
    """
    squares = _differences(X, rows, Y, columns, np.float32, scale).astype(np.float64)
    error = 2 * (X.shape[1] + 4) * 2.0**-24
    # A difference of the largest float32 numbers may overflow; then nothing is known of it.
    low = np.where(np.isfinite(squares), squares * (1 - error) - UNDERFLOW, 0.0)
    return np.maximum(low, 0.0) / scale**2, (squares * (1 + error) + UNDERFLOW) / scale**2


def _differences(
    X: Features, rows: Integers, Y: Features, columns: Integers, kind: type[np.floating], scale: float
) -> NDArray[np.floating]:
    """Squared distances of scaled rows, computed in `kind`, a few at a time."""
    squares = np.empty(len(rows), kind)
    step = max(1, _CACHED_ELEMENTS // X.shape[1])
    with np.errstate(over="ignore"):
        if X.shape[1] > _CACHED_ELEMENTS:
            for place, (row, column) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True)):
                squares[place] = _of_wide_rows(X[row], Y[column], kind, scale)
            return squares
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            difference = X.take(rows[part], axis=0).astype(kind, copy=False)
            difference -= Y.take(columns[part], axis=0)
            if scale != 1:
                difference *= kind(scale)
            np.einsum("ij,ij->i", difference, difference, out=squares[part])
    return squares


def _of_wide_rows(x: Any, y: Any, kind: type[np.floating], scale: float) -> float:
    """The squared distance of two rows of many columns, of which a difference as a whole would leave the cache."""
    total = kind(0)
    for start in range(0, len(x), _CACHED_ELEMENTS):
        part = slice(start, start + _CACHED_ELEMENTS)
        difference = x[part].astype(kind)
        difference -= y[part]
        if scale != 1:
            difference *= kind(scale)
        total += difference @ difference
    return float(total)


def distinct_rows(X: Features) -> tuple[Integers, Integers]:
    """Return the first row of every distinct point, ascending, and for each row its place in that list.

    Rows are the same if all their values are (-0.0 is 0.0).

    Examples
    --------
    >>> first, group = distinct_rows(np.array([[1], [2], [1]], np.float32))
    >>> first.tolist(), group.tolist()
    ([0, 1], [0, 1, 0])
    """
    # Wide rows are told apart by a few of their numbers; only those that are not are read in full.
    step = max(1, X.shape[1] // _GLANCE)
    keys = _keys(X, None, step)
    if step > 1:
        order = _by_key(keys)
        is_new = np.append(_changes(keys, order), True)
        alike = np.sort(order[~(is_new[:-1] & is_new[1:])])
        keys[alike] = _keys(X, alike, 1)
    # Of equal ones the lowest row comes first.
    order = _by_key(keys)
    is_new = _changes(keys, order)
    lowest, of_key = order[is_new], np.cumsum(is_new) - 1
    places = np.empty(len(lowest), np.int64)
    places[np.argsort(lowest)] = np.arange(len(lowest))
    group = np.empty(len(X), np.int64)
    group[order] = places[of_key]
    return np.sort(lowest), group


def _keys(X: Features, rows: Integers | None, step: int) -> NDArray[np.uint64]:
    """A hash of every `step`-th number of some rows, or of all, as two whole numbers (n, 2)"""
    n = len(X) if rows is None else len(rows)
    keys, block = np.empty((n, 2), np.uint64), max(1, _HASHED_NUMBERS // X.shape[1])
    for start in range(0, n, block):
        part = slice(start, min(start + block, n))
        # Adding 0.0 turns -0.0 into 0.0.
        values = np.ascontiguousarray(X[part if rows is None else rows[part]][:, ::step] + np.float32(0))
        digests = b"".join(blake2b(row.data, digest_size=16).digest() for row in values)
        keys[part] = np.frombuffer(digests, np.uint64).reshape(-1, 2)
    return keys


def _by_key(keys: NDArray[np.uint64]) -> Integers:
    return np.lexsort((keys[:, 1], keys[:, 0]))


def _changes(keys: NDArray[np.uint64], order: Integers) -> NDArray[np.bool_]:
    """Whether each of the keys, in this order, differs from the one before."""
    ordered, changes = keys[order], np.ones(len(order), bool)
    np.any(ordered[1:] != ordered[:-1], axis=1, out=changes[1:])
    return changes


def distinct_numbers(values: Integers) -> Integers:
    """Return the distinct ones of whole numbers, ascending; `np.unique` takes ten times as long.

    Examples
    --------
    >>> distinct_numbers(np.array([3, 1, 3])).tolist()
    [1, 3]
    """
    ordered = np.sort(values)
    return ordered[is_new(ordered)]


def is_new(ordered: Integers) -> NDArray[np.bool_]:
    """Return whether each of some sorted numbers differs from the one before."""
    new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return new


def grouped(group: Integers, n_groups: int) -> tuple[Integers, Integers]:
    """Return the order that puts the members of each group together, and where in it each begins, ``(n_groups + 1,)``.

    Examples
    --------
    >>> order, ends = grouped(np.array([2, 0, 2]), 3)
    >>> order.tolist(), ends.tolist()
    ([1, 0, 2], [0, 1, 1, 3])
    """
    order = np.argsort(group, kind="stable")
    return order, np.searchsorted(group[order], np.arange(n_groups + 1))


def digest(*arrays: NDArray[Any]) -> str:
    """Return a digest of shapes and of rows from all over the arrays: a checkpoint of other data is not gone on from.

    Examples
    --------
    >>> digest(np.zeros((2, 3))) == digest(np.zeros((3, 2)))
    False
    """
    hashed = blake2b(digest_size=16)
    for array in arrays:
        hashed.update(f"{array.dtype.str}{array.shape}".encode())
        step = max(1, len(array) // _SAMPLE_ROWS, array.size // _SAMPLE_NUMBERS)
        hashed.update(np.ascontiguousarray(array[::step]).data)
    return hashed.hexdigest()
