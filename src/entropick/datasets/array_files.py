"""The one reader of files of NumPy: which of their arrays are images and labels, and what shape these have."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images, Integers, check_images, check_labels, eight_bits
from entropick.errors import InputError

# Arrays of a split, as MedMNIST and Keras call them.
_SPLIT = re.compile(r"([A-Za-z0-9]+)_images|x_([A-Za-z0-9]+)")

# How a file of one array begins, and an archive of several.
_MAGIC = (b"\x93NUMPY", b"PK")


def map_array(path: Path, *, name: str = "") -> NDArray[Any]:
    """A memory map of a ``.npy`` file; InputError, in which the file has its `name`, if it cannot be read as such."""
    array = _loaded(path, mmap_mode="r", name=name)
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name or path}: expected one array, but it is an archive of arrays. Name it .npz.")
    return array


def read_array_file(path: Path, *, bit_depth: int | None = None) -> tuple[Images, Integers | None]:
    """Images and labels of a ``.npy`` or ``.npz`` file; InputError if it cannot be read as such.

    In an archive they are called ``images`` and ``labels``, ``arr_0`` and ``arr_1``, or of a split ``train_images`` and
    ``train_labels`` or ``x_train`` and ``y_train``; which of several splits is meant is said by ``FILE.npz#train``.
    `bit_depth` as in `array_of_images`.
    """
    file, split = split_path(path)
    loaded = _loaded(file, split)
    if split and isinstance(loaded, np.ndarray):
        raise InputError(f"{file}: expected an archive with splits, but it is one array. Leave #{split} out.")
    images, labels = ("images", loaded), None
    if not isinstance(loaded, np.ndarray):
        images, labels = loaded
    found = array_of_images(images[1], name=f"{file}: {images[0]}", bit_depth=bit_depth)
    if labels is None:
        return found, None
    name, values = labels
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return found, check_labels(values, len(found), name=f"{file}: {name}")


def split_path(path: Path) -> tuple[Path, str]:
    """The file, and the split behind ``#`` in its name, if there is no file of the whole name."""
    name, mark, split = path.name.rpartition("#")
    return (path.with_name(name), split) if mark and name and not path.exists() else (path, "")


def _names_of_arrays(path: Path, names: Sequence[str], split: str) -> tuple[str, str | None]:
    """The arrays of an archive that are the images and, if there are any, the labels."""
    pairs = {"": ("images", "labels")} if "images" in names else {"": ("arr_0", "arr_1")}
    splits = [match[1] or match[2] for name in names if (match := _SPLIT.fullmatch(name))]
    pairs |= {
        of: (f"{of}_images", f"{of}_labels") if f"{of}_images" in names else (f"x_{of}", f"y_{of}") for of in splits
    }
    if not split and pairs[""][0] not in names and len(splits) == 1:
        split = splits[0]
    if split not in pairs or (not split and pairs[""][0] not in names):
        if splits:
            which = f"'{path}#{splits[0]}'"
            raise InputError(
                f"{path}: expected one of its splits ({', '.join(splits)}) to be named, for instance {which}."
            )
        raise InputError(f"{path}: expected an array named 'images', found {', '.join(sorted(names)) or 'none'}.")
    images, labels = pairs[split]
    return images, labels if labels in names else None


def array_of_images(array: Any, *, name: str, bit_depth: int | None = None) -> Images:
    """The array of a file as uint8 ``(n, h, w, c)``, by `check_images`; InputError for what may be one image.

    Whole numbers of more than 8 bits are scaled where their `bit_depth` is said, see `entropick.arrays.eight_bits`.
    """
    if array.ndim == 3 and (kind := _one_image(array.shape)):
        raise InputError(
            f"{name}: expected an array of images, but shape {array.shape} is that of one {kind} image. Save "
            f"images[None] for one image, or images[..., None] for grey ones of {array.shape[-1]} pixels a row."
        )
    is_deep = array.dtype.kind in "iu" and array.dtype.itemsize > 1
    if is_deep and bit_depth is not None:
        return check_images(eight_bits(array, bit_depth, name=name), name=name)
    if is_deep:
        raise InputError(
            f"{name}: expected uint8 values 0..255, got dtype {array.dtype}. --bit-depth N (bit_depth=N) scales values "
            "of N bits to that: 16 for 0..65535, 12 for 0..4095."
        )
    return check_images(array, name=name)


def _one_image(shape: tuple[int, ...]) -> str:
    """What one image of this shape would be, if channels seem to come last; empty where there seem to be several."""
    height, width, last = shape
    if last == 3 or height == 0:
        return "RGB" if last == 3 else ""
    # Tiny square images are that.
    return {1: "grey", 2: "grey, half transparent", 4: "RGBA"}.get(last, "") if width != last else ""


def _loaded(path: Path, split: str = "", mmap_mode: Any = None, name: str = "") -> Any:
    """What is in a file of NumPy: an array, or of an archive images and labels, each as (name, array) or None."""
    try:
        # NumPy leaves a path open where it is a broken archive; a memory map needs the path.
        with open(path, "rb") as stream:
            if not stream.read(len(_MAGIC[0])).startswith(_MAGIC):
                raise InputError(f"{name or path}: expected a NumPy file, as numpy.save writes it, but it is not one.")
            stream.seek(0)
            loaded = np.load(path if mmap_mode else stream, mmap_mode=mmap_mode, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            with loaded:
                if mmap_mode:
                    return None
                # An array that nobody needs may be large, or a lie about its size.
                names = _names_of_arrays(path, loaded.files, split)
                return [None if name is None else (name, loaded[name]) for name in names]
    except InputError:
        raise
    except Exception as error:
        came = f"it cannot be read ({error})"
        if any(word in str(error) for word in ("pickle", "Python objects")):
            came = "it holds Python objects. Save an array of numbers"
        raise InputError(f"{name or path}: expected a NumPy file without pickles, but {came}.") from error
