"""Datasets: where the real images of a loop come from, and which of them are held out as the reference."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images, Integers, check_choice, check_count, check_images, check_labels
from entropick.component import Component
from entropick.errors import InputError
from entropick.random_stream import RandomStream
from entropick.work import Work

_DEFAULT_SHARE = 0.8
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")
_LISTED = 10
# What Pillow turns into grey or RGB without a choice to be made.
CONVERTED_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")


@dataclass(frozen=True)
class RealData:
    """Real images, split once and for all.

    Attributes
    ----------
    images, labels
        uint8 ``(n, h, w, c)`` and int64 ``(n,)`` or None: what iteration 1 is trained on.
    reference
        uint8 ``(m, h, w, c)``: held-out real images that no model ever sees.
    stock, stock_labels
        uint8 ``(s, h, w, c)`` and int64 ``(s,)`` or None: what is left, in random order; paradigms that let new real
        images in take them from here. A dataset may have none.
    """

    images: Images
    labels: Integers | None
    reference: Images
    stock: Images | None = None
    stock_labels: Integers | None = None


@dataclass(kw_only=True)
class Dataset(Component, ABC):
    """The contract: `load` the images, tell by a `fingerprint` whether they are still the same."""

    @abstractmethod
    def load(self, *, work: Work | None = None) -> RealData:
        """Read, check and split the images; the split depends on the data and the parameters alone."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A hash (hexadecimal) of the content, cheaper than `load` where that can be."""


