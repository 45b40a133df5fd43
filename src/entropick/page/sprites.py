"""Images as sprite sheets: PNGs as data URIs, one pixel per pixel, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images

_MARGIN = 1


@dataclass(frozen=True)
class Sheet:
    """One PNG: its data URI, how many pixels it has, what it shows in words."""

    uri: str
    width: int
    height: int
    alt: str


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
