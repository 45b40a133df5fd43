"""Datasets of one's own: an array in a file, or a folder of image files."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from entropick.arrays import Images, Integers, check_bit_depth, check_choice, check_count, check_images
from entropick.datasets.array_files import read_array_file, split_path
from entropick.datasets.base import Dataset, RealData, split
from entropick.datasets.listing import ImageSet, expanded, open_images
from entropick.datasets.reading import hash_files, read_images
from entropick.errors import InputError, cut, shown
from entropick.work import Work


@dataclass(kw_only=True)
class ArrayFile(Dataset):
    """Images in a NumPy file: ``.npy``, or ``.npz`` with an array ``images`` and perhaps an array ``labels``.

    Archives as ADM (``arr_0``, ``arr_1``), MedMNIST (``train_images``, ``train_labels``) and Keras (``x_train``,
    ``y_train``) have them are known too; labels may be ``(n, 1)``.

    Parameters
    ----------
    path
        The file; images are uint8 ``(n, h, w)`` or ``(n, h, w, c)``. ``FILE.npz#train`` is one split of several.
    reference
        A second file with held-out images; None holds out rows of the first.
    n_images
        How many images the loop starts from, a fixed random choice; None takes all, or 80 % where the reference is
        held out of them.
    n_reference
        How many reference images are used; None takes all. Held out of `path`, they are the same ones whatever
        `n_images` is.
    downscale
        Average blocks of this many pixels a side: 2 makes 14x14 images of 28x28.
    bit_depth
        Of images of whole numbers beyond 8 bits, how many bits their values have: they are scaled to 0..255.
    """

    kind: ClassVar[str] = "array-file"
    path: str
    reference: str | None = None
    n_images: int | None = None
    n_reference: int | None = None
    downscale: int = 1
    bit_depth: int | None = None

    def check(self) -> None:
        """Raise InputError if a file is missing or of another kind."""
        super().check()
        _check_counts(self.n_images, self.n_reference)
        check_count(self.downscale, name="downscale")
        check_bit_depth(self.bit_depth)
        _check_paths(self.path, self.reference)
        for given in _paths(self.path, self.reference):
            path, _ = split_path(given)
            if path.suffix not in (".npy", ".npz"):
                raise InputError(f"{cut(path)}: expected a .npy or .npz file.")
            if not path.is_file():
                raise InputError(
                    f"{cut(path)}: expected a file of images, but there is none at {cut(path.resolve())}. "
                    f"{_another(given, self.path)}"
                )

    def load(self, *, work: Work | None = None) -> RealData:
        """Read the file or files."""
        self.check()
        (images, labels), *held_out = (
            read_array_file(path, bit_depth=self.bit_depth) for path in _paths(self.path, self.reference)
        )
        images = _downscaled(images, self.downscale)
        reference = _downscaled(held_out[0][0], self.downscale) if held_out else None
        counts = {"n_images": self.n_images, "n_reference": self.n_reference}
        return split(images, labels, reference=reference, seed=self.split_seed, place=self.path, **counts)

    def fingerprint(self) -> str:
        """Hash of the files' bytes."""
        self.check()
        return hash_files([file for file, _ in map(split_path, _paths(self.path, self.reference))])


