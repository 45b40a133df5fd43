"""Images as sprite sheets: PNGs as data URIs, one pixel per pixel, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images

_IMAGE_COLUMNS, _PAIR_COLUMNS = 8, 5
_MARGIN = 1


@dataclass(frozen=True)
class Sheet:
    """One PNG: its data URI, how many pixels it has, what it shows in words."""

    uri: str
    width: int
    height: int
    alt: str


@dataclass(frozen=True)
class PairSheet:
    """Generated images above their nearest training images, and the distance of each pair as far as it is known."""

    sheet: Sheet
    distances: tuple[float | None, ...]


def picture(image: NDArray[np.uint8], alt: str) -> Sheet:
    """One image, uint8 ``(h, w, 2 or 4)``, its last channel opacity, as PNG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    return Sheet(uri, image.shape[1], image.shape[0], alt)


def sprite_sheet(images: Images, columns: int, alt: str, *, scale: int = 1) -> Sheet:
    """`images` in rows of `columns`, one transparent pixel apart, each pixel `scale` wide, as PNG."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    cells = np.zeros((rows * columns, height + _MARGIN, width + _MARGIN, channels + 1), np.uint8)
    cells[:n, :height, :width, :channels] = images
    cells[:n, :height, :width, channels] = 255
    grid = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    canvas = grid.reshape(rows * (height + _MARGIN), columns * (width + _MARGIN), channels + 1)[:-_MARGIN, :-_MARGIN]
    return picture(canvas.repeat(scale, axis=0).repeat(scale, axis=1), alt)


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
