"""Images in memory, one by one and of any size: Pillow images, and the rows of a split of Hugging Face.

They are to their readers what files are, see `entropick.datasets.reading.PackedImage`: nothing is decoded or resized
before an encoder takes it, and there is never an array of all of them.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from entropick.arrays import check_images, check_pictures, column_of_data_set, package_of
from entropick.datasets.reading import PackedImage, first_suffix
from entropick.errors import InputError

# What a PNG holds as it is.
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
# Pillow decodes an image when it is first looked at, which two threads must not do at once.
_loading = threading.Lock()


@dataclass(frozen=True, eq=False)
class _InRow(PackedImage):
    """An image in a row of a list or split."""

    container: Path
    name: str
    row: int

    @property
    def place(self) -> str:
        """What stands after ``#``: the number of the row."""
        return str(self.row)


@dataclass(frozen=True, eq=False)
class PillowImage(_InRow):
    """A Pillow image."""

    held: Any = field(repr=False)

    @property
    def key(self) -> str | None:
        """The file that it was opened from."""
        return str(getattr(self.held, "filename", "")) or None

    def picture(self) -> Any:
        """A copy of the image, turned as its EXIF says."""
        from PIL import ImageOps

        try:
            with _loading:
                self.held.load()
            return ImageOps.exif_transpose(self.held)
        except Exception as error:
            raise InputError(f"does not decode ({error})") from error

    def read_bytes(self) -> bytes:
        """A PNG of it."""
        picture, stream = self.picture(), io.BytesIO()
        if picture.mode not in _PNG_MODES:
            picture = picture.convert("RGB")
        picture.save(stream, "PNG")
        return stream.getvalue()

    def content_hash(self) -> bytes:
        """sha256 of its pixels and what they mean, 32 bytes."""
        picture = self.picture()
        colors = picture.getpalette() if picture.mode in ("P", "PA") else None
        means = (picture.mode, picture.size, colors, picture.info.get("transparency"))
        digest = hashlib.sha256(f"{means}".encode())
        digest.update(picture.tobytes())
        return digest.digest()


@dataclass(frozen=True, eq=False)
class SplitImage(_InRow):
    """An image in a row of a split, of which only the bytes are there."""

    column: str
    split: Any = field(repr=False)

    @property
    def key(self) -> str | None:
        """The path that the data set has of it."""
        return (self.split[self.row][self.column] or {}).get("path")

    def read_bytes(self) -> bytes:
        """The bytes in the data set, or in the file that it names; InputError if there are none."""
        found = self.split[self.row][self.column] or {}
        if found.get("bytes") is not None:
            return bytes(found["bytes"])
        if not found.get("path"):
            raise InputError(f"expected an image in column {self.column!r}, got nothing")
        return Path(found["path"]).read_bytes()


def pictures_of(value: Any, place: Path, name: str) -> tuple[PackedImage, ...] | None:
    """The images of a list of Pillow images, of arrays of several shapes, or of a split with a column of images.

    None for anything else. `place` is what they are in, and `name` what messages call that.
    """
    package = package_of(value)
    if package == "PIL":
        return _in_files(check_pictures(value, name), place)
    if package == "numpy" and isinstance(value, list | tuple) and len({np.shape(one) for one in value}) > 1:
        from PIL import Image

        if all(isinstance(one, np.ndarray) and one.ndim in (2, 3) for one in value):
            arrays = [check_images(one[None], name=f"{name}, image {row}")[0] for row, one in enumerate(value)]
            return _in_files([Image.fromarray(of[..., 0] if of.shape[-1] == 1 else of) for of in arrays], place)
    if package == "datasets":
        column, are_images = column_of_data_set(value, name)
        if are_images:
            kind = replace(value.features[column], decode=False)
            split = value.with_format(None).select_columns([column]).cast_column(column, kind)
            width = len(str(len(split) - 1))
            suffix = first_suffix(SplitImage(place, "", row, column, split) for row in range(len(split)))
            names = (f"{row:0{width}d}{suffix}" for row in range(len(split)))
            return tuple(SplitImage(place, of, row, column, split) for row, of in enumerate(names))
    return None


def _in_files(pictures: Sequence[Any], place: Path) -> tuple[PackedImage, ...]:
    width = len(str(len(pictures) - 1))
    return tuple(PillowImage(place, f"{row:0{width}d}.png", row, picture) for row, picture in enumerate(pictures))