@dataclass(kw_only=True)
class ImageFolder(Dataset):
    """A folder of image files, searched through all levels; the first level of subfolders, if any, names the classes.

    What Hugging Face and WebDataset make of images is read as well: a folder with ``metadata.csv`` and a column of
    classes, image parquet (a file or its shards), a data set of ``save_to_disk``, and ``.tar`` files with ``.cls`` or
    ``.json`` beside the images. A pattern such as ``data/train-*.parquet`` takes some of the files of a folder.

    Parameters
    ----------
    path
        The folder, file or pattern. Its images must have one size unless `resize` brings them to one, and be all grey
        or all RGB unless `mode` says otherwise.
    reference
        A second one with held-out images; None holds out images of the first.
    mode
        ``"as-is"``, or ``"grey"`` or ``"rgb"`` to convert 8-bit images on reading.
    resize
        Pixels of a side: the shorter side of each image is scaled to so many, then the square in the middle is taken.
        None takes images as they are.
    n_images, n_reference, bit_depth
        As in `ArrayFile`.
    """

    kind: ClassVar[str] = "image-folder"
    path: str
    reference: str | None = None
    mode: str = "as-is"
    resize: int | None = None
    n_images: int | None = None
    n_reference: int | None = None
    bit_depth: int | None = None

    def check(self) -> None:
        """Raise InputError if a folder or file is missing or holds no image."""
        super().check()
        check_choice(self.mode, ("as-is", "grey", "rgb"), name="mode")
        if self.resize is not None:
            check_count(self.resize, name="resize")
        check_bit_depth(self.bit_depth)
        _check_counts(self.n_images, self.n_reference)
        _check_paths(self.path, self.reference)
        for path in _paths(self.path, self.reference):
            try:
                open_images(path)
            except InputError as error:
                raise error if path.exists() else InputError(f"{error} {_another(path, self.path)}") from None

    def load(self, *, work: Work | None = None) -> RealData:
        """Decode all images."""
        self.check()
        found, *held_out = map(open_images, _paths(self.path, self.reference))
        read = partial(read_images, mode=self.mode, side=self.resize, bit_depth=self.bit_depth)
        images = read(found.files, work=work or Work())
        reference = read(held_out[0].files) if held_out else None
        counts = {"n_images": self.n_images, "n_reference": self.n_reference}
        return split(images, _numbers(found), reference=reference, seed=self.split_seed, place=self.path, **counts)

    def fingerprint(self) -> str:
        """Hash of the files' paths and bytes, and of classes that are told elsewhere."""
        self.check()
        hashes = [open_images(path).content_hash() for path in _paths(self.path, self.reference)]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()


def _numbers(found: ImageSet) -> Integers | None:
    """The class of each image as a number: its place among the names that the data set has, or in sorted order."""
    if found.classes is None:
        return None
    places = {name: place for place, name in enumerate(found.class_names or ())}
    if set(found.classes) <= places.keys():
        return np.array([places[name] for name in found.classes], np.int64)
    if found.are_told and all(name.isdecimal() for name in found.classes):
        return np.array([int(name) for name in found.classes], np.int64)
    return np.unique(np.array(found.classes), return_inverse=True)[1].astype(np.int64)


def _downscaled(images: Images, factor: int) -> Images:
    """Means of `factor` x `factor` pixels, rounded; InputError unless `factor` divides height and width."""
    n, height, width, channels = images.shape
    if factor == 1:
        return images
    if height % factor or width % factor:
        raise InputError(
            f"downscale: expected a divisor of {height} and {width}, the size of the images, got {factor}."
        )
    blocks = images.reshape(n, height // factor, factor, width // factor, factor, channels)
    return check_images(np.rint(blocks.mean(axis=(2, 4))).astype(np.uint8))


def _check_counts(n_images: int | None, n_reference: int | None) -> None:
    for name, value in (("n_images", n_images), ("n_reference", n_reference)):
        if value is not None:
            check_count(value, name=name)


def _check_paths(path: Any, reference: Any) -> None:
    for name, value in (("path", path), ("reference", reference)):
        is_optional = name == "reference" and value is None
        if not is_optional and (not isinstance(value, str | os.PathLike) or not str(value)):
            raise InputError(f"{name}: expected a path, got {shown(value)}.")


def _another(path: Path, images: str) -> str:
    """How to say where the file or folder is that is not where the dataset has it."""
    name = "path" if path == expanded(images) else "reference"
    flag = "--data PATH" if name == "path" else "--set loop.dataset.reference=PATH"
    return f"Give {flag} ({name}=PATH)."


def _paths(*paths: str | None) -> list[Path]:
    return [expanded(path) for path in paths if path]
