"""What heads of image files say before any is decoded: which can be used, of one size or not, and the words for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.datasets import reading
from entropick.datasets.reading import Head, ImageFile
from entropick.errors import InputError, counted
from entropick.processes.ahead import ahead
from entropick.sources.source import Source, on_one_line, readable
from entropick.work import Work

# Where fewer files than this share have one size, none is the odd one; where it has more pixels than so many, no two
# images are alike in them. Then spaces that need one size compare at this one.
_USUAL, _MOST_PIXELS, _SIDE = 0.9, 1 << 20, 32

# Rows of embeddings that are named at most.
_ROWS_LISTED = 100

# Ends of reasons that have a remedy of their own, and how those begin that speak of a row of embeddings.
_ODD_SIZE = "as most others have"
_RESIZED = "--resize N (resize=N), which brings all to one size"
IN_ROW = "its row in "
"""What reasons begin with, before the file, that an image has because of its embedding."""

LISTED = 10
"""Reasons that are told at most where not one row is left."""

Problems = Sequence[dict[int, str]]
"""Of each source, in order: row -> why it cannot be used."""


@dataclass(frozen=True)
class Survey:
    """What the heads of image files say, before any is decoded.

    Attributes
    ----------
    shape
        ``(h, w, c)`` of the images to compare in spaces that need one size; None if no space does.
    problems
        Of each source, in order: row -> why its file cannot be used.
    side
        To which height and width images are brought for spaces that need one size; None where they have one.
    n_frames
        Of each source, in order: row -> how many frames or pages its file has, where there are several.
    n_deep
        Of each source, in order, how many files have more than 8 bits a channel, of which 8 are left.
    """

    shape: tuple[int, ...] | None
    problems: tuple[dict[int, str], ...]
    side: int | None = None
    n_frames: tuple[dict[int, int], ...] = ()
    n_deep: tuple[int, ...] = ()

    @property
    def mode(self) -> str:
        """How `entropick.datasets.reading.read_image` should convert files for spaces that need one size."""
        return "grey" if self.shape is not None and self.shape[-1] == 1 else "rgb"


def survey(sources: Sequence[Source], *, one_size: bool, work: Work, resize: int | None = None) -> Survey:
    """Look at the head of every image file; with `one_size`, those of an unusual size are problems.

    With `resize` none is; nor where too few have the usual size, or that is very large: then they are brought to a
    small one.

    Raises
    ------
    InputError
        With `one_size`, if sources differ in shape as a whole, or no file is usable.
    """
    heads: list[dict[int, Head]] = []
    problems: tuple[dict[int, str], ...] = tuple({} for _ in sources)
    for source, known in zip(sources, problems, strict=True):
        heads.append({})
        look = partial(_head_or_reason, bit_depth=source.bit_depth)
        for row, head in enumerate(ahead(look, source.files)):
            if isinstance(head, str):
                known[row] = head
            else:
                heads[-1][row] = head
            work.progress(row + 1, len(source.files), f"looking at {source.name}")
    n_frames = tuple({row: head.n_frames for row, head in of.items() if head.n_frames > 1} for of in heads)
    n_deep = tuple(sum(head.bits > 8 for head in of.values()) for of in heads)
    if not one_size:
        return Survey(None, problems, resize, n_frames, n_deep)
    sizes = Counter(head.size for of in heads for head in of.values())
    if resize is None:
        usual = [source.array.shape[1:3] for source in sources if source.array is not None]
        usual += [size for size, _ in sizes.most_common(1)]
        is_mixed = bool(sizes) and sizes.most_common(1)[0][1] < _USUAL * sizes.total()
        if is_mixed or any(height * width > _MOST_PIXELS for height, width in usual):
            resize = _SIDE
    if resize is not None and (sizes or any(source.array is not None for source in sources)):
        is_grey = all(head.is_grey for of in heads for head in of.values())
        is_grey &= all(source.array is None or source.array.shape[-1] == 1 for source in sources)
        channels = {source.array.shape[-1] for source in sources if source.array is not None}
        if len(channels | {1 if is_grey else 3}) == 1:
            return Survey((resize, resize, 1 if is_grey else 3), problems, resize, n_frames, n_deep)
    shape = _one_shape(sources, [list(of.values()) for of in heads], problems)
    for of, known in zip(heads, problems, strict=True):
        for row, (size, *_) in of.items():
            if size != shape[:2]:
                known[row] = f"has {size[1]}x{size[0]} pixels, expected {shape[1]}x{shape[0]} {_ODD_SIZE}"
    return Survey(shape, problems, None, n_frames, n_deep)


def _head_or_reason(file: ImageFile, *, bit_depth: int | None) -> Head | str:
    try:
        return reading.image_head(file, bit_depth=bit_depth)
    except InputError as error:
        return str(error)


def check_files(sources: Sequence[Source], found: Survey, *, skip_bad: bool, work: Work) -> None:
    """Raise InputError if the survey found image files that cannot be used, unless they are to be skipped.

    Then the others are decoded as well, so that all are named at once. Where sizes do not matter, heads are enough.
    """
    problems = [dict(known) for known in found.problems]
    if found.shape is not None and any(problems) and not skip_bad:
        for source, known in zip(sources, problems, strict=True):
            rows = [row for row in range(len(source.files)) if row not in known]
            read = partial(_reason, source, found)
            for done, (row, reason) in enumerate(zip(rows, ahead(read, rows), strict=True), start=1):
                known.update({row: reason} if reason else {})
                work.progress(done, len(rows), f"looking for others in {source.name}")
    check_problems(sources, problems, skip_bad=skip_bad)


def undecodable(sources: Sequence[Source], problems: Problems) -> tuple[dict[int, str], ...]:
    """Those problems, and of all other image files, which are decoded for it, why they do not."""
    found = tuple(dict(known) for known in problems)
    for source, known in zip(sources, found, strict=True):
        rows = [row for row in range(len(source.files)) if row not in known]
        reasons = ahead(partial(_reason, source, Survey(None, ())), rows)
        known.update({row: reason for row, reason in zip(rows, reasons, strict=True) if reason})
    return found


def _reason(source: Source, looks: Survey, row: int) -> str:
    """Why a file does not decode; empty if it does."""
    try:
        reading.read_image(source.files[row], mode=looks.mode, side=looks.side, bit_depth=source.bit_depth)
    except InputError as error:
        return str(error)
    return ""


def check_problems(sources: Sequence[Source], problems: Problems, *, skip_bad: bool) -> None:
    """Raise InputError that names all images or rows that cannot be used, unless they are to be skipped."""
    if skip_bad or not any(problems):
        return
    reasons = [reason for of in problems for reason in of.values()]
    are_embeddings = all(reason.startswith(IN_ROW) for reason in reasons)
    are_rows, n = are_embeddings or sources[0].kind == "embeddings", len(reasons)
    # Of a large pool a million rows may be bad, and for one reason; each image is a file to be mended.
    lines = listing(sources, problems, most=_ROWS_LISTED if are_rows else None)
    what, them = "row" if are_rows else "image", "it" if n == 1 else "them"
    told = counted(n, what)
    if are_embeddings:
        files = {reason.removeprefix(IN_ROW).partition(": ")[0] for reason in reasons}
        told += f" of {on_one_line(' and '.join(sorted(files)))}"
    remedy = f"Extract {them} again" if are_embeddings else f"Mend or remove {them}"
    if any(reason.endswith(_ODD_SIZE) for reason in reasons):
        remedy = f"Give {_RESIZED}; or mend or remove {them}"
    raise InputError("\n  ".join([f"{told} cannot be used. {remedy}, or give --skip-bad (skip_bad=True):", *lines]))


def passed_over(sources: Sequence[Source], found: Survey) -> dict[str, dict[str, int]]:
    """What the sources hold that is no candidate, by source and reason; frames and pages beside the first among it."""
    told = {}
    for number, source in enumerate(sources):
        counts = {readable(reason): count for reason, count in source.passed_over.items()}
        if n_frames := found.n_frames[number] if found.n_frames else {}:
            counts["further frame or page of a file"] = sum(n_frames.values()) - len(n_frames)
        if counts:
            told[source.name] = counts
    return told


def converted(sources: Sequence[Source], found: Survey) -> dict[str, dict[str, int]]:
    """How many images of each source are compared in other numbers than they have, by what was done to them."""
    return {
        source.name: {"more than 8 bits per channel, brought to 8": n}
        for source, n in zip(sources, found.n_deep, strict=False)
        if n
    }


def skipped(sources: Sequence[Source], problems: Problems) -> list[dict[str, Any]]:
    """What was skipped, as plain data."""
    return [
        {"source": source.name, "path": readable(source.place(row)), "row": row, "reason": readable(reason)}
        for source, bad in zip(sources, problems, strict=True)
        for row, reason in sorted(bad.items())
    ]


def listing(sources: Sequence[Source], problems: Problems, *, most: int | None = None) -> list[str]:
    """A line for each row that cannot be used: where it is, and why; `most` of them, and how many more there are."""
    bad = ((source, row, of[row]) for source, of in zip(sources, problems, strict=True) for row in sorted(of))
    lines = [f"{on_one_line(source.place(row))}: {on_one_line(reason)}" for source, row, reason in islice(bad, most)]
    n_more = sum(map(len, problems)) - len(lines)
    return [*lines, f"… and {n_more:,} more"] if n_more else lines


def usable(source: Source, problems: Mapping[int, str]) -> NDArray[np.bool_]:
    """Of each row of a source, whether it can be used."""
    found = np.ones(len(source), bool)
    found[list(problems)] = False
    return found


def _one_shape(sources: Sequence[Source], usable: Sequence[Sequence[Head]], problems: Problems) -> tuple[int, ...]:
    """The shape of arrays if there are any, else the usual size of files, grey only if all are grey."""
    arrays_shapes = [source.array.shape[1:] for source in sources if source.array is not None]
    usual = [_usual_size(of) for of in usable if of]
    if not arrays_shapes and not usual:
        lines = [
            "sources: expected readable images, but not one file can be read:",
            *listing(sources, problems, most=LISTED),
        ]
        raise InputError("\n  ".join(lines))
    all_grey = all(head.is_grey for of in usable for head in of)
    loses_colour = not all_grey and any(shape[-1] == 1 for shape in arrays_shapes)
    if len(set(arrays_shapes)) > 1 or len({*usual, *(shape[:2] for shape in arrays_shapes)}) > 1 or loses_colour:
        listed = ", ".join(
            f"{source.name} has {_described(source, of)}" for source, of in zip(sources, usable, strict=True)
        )
        are_mixed = loses_colour or len({shape[-1] for shape in arrays_shapes}) > 1
        advice = "Bring them to grey, or all to colour" if are_mixed else f"Give {_RESIZED}"
        raise InputError(f"sources: expected images of one shape, but {listed}. {advice}, or give embeddings.")
    return arrays_shapes[0] if arrays_shapes else (*usual[0], 1 if all_grey else 3)


def _usual_size(usable: Sequence[Head]) -> tuple[int, int]:
    return Counter(head.size for head in usable).most_common(1)[0][0]


def _described(source: Source, usable: Sequence[Head]) -> str:
    """The shape of an array, or the usual size of a folder's files."""
    if source.array is not None:
        return str(source.array.shape[1:])
    if not usable:
        return "none that can be read"
    height, width = _usual_size(usable)
    colour = "" if all(head.is_grey for head in usable) else " in colour"
    return f"mostly {width}x{height} pixels{colour}"
