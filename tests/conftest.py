"""What all rooms share: one thread per process, so that times and float sums are those of the checked machine."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from entropick.optional import settle_torchvision

# Before a test imports diffusers or transformers itself.
settle_torchvision()
