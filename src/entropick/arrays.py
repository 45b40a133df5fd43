"""Checks at the border: what comes in from a user is made regular here, once, or refused with a clear message.

Beside arrays and lists come in: torch tensors, frames of pandas and polars, data sets of Hugging Face, lists of Pillow
images. They are known by the packages of their classes, so that none of these is imported for it.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.errors import InputError, shown

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Beyond it no count is meant: NumPy, torch and Parquet count with 64 bits.
MOST = 2**63 - 1
# Rows checked at once, so that a memory map larger than memory can be checked.
_BLOCK_ROWS = 65_536
# Of a memory map, what may be read before it is let go of, and what the system reads around a row.
_TOUCHED_BYTES, _AROUND_BYTES = 256 << 20, 64 << 10


def check_images(images: Any, *, name: str = "images") -> Images:
    """Return `images` as uint8 ``(n, h, w, c)`` with c = 1 or 3; grey ``(n, h, w)`` gets its channel axis.

    A torch tensor ``(n, c, h, w)`` gets its channels last. Pillow images of one size, in a list or in the one column of
    images of a Hugging Face data set, become grey if all of them are, else RGB, as a viewer shows them.

    Raises
    ------
    InputError
        For another dtype, another shape, or no image at all.

    Examples
    --------
    >>> check_images(np.zeros((5, 8, 8), np.uint8)).shape
    (5, 8, 8, 1)
    """
    array = as_array(images, name)
    if array.ndim == 4 and array.shape[-1] not in (1, 3) and array.shape[1] in (1, 3) and package_of(images) == "torch":
        array = np.moveaxis(array, 1, -1)
    if array.dtype != np.uint8:
        raise InputError(
            f"{name}: expected uint8 values 0..255, got dtype {array.dtype}. "
            "Convert them first, for instance (x * 255).round().astype('uint8') for floats in 0..1."
        )
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        raise InputError(
            f"{name}: expected shape (n, h, w), (n, h, w, 1) or (n, h, w, 3), got {np.shape(images)}. "
            "Channels come last."
        )
    if 0 in array.shape:
        raise InputError(f"{name}: expected at least one image with pixels, got shape {array.shape}.")
    return array


def check_bit_depth(bit_depth: Any) -> int | None:
    """Return how many bits the values of deep images have, from 8 to 32, or None where nothing is to be scaled."""
    return None if bit_depth is None else check_count(bit_depth, name="bit_depth", minimum=8, maximum=32)


def eight_bits(values: NDArray[Any], bit_depth: int, *, name: str) -> NDArray[np.uint8]:
    """Scale whole numbers of `bit_depth` bits, of any shape, to 0..255, all by the same factor.

    Raises
    ------
    InputError
        For values below 0 or beyond that depth, of which none is cut off.

    Examples
    --------
    >>> eight_bits(np.array([0, 2048, 4095], np.uint16), 12, name="scan").tolist()
    [0, 128, 255]
    """
    top = 2**bit_depth - 1
    scaled = np.empty(values.shape, np.uint8)
    for place in range(len(values)):
        one = np.asarray(values[place])
        low, high = int(one.min(initial=0)), int(one.max(initial=0))
        if low < 0 or high > top:
            raise InputError(
                f"{name}: expected values of {bit_depth} bits, 0 to {top:,}, got {low:,} to {high:,}. Say how many "
                "bits they have (--bit-depth)."
            )
        scaled[place] = np.rint(one * (255 / top))
    return scaled


def check_features(X: ArrayLike, *, name: str = "X", finite: bool = True, on_device: bool = False) -> Features:
    """Return `X` as float32 ``(n, d)``; a float32 array, tensor or memory map comes back uncopied.

    Of a frame all columns are features; of a Hugging Face data set its one column of lists. Integers are cast, never
    wrapped; float64 is rounded to float32. Without `finite`, values are not looked at. With `on_device` a float32
    tensor on a GPU stays there, as `TensorRows`; who reads rows in blocks may ask for it.

    Raises
    ------
    InputError
        For another number of axes, an empty array, a non-numeric dtype, or values that are NaN, infinite or beyond
        float32.
    """
    if isinstance(X, BlockRows) and not isinstance(X, TensorRows):
        return cast(Features, X)
    if isinstance(X, TensorRows) or (on_device and _is_on_device(X)):
        return cast(Features, _on_device(X, name))
    array = as_array(X, name)
    if array.dtype.kind not in "fiub":
        more = " Complex data not supported: give both parts as columns." if array.dtype.kind == "c" else ""
        raise InputError(f"{name}: expected real numbers, got dtype {array.dtype}.{more}")
    if array.ndim != 2:
        raise InputError(
            f"{name}: expected a matrix (n_rows, n_features), got shape {array.shape}. "
            "Images become a matrix through a feature extractor, such as entropick.features.Pixels().extract(images)."
        )
    if 0 in array.shape:
        raise InputError(f"{name}: expected at least one row and one column, got shape {array.shape}.")
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    if finite and (odd := non_finite_rows(array, first=True)):
        raise InputError(
            f"{name}: {next(iter(odd.values()))} of shape {array.shape}. Remove or repair such rows first."
        )
    return array


def package_of(value: Any) -> str:
    """The package that the class of a value comes from, for instance ``"torch"``; of a list, that of its first item."""
    if isinstance(value, list | tuple) and value:
        value = value[0]
    return type(value).__module__.partition(".")[0]


def as_array(value: Any, name: str) -> NDArray[Any]:
    """A value as an array, whatever it holds; of a memory map or a tensor not a copy. InputError if it is none."""
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(f"{name}: expected plain numbers, got a masked array. Fill or drop the masked values first.")
    try:
        # A memory map stays what it is on the disk; a matrix or another subclass becomes a plain array.
        is_plain, convert = type(value) in (np.ndarray, np.memmap), _CONVERTED.get(package_of(value))
        array: NDArray[Any] = value if is_plain else np.asarray(convert(value, name) if convert else value)
        return array
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: expected an array, or lists of equal length ({error}).") from error


def _of_torch(value: Any, name: str) -> Any:
    """A tensor as an array over the same memory, where it is on the processor and NumPy has its numbers."""
    if isinstance(value, list | tuple):
        return np.stack([_of_torch(tensor, name) for tensor in value])
    tensor = value.detach()
    return (tensor.float() if str(tensor.dtype) in ("torch.bfloat16", "torch.float8_e4m3fn") else tensor).cpu().numpy()


def _of_frame(value: Any, name: str) -> Any:
    """The columns of a frame of pandas or polars side by side, missing numbers as NaN; a series as it is."""
    if hasattr(value, "collect"):  # a lazy frame of polars
        value = value.collect()
    if isinstance(value, list | tuple) or not hasattr(value, "columns"):
        return value
    columns = {str(column): value[column].to_numpy() for column in value.columns}
    columns = {column: _without_objects(of) for column, of in columns.items()}
    if odd := [f"{shown(column)} ({of.dtype})" for column, of in columns.items() if of.dtype.kind not in "fiub"]:
        raise InputError(
            f"{name}: expected a frame of numbers, got the column {odd[0]}. Drop what is no feature first."
        )
    return np.stack(list(columns.values()), axis=1) if columns else np.empty((len(value), 0))


def _without_objects(column: NDArray[Any]) -> NDArray[Any]:
    """Numbers and gaps, which pandas has as objects where a type has no NaN, as float64."""
    if column.dtype.kind != "O" or any(isinstance(item, str | bytes | list | dict) for item in column.tolist()):
        return column
    numbers = [np.nan if item is None or str(item) == "<NA>" else item for item in column.tolist()]
    try:
        return np.array(numbers, np.float64)
    except (TypeError, ValueError):
        return column


def _of_data_set(value: Any, name: str) -> Any:
    """The one column of images, or else of lists, of a Hugging Face data set."""
    column, are_images = column_of_data_set(value, name)
    if are_images:
        return _of_pictures(list(value.with_format(None)[column]), name)
    # Its own way to NumPy rounds to float32, and some versions ask torchvision for what newer ones have not.
    rows = value.select_columns([column]).with_format("arrow")[:][column].combine_chunks()
    return [_nested(row) for row in getattr(rows, "storage", rows).to_numpy(zero_copy_only=False)]


def _nested(row: Any) -> Any:
    """A row of a column of lists, as an array; lists of lists come as arrays of arrays."""
    if not isinstance(row, np.ndarray) or row.dtype != object or not all(isinstance(one, np.ndarray) for one in row):
        return row
    parts = [_nested(one) for one in row]
    return np.stack(parts) if len({part.shape for part in parts}) == 1 else row


def column_of_data_set(value: Any, name: str) -> tuple[str, bool]:
    """The one column of images of a Hugging Face data set, or else of lists, and whether they are images.

    Raises
    ------
    InputError
        For several splits, a stream, or where no or more than one column may be meant.
    """
    if isinstance(value, list | tuple) or not hasattr(value, "features"):
        came = f"{type(value).__name__} of {', '.join(value)}" if isinstance(value, dict) else type(value).__name__
        raise InputError(f"{name}: expected one split of a data set, got {came}. Take one, such as data['train'].")
    if not hasattr(value, "with_format") or not hasattr(value, "__len__"):
        raise InputError(f"{name}: expected a data set of known length, got a stream. Take a part: list(data.take(n)).")
    kinds = {column: type(feature).__name__ for column, feature in value.features.items()}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    lists = [
        column for column, kind in kinds.items() if kind in ("List", "LargeList", "Sequence", "Array2D", "Array3D")
    ]
    if len(found := images or lists) != 1:
        listed = ", ".join(f"{column} ({kind})" for column, kind in kinds.items())
        raise InputError(f"{name}: expected one column of images or of lists, got {listed}. Select it first.")
    return found[0], bool(images)


def check_pictures(value: Any, name: str) -> Sequence[Any]:
    """Return Pillow images in a list, or one alone, as they are; InputError if anything else is among them."""
    pictures: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    from PIL import Image

    if odd := [number for number, picture in enumerate(pictures) if not isinstance(picture, Image.Image)]:
        raise InputError(f"{name}: expected Pillow images, got {shown(pictures[odd[0]])} at place {odd[0]}.")
    return pictures


def _of_pictures(value: Any, name: str) -> Any:
    """Pillow images as they are shown: turned as EXIF says, what is transparent on white, grey if all of them are."""
    from PIL import Image, ImageOps

    pictures = check_pictures(value, name)
    if deep := [picture.mode for picture in pictures if picture.mode.startswith(("I", "F"))]:
        raise InputError(f"{name}: expected images of 8 bits, got Pillow mode {deep[0]!r}. Bring them to 8 bits first.")
    if len(sizes := sorted({picture.size for picture in pictures})) > 1:
        raise InputError(
            f"{name}: expected images of one size, got {len(sizes)} sizes, {sizes[0]} and {sizes[-1]} (width, height) "
            "among them. Resize them first."
        )
    mode = "L" if all(picture.mode in ("1", "L", "LA", "La") for picture in pictures) else "RGB"
    whole = []
    for picture in pictures:
        turned = ImageOps.exif_transpose(picture)
        if turned.has_transparency_data:
            paper = Image.new("RGBA", turned.size, "white")
            paper.alpha_composite(turned.convert("RGBA"))
            turned = paper
        whole.append(np.asarray(turned.convert(mode), np.uint8))
    return np.stack(whole)


def _of_scipy(value: Any, name: str) -> Any:
    if hasattr(value, "toarray"):
        raise InputError(f"{name}: expected a dense array, got a sparse one of shape {value.shape}. Call .toarray().")
    return value


# Package of a class -> what makes an array of its values.
_CONVERTED: dict[str, Callable[[Any, str], Any]] = {
    "scipy": _of_scipy,
    "torch": _of_torch,
    "pandas": _of_frame,
    "polars": _of_frame,
    "datasets": _of_data_set,
    "PIL": _of_pictures,
}


class BlockRows(ABC):
    """A float32 matrix ``(n, d)`` that is no array: rows that are asked for come as an array of their own.

    It is read like a memory map, in blocks, and there is never a copy of all of it.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, n: int, width: int) -> None:
        self.shape: tuple[int, int] = (n, width)
        self.size, self.nbytes = n * width, 4 * n * width

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Any) -> NDArray[Any]:
        """Some rows: by a slice, a number, or an array of numbers or flags."""

    def __iter__(self) -> Iterator[NDArray[Any]]:
        for start in range(0, len(self), _BLOCK_ROWS):
            yield from self[start : start + _BLOCK_ROWS]

    def take(self, rows: Any, axis: int = 0) -> NDArray[Any]:
        """Some rows, by their numbers."""
        return self[rows]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)


