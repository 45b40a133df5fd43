"""How long a selection will take and how much memory, before it starts."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

# Rows multiplied with each other to see how fast this machine is: a tile as large as those of the kernel.
_PROBE_ROWS = 2048
# What a search keeps of each tile.
_KEPT = 10
# Times the matrix products alone: what re-checks in float64 add, as measured on MNIST pixels and a Gaussian.
_RECHECKS = 1.7
# Beside the features, a selector holds a second copy of them in its own frame; not of a memory map, or of pixels.
_COPIES = 2
# Python, torch, and the blocks that are worked on.
_WORKING_BYTES = 384 << 20


@dataclass(frozen=True)
class Forecast:
    """Seconds and bytes that a selection should need, features not included."""

    seconds: float
    bytes: int


def forecast(n_pool: int, width: int, n_samples: int, *, method: str, n_trusted: int = 0) -> Forecast:
    """Forecast from sizes and from the speed of a small matrix product on this machine, now.

    Parameters
    ----------
    n_pool, width, n_samples
        Rows to choose from, columns, rows to choose.
    method
        "greedy", "threshold-decay" or "random".
    n_trusted
        Rows of the guard's trusted source, 0 without a guard.
    """
    product, search = _seconds_per_pair(width)
    in_order = n_samples * n_samples / 2
    growing = in_order + (0 if method == "random" else n_pool * n_samples)
    # The radius of the control, of a random choice too, both entropies, and the guard.
    radii = n_pool * n_samples * (2 if method == "random" else 1)
    searched = radii + 2 * n_samples * n_samples + n_pool * n_trusted
    seconds = _RECHECKS * (growing * product + searched * search)
    return Forecast(seconds, 4 * n_pool * width * _COPIES + _WORKING_BYTES)


def _seconds_per_pair(width: int) -> tuple[float, float]:
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