@dataclass(kw_only=True)
class Digits(Dataset):
    """scikit-learn's 1,797 handwritten digits of 8x8 pixels; ships with scikit-learn, needs no download.

    Parameters
    ----------
    n_images
        How many of them the loop starts from.
    n_reference
        How many are held out as the reference, the same ones whatever `n_images` is; None takes all others.
    """

    kind: ClassVar[str] = "digits"
    n_images: int = 1024
    n_reference: int | None = None

    def check(self) -> None:
        """Raise InputError unless at least 16 digits are left as the reference."""
        _check_counts(None, self.n_reference)
        if check_count(self.n_images, name="n_images", minimum=2) > 1781:
            raise InputError(f"n_images: expected at most 1781 of the 1797 digits, got {self.n_images}.")

    def load(self, *, work: Work | None = None) -> RealData:
        """The digits with their 17 grey levels spread over 0..255."""
        self.check()
        levels, labels = _digits()
        images = np.round(levels * (255 / 16)).astype(np.uint8)
        return split(images, labels, n_images=self.n_images, n_reference=self.n_reference)

    def fingerprint(self) -> str:
        """Hash of the file that scikit-learn ships, without importing scikit-learn, which takes a second."""
        spec = importlib.util.find_spec("sklearn")
        assert spec is not None and spec.origin is not None
        return _hash_files([Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"])


def _digits() -> tuple[NDArray[np.float64], Integers]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)


@dataclass(kw_only=True)
class ArrayFile(Dataset):
    """Images in a NumPy file: ``.npy``, or ``.npz`` with an array ``images`` and perhaps an array ``labels``.

    Parameters
    ----------
    path
        The file; images are uint8 ``(n, h, w)`` or ``(n, h, w, c)``.
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
    """

    kind: ClassVar[str] = "array-file"
    path: str
    reference: str | None = None
    n_images: int | None = None
    n_reference: int | None = None
    downscale: int = 1

    def check(self) -> None:
        """Raise InputError if a file is missing or of another kind."""
        _check_counts(self.n_images, self.n_reference)
        check_count(self.downscale, name="downscale")
        _check_paths(self.path, self.reference)
        for path in _paths(self.path, self.reference):
            if path.suffix not in (".npy", ".npz"):
                raise InputError(f"{path}: expected a .npy or .npz file.")
            if not path.is_file():
                raise InputError(f"{path}: expected a file of images, but there is none at {path.resolve()}.")

    def load(self, *, work: Work | None = None) -> RealData:
        """Read the file or files."""
        self.check()
        images, labels = read_array_file(Path(self.path))
        images = downscaled(images, self.downscale)
        reference = downscaled(read_array_file(Path(self.reference))[0], self.downscale) if self.reference else None
        return split(images, labels, n_images=self.n_images, reference=reference, n_reference=self.n_reference)

    def fingerprint(self) -> str:
        """Hash of the files' bytes."""
        self.check()
        return _hash_files(_paths(self.path, self.reference))


def read_array_file(path: Path) -> tuple[Images, Integers | None]:
    """Images and labels of a ``.npy`` or ``.npz`` file; InputError if it cannot be read as such."""
    try:
        with open(path, "rb") as stream:
            loaded = np.load(stream, allow_pickle=False)
            is_single = isinstance(loaded, np.ndarray)
            arrays = {"images": loaded} if is_single else {name: loaded[name] for name in loaded.files}
    except Exception as error:
        raise InputError(f"{path}: expected a NumPy file without pickles, but it cannot be read ({error}).") from error
    if "images" not in arrays:
        raise InputError(f"{path}: expected an array named 'images', found {', '.join(sorted(arrays)) or 'none'}.")
    images = check_images(arrays["images"], name=f"{path}: images")
    return images, check_labels(arrays.get("labels"), len(images), name=f"{path}: labels")


def downscaled(images: Images, factor: int) -> Images:
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


@dataclass(kw_only=True)
class ImageFolder(Dataset):
    """A folder of image files, searched through all levels; the first level of subfolders, if any, names the classes.

    Parameters
    ----------
    path
        The folder. Its images must have one size, and be all grey or all RGB unless `mode` says otherwise.
    reference
        A second folder with held-out images; None holds out images of the first.
    mode
        ``"as-is"``, or ``"grey"`` or ``"rgb"`` to convert 8-bit images on reading.
    n_images, n_reference
        As in `ArrayFile`.
    """

    kind: ClassVar[str] = "image-folder"
    path: str
    reference: str | None = None
    mode: str = "as-is"
    n_images: int | None = None
    n_reference: int | None = None

    def check(self) -> None:
        """Raise InputError if a folder is missing or holds no image."""
        check_choice(self.mode, ("as-is", "grey", "rgb"), name="mode")
        _check_counts(self.n_images, self.n_reference)
        _check_paths(self.path, self.reference)
        for folder in _paths(self.path, self.reference):
            image_files(folder)

    def load(self, *, work: Work | None = None) -> RealData:
        """Decode all images."""
        self.check()
        files = image_files(Path(self.path))
        images = read_images(files, mode=self.mode, work=work or Work())
        labels = _folder_labels(Path(self.path), files)
        reference = read_images(image_files(Path(self.reference)), mode=self.mode) if self.reference else None
        return split(images, labels, n_images=self.n_images, reference=reference, n_reference=self.n_reference)

    def fingerprint(self) -> str:
        """Hash of the files' paths and bytes."""
        self.check()
        hashes = [hash_folder(folder, image_files(folder)) for folder in _paths(self.path, self.reference)]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()


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


def hash_folder(folder: Path, files: Sequence[Path], work: Work | None = None) -> str:
    """Hash (hexadecimal) of the paths below `folder` and the bytes of `files`."""
    digest, work = hashlib.sha256(), work or Work()
    for done, file in enumerate(files, start=1):
        digest.update(os.fsencode(f"{file.relative_to(folder)}\0") + _content(file))
        work.progress(done, len(files), f"reading {folder}")
    return digest.hexdigest()


def _content(file: Path) -> bytes:
    try:
        return _hash_file(file)
    except OSError:
        # That it cannot be read is said by whoever decodes it, with all others of that kind.
        return b"unreadable"


def read_images(files: list[Path], *, mode: str = "as-is", work: Work | None = None) -> Images:
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
            problems.append(str(error))
        work.progress(number, len(files))
    if problems:
        raise InputError(_listing(f"{len(problems)} of {len(files)} image files cannot be used", problems))
    _check_one_shape(files, decoded)
    return check_images(np.stack(decoded))


def read_image(file: Path, *, mode: str = "as-is") -> NDArray[np.uint8]:
    """Decode one image file into uint8 ``(h, w)`` or ``(h, w, 3)``; InputError if it cannot be used."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            image.load()
            return np.asarray(_convert(image, mode, file), np.uint8)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{file}: does not decode ({error})") from error


def _convert(image: Any, mode: str, file: Path) -> Any:
    if mode != "as-is" and image.mode in CONVERTED_MODES:
        return image.convert({"grey": "L", "rgb": "RGB"}[mode])
    if image.mode in ("L", "RGB"):
        return image
    raise InputError(
        f"{file}: expected 8-bit grey or RGB, got Pillow mode {image.mode!r}"
        + (
            "; bring it to 8 bits first"
            if image.mode.startswith(("I", "F"))
            else "; mode='rgb' or mode='grey' converts it"
        )
    )


def _check_one_shape(files: list[Path], decoded: list[NDArray[np.uint8]]) -> None:
    shapes = [image.shape for image in decoded]
    usual, n_usual = Counter(shapes).most_common(1)[0]
    odd = [f"{file}: {shape}" for file, shape in zip(files, shapes, strict=True) if shape != usual]
    if odd:
        raise InputError(
            _listing(f"expected images of one size and kind; {n_usual} have shape {usual}, these differ", odd)
        )


def _listing(heading: str, lines: list[str]) -> str:
    more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n  ".join([f"{heading}:", *lines[:_LISTED], *more])


def _folder_labels(folder: Path, files: Sequence[Path]) -> Integers | None:
    classes = class_folders(folder, files)
    return None if classes is None else np.unique(np.array(classes), return_inverse=True)[1].astype(np.int64)


def split(
    images: Images,
    labels: Integers | None,
    *,
    n_images: int | None,
    reference: Images | None = None,
    n_reference: int | None = None,
) -> RealData:
    """Choose the real training images, the reference and the stock, always the same for the same arguments.

    All images are brought into one random order: the first `n_images` are the real data, so that fewer are a subset of
    more; the last `n_reference` are the reference, unless it is given; what lies between is the stock.

    Raises
    ------
    InputError
        More images were asked for than there are, or nothing is left for the reference.
    """
    images = check_images(images)
    reference = None if reference is None else check_images(reference, name="reference")
    n = len(images)
    n_real = n_images or (n if reference is not None else max(1, int(n * _DEFAULT_SHARE)))
    if n_real > n or (reference is None and n_real == n):
        kept = "" if reference is not None else ", some of which must be left as the reference"
        raise InputError(f"n_images: {n_real} were asked for, but there are {n} images{kept}.")
    order = RandomStream(stage="split").rng().permutation(n)
    n_left = n - n_real if reference is None else len(reference)
    n_held_out = n_reference or n_left
    if n_held_out > n_left:
        raise InputError(f"n_reference: {n_held_out} were asked for, but there are {n_left} reference images.")
    n_used = n if reference is not None else n - n_held_out
    held_out = images[np.sort(order[n_used:])] if reference is None else reference[:n_held_out]
    if held_out.shape[1:] != images.shape[1:]:
        raise InputError(f"reference: expected images of shape {images.shape[1:]}, got {held_out.shape[1:]}.")
    chosen, rest = np.sort(order[:n_real]), order[n_real:n_used]
    real_labels, stock_labels = (None, None) if labels is None else (labels[chosen], labels[rest])
    return RealData(images[chosen], real_labels, held_out, images[rest], stock_labels)


def _check_counts(n_images: int | None, n_reference: int | None) -> None:
    for name, value in (("n_images", n_images), ("n_reference", n_reference)):
        if value is not None:
            check_count(value, name=name)


def _check_paths(path: Any, reference: Any) -> None:
    for name, value in (("path", path), ("reference", reference)):
        is_optional = name == "reference" and value is None
        if not is_optional and (not isinstance(value, str | os.PathLike) or not str(value)):
            raise InputError(f"{name}: expected a path, got {value!r}.")


def _paths(*paths: str | None) -> list[Path]:
    return [Path(path) for path in paths if path]


def _hash_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(_hash_file(file))
    return digest.hexdigest()


def _hash_file(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