class FileRows(BlockRows):
    """Rows of memory maps one after another, of any kind of float, as float32; of what is sent to another process only
    the places go, and the files are opened there.

    Parameters
    ----------
    maps
        Matrices of one width in files, with contiguous rows.

    Raises
    ------
    InputError
        When rows are read, if a file is missing or no longer what it was.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     rows = np.memmap(f"{folder}/a", np.float16, "w+", shape=(3, 2))
    ...     rows[:] = [[0, 1], [2, 3], [4, 5]]
    ...     X = FileRows([rows] * 2)
    ...     X.shape, X[[4, 0]].tolist()
    ((6, 2), [[2.0, 3.0], [0.0, 1.0]])
    """

    def __init__(self, maps: Sequence[np.memmap[Any, Any]]) -> None:
        self._places = [_Place.of(of) for of in maps]
        self._maps: list[np.memmap[Any, Any]] | None = None
        self._ends, self._n_touched = np.cumsum([len(of) for of in maps]), 0
        super().__init__(int(self._ends[-1]), maps[0].shape[1])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_maps": None}

    @property
    def maps(self) -> list[np.memmap[Any, Any]]:
        """The matrices in the files."""
        if self._maps is None:
            self._maps = [place.open() for place in self._places]
        return self._maps

    def part(self, start: int, stop: int) -> FileRows:
        """The rows from `start` to `stop`, of the same files."""
        made = FileRows.__new__(FileRows)
        starts = self._ends - [place.shape[0] for place in self._places]
        cut = [
            place.part(max(start - first, 0), min(stop - first, place.shape[0]))
            for place, first in zip(self._places, starts.tolist(), strict=True)
            if first < stop and start < first + place.shape[0]
        ]
        made._places, made._maps = cut, None
        made._ends, made._n_touched = np.cumsum([place.shape[0] for place in cut]), 0
        BlockRows.__init__(made, stop - start, self.shape[1])
        return made

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        if isinstance(rows, int | np.integer):
            return cast(NDArray[Any], self[np.array([rows])][0])
        if isinstance(rows, slice) and len(self.maps) == 1:
            with np.errstate(over="ignore"):
                found = np.array(self.maps[0][rows], np.float32)
            self._touch(found.nbytes)
            return found
        return self.take(np.arange(len(self))[rows])

    def take(self, rows: Any, axis: int = 0) -> NDArray[Any]:
        """Some rows, by their numbers."""
        numbers = np.asarray(rows)
        self._touch(len(numbers) * max(4 * self.shape[1], _AROUND_BYTES))
        with np.errstate(over="ignore"):
            if len(self.maps) == 1:
                return np.asarray(self.maps[0]).take(numbers, axis=0).astype(np.float32, copy=False)
            found = np.empty((len(numbers), self.shape[1]), np.float32)
            of_map = np.searchsorted(self._ends, numbers, side="right")
            for number, of in enumerate(self.maps):
                here = of_map == number
                found[here] = of[numbers[here] - (self._ends[number] - len(of))]
        return found

    def _touch(self, n_bytes: int) -> None:
        """Let go of what has been read now and then: the system keeps it for as long as it has memory to spare, but
        counts it as this process's own."""
        self._n_touched += n_bytes
        if self._n_touched > _TOUCHED_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._n_touched = 0
            for of in self.maps:
                of._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


