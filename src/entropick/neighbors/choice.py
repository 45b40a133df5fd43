"""Which coarse product is worth its while on this machine, by a short measurement."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def coarse_dtype(device: str) -> torch.dtype | None:
    import os, torch
    return {"int8":torch.int8,"bf16":torch.bfloat16}.get(os.environ.get("COARSE"))
