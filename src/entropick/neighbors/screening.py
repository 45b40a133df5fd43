"""Whether a coarse product goes first: where it is faster on this machine, and sharp enough for these data.

bfloat16 holds anything well enough: what it leaves open costs little beside the time of a float32 product. int8 holds
only some data almost without error, above all pixels 0..255; of others it would leave open too much.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from entropick.arrays import Features
from entropick.neighbors.precision import Frame, Precision, sample_rows
from entropick.neighbors.tile import multiply

if TYPE_CHECKING:
    import torch

# Set to "int8", "bfloat16" or "none", it is what goes first, whatever was measured.
_forced: str | None = None
# Times the speed of float32 from which a coarse product goes first.
_FASTER = 1.3
# Slack in units of squared lengths up to which int8 holds rows well enough.
_SHARP = 2.0**-10
# The product that is measured: a tile as those of a growing set.
_PROBE_ROWS, _PROBE_WIDTH, _PROBE_TIMES = 1024, 512, 5
# Narrower rows gain nothing (and torch 2.13 returns a wrong int8 product where there is one column).
_NARROWEST = 16
# Wider rows may overflow the int32 in which int8 products are summed.
_WIDEST = 1 << 14
# On a GPU, torch multiplies int8 in some shapes only.
_KINDS = {"cpu": ("int8", "bfloat16"), "cuda": ("bfloat16",)}


def screen(frame: Frame, X: Features, device: str) -> Precision | None:
    """Return the coarse precision that goes first for the rows of `X`, or None if float32 does."""
    import torch

    if X.shape[1] < _NARROWEST or _forced == "none":
        return None
    if _forced:
        return Precision.coarse(frame, X, getattr(torch, _forced))
    measured = speeds(device, torch.get_num_threads())
    for name in sorted(_KINDS.get(device.partition(":")[0], ()), key=lambda kind: -measured[kind]):
        if measured[name] >= _FASTER and (name != "int8" or X.shape[1] <= _WIDEST):
            precision = Precision.coarse(frame, X, getattr(torch, name))
            if name != "int8" or is_sharp(precision, X):
                return precision
    return None


def is_sharp(precision: Precision, X: Features) -> bool:
    """Whether the products of this precision leave little undecided."""
    placed = precision.place(sample_rows(X))
    return float(placed.slack.mean()) <= _SHARP * float(placed.norms.mean())


@lru_cache
def speeds(device: str, n_threads: int) -> dict[str, float]:
    """Return how many times as fast as float32 each kind of coarse product is, here and now, with so many threads.

    A kind whose product of small whole numbers, which every kind holds exactly, is wrong has speed 0.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-3, 4, (_PROBE_ROWS, _PROBE_WIDTH), generator=generator).float().to(device)
    kinds = ("float32", *_KINDS.get(device.partition(":")[0], ()))
    seconds = {name: _seconds(rows.to(getattr(torch, name))) for name in kinds}
    return {name: seconds["float32"] / value for name, value in seconds.items()}


def _seconds(rows: torch.Tensor) -> float:
    """The time of a product, the best of a few; infinite if it is wrong."""
    best = float("inf")
    for _ in range(_PROBE_TIMES):
        started = time.perf_counter()
        product = multiply(rows, rows)
        # Reading a value waits until a GPU is done.
        product[0, 0].item()
        best = min(best, time.perf_counter() - started)
    right = (rows.double() @ rows.double().T).to(product.dtype)
    return best if (product == right).all() else float("inf")