@dataclass(frozen=True)
class _Place:
    """Where a matrix lies in a file, and what the file was when it was opened (bytes, time of change)."""

    path: str
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    offset: int
    state: tuple[int, int]

    @classmethod
    def of(cls, array: np.memmap[Any, Any]) -> Self:
        """That of a memory map, or of a part of one, whose own offset is that of the whole."""
        whole = np.frombuffer(array._mmap, np.uint8)  # type: ignore[attr-defined]
        begun = array.offset - array.offset % mmap.ALLOCATIONGRANULARITY
        offset = begun + array.__array_interface__["data"][0] - whole.__array_interface__["data"][0]
        path = str(array.filename)
        return cls(path, array.dtype, (array.shape[0], array.shape[1]), offset, _state(path))

    def part(self, start: int, stop: int) -> Self:
        """Some of the rows."""
        offset = self.offset + start * self.shape[1] * self.dtype.itemsize
        return replace(self, shape=(stop - start, self.shape[1]), offset=offset)

    def open(self) -> np.memmap[Any, Any]:
        """The matrix; InputError if the file is missing or has changed."""
        if self.state != _state(self.path):
            raise InputError(
                f"{self.path}: expected a file that stays as it is, but it changed while this command worked. Repeat "
                "the command."
            )
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


def _state(path: str) -> tuple[int, int]:
    try:
        found = Path(path).stat()
    except OSError as error:
        raise InputError(f"{path}: expected a file that stays where it is, but: {error.strerror}.") from error
    return found.st_size, found.st_mtime_ns


