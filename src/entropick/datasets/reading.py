"""The one reader of image files and array files: what an image is, what it looks like, what arrays hold.

Pillow is imported when the first image file is opened.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import io
import os
import re
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images, Integers, check_images, check_labels
from entropick.errors import InputError, is_of_disk, storage_error
from entropick.processes.ahead import ahead
from entropick.work import Work

_LISTED = 10
# Part of every hash of image files: raised when the same bytes become other pixels, or come in another order.
READING = 3
# What these call an image is none of pixels, or is drawn by another program.
_NO_PIXELS = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
# Folders that systems and programs put beside pictures, as hidden as names that begin with a dot.
_SYSTEM = ("__MACOSX", "@eaDir", "#recycle", "@Recycle", "@__thumb", "$RECYCLE.BIN", "System Volume Information")
# What Pillow turns into grey or RGB without a choice to be made.
_CONVERTED = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr")
# Arrays of a split, as MedMNIST and Keras call them.
_SPLIT = re.compile(r"([A-Za-z0-9]+)_images|x_([A-Za-z0-9]+)")
_GREY = ("1", "L", "LA", "La")
_MODES = {"grey": "L", "rgb": "RGB"}
# Some tools put a whole workflow, or a colour profile of megabytes, into a PNG; Pillow refuses more than 1 MiB.
_TEXT_BYTES = 64 << 20
# How many times the side that is asked for a JPEG keeps, at least, when it is decoded smaller.
_DRAFTED = 2
# EXIF's tag of the orientation, and what its values ask for; 1 is as it is.
_ORIENTATION = 0x0112
_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class Head(NamedTuple):
    """What an image file says before it is decoded: ``(height, width)`` as shown, whether it is grey, its frames."""

    size: tuple[int, int]
    is_grey: bool
    n_frames: int


class PackedImage(ABC):
    """An image inside a file, such as a tar file or a table: what its readers use of a `Path`, and it is one to them.

    Attributes
    ----------
    container
        The file that holds it.
    name
        What it is called there, a path that leads nowhere else.
    place
        Where it is in the file: ``str`` of it is ``container#place``.
    """

    __slots__ = ()
    container: Path
    name: str

    @property
    @abstractmethod
    def place(self) -> str:
        """What stands behind ``#``."""

    @abstractmethod
    def read_bytes(self) -> bytes:
        """The bytes of the image, as they would be in a file of its own; InputError if they are not there."""

    def open(self, mode: str = "rb") -> io.BytesIO:
        """A stream of the bytes."""
        return io.BytesIO(self.read_bytes())

    def stat(self) -> os.stat_result:
        """The size and times of the file that holds it."""
        return self.container.stat()

    def relative_to(self, folder: Path) -> Path:
        """Its name, below the name of the file that holds it unless `folder` is that file."""
        if folder == self.container:
            return Path(self.name)
        if not self.container.is_relative_to(folder):
            folder = base_of(folder)
        return self.container.relative_to(folder) / self.name

    @property
    def suffix(self) -> str:
        """The suffix of the name."""
        return Path(self.name).suffix

    def __str__(self) -> str:
        return f"{self.container}#{self.place}"


def base_of(path: Path) -> Path:
    """The folder in which a pattern such as ``shards/*.tar`` begins; any other path as it is."""
    while glob.has_magic(str(path)) and not path.exists():
        path = path.parent
    return path


ImageFile = Path | PackedImage
"""An image: a file, or inside one."""


def is_image(path: Path) -> bool:
    """Whether Pillow would open it: by suffix, which is not looked behind, or else by content."""
    if path.suffix.lower() in image_suffixes():
        return True
    from PIL import Image

    # A format that does not say how its files begin may take anything for its own.
    formats = [name for name, (_, accept) in Image.OPEN.items() if accept is not None and name not in _NO_PIXELS]
    try:
        with Image.open(path, formats=formats):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception as error:
        if isinstance(error, OSError) and is_of_disk(error):
            raise storage_error(error) from error
        return False


@functools.cache
def image_suffixes() -> frozenset[str]:
    """Suffixes (lower case) of files that Pillow opens."""
    from PIL import Image

    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in Image.OPEN and name not in _NO_PIXELS)


def suffix_of(file: ImageFile) -> str:
    """The suffix that files of this content have; empty if it is no image."""
    try:
        with _opened(file) as image:
            return {"JPEG": ".jpg", "TIFF": ".tif"}.get(image.format, f".{str(image.format).lower()}")
    except InputError:
        return ""


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or put beside pictures by a system or program."""
    return name[0] == "." or name in _SYSTEM


def hash_files(files: Sequence[ImageFile]) -> str:
    """Hash (hexadecimal) of the bytes of `files`, in their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(_hash_file(file))
    return digest.hexdigest()


