"""The two selection rules in their plainest form: float64, one distance sweep per pick, no cleverness."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Plain = tuple[list[int], list[float]]


def squares_to(X: Floats, row: int) -> Floats:
    difference = X - X[row]
    return np.einsum("ij,ij->i", difference, difference)


def in_order(X: ArrayLike, rows: list[int]) -> list[float]:
    """Distance of each of `rows` to the nearest one before it."""
    X = np.asarray(X, np.float64)
    nearest = np.full(len(X), np.inf)
    distances = []
    for row in rows:
        distances.append(float(np.sqrt(nearest[row])))
        nearest = np.minimum(nearest, squares_to(X, row))
    return distances


def greedy(X: ArrayLike, n: int, initial: list[int], weights: Floats | float = 1.0) -> Plain:
    """Farthest-point selection; of rows equally far the lowest; copies last, lowest row first."""
    X = np.asarray(X, np.float64)
    rows = list(initial)
    nearest = np.full(len(X), np.inf)
    for row in rows:
        nearest = np.minimum(nearest, squares_to(X, row))
    while len(rows) < n:
        free = np.setdiff1d(np.arange(len(X)), rows)
        row = int(free[np.argmax((nearest * weights)[free])])
        rows.append(row)
        nearest = np.minimum(nearest, squares_to(X, row))
    return rows, in_order(X, rows)


def density_weights(X: ArrayLike, is_trusted: NDArray[np.bool_], k: int, power: float) -> Floats:
    """What squared distances count, by a sorted table of all distances to trusted rows."""
    X = np.asarray(X, np.float64)
    squares = np.array([squares_to(X, row) for row in np.flatnonzero(is_trusted)])
    squares[np.arange(len(squares)), np.flatnonzero(is_trusted)] = np.inf
    r = np.sqrt(np.sort(squares, axis=0)[k - 1])
    typical = np.quantile(r[is_trusted], 0.5)
    with np.errstate(divide="ignore"):
        return np.minimum(1.0, typical / r) ** (2 * power)


def threshold_decay(X: ArrayLike, n: int, order: NDArray[np.int64], threshold: float, decay: float) -> Plain:
    """The filter as published: pass after pass over all candidates; copies last, in the order of candidates."""
    X = np.asarray(X, np.float64)
    rows: list[int] = []
    nearest = np.full(len(X), np.inf)
    passes = 0
    while len(rows) < n and nearest.any():
        for row in order:
            if len(rows) < n and np.sqrt(nearest[row]) > threshold * decay**passes:
                rows.append(int(row))
                nearest = np.minimum(nearest, squares_to(X, row))
        passes += 1
    rows += [int(row) for row in order if row not in rows][: n - len(rows)]
    return rows, in_order(X, rows)


def covering_radius(X: ArrayLike, rows: list[int]) -> float:
    X = np.asarray(X, np.float64)
    return float(np.sqrt(np.min([squares_to(X, row) for row in rows], axis=0).max()))


def smallest_pair(X: ArrayLike, rows: list[int]) -> float:
    return min(in_order(X, rows))