class SomeRows(BlockRows):
    """Some `rows` of a matrix that is read in blocks, of which nothing is copied."""

    def __init__(self, X: BlockRows, rows: Integers) -> None:
        super().__init__(len(rows), X.shape[1])
        self.whole, self._rows = X, rows

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        return self.whole[self._rows[rows]]

    def part(self, start: int, stop: int) -> SomeRows:
        """The rows from `start` to `stop`."""
        return SomeRows(self.whole, self._rows[start:stop])


def some_rows(X: Features, rows: Integers) -> Features:
    """Some rows of a matrix: a copy, but of what is read in blocks."""
    return cast(Features, SomeRows(X, rows)) if isinstance(X, BlockRows) else X[rows]


class TensorRows(BlockRows):
    """A float32 tensor ``(n, d)`` that stays on its device."""

    def __init__(self, tensor: Any) -> None:
        self._tensor = tensor
        super().__init__(int(tensor.shape[0]), int(tensor.shape[1]))

    def __getitem__(self, rows: Any) -> NDArray[Any]:
        # A tensor is no writable array's twin here: what was handed out must not change with it.
        found: NDArray[Any] = self._tensor[rows].cpu().numpy()
        return found.copy() if np.may_share_memory(found, self._memory) else found

    def is_finite(self) -> bool:
        """Whether all values are, as the device finds."""
        return bool(self._tensor.isfinite().all())

    @property
    def _memory(self) -> NDArray[Any]:
        return self._tensor.numpy() if self._tensor.device.type == "cpu" else np.empty(0)


