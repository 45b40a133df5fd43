"""Contact sheets: many small pictures on one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from entropick.run import write_atomic
from entropick.sources import Source, encoded, fitted, read_picture

N_PICTURES = 100
_COLUMNS = 10
_SIDE = 96
_MARGIN = 4
_PAPER = (255, 255, 255)


def write_sheet(path: Path, pictures: Sequence[tuple[Source, int]]) -> None:
    """Write a PNG of up to 100 rows of sources, in reading order, each fitted into a square; what fails stays blank."""
    from PIL import Image

    shown = pictures[:N_PICTURES]
    columns = min(_COLUMNS, len(shown))
    cell = _SIDE + _MARGIN
    size = (columns * cell + _MARGIN, -(-len(shown) // columns) * cell + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    for place, (source, row) in enumerate(shown):
        with contextlib.suppress(Exception):
            picture = fitted(read_picture(source, row), _SIDE)
            left, top = place % columns * cell + _MARGIN, place // columns * cell + _MARGIN
            sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
    # Through memory: Pillow wants to seek, and the atomic writer only goes forward.
    write_atomic(path, lambda stream: stream.write(encoded(sheet, "PNG")))
