"""What distances cost on this machine, now."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

# Rows multiplied with each other to see how fast this machine is: a tile as large as those of the kernel.
_PROBE_ROWS = 2048
# Columns of the matrix whose eigenvalues are computed to see how fast that is.
_PROBE_COLUMNS = 256
# What a search keeps of each tile.
_KEPT = 10
# Times the matrix products alone: what re-checks in float64 add, as measured on MNIST pixels and a Gaussian.
RECHECKS = 1.7
# Python, torch, and the blocks that are worked on.
WORKING_BYTES = 384 << 20


@dataclass(frozen=True)
class Forecast:
    """Seconds and bytes that a computation should need, features not included."""

    seconds: float
    bytes: int


def seconds_per_pair(width: int) -> tuple[float, float]:
    """What a distance costs as part of a large matrix product, and in a search among such; each the best of two."""
    import torch

    rows = torch.from_numpy(np.random.default_rng(0).standard_normal((_PROBE_ROWS, width)).astype(np.float32))
    product = search = math.inf
    for _ in range(2):
        started = time.perf_counter()
        tile = rows @ rows.T
        tile.amin(dim=1)
        multiplied = time.perf_counter()
        torch.topk(tile, _KEPT, dim=1, largest=False)
        product = min(product, multiplied - started)
        search = min(search, time.perf_counter() - started)
    return product / _PROBE_ROWS**2, search / _PROBE_ROWS**2


def seconds_per_spectrum(width: int) -> float:
    """What the eigenvalues of a matrix of `width` columns cost: of a small one, scaled by the cube of the width."""
    rows = np.random.default_rng(0).standard_normal((_PROBE_COLUMNS, _PROBE_COLUMNS))
    started = time.perf_counter()
    np.linalg.eigvalsh(rows @ rows.T)
    return (time.perf_counter() - started) * (width / _PROBE_COLUMNS) ** 3
