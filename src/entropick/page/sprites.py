"""Images as sprite sheets: PNGs as data URIs, one pixel per pixel, enlarged by the browser."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np

from entropick.arrays import Images

_MARGIN = 1


@dataclass(frozen=True)
class Sheet:
    """One PNG: its data URI, how many pixels it has, what it shows in words."""

    uri: str
    width: int
    height: int
    alt: str


def sprite_sheet(images: Images, columns: int, alt: str) -> Sheet:
    """Lay `images` out in rows of `columns`, one transparent pixel apart, and encode them as PNG."""
    from PIL import Image

    n, height, width, channels = images.shape
    rows = -(-n // columns)
    cells = np.zeros((rows * columns, height + _MARGIN, width + _MARGIN, channels + 1), np.uint8)
    cells[:n, :height, :width, :channels] = images
    cells[:n, :height, :width, channels] = 255
    grid = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    canvas = grid.reshape(rows * (height + _MARGIN), columns * (width + _MARGIN), channels + 1)[:-_MARGIN, :-_MARGIN]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(canvas)).save(stream, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
    return Sheet(uri, canvas.shape[1], canvas.shape[0], alt)
