"""The one reader of image files: what an image is, what it looks like, what it is known by.

Pillow is imported when the first image file is opened.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import io
import os
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images, check_images, eight_bits
from entropick.errors import InputError, is_of_disk, storage_error
from entropick.processes.ahead import ahead
from entropick.work import Work

_LISTED = 10
# Images that are looked at to see of which kind all are.
_LOOKED = 100
# Part of every hash of image files: raised when the same bytes become other pixels, or come in another order.
READING = 3
# What these call an image is none of pixels, or is drawn by another program.
_NO_PIXELS = ("BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF")
# Folders that systems and programs put beside pictures, as hidden as names that begin with a dot.
_SYSTEM = ("__MACOSX", "@eaDir", "#recycle", "@Recycle", "@__thumb", "$RECYCLE.BIN", "System Volume Information")
# Grey of more than 8 bits: values that a bit depth must be known of before they mean a grey level.
_DEEP = ("I", "I;16", "I;16B", "I;16L", "I;16N")
# What Pillow turns into grey or RGB without a choice to be made.
_CONVERTED = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "YCbCr")
_GREY = ("1", "L", "LA", "La")
_MODES = {"grey": "L", "rgb": "RGB"}
_SCALES = "; --bit-depth N (bit_depth=N) scales grey of N bits: 16 for 0..65535, 12 for 0..4095"
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
    """What an image file says before it is decoded.

    ``(height, width)`` as shown, whether it is grey, its frames, and the bits of a channel: 8, or 16 for more.
    """

    size: tuple[int, int]
    is_grey: bool
    n_frames: int
    bits: int = 8


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

    @property
    def key(self) -> str | None:
        """What the file calls it, word for word; None where it is not called anything."""
        return self.name

    @abstractmethod
    def read_bytes(self) -> bytes:
        """The bytes of the image, as they would be in a file of its own; InputError if they are not there."""

    def picture(self) -> Any:
        """A Pillow image that is closed by who asked for it; whatever Pillow raises where there is none."""
        from PIL import Image

        return Image.open(io.BytesIO(self.read_bytes()))

    def content_hash(self) -> bytes:
        """What the image is known by: sha256 of its bytes, 32 bytes."""
        return hashlib.sha256(self.read_bytes()).digest()

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
    if not glob.has_magic(str(path)) or path.exists():
        return path
    while glob.has_magic(str(path)):
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


def first_suffix(files: Iterable[ImageFile]) -> str:
    """`suffix_of` the first of these that is an image, of which a few are looked at; empty if none is."""
    return next(filter(None, map(suffix_of, islice(files, _LOOKED))), "")


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or put beside pictures by a system or program."""
    return name[0] == "." or name in _SYSTEM