def hash_folder(folder: Path, files: Sequence[ImageFile], contents: Sequence[bytes | None] | None = None) -> str:
    """Hash (hexadecimal) of the paths below `folder` and the bytes of `files`, whose `hash_images` may be given."""
    digest = hashlib.sha256(str(READING).encode())
    for file, content in zip(files, hash_images(files) if contents is None else contents, strict=True):
        digest.update(os.fsencode(f"{file.relative_to(folder)}\0") + (content or b"unreadable"))
    return digest.hexdigest()


def hash_images(files: Sequence[ImageFile], work: Work | None = None, note: str = "") -> list[bytes | None]:
    """`hash_image` of each file; None for one that cannot be read, of which whoever decodes it tells."""
    work, hashes = work or Work(), list[bytes | None]()
    for content in ahead(_hash_or_none, files):
        hashes.append(content)
        work.progress(len(hashes), len(files), note)
    return hashes


def hash_image(file: ImageFile) -> bytes:
    """sha256 of the bytes of one image file, 32 bytes; OSError or InputError if it cannot be read."""
    return _hash_file(file)


def _hash_or_none(file: ImageFile) -> bytes | None:
    try:
        return hash_image(file)
    except (OSError, InputError) as error:
        if isinstance(error, OSError) and is_of_disk(error):
            raise storage_error(error) from error
        return None


def image_head(file: ImageFile) -> Head:
    """What the head of an image file says, before it is decoded; InputError if it cannot be used."""
    with _opened(file) as image:
        if image.mode not in _CONVERTED:
            raise InputError(f"expected grey or RGB with 8 bits per channel, got Pillow mode {image.mode!r}")
        turn = _turn(image)
        is_on_its_side = turn is not None and turn.name not in ("FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "ROTATE_180")
        size = image.size if is_on_its_side else image.size[::-1]
        n_frames = 1
        with contextlib.suppress(Exception):  # of a file that is torn after its first frame
            n_frames = int(image.n_frames)
        return Head(size, image.mode in _GREY, n_frames)


def read_image(file: ImageFile, *, mode: str = "as-is", side: int | None = None) -> NDArray[np.uint8]:
    """Decode one image file into uint8 ``(h, w)`` or ``(h, w, 3)``; InputError, with the reason, if it cannot be used.

    It is as a viewer shows it: turned as its EXIF says, what is transparent on white, the first of several frames.
    `mode` is "grey" or "rgb" to convert images of 8 bits, or "as-is". With `side` the shorter side becomes so long, and
    the square in the middle is what comes back. A JPEG whose shorter side is 4 times as long or more is then decoded at
    a half, a quarter or an eighth of its size, never below twice `side`: several times as fast, and of other pixels
    than the full image would give, by a grey level or so.
    """
    with _opened(file) as image:
        turn = _turn(image)
        if side is not None and mode != "as-is":
            image.draft(None, (_DRAFTED * side, _DRAFTED * side))
        image.load()
        if side is not None and mode != "as-is" and image.mode in _CONVERTED:
            return np.asarray(_square(_shown(image, _MODES[mode], turn), side), np.uint8)
        if mode != "as-is" and image.mode in _CONVERTED:
            return np.asarray(_shown(image, _MODES[mode], turn), np.uint8)
        if image.mode in _MODES.values():
            return np.asarray(_shown(image, image.mode, turn), np.uint8)
        deep = image.mode.startswith(("I", "F"))
        advice = "bring it to 8 bits first" if deep else "mode='rgb' or mode='grey' converts it"
        raise InputError(f"expected 8-bit grey or RGB, got Pillow mode {image.mode!r}; {advice}")


def read_picture(file: ImageFile, *, side: int | None = None) -> Any:
    """An image file as a Pillow image in RGB, to be shown; whatever Pillow raises if it does not decode.

    With `side`, a JPEG that is much larger is decoded smaller: its sides are at least twice as long as that.
    """
    from PIL import Image

    with _long_texts, Image.open(_named(file)) as image:
        turn = _turn(image)
        if side is not None:
            image.draft(None, (_DRAFTED * side, _DRAFTED * side))
        return _shown(image, "RGB", turn)


def resized(images: Images, side: int) -> Images:
    """Each of uint8 ``(n, h, w, c)`` as `read_image` would give it with this `side`, ``(n, side, side, c)``."""
    from PIL import Image

    pictures = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in images)
    return check_images(np.stack([np.asarray(_square(picture, side), np.uint8) for picture in pictures]))


def _square(picture: Any, side: int) -> Any:
    from PIL import Image, ImageOps

    if picture.size == (side, side):
        return picture
    return ImageOps.fit(picture, (side, side), method=Image.Resampling.BICUBIC)


def _shown(image: Any, mode: str, turn: Any) -> Any:
    """A Pillow image in mode "L" or "RGB", with what is transparent on white, turned."""
    from PIL import Image

    if image.has_transparency_data:
        # What lies under transparent pixels is whatever a program has left there, and nobody sees it.
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    image = image.convert(mode)
    return image if turn is None else image.transpose(turn)


