"""What distances cost on this machine, now."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from entropick.neighbors import Frame, Precision, as_columns, as_rows, compare, screen

# Rows and columns of a tile of distances that is timed, as large as those of the kernel.
_PROBE_ROWS, _PROBE_POINTS = 2048, 1024
# Columns of the matrix whose eigenvalues are computed to see how fast that is.
_PROBE_COLUMNS = 256
# Times what tiles take alone, and seconds of each row of a search or a growing set beside them: placing it, and
# deciding in float64 what tiles leave open. As measured on CIFAR-10 pixels and a Gaussian.
RECHECKS, PER_ROW = 1.3, 2e-5
# Python, torch, and the blocks that are worked on.
WORKING_BYTES = 384 << 20


@dataclass(frozen=True)
class Forecast:
    """Seconds and bytes that a computation should need, features not included."""

    seconds: float
    bytes: int


def seconds_per_pair(width: int) -> tuple[float, float]:
    """What a pair of rows costs in a float32 product, and in a tile of the kernel, in whatever precision goes first
    here; the best of a few."""
    import torch

    rows = np.random.default_rng(0).standard_normal((_PROBE_ROWS, width)).astype(np.float32)
    frame = Frame.of(rows)
    precision = screen(frame, rows, "cpu") or Precision(frame, torch.float32)
    asked, shown = as_rows(precision.place(rows)), as_columns(precision.place(rows[:_PROBE_POINTS]))
    limits = torch.full_like(asked.norms, torch.inf)
    product = tile = math.inf
    # The first tile finds limits such as rows have later, which leave little to look at.
    for _ in range(3):
        started = time.perf_counter()
        _, limits = compare(asked, limits, shown).near(1)
        tiled = time.perf_counter()
        torch.from_numpy(rows) @ torch.from_numpy(rows[:_PROBE_POINTS]).T
        product = min(product, time.perf_counter() - tiled)
        tile = min(tile, tiled - started)
    return product / (_PROBE_ROWS * _PROBE_POINTS), tile / (_PROBE_ROWS * _PROBE_POINTS)


def seconds_per_spectrum(width: int) -> float:
    """What the eigenvalues of a matrix of `width` columns cost: of a small one, scaled by the cube of the width."""
    rows = np.random.default_rng(0).standard_normal((_PROBE_COLUMNS, _PROBE_COLUMNS))
    started = time.perf_counter()
    np.linalg.eigvalsh(rows @ rows.T)
    return (time.perf_counter() - started) * (width / _PROBE_COLUMNS) ** 3
