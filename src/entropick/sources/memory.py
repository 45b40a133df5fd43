"""Sources that are in memory: arrays, tensors, frames, pictures, data sets, each as if it had been read from a file."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import as_array, check_bit_depth, check_images, package_of
from entropick.datasets.array_files import array_of_images
from entropick.datasets.listing import ImageSet, known_classes, path_or_address
from entropick.datasets.tables import TableFile
from entropick.datasets.texts import class_text, is_missing, text_hash
from entropick.errors import InputError, counted, shown
from entropick.run.files import fingerprint
from entropick.sources.embeddings import CLASSES, Embeddings, embeddings_of, read_classes, without_repeats
from entropick.sources.pictures import pictures_of
from entropick.sources.source import Source, alike, is_name, open_source

# Rows that are hashed at once, of a memory map too.
_BLOCK_ROWS = 4096


def sources_of(
    given: Any,
    *,
    name: str = "pool",
    labels: Any = None,
    columns: Sequence[str] = (),
    bit_depth: int | None = None,
) -> tuple[Source, ...]:
    """Open what a caller has: one thing, which is then called `name`, or a mapping of names to things.

    Parameters
    ----------
    given
        A thing is a path (folder, array or table, see `entropick.sources.open_sources`); an array or tensor, uint8
        images ``(n, h, w)`` or ``(n, h, w, c)``, or embeddings ``(n, d)``; a frame of pandas or polars with an
        embedding in each row; images of any size in a list, of Pillow or arrays; or a split of a Hugging Face data set,
        images of any size or embeddings. Of frames and data sets the column ``label`` is the class of each row, and
        columns of names are no features.
    name
        What a single thing is called.
    labels
        The class of each row, for the thing, or by the same names; none of them missing.
    columns
        Of tables and frames, the columns that are features; none leaves out what cannot be one.
    bit_depth
        Of images with values of more than 8 bits, how many these have; None refuses them.

    Raises
    ------
    InputError
        For no source, a name that cannot be one, a thing that is none of these, images beside embeddings, embeddings of
        different widths, or another number of labels than of rows.
    """
    columns = texts(columns, name="columns")
    is_named = isinstance(given, Mapping)
    named = dict(given) if is_named else {name: given}
    if not named:
        raise InputError("sources: expected at least one, got an empty mapping.")
    if odd := [key for key in named if not (isinstance(key, str) and is_name(key))]:
        raise InputError(f"sources: expected names that a folder can have, got {shown(odd[0])}.")
    opened = [_opened(key, value, columns, bit_depth) for key, value in named.items()]
    of_names = {} if labels is None else labels if is_named else {name: labels}
    if not isinstance(of_names, Mapping) or of_names.keys() - named.keys():
        raise InputError(
            f"labels: expected a mapping with names among {', '.join(named)}, got {type(labels).__name__}."
        )
    return tuple(
        _labelled(source, of_names[source.name]) if source.name in of_names else source for source in alike(opened)
    )


def texts(given: Any, *, name: str) -> tuple[str, ...]:
    """Text, or several of it, as a tuple: one text is one, and not its letters.

    Examples
    --------
    >>> texts("f*", name="columns"), texts(["a", "b"], name="columns")
    (('f*',), ('a', 'b'))
    """
    found = (given,) if isinstance(given, str) else tuple(given) if isinstance(given, Iterable) else (given,)
    if odd := [one for one in found if not isinstance(one, str)]:
        raise InputError(f"{name}: expected text, or several of it in a list, got {shown(odd[0])}.")
    return found


def _opened(name: str, value: Any, columns: tuple[str, ...], bit_depth: int | None) -> Source:
    if isinstance(value, Source):
        return value
    if isinstance(value, str | os.PathLike):
        if not os.fspath(value):
            # To Python the folder that it works in.
            raise InputError(f"{name}: expected a path, got ''. Give '.' for the folder of this process.")
        return open_source(name, path_or_address(value), columns, bit_depth)
    _check_list(name, value)
    place = Path(f"{name} (in memory)")
    if (pictures := pictures_of(value, place, name)) is not None:
        classes, notes = known_classes(_classes_beside(value), place)
        found = ImageSet(place, pictures, classes, are_told=classes is not None)
        source = Source(name, place, "folder", files=pictures, classes=classes, images=found, in_memory=True)
        return replace(source, notes=notes, bit_depth=check_bit_depth(bit_depth))
    embeddings, told_classes = _embeddings(value, place, columns)
    if embeddings is not None:
        embeddings = without_repeats(embeddings, place)
        made = Source(name, place, "embeddings", classes=told_classes, raw=embeddings, in_memory=True)
        named = replace(made, names=embeddings.names, ids=embeddings.ids, notes=embeddings.notes)
        told = replace(named, columns=embeddings.columns, unused=embeddings.unused, digest=embeddings.digest)
        return replace(told, bit_depth=check_bit_depth(bit_depth))
    array = as_array(value, name)
    if array.ndim not in (3, 4):
        raise InputError(
            f"{name}: expected a path, images (n, h, w) or (n, h, w, c), or embeddings (n, d), got {_kind(value)} of "
            f"shape {array.shape}, dtype {array.dtype}."
        )
    is_tensor = package_of(value) == "torch" and array.dtype == np.uint8
    depth = check_bit_depth(bit_depth)
    images = check_images(value, name=name) if is_tensor else array_of_images(array, name=name, bit_depth=depth)
    source = Source(name, place, "images", array=images, digest=_digest(images), in_memory=True)
    return replace(source, bit_depth=depth)


def _check_list(name: str, value: Any) -> None:
    """Refuse lists of what is not taken one by one: paths, and images with their labels."""
    first = value[0] if isinstance(value, list | tuple) and value else None
    if isinstance(first, str | os.PathLike):
        raise InputError(
            f"{name}: expected images, or one path, got a list of {len(value)} paths. Give the folder that holds them, "
            "or a list of images that Pillow has opened."
        )
    if isinstance(first, tuple) and len(first) == 2 and not np.isscalar(first[0]):
        raise InputError(
            f"{name}: expected images, got a list of {len(value)} pairs. Give the images as a list, and their labels "
            "as labels=."
        )


def embeddings_of_images(value: Any, columns: tuple[str, ...]) -> Embeddings:
    """Embeddings in memory as a file of them would have them: an array, a tensor, or a frame with names of images.

    Raises
    ------
    InputError
        If there is no matrix of numbers.
    """
    found, _ = _embeddings(value, Path("features (in memory)"), columns)
    if found is None:
        raise InputError(f"features: expected a name, a table, a path, or embeddings (n, d), got {_kind(value)}.")
    return found


def _embeddings(value: Any, place: Path, columns: tuple[str, ...]) -> tuple[Embeddings | None, Sequence[str] | None]:
    """Embeddings, uncopied where they are a matrix, and the class of each row, as far as they say; None for others."""
    if (table := _table(value, place.name)) is not None:
        opened = TableFile.of(table, place)
        found, classes = embeddings_of(opened, columns), read_classes([opened])
        called: dict[str, Sequence[str | None]] = {**found.called, **({} if classes is None else {CLASSES: classes})}
        content: dict[str, Any] = {"content": _digest(found.matrix), "columns": list(columns)}
        if called:
            content["texts"] = {column: text_hash(of) for column, of in called.items()}
        return replace(found, digest=fingerprint(content)), classes
    array = as_array(value, place.name)
    if array.ndim == 2 and array.dtype.kind in "fiub":
        return Embeddings((array,), digest=_digest(array)), None
    return None, None


def _table(value: Any, name: str) -> Any:
    """A frame, or a data set without images, as a table of pyarrow; None for anything else."""
    package = package_of(value)
    if package == "pyarrow" and hasattr(value, "column_names"):
        return value
    if package == "pandas" and hasattr(value, "columns"):
        import pyarrow as pa

        try:
            return pa.Table.from_pandas(value)
        except (ValueError, TypeError, NotImplementedError) as error:
            reason = "; ".join(map(str, error.args)) or type(error).__name__
            raise InputError(
                f"{name}: expected columns of different names that hold one kind of value each, but: {reason}. Convert "
                "or drop such a column."
            ) from error
    whole = value.collect() if package == "polars" and hasattr(value, "collect") else value
    if package == "polars" and hasattr(whole, "columns"):
        polars = sys.modules["polars"]
        return whole.to_arrow(compat_level=polars.CompatLevel.oldest())
    if package == "datasets" and hasattr(value, "with_format") and hasattr(value, "__len__"):
        kinds = {type(feature).__name__ for feature in (getattr(value, "features", None) or {}).values()}
        return None if "Image" in kinds or not kinds else value.with_format("arrow")[:]
    return None


def _classes_beside(value: Any) -> tuple[str | None, ...] | None:
    """The column ``label`` of a data set of images, by the names of its classes, None where it has none."""
    if package_of(value) != "datasets" or CLASSES not in getattr(value, "features", {}):
        return None
    names = getattr(value.features[CLASSES], "names", None)
    return tuple(class_text(number, names) for number in value.with_format(None)[CLASSES])


def _labelled(source: Source, labels: Any) -> Source:
    """The source with the classes that a caller has told beside it."""
    # NumPy would write what is missing among texts as text.
    is_plain = isinstance(labels, list | tuple) and package_of(labels) == "builtins"
    found = as_array(np.array(labels, object) if is_plain else labels, f"labels of {source.name}")
    if found.shape != (len(source),):
        raise InputError(f"labels of {source.name}: expected {len(source)}, one per row, got shape {found.shape}.")
    missing = [row for row, of in enumerate(found.tolist()) if is_missing(of)]
    if missing:
        raise InputError(
            f"labels of {source.name}: expected the class of every row, got {shown(found.tolist()[missing[0]])} in "
            f"{counted(len(missing), 'row')} (row {missing[0]}, for instance). Give these a class of their own, or "
            "leave them out."
        )
    classes = tuple(map(str, found.tolist()))
    return replace(source, classes=classes, labels=text_hash(classes))


def _digest(array: NDArray[Any]) -> str:
    """sha256 (hexadecimal) of the numbers of an array and what they are."""
    hashed = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    for start in range(0, len(array), _BLOCK_ROWS):
        hashed.update(np.ascontiguousarray(array[start : start + _BLOCK_ROWS]).data)
    return hashed.hexdigest()


def _kind(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__.partition('.')[0]}.{kind.__name__}".removeprefix("builtins.")
