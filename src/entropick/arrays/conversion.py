"""What others have as arrays: torch tensors, frames, data sets of Hugging Face, Pillow images.

They are known by the packages of their classes, so that none of these is imported for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.errors import InputError, shown


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