def _turn(image: Any) -> Any:
    """How a viewer would turn or mirror the image, by its EXIF; None for as it is, and where there is no EXIF."""
    from PIL import Image

    # Pillow turns TIFF by itself. A head must do without what stands behind the pixels of a PNG.
    if image.format == "TIFF" or "exif" not in image.info:
        return None
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        exif.load(image.info["exif"])
    number = exif.get(_ORIENTATION)
    return Image.Transpose[_TURNS[number]] if number in _TURNS else None


def read_images(files: Sequence[ImageFile], *, mode: str = "as-is", work: Work | None = None) -> Images:
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
    read = functools.partial(_image_or_reason, mode=mode)
    for number, (file, image) in enumerate(zip(files, ahead(read, files), strict=True), start=1):
        if isinstance(image, str):
            problems.append(f"{file}: {image}")
        else:
            decoded.append(image)
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


def _image_or_reason(file: ImageFile, *, mode: str) -> NDArray[np.uint8] | str:
    try:
        return read_image(file, mode=mode)
    except InputError as error:
        return str(error)


def map_array(path: Path) -> NDArray[Any]:
    """A memory map of a ``.npy`` file; InputError if it cannot be read as such."""
    array = _loaded(path, mmap_mode="r")
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: expected one array, but it is an archive of arrays. Name it .npz.")
    return array


def read_array_file(path: Path) -> tuple[Images, Integers | None]:
    """Images and labels of a ``.npy`` or ``.npz`` file; InputError if it cannot be read as such.

    In an archive they are called ``images`` and ``labels``, ``arr_0`` and ``arr_1``, or of a split ``train_images`` and
    ``train_labels`` or ``x_train`` and ``y_train``; which of several splits is meant is said by ``FILE.npz#train``.
    """
    file, split = split_path(path)
    loaded = _loaded(file, split)
    if split and isinstance(loaded, np.ndarray):
        raise InputError(f"{file}: expected an archive with splits, but it is one array. Leave #{split} out.")
    images, labels = ("images", loaded), None
    if not isinstance(loaded, np.ndarray):
        images, labels = loaded
    found = array_of_images(images[1], name=f"{file}: {images[0]}")
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


def array_of_images(array: Any, *, name: str) -> Images:
    """The array of a file as uint8 ``(n, h, w, c)``, by `check_images`; InputError for what may be one RGB image."""
    if array.ndim == 3 and array.shape[-1] == 3:
        raise InputError(
            f"{name}: expected an array of images, but shape {array.shape} is that of one RGB image. Save images[None] "
            "for one image, or images[..., None] for grey ones of 3 pixels a row."
        )
    return check_images(array, name=name)


def _loaded(path: Path, split: str = "", mmap_mode: Any = None) -> Any:
    """What is in a file of NumPy: an array, or of an archive images and labels, each as (name, array) or None."""
    try:
        # NumPy leaves a path open where it is a broken archive; a memory map needs the path.
        with open(path, "rb") as stream:
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
        raise InputError(f"{path}: expected a NumPy file without pickles, but it cannot be read ({error}).") from error


@contextlib.contextmanager
def _opened(file: ImageFile) -> Iterator[Any]:
    """A Pillow image of a file; whatever is wrong with it is an InputError with the reason."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _long_texts, Image.open(_named(file)) as image:
            yield image
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_of_disk(error):
            raise storage_error(error) from error
        # Pillow names a file that it does not know at all; whoever tells of it has done so already.
        is_named = isinstance(error, UnidentifiedImageError) or file.name in str(error)
        reason = type(error).__name__ if is_named else error
        raise InputError(f"does not decode ({reason})") from error


def _named(file: ImageFile) -> Any:
    """What Pillow opens: a path, whose suffix it knows, or a stream."""
    return file if isinstance(file, Path) else file.open()


class _LongTexts:
    """Within it, on however many threads, Pillow reads long texts of a PNG; outside, its own limits hold."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, (0, 0)

    def __enter__(self) -> None:
        from PIL import PngImagePlugin

        png: Any = PngImagePlugin
        with self._lock:
            if not self._inside:
                self._before = png.MAX_TEXT_CHUNK, png.MAX_TEXT_MEMORY
                png.MAX_TEXT_CHUNK = png.MAX_TEXT_MEMORY = _TEXT_BYTES
            self._inside += 1

    def __exit__(self, *raised: object) -> None:
        from PIL import PngImagePlugin

        png: Any = PngImagePlugin
        with self._lock:
            self._inside -= 1
            if not self._inside:
                png.MAX_TEXT_CHUNK, png.MAX_TEXT_MEMORY = self._before


_long_texts = _LongTexts()


def _hash_file(file: ImageFile) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _listing(heading: str, lines: list[str]) -> str:
    more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n  ".join([f"{heading}:", *lines[:_LISTED], *more])
