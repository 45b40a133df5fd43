"""The one reader of image files and array files: which there are, what they hold, what they look like.

Pillow is imported when the first image file is opened.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images, Integers, check_images, check_labels
from entropick.errors import InputError
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


def image_files(folder: Path) -> list[Path]:
    """All image files at and below `folder`, in the order of `find_images`; InputError if there is none."""
    return find_images(folder)[0]


def find_images(folder: Path) -> tuple[list[Path], dict[str, int]]:
    """The image files at and below `folder`, and how many other entries were passed over, by reason.

    Files are in the order of ``sorted`` of their relative POSIX paths. An image is what the installed Pillow opens, by
    suffix or by content. Hidden files and the folders of systems are none. Links are followed, and each real folder is
    searched once, under its own path where that is below `folder`; what is no regular file is never opened.

    Raises
    ------
    InputError
        There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of images, but there is none at {folder.resolve()}.")
    files: list[Path] = []
    passed_over: Counter[str] = Counter()
    seen: set[tuple[int, int]] = set()
    # Links last, so that a folder that is there twice has its own path.
    folders, links = [folder], list[Path]()
    while folders or links:
        place = folders.pop() if folders else links.pop(links.index(min(links)))
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            status = place.stat()
        except OSError:
            passed_over["unreadable folder"] += 1
            continue
        if (status.st_dev, status.st_ino) in seen:
            passed_over["link to a folder that is there already"] += 1
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            path = place / entry.name
            if entry.name[0] == "." or entry.name in _SYSTEM:
                passed_over["hidden"] += 1
            elif _is_directory(entry):
                (links if entry.is_symlink() else folders).append(path)
            elif path.exists() and not path.is_file():
                passed_over["no regular file"] += 1
            elif _is_image(path):
                files.append(path)
            else:
                passed_over[f"no image ({path.suffix.lower() or 'without a suffix'})"] += 1
    if not files:
        found = f", only {words_of(passed_over)}" if passed_over else ""
        raise InputError(f"{folder}: expected image files (.png, .jpg and what else Pillow opens), found none{found}.")
    return sorted(files, key=lambda file: file.relative_to(folder).as_posix()), dict(sorted(passed_over.items()))


def words_of(passed_over: Mapping[str, int]) -> str:
    """Reasons and their numbers on one line.

    Examples
    --------
    >>> words_of({"hidden": 2, "no image (.txt)": 1})
    '2 hidden, 1 no image (.txt)'
    """
    return ", ".join(f"{count:,} {reason}" for reason, count in passed_over.items())


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; a link that leads in a circle is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_image(path: Path) -> bool:
    """Whether Pillow would open it: by suffix, which is not looked behind, or else by content."""
    if path.suffix.lower() in _suffixes():
        return True
    from PIL import Image

    # A format that does not say how its files begin may take anything for its own.
    formats = [name for name, (_, accept) in Image.OPEN.items() if accept is not None and name not in _NO_PIXELS]
    try:
        with Image.open(path, formats=formats):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:
        return False


@functools.cache
def _suffixes() -> frozenset[str]:
    from PIL import Image

    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in Image.OPEN and name not in _NO_PIXELS)


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


def hash_folder(folder: Path, files: Sequence[Path], contents: Sequence[bytes | None] | None = None) -> str:
    """Hash (hexadecimal) of the paths below `folder` and the bytes of `files`, whose `hash_images` may be given."""
    digest = hashlib.sha256(str(READING).encode())
    for file, content in zip(files, hash_images(files) if contents is None else contents, strict=True):
        digest.update(os.fsencode(f"{file.relative_to(folder)}\0") + (content or b"unreadable"))
    return digest.hexdigest()


def hash_images(files: Sequence[Path], work: Work | None = None, note: str = "") -> list[bytes | None]:
    """`hash_image` of each file; None for one that cannot be read, of which whoever decodes it tells."""
    work, hashes = work or Work(), list[bytes | None]()
    for content in ahead(_hash_or_none, files):
        hashes.append(content)
        work.progress(len(hashes), len(files), note)
    return hashes


def hash_image(file: Path) -> bytes:
    """sha256 of the bytes of one image file, 32 bytes; OSError if it cannot be read."""
    return _hash_file(file)


def _hash_or_none(file: Path) -> bytes | None:
    try:
        return hash_image(file)
    except OSError:
        return None


def image_head(file: Path) -> Head:
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


def read_image(file: Path, *, mode: str = "as-is", side: int | None = None) -> NDArray[np.uint8]:
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


def read_picture(file: Path, *, side: int | None = None) -> Any:
    """An image file as a Pillow image in RGB, to be shown; whatever Pillow raises if it does not decode.

    With `side`, a JPEG that is much larger is decoded smaller: its sides are at least twice as long as that.
    """
    from PIL import Image

    with _long_texts, Image.open(file) as image:
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


def _image_or_reason(file: Path, *, mode: str) -> NDArray[np.uint8] | str:
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
    """Images and labels of a ``.npy`` or ``.npz`` file; InputError if it cannot be read as such."""
    loaded = _loaded(path)
    arrays = {"images": loaded} if isinstance(loaded, np.ndarray) else loaded
    if "images" not in arrays:
        raise InputError(f"{path}: expected an array named 'images', found {', '.join(sorted(arrays)) or 'none'}.")
    images = array_of_images(arrays["images"], name=f"{path}: images")
    return images, check_labels(arrays.get("labels"), len(images), name=f"{path}: labels")


def array_of_images(array: Any, *, name: str) -> Images:
    """The array of a file as uint8 ``(n, h, w, c)``, by `check_images`; InputError for what may be one RGB image."""
    if array.ndim == 3 and array.shape[-1] == 3:
        raise InputError(
            f"{name}: expected an array of images, but shape {array.shape} is that of one RGB image. Save images[None] "
            "for one image, or images[..., None] for grey ones of 3 pixels a row."
        )
    return check_images(array, name=name)


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
        with _long_texts, Image.open(file) as image:
            yield image
    except InputError:
        raise
    except Exception as error:
        # Pillow names a file that it does not know at all; whoever tells of it has done so already.
        reason = type(error).__name__ if file.name in str(error) else error
        raise InputError(f"does not decode ({reason})") from error


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


def _hash_file(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _listing(heading: str, lines: list[str]) -> str:
    more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n  ".join([f"{heading}:", *lines[:_LISTED], *more])
