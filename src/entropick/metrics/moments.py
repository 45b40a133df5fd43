"""First and second moments in float64, read block by block so that no float64 copy of the whole set is made."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features

# Values converted at once: 32 MiB in float64.
_BLOCK_VALUES = 1 << 22


def column_means(X: Features) -> NDArray[np.float64]:
    """The mean of each column, float64 ``(d,)``."""
    total = np.zeros(X.shape[1])
    for block in blocks(X):
        total += block.sum(axis=0, dtype=np.float64)
    return total / len(X)


def centered_blocks(X: Features, means: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """The rows of `X` minus `means`, float64, a few at a time."""
    # Two passes instead of sum(x^2) - n mean^2, which loses everything where the mean is large beside the spread.
    for block in blocks(X):
        yield block - means


def blocks(X: Features) -> Iterator[Features]:
    """The rows of `X`, float32, a few at a time."""
    rows = max(1, _BLOCK_VALUES // X.shape[1])
    for start in range(0, len(X), rows):
        yield X[start : start + rows]
