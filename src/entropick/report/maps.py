"""Density maps as pictures: where a set lies on the real data's two principal axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.report.record import RunRecord

# One colour whose opacity is the density: it stands on light and on dark ground.
_COLOR = (0x2A, 0x78, 0xB8)
_SCALE = 4


def spread_image(run: RunRecord, iteration: int) -> NDArray[np.uint8] | None:
    """The density map of an iteration (0: the real data) as an RGBA image, the second axis upwards; None without one.

    Its darkest cell is that of the real data's map, so that maps of one run compare; denser cells are as dark.
    """
    density = run.load(iteration, "measure" if iteration else "baseline", "spread.npy")
    real = run.load(0, "baseline", "spread.npy")
    if density is None or real is None or not np.max(real) > 0:
        return None
    # Square root: the thin parts are what collapses first, and they should be seen.
    strength = np.sqrt(np.clip(np.asarray(density, np.float64) / (2 * np.max(real)), 0, 1)).T[::-1]
    image = np.zeros((*strength.shape, 4), np.uint8)
    image[..., :3] = _COLOR
    image[..., 3] = np.round(255 * strength)
    return image.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)


def spread_words(run: RunRecord) -> str:
    """Which plane the maps are of, in a sentence; empty without one."""
    told: dict[str, Any] = run.values(0, "baseline").get("spread") or {}
    if not told.get("explained"):
        return ""
    first, second = (round(100 * share) for share in told["explained"])
    return (
        f"The plane of the real data's two principal axes ({told.get('feature_space', '')}), which hold {first} % and "
        f"{second} % of its variance. All maps of an arm share one scale."
    )
