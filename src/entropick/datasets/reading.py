"""The one reader of image files and array files: which there are, what they hold, what they look like.

Pillow is imported when the first image file is opened.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images, Integers, check_images, check_labels
from entropick.errors import InputError
from entropick.work import Work

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
_LISTED = 10
# What Pillow turns into grey or RGB without a choice to be made.
_CONVERTED = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
_GREY = ("1", "L", "LA")
_MODES = {"grey": "L", "rgb": "RGB"}

Head = tuple[tuple[int, int], bool]
"""``(height, width)`` of an image file, and whether it is grey."""


def image_files(folder: Path) -> list[Path]:
    """All image files at and below `folder`, sorted by path; InputError if there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, but there is none at {folder.resolve()}.")
    found = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES and path.name[0] != ".")
    # A link that leads nowhere is an image that cannot be read, and is named as such; a folder or a pipe is no image.
    files = sorted(path for path in found if path.is_file() or (path.is_symlink() and not path.exists()))
    if not files:
        raise InputError(f"{folder}: expected image files ({', '.join(_SUFFIXES)}), found none.")
    return files


def class_folders(folder: Path, files: Sequence[Path]) -> tuple[str, ...] | None:
    """The class of each file, which is the first folder below `folder` on its way; None if one lies in `folder`."""
    parts = [file.relative_to(folder).parts for file in files]
    return None if any(len(of_file) == 1 for of_file in parts) else tuple(of_file[0] for of_file in parts)


def hash_files(files: Sequence[Path]) -> str:
    """Hash (hexadecimal) of the bytes of `files`, in their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(_hash_file(file))
    return digest.hexdigest()


def hash_folder(folder: Path, files: Sequence[Path], work: Work | None = None) -> str:
    """Hash (hexadecimal) of the paths below `folder` and the bytes of `files`."""
    digest, work = hashlib.sha256(), work or Work()
    for done, file in enumerate(files, start=1):
        # That a file cannot be read is said by whoever decodes it, with all others of that kind.
        content = b"unreadable"
        with contextlib.suppress(OSError):
            content = _hash_file(file)
        digest.update(os.fsencode(f"{file.relative_to(folder)}\0") + content)
        work.progress(done, len(files), f"reading {folder}")
    return digest.hexdigest()


def image_head(file: Path) -> Head:
    """What the head of an image file says, before it is decoded; InputError if it cannot be used."""
    with _opened(file) as image:
        if image.mode not in _CONVERTED:
            raise InputError(f"expected grey or RGB with 8 bits per channel, got Pillow mode {image.mode!r}")
        return (image.height, image.width), image.mode in _GREY


def read_image(file: Path, *, mode: str = "as-is") -> NDArray[np.uint8]:
    """Decode one image file into uint8 ``(h, w)`` or ``(h, w, 3)``; InputError, with the reason, if it cannot be used.

    `mode` is "grey" or "rgb" to convert images of 8 bits, or "as-is".
    """
    with _opened(file) as image:
        image.load()
        if mode != "as-is" and image.mode in _CONVERTED:
            return np.asarray(image.convert(_MODES[mode]), np.uint8)
        if image.mode in _MODES.values():
            return np.asarray(image, np.uint8)
        deep = image.mode.startswith(("I", "F"))
        advice = "bring it to 8 bits first" if deep else "mode='rgb' or mode='grey' converts it"
        raise InputError(f"expected 8-bit grey or RGB, got Pillow mode {image.mode!r}; {advice}")


def read_picture(file: Path) -> Any:
    """An image file as a Pillow image in RGB, to be shown; whatever Pillow raises if it does not decode."""
    from PIL import Image

    with Image.open(file) as image:
        return image.convert("RGB")


def read_images(files: Sequence[Path], *, mode: str = "as-is", work: Work | None = None) -> Images:
    """Decode image files of one size into uint8 ``(n, h, w, c)``.

    Raises
    ------
    InputError
        Files that do not decode, that have more than 8 bits or an alpha channel, or that differ in size or mode: all
        of the odd ones are named (the first ten by path).
    """
    work = work or Work()
    decoded: list[NDArray[np.uint8]] = []
    problems: list[str] = []
    for number, file in enumerate(files, start=1):
        try:
            decoded.append(read_image(file, mode=mode))
        except InputError as error:
            problems.append(f"{file}: {error}")
        work.progress(number, len(files))
    if problems:
        raise InputError(_listing(f"{len(problems)} of {len(files)} image files cannot be used", problems))
    shapes = [image.shape for image in decoded]
    usual, n_usual = Counter(shapes).most_common(1)[0]
    if odd := [f"{file}: {shape}" for file, shape in zip(files, shapes, strict=True) if shape != usual]:
        raise InputError(
            _listing(f"expected images of one size and kind; {n_usual} have shape {usual}, these differ", odd)
        )
    return check_images(np.stack(decoded))


def map_array(path: Path) -> NDArray[Any]:
    """A memory map of a ``.npy`` file; InputError if it cannot be read as such."""
    array = _loaded(path, mmap_mode="r")
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: expected one array, but it is an archive of arrays. Name it .npz.")
    return array


def read_array_file(path: Path) -> tuple[Images, Integers | None]:
    """Images and labels of a ``.npy`` or ``.npz`` file; InputError if it cannot be read as such."""
    loaded = _loaded(path)
    arrays = {"images": loaded} if isinstance(loaded, np.ndarray) else loaded
    if "images" not in arrays:
        raise InputError(f"{path}: expected an array named 'images', found {', '.join(sorted(arrays)) or 'none'}.")
    images = check_images(arrays["images"], name=f"{path}: images")
    return images, check_labels(arrays.get("labels"), len(images), name=f"{path}: labels")


def _loaded(path: Path, mmap_mode: Any = None) -> Any:
    """What is in a file of NumPy: an array, or the arrays of an archive by their names."""
    try:
        # NumPy leaves a path open where it is a broken archive; a memory map needs the path.
        with open(path, "rb") as stream:
            loaded = np.load(path if mmap_mode else stream, mmap_mode=mmap_mode, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                # An array that nobody needs may be large, or a lie about its size.
                return {name: loaded[name] if name in ("images", "labels") else None for name in loaded.files}
    except Exception as error:
        raise InputError(f"{path}: expected a NumPy file without pickles, but it cannot be read ({error}).") from error


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """A Pillow image of a file; whatever is wrong with it is an InputError with the reason."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            yield image
    except InputError:
        raise
    except Exception as error:
        # Pillow names a file that it does not know at all; whoever tells of it has done so already.
        reason = type(error).__name__ if file.name in str(error) else error
        raise InputError(f"does not decode ({reason})") from error


def _hash_file(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _listing(heading: str, lines: list[str]) -> str:
    more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n  ".join([f"{heading}:", *lines[:_LISTED], *more])
