"""Generated images beside their nearest training images, as data that a page can carry."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entropick.sources import Source, encoded, fitted, read_picture, readable

# Larger pictures are reduced to this side.
_SIDE = 160
# Up to this side, pictures are enlarged in the page with their pixels as squares, and stored without loss.
_SMALL = 64


@dataclass(frozen=True)
class Picture:
    """One picture: its short name, its path, its data; `uri` is None where it cannot be read, or is no picture."""

    name: str
    path: str
    uri: str | None
    is_small: bool


@dataclass(frozen=True)
class Pair:
    """A generated image and its nearest training image."""

    distance: float
    kind: str
    generated: Picture
    training: Picture


def pairs(nearest: Mapping[str, Sequence[Any]], generated: Source, training: Source) -> list[Pair]:
    """The pairs that ``score.json`` keeps of a space, in their order."""
    columns = ("distance", "near_copy", "row", "path", "training_row", "training_path")
    return [
        Pair(
            distance=distance,
            kind="exact copy" if distance == 0 else "near copy" if near_copy else "",
            generated=_picture(generated, row, path),
            training=_picture(training, training_row, training_path),
        )
        for distance, near_copy, row, path, training_row, training_path in zip(
            *(nearest[name] for name in columns), strict=True
        )
    ]


def _picture(source: Source, row: int, path: str) -> Picture:
    name = f"row {row:,}"
    if source.kind == "folder":
        name = readable(str(source.files[row].relative_to(source.path)))
    if source.kind == "embeddings":
        return Picture(name, path, None, False)
    try:
        picture = read_picture(source, row)
    except Exception:
        # A file that has gone since: the numbers stand without it.
        return Picture(name, path, None, False)
    is_small = max(picture.size) <= _SMALL
    if max(picture.size) > _SIDE:
        picture = fitted(picture, _SIDE)
    if is_small:
        return Picture(name, path, _uri("png", encoded(picture, "PNG")), True)
    return Picture(name, path, _uri("jpeg", encoded(picture, "JPEG", quality=85)), False)


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
