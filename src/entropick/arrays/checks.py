"""Checks: what comes in is made regular here, once, or refused with a clear message."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays.conversion import as_array, package_of
from entropick.arrays.rows import BLOCK_BYTES, BlockRows, Features, Images, Integers, TensorRows
from entropick.errors import InputError, shown

# Beyond it no count is meant: NumPy, torch and Parquet count with 64 bits.
MOST = 2**63 - 1


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
    if array.dtype.kind == "f" and array.ndim not in (3, 4):
        raise InputError(
            f"{name}: expected images (n, h, w) or (n, h, w, c) of uint8 values 0..255, got shape {array.shape}, dtype "
            f"{array.dtype}. Embeddings are a matrix (n, d): save it as a .npy file."
        )
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
                "bits they have (--bit-depth N, bit_depth=N)."
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
    kind = finite_kind(array.dtype)
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
    came = array
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):
            array = array.astype(np.float32)
    if finite and (odd := non_finite_rows(array, first=True, kind=kind, came=lambda *place: came[place])):
        raise InputError(
            f"{name}: {next(iter(odd.values()))} of shape {array.shape}. Remove or repair such rows first."
        )
    return array


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


def finite_kind(dtype: np.dtype[Any]) -> str:
    """In which kind of number values have to be finite: in float32, or in a smaller one that they came in.

    Examples
    --------
    >>> finite_kind(np.dtype(">f2")), finite_kind(np.dtype(float))
    ('float16', 'float32')
    """
    return "float16" if dtype.kind == "f" and dtype.itemsize == 2 else "float32"


def non_finite_rows(
    array: Features,
    *,
    first: bool = False,
    kind: str = "float32",
    came: Callable[[int, int], Any] | None = None,
) -> dict[int, str]:
    """Rows of a matrix with values that are NaN or infinite -> which; with `first`, one is enough.

    What came before it was made float32 is `kind`, see `finite_kind`, and `came` tells the value in a row and column.
    """
    found: dict[int, str] = {}
    # A memory map may be larger than memory.
    step = max(1, BLOCK_BYTES // (4 * array.shape[1]))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        is_finite = np.isfinite(block)
        for row in np.flatnonzero(~is_finite.all(axis=1)).tolist():
            column = int(np.argmin(is_finite[row]))
            value = block[row][column] if came is None else came(start + row, column)
            told = f"{value} (beyond {kind})" if np.isfinite(value) else f"{value}"
            found[start + row] = f"expected finite {kind} values, got {told} in row {start + row}, column {column}"
            if first:
                return found
    return found


def check_same_width(*named: tuple[str, Features]) -> None:
    """Raise InputError unless all the named feature matrices have the same number of columns."""
    widths = {name: X.shape[1] for name, X in named}
    if len(set(widths.values())) > 1:
        listed = ", ".join(f"{name} has {width}" for name, width in widths.items())
        raise InputError(f"expected the same number of feature columns, but {listed}. Extract all of them alike.")


def check_sets(*, least: int = 1, **sets: ArrayLike) -> tuple[Features, ...]:
    """Return named sets of features, float32 ``(n, d)`` each; InputError for unusable ones, differing widths, or fewer
    than `least` rows in one."""
    checked = {name: check_features(X, name=name) for name, X in sets.items()}
    check_same_width(*checked.items())
    for name, X in checked.items():
        if len(X) < least:
            raise InputError(f"{name}: expected at least {least} rows, got {len(X)}.")
    return tuple(checked.values())


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