def _is_on_device(X: Any) -> bool:
    is_tensor = package_of(X) == "torch" and not isinstance(X, list | tuple)
    return is_tensor and X.device.type != "cpu" and X.ndim == 2 and not X.is_complex()


def _on_device(X: Any, name: str) -> TensorRows:
    rows = X if isinstance(X, TensorRows) else None
    if rows is None:
        # Another kind of number becomes float32 where it is.
        rows = TensorRows(X.detach() if str(X.dtype) == "torch.float32" else X.detach().float())
    if 0 in rows.shape:
        raise InputError(f"{name}: expected at least one row and one column, got shape {rows.shape}.")
    if not rows.is_finite():
        odd = non_finite_rows(cast(Any, rows), first=True)
        raise InputError(f"{name}: {next(iter(odd.values()))} of shape {rows.shape}. Remove or repair such rows first.")
    return rows


def non_finite_rows(array: Features, *, first: bool = False) -> dict[int, str]:
    """Rows of a matrix with values that are NaN or infinite -> which; with `first`, one is enough."""
    found: dict[int, str] = {}
    for start in range(0, len(array), _BLOCK_ROWS):
        finite = np.isfinite(array[start : start + _BLOCK_ROWS]).all(axis=1)
        for row in (start + np.flatnonzero(~finite)).tolist():
            column = int(np.argmin(np.isfinite(array[row])))
            found[row] = f"expected finite float32 values, got {array[row][column]} in row {row}, column {column}"
            if first:
                return found
    return found