def hash_files(files: Sequence[ImageFile]) -> str:
    """Hash (hexadecimal) of the bytes of `files`, in their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(_hash_file(file))
    return digest.hexdigest()


def hash_content(files: Sequence[ImageFile]) -> str:
    """Hash (hexadecimal) of what files hold together: of one its own, of several `hash_files`."""
    return _hash_file(files[0]).hex() if len(files) == 1 else hash_files(files)


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


def image_head(file: ImageFile, *, bit_depth: int | None = None) -> Head:
    """What the head of an image file says, before it is decoded; InputError if it cannot be used.

    Grey of more than 8 bits can be used where its `bit_depth` is said.
    """
    with _opened(file) as image:
        is_deep = image.mode in _DEEP
        if image.mode not in _CONVERTED and (not is_deep or bit_depth is None):
            advice = _SCALES if is_deep else ""
            raise InputError(f"expected grey or RGB with 8 bits per channel, got Pillow mode {image.mode!r}{advice}")
        turn = _turn(image)
        is_on_its_side = turn is not None and turn.name not in ("FLIP_LEFT_RIGHT", "FLIP_TOP_BOTTOM", "ROTATE_180")
        size = image.size if is_on_its_side else image.size[::-1]
        n_frames = 1
        with contextlib.suppress(Exception):  # of a file that is torn after its first frame
            n_frames = int(image.n_frames)
        return Head(size, is_deep or image.mode in _GREY, n_frames, 16 if is_deep or _is_cut(image) else 8)


def read_image(
    file: ImageFile, *, mode: str = "as-is", side: int | None = None, bit_depth: int | None = None
) -> NDArray[np.uint8]:
    """Decode one image file into uint8 ``(h, w)`` or ``(h, w, 3)``; InputError, with the reason, if it cannot be used.

    It is as a viewer shows it: turned as its EXIF says, what is transparent on white, the first of several frames.
    `mode` is "grey" or "rgb" to convert images of 8 bits, or "as-is". With `side` the shorter side becomes so long, and
    the square in the middle is what comes back. A JPEG whose shorter side is 4 times as long or more is then decoded at
    a half, a quarter or an eighth of its size, never below twice `side`: several times as fast, and of other pixels
    than the full image would give, by a grey level or so. Grey of more than 8 bits is scaled from 0 to the largest
    number of `bit_depth` bits, alike in all images; without it, it is refused.
    """
    with _opened(file) as image:
        turn = _turn(image)
        if side is not None:
            image.draft(None, (_DRAFTED * side, _DRAFTED * side))
        image.load()
        if image.mode in _DEEP and bit_depth is not None:
            image = _eight_bits(image, bit_depth)
        if (mode != "as-is" and image.mode in _CONVERTED) or image.mode in _MODES.values():
            shown = _shown(image, image.mode if mode == "as-is" else _MODES[mode], turn)
            return np.asarray(shown if side is None else _square(shown, side), np.uint8)
        advice = "; mode='rgb' or mode='grey' converts it" if image.mode in _CONVERTED else "; bring it to 8 bits first"
        advice = _SCALES if image.mode in _DEEP else advice
        raise InputError(f"expected 8-bit grey or RGB, got Pillow mode {image.mode!r}{advice}")


def _eight_bits(image: Any, bit_depth: int) -> Any:
    """A Pillow image of deep grey in mode "L", turned as it was to be."""
    from PIL import Image

    return Image.fromarray(eight_bits(np.asarray(image)[None], bit_depth, name="deep grey")[0])


def _is_cut(image: Any) -> bool:
    """Whether a file has more bits than Pillow makes of it, which keeps the upper ones: colour of 16 bits."""
    return any(";16" in str(part) for part in getattr(image, "tile", ()))


def read_picture(file: ImageFile, *, side: int | None = None, bit_depth: int | None = None) -> Any:
    """An image file as a Pillow image in RGB, to be shown; whatever Pillow raises if it does not decode.

    With `side`, a JPEG that is much larger is decoded smaller: its sides are at least twice as long as that. Deep grey
    of an unknown `bit_depth` is shown from 0 to its own largest value.
    """
    with _long_texts, _picture(file) as image:
        turn = _turn(image)
        if side is not None:
            image.draft(None, (_DRAFTED * side, _DRAFTED * side))
        if image.mode in _DEEP:
            values = np.maximum(np.asarray(image), 0)
            image = _eight_bits(image, bit_depth) if bit_depth else _stretched(values)
        return _shown(image, "RGB", turn)


def _stretched(values: NDArray[Any]) -> Any:
    """Deep grey as a Pillow image in mode "L" in which the largest value is white."""
    from PIL import Image

    return Image.fromarray(np.rint(values * (255 / max(1, values.max(initial=0)))).astype(np.uint8))


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


def read_images(
    files: Sequence[ImageFile],
    *,
    mode: str = "as-is",
    side: int | None = None,
    work: Work | None = None,
    bit_depth: int | None = None,
) -> Images:
    """Decode image files of one size, or brought to one (`read_image`), into uint8 ``(n, h, w, c)``.

    Raises
    ------
    InputError
        Files that do not decode, that have more than 8 bits and no `bit_depth`, or an alpha channel, or that differ in
        size or mode: all of the odd ones are named (the first ten by path).
    """
    work = work or Work()
    decoded: list[NDArray[np.uint8]] = []
    problems: list[str] = []
    read = functools.partial(_image_or_reason, mode=mode, side=side, bit_depth=bit_depth)
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
            + f"\n{_advice(shapes)}"
        )
    return check_images(np.stack(decoded))


def _advice(shapes: Sequence[tuple[int, ...]]) -> str:
    """What brings images of these shapes to one size and kind."""
    sizes, kinds = ({shape[:2] for shape in shapes}, {len(shape) for shape in shapes})
    settings = ["resize to a number of pixels"] if len(sizes) > 1 else []
    settings += ["mode to 'grey' or 'rgb'"] if len(kinds) > 1 else []
    return f"Set the dataset's {' and its '.join(settings)}, or leave the odd ones out."


def _image_or_reason(file: ImageFile, *, mode: str, side: int | None, bit_depth: int | None) -> NDArray[np.uint8] | str:
    try:
        return read_image(file, mode=mode, side=side, bit_depth=bit_depth)
    except InputError as error:
        return str(error)


@contextlib.contextmanager
def _opened(file: ImageFile) -> Iterator[Any]:
    """A Pillow image of a file; whatever is wrong with it is an InputError with the reason."""
    from PIL import UnidentifiedImageError

    try:
        with _long_texts, _picture(file) as image:
            yield image
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and is_of_disk(error):
            raise storage_error(error) from error
        if isinstance(error, FileNotFoundError):
            is_link = isinstance(file, Path) and file.is_symlink()
            raise InputError("is a link to a file that is not there" if is_link else "is not there any more") from error
        # Pillow names a file that it does not know at all; whoever tells of it has done so already.
        is_named = isinstance(error, UnidentifiedImageError) or file.name in str(error)
        reason = type(error).__name__ if is_named else error
        raise InputError(f"does not decode ({reason})") from error


def _picture(file: ImageFile) -> Any:
    """A Pillow image, hardly read; whatever Pillow raises if it is none."""
    from PIL import Image

    # Of a path it knows the suffix.
    return Image.open(file) if isinstance(file, Path) else file.picture()


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
    if not isinstance(file, Path):
        return file.content_hash()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _listing(heading: str, lines: list[str]) -> str:
    more = [f"… and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n  ".join([f"{heading}:", *lines[:_LISTED], *more])
