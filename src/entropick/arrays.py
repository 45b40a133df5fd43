"""Checks at the border: what comes in from a user is made regular here, once, or refused with a clear message."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.errors import InputError

Images = NDArray[np.uint8]
Features = NDArray[np.float32]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Beyond it no count is meant: NumPy, torch and Parquet count with 64 bits.
MOST = 2**63 - 1
# Letters of a value in a message.
_SHOWN = 200
# Rows checked at once, so that a memory map larger than memory can be checked.
_BLOCK_ROWS = 65_536


def check_images(images: Any, *, name: str = "images") -> Images:
    """Return `images` as uint8 ``(n, h, w, c)`` with c = 1 or 3; grey ``(n, h, w)`` gets its channel axis.

    Raises
    ------
    InputError
        For another dtype, another shape, or no image at all.

    Examples
    --------
    >>> check_images(np.zeros((5, 8, 8), np.uint8)).shape
    (5, 8, 8, 1)
    """
    array = _as_array(images, name)
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


def check_features(X: ArrayLike, *, name: str = "X", finite: bool = True) -> Features:
    """Return `X` as float32 ``(n, d)``; a float32 array, also a memory map, comes back uncopied.

    Integers are cast, never wrapped; float64 is rounded to float32. Without `finite`, values are not looked at.

    Raises
    ------
    InputError
        For another number of axes, an empty array, a non-numeric dtype, or values that are NaN, infinite or beyond
        float32.
    """
    array = _as_array(X, name)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name}: expected real numbers, got dtype {array.dtype}.")
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


def _as_array(value: Any, name: str) -> NDArray[Any]:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        raise InputError(f"{name}: expected plain numbers, got a masked array. Fill or drop the masked values first.")
    try:
        # A memory map stays what it is on the disk; a matrix or another subclass becomes a plain array.
        return value if type(value) in (np.ndarray, np.memmap) else np.asarray(value)
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: expected an array, or lists of equal length ({error}).") from error


def non_finite_rows(array: Features, *, first: bool = False) -> dict[int, str]:
    """Rows of a matrix with values that are NaN or infinite -> which; with `first`, one is enough."""
    found: dict[int, str] = {}
    for start in range(0, len(array), _BLOCK_ROWS):
        finite = np.isfinite(array[start : start + _BLOCK_ROWS]).all(axis=1)
        for row in (start + np.flatnonzero(~finite)).tolist():
            column = int(np.argmin(np.isfinite(array[row])))
            found[row] = f"expected finite float32 values, got {array[row, column]} in row {row}, column {column}"
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
    array = _as_array(y, name)
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


def shown(value: Any) -> str:
    """A value as messages have it: of a long one its first 200 letters."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


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
