"""What the heads of image files say: which can be used, before any is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entropick.datasets import CONVERTED_MODES
from entropick.errors import InputError
from entropick.sources.problems import Problems, listing
from entropick.sources.source import Source
from entropick.work import Work

# (height, width) of an image file, and whether it is grey.
Head = tuple[tuple[int, int], bool]


@dataclass(frozen=True)
class Survey:
    """What the heads of image files say, before any is decoded.

    Attributes
    ----------
    shape
        ``(h, w, c)`` of the images to compare; None if the sizes do not matter.
    problems
        Of each source, in order: row -> why its file cannot be used.
    """

    shape: tuple[int, ...] | None
    problems: tuple[dict[int, str], ...]

    @property
    def mode(self) -> str:
        """How `entropick.datasets.read_image` should convert files."""
        return "grey" if self.shape is not None and self.shape[-1] == 1 else "rgb"


def survey(sources: Sequence[Source], *, one_size: bool, work: Work) -> Survey:
    """Look at the head of every image file; with `one_size`, those of an unusual size are problems.

    Raises
    ------
    InputError
        With `one_size`, if sources differ in shape as a whole, or no file is usable.
    """
    heads: list[list[Head | str]] = []
    for source in sources:
        heads.append([])
        for row, file in enumerate(source.files):
            heads[-1].append(_head(file))
            work.progress(row + 1, len(source.files), f"looking at {source.name}")
    problems = tuple({row: h for row, h in enumerate(of) if isinstance(h, str)} for of in heads)
    if not one_size:
        return Survey(None, problems)
    shape = _one_shape(sources, [[h for h in of if not isinstance(h, str)] for of in heads], problems)
    for of, found in zip(heads, problems, strict=True):
        for row, head in enumerate(of):
            if not isinstance(head, str) and head[0] != shape[:2]:
                found[row] = f"has {head[0][1]}x{head[0][0]} pixels, expected {shape[1]}x{shape[0]} as most others have"
    return Survey(shape, problems)


def _one_shape(sources: Sequence[Source], usable: Sequence[Sequence[Head]], problems: Problems) -> tuple[int, ...]:
    """The shape of arrays if there are any, else the usual size of files, grey only if all are grey."""
    arrays = [source.array.shape[1:] for source in sources if source.array is not None]
    usual = [_usual_size(of) for of in usable if of]
    if not arrays and not usual:
        lines = ["sources: expected readable images, but not one file can be read:", *listing(sources, problems)]
        raise InputError("\n  ".join(lines))
    all_grey = all(is_grey for of in usable for _, is_grey in of)
    loses_colour = not all_grey and any(shape[-1] == 1 for shape in arrays)
    if len(set(arrays)) > 1 or len({*usual, *(shape[:2] for shape in arrays)}) > 1 or loses_colour:
        listed = ", ".join(
            f"{source.name} has {_described(source, of)}" for source, of in zip(sources, usable, strict=True)
        )
        raise InputError(f"sources: expected images of one shape, but {listed}. Make them alike, or give embeddings.")
    if arrays:
        return arrays[0]
    return (*usual[0], 1 if all_grey else 3)


def _usual_size(usable: Sequence[Head]) -> tuple[int, int]:
    return Counter(size for size, _ in usable).most_common(1)[0][0]


def _described(source: Source, usable: Sequence[Head]) -> str:
    """The shape of an array, or the usual size of a folder's files."""
    if source.array is not None:
        return str(source.array.shape[1:])
    if not usable:
        return "none that can be read"
    height, width = _usual_size(usable)
    colour = "" if all(is_grey for _, is_grey in usable) else " in colour"
    return f"mostly {width}x{height} pixels{colour}"


def _head(file: Path) -> Head | str:
    """What the head of an image file says, or why it cannot be used."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.mode not in CONVERTED_MODES:
                return f"expected grey or RGB with 8 bits per channel, got Pillow mode {image.mode!r}"
            return (image.height, image.width), image.mode in ("1", "L", "LA")
    except Exception as error:
        return f"does not decode ({type(error).__name__})"
