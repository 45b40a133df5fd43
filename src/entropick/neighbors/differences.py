"""Squared distances by differences: in float64, and within tight bounds in float32.

A difference of two float32 rows has no cancellation: each coordinate errs by a factor within 1 +- u, u = 2^-24, its
square within (1 +- u)^3, and a sum of d squares, in whatever order, adds d - 1 such factors. So the squared distance is
known up to a factor of (1 +- u)^(d + 2), even of near-copies, at about half the price of float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Integers
from entropick.neighbors.precision import UNDERFLOW, Floats

# Elements of a difference computed at once, small enough to stay in the cache.
_CACHED_ELEMENTS = 1 << 15


def squared_distances(X: Features, rows: Integers, Y: Features, columns: Integers) -> Floats:
    """Return ``|X[rows[i]] - Y[columns[i]]|^2``, float64 ``(n,)``, computed as differences in float64."""
    return _differences(X, rows, Y, columns, np.float64, 1.0).astype(np.float64, copy=False)


def bound_differences(
    X: Features, rows: Integers, Y: Features, columns: Integers, scale: float
) -> tuple[Floats, Floats]:
    """Return lower and upper bounds of `squared_distances`, float64 ``(n,)``, by differences in float32.

    `scale` is that of a frame: it keeps squares from overflow.
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
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            difference = X.take(rows[part], axis=0).astype(kind, copy=False)
            difference -= Y.take(columns[part], axis=0)
            if scale != 1:
                difference *= kind(scale)
            np.einsum("ij,ij->i", difference, difference, out=squares[part])
    return squares
