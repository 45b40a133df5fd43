"""The images themselves as features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from entropick import arrays
from entropick.features.base import Features


@dataclass(kw_only=True)
class Pixels(Features):
    """Pixels in grey levels 0..255, flattened to float32 ``(n, h * w * c)``.

    These are the units of the released code of Shi et al. 2025 (arXiv 2509.16499), whose Threshold Decay filter starts
    at 2000 in pixels: a threshold, an entropy or a variance for pixels in 0..1 is on another scale (L2 distances 255
    times smaller). Exact for copies and small noise; blind to a shift by one pixel, which an encoder would forgive.

    Examples
    --------
    >>> Pixels().extract(np.full((2, 8, 8), 255, np.uint8)).shape
    (2, 64)
    """

    kind: ClassVar[str] = "pixels"
    cheap: ClassVar[bool] = True

    @property
    def name(self) -> str:
        """``"pixels"``."""
        return "pixels"

    def width(self, shape: tuple[int, ...]) -> int:
        """All numbers of an image of this shape ``(h, w, c)``, of which none is made."""
        return math.prod(shape)

    def extract(self, images: Any) -> arrays.Features:
        """Return float32 ``(n, h * w * c)``, values 0..255, row i for image i; InputError for unusable images."""
        pixels = arrays.check_images(images)
        # float32 before anything is subtracted: differences of uint8 wrap around.
        flat: arrays.Features = pixels.reshape(len(pixels), -1).astype(np.float32, subok=False)
        return flat
