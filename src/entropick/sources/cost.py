"""What distances cost on this machine, now."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

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


def seconds_per_spectrum(width: int) -> float:
    """What the eigenvalues of a matrix of `width` columns cost: of a small one, scaled by the cube of the width."""
    rows = np.random.default_rng(0).standard_normal((_PROBE_COLUMNS, _PROBE_COLUMNS))
    started = time.perf_counter()
    np.linalg.eigvalsh(rows @ rows.T)
    return (time.perf_counter() - started) * (width / _PROBE_COLUMNS) ** 3
