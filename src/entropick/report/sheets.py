"""How the page lays images out: halves that stand side by side where there is room, pairs with their distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images
from entropick.page.sprites import Sheet, sprite_sheet

_IMAGE_COLUMNS, _PAIR_COLUMNS = 8, 5


@dataclass(frozen=True)
class PairSheet:
    """Generated images above their nearest training images, and the distance of each pair as far as it is known."""

    sheet: Sheet
    distances: tuple[float | None, ...]


def halves(images: Images, kind: str) -> tuple[Sheet, ...]:
    """Two sheets, which stand side by side where there is room; one for few images."""
    n_parts = 2 if len(images) > _IMAGE_COLUMNS else 1
    parts = [part for part in np.array_split(images, n_parts) if len(part)]
    return tuple(sprite_sheet(part, _IMAGE_COLUMNS, f"{len(part)} {kind}") for part in parts)


def pair_sheets(pairs: NDArray[np.uint8], distances: list[float | None], where: str) -> tuple[PairSheet, ...]:
    """Sheets of five pairs, uint8 ``(m, 2, h, w, c)`` in all, and the distance below each."""
    starts = range(0, len(pairs), _PAIR_COLUMNS)
    parts = [slice(start, start + _PAIR_COLUMNS) for start in starts]
    return tuple(PairSheet(_pair_sheet(pairs[part], where), tuple(distances[part])) for part in parts)


def _pair_sheet(pairs: NDArray[np.uint8], where: str) -> Sheet:
    missing = _PAIR_COLUMNS - len(pairs)
    alt = f"{where}: above, {len(pairs)} generated images; below each, its nearest training image"
    padded = np.concatenate([pairs, np.zeros((missing, *pairs.shape[1:]), np.uint8)]) if missing else pairs
    return sprite_sheet(np.concatenate([padded[:, 0], padded[:, 1]]), _PAIR_COLUMNS, alt)
