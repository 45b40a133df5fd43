"""Single pictures of sources, to be shown."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from entropick.sources.source import Source


def read_picture(source: Source, row: int) -> Any:
    """A row of a source of images as a Pillow image in RGB."""
    from PIL import Image

    if source.array is None:
        with Image.open(source.files[row]) as file:
            return file.convert("RGB")
    pixels = np.asarray(source.array[row])
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")


def fitted(picture: Any, side: int) -> Any:
    """A Pillow image whose longer side is `side`; enlarged pixels stay squares, reduced ones are averaged."""
    from PIL import Image

    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)


def encoded(picture: Any, file_format: str, **options: Any) -> bytes:
    """A Pillow image as the bytes of a file."""
    stream = io.BytesIO()
    picture.save(stream, file_format, optimize=True, **options)
    return stream.getvalue()