def check_same_width(*named: tuple[str, Features]) -> None:
    """Raise InputError unless all the named feature matrices have the same number of columns."""
    widths = {name: X.shape[1] for name, X in named}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} has {width}" for name, width in widths.items())
        raise InputError(f"expected the same number of feature columns, but {listed}. Extract all of them alike.")


def check_sources(y: ArrayLike | None, n: int, *, name: str = "y") -> Integers:
    """Return the source column as int64 ``(n,)``; None means that all rows are of source 0."""
    if y is None:
        return np.zeros(n, np.int64)
    array = as_array(y, name)
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise InputError(f"{name}: expected {n} integers, one per row, got shape {array.shape}, dtype {array.dtype}.")
    numbers: Integers = array.astype(np.int64)
    if array.dtype.kind == "u" and (numbers < 0).any():
        raise InputError(f"{name}: expected integers of at most {np.iinfo(np.int64).max}, got {array.max()}.")
    return numbers


def check_labels(labels: ArrayLike | None, n: int, *, name: str = "labels") -> Integers | None:
    """Return class labels as int64 ``(n,)``, or None where there are none."""
    return None if labels is None else check_sources(labels, n, name=name)


def check_count(value: Any, *, name: str, minimum: int = 1, maximum: int = MOST) -> int:
    """Return `value` as an int from `minimum` to `maximum`; bools and fractions are refused."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or value < minimum:
        raise InputError(f"{name}: expected a whole number of at least {minimum}, got {shown(value)}.")
    if value > maximum:
        raise InputError(f"{name}: expected a whole number of at most {maximum:,}, got {shown(value)}.")
    return int(value)


def check_real(
    value: Any, *, name: str, above: float = -np.inf, below: float = np.inf, minimum: float = -np.inf
) -> float:
    """Return `value` as a finite float strictly between `above` and `below`, and not less than `minimum`."""
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    number = _float(value) if is_number else np.nan
    if not np.isfinite(number) or not above < number < below or number < minimum:
        least = f"of at least {minimum:g}" + (f" and below {below:g}" if np.isfinite(below) else "")
        wanted = least if minimum > above else f"between {above:g} and {below:g} (both excluded)"
        raise InputError(f"{name}: expected a number {wanted}, got {shown(value)}.")
    return number


def _float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf


def check_flag(value: Any, *, name: str) -> bool:
    """Return `value` if it is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name}: expected true or false, got {shown(value)}.")
    return bool(value)


def check_choice(value: Any, choices: tuple[str, ...], *, name: str) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise InputError(f"{name}: expected one of {', '.join(choices)}, got {shown(value)}.")
    return str(value)
