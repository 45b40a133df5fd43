"""Which rows are copies of each other, and which data a checkpoint is of."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Integers

# Rows that tell one matrix from another.
_SAMPLE_ROWS = 256


def distinct_rows(X: Features) -> tuple[Integers, Integers]:
    """Return the first row of every distinct point, ascending, and for each row its place in that list.

    Rows are the same if all their values are (-0.0 is 0.0).

    Examples
    --------
    >>> first, group = distinct_rows(np.array([[1], [2], [1]], np.float32))
    >>> first.tolist(), group.tolist()
    ([0, 1], [0, 1, 0])
    """
    seen: dict[bytes, int] = {}
    first: list[int] = []
    group = np.empty(len(X), np.int64)
    for row, values in enumerate(X):
        # Adding 0.0 turns -0.0 into 0.0.
        key = blake2b((values + np.float32(0)).tobytes(), digest_size=16).digest()
        group[row] = seen.setdefault(key, len(first))
        if group[row] == len(first):
            first.append(row)
    return np.array(first, np.int64), group


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


def members(group: Integers, n_groups: int, most: int) -> Integers:
    """Return the lowest rows of each group (n_groups, w), up to `most`, filled up with -1."""
    order, ends = grouped(group, n_groups)
    rank = np.arange(len(group)) - ends[group[order]]
    chosen = rank < most
    table = np.full((n_groups, rank[chosen].max() + 1), -1)
    table[group[order][chosen], rank[chosen]] = order[chosen]
    return table


def fingerprint(*arrays: NDArray[Any]) -> str:
    """Return a digest of shapes and of rows from all over the arrays: a checkpoint of other data is not gone on from.

    Examples
    --------
    >>> fingerprint(np.zeros((2, 3))) == fingerprint(np.zeros((3, 2)))
    False
    """
    digest = blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array[:: max(1, len(array) // _SAMPLE_ROWS)]).data)
    return digest.hexdigest()
