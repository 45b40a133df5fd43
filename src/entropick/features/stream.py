"""Images on their way through a feature space: read and prepared on threads ahead of it, in order, a few at a time.

However many there are and however large, no more of them is in memory than what is under way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from entropick.arrays import Features as FeatureMatrix
from entropick.arrays import Images
from entropick.datasets import reading
from entropick.errors import InputError, storage_error
from entropick.features.base import Features, Prepare, checked_rows, extracted
from entropick.processes.ahead import ahead
from entropick.work import Work

# Images that a worker is asked for at once.
_DEALT = 256
# Bytes of each of the images that are extracted at once, of which prepared ones may wait beside them; of larger ones
# there are fewer.
_IMAGE_BYTES = 1 << 20


class Pictures(Protocol):
    """Images that can be read one by one, on any thread and in another process. Rows are given ascending."""

    def __len__(self) -> int:
        """How many there are."""

    def take(self, rows: Sequence[int]) -> Self:
        """Those of these rows, in their order."""

    def key(self, row: int) -> bytes | None:
        """What an image is known by, 32 bytes, equal for equal pixels alone; None where nothing is known."""

    def image(self, row: int) -> Images:
        """uint8 ``(h, w, c)``; InputError, with the reason, if it cannot be used."""


@dataclass(frozen=True)
class ImageArray:
    """uint8 images ``(n, h, w, c)``, each brought to `side` x `side` unless that is None; see `reading.resized`."""

    images: Images
    side: int | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: Sequence[int]) -> Self:
        """See `Pictures`."""
        # Neighbours are not copied.
        are_neighbors = len(rows) > 0 and rows[-1] - rows[0] == len(rows) - 1
        images = self.images[rows[0] : rows[-1] + 1] if are_neighbors else self.images[np.asarray(rows, np.int64)]
        return replace(self, images=images)

    def key(self, row: int) -> bytes:
        """See `Pictures`."""
        image = np.ascontiguousarray(self.images[row])
        return _key(f"pixels {image.shape} {self.side}", image.data)

    def image(self, row: int) -> Images:
        """See `Pictures`."""
        one = self.images[row : row + 1]
        image: Images = (one if self.side is None else reading.resized(one, self.side))[0]
        return image


@dataclass(frozen=True)
class ImageFiles:
    """Image files, read as `reading.read_image` does with `mode`, `side` and `bit_depth`.

    `contents` are their hashes, `reading.hash_image` of each, or None of one that could not be read.
    """

    files: Sequence[Any]
    contents: Sequence[bytes | None]
    mode: str
    side: int | None = None
    bit_depth: int | None = None

    def __len__(self) -> int:
        return len(self.files)

    def take(self, rows: Sequence[int]) -> Self:
        """See `Pictures`."""
        files, contents = [self.files[row] for row in rows], [self.contents[row] for row in rows]
        return replace(self, files=files, contents=contents)

    def key(self, row: int) -> bytes | None:
        """See `Pictures`."""
        content = self.contents[row]
        how = f"file {reading.READING} {self.mode} {self.side}" + (f" {self.bit_depth}" if self.bit_depth else "")
        return None if content is None else _key(how, content)

    def image(self, row: int) -> Images:
        """See `Pictures`."""
        try:
            pixels = reading.read_image(self.files[row], mode=self.mode, side=self.side, bit_depth=self.bit_depth)
        except InputError as error:
            # Its hash was read: what a disk or a permission does not give now is no fault of the image, to be kept.
            if isinstance(cause := error.__cause__, OSError) and cause.errno is not None:
                raise storage_error(cause) from cause
            raise
        return pixels[..., None] if pixels.ndim == 2 else pixels


def _key(how: str, content: Any) -> bytes:
    digest = hashlib.sha256(f"{how}\0".encode())
    digest.update(content)
    return digest.digest()


class Extracted(NamedTuple):
    """Features of some pictures.

    Attributes
    ----------
    rows
        Of which pictures, ascending.
    X
        float32 ``(len(rows), d)``.
    problems
        Why others that were tried have none, by row.
    """

    rows: list[int]
    X: FeatureMatrix
    problems: dict[int, str]

    def counted_from(self, first: int) -> Extracted:
        """The same of pictures whose numbers begin with `first`."""
        problems = {row + first: reason for row, reason in self.problems.items()}
        return Extracted([row + first for row in self.rows], self.X, problems)


def stream(encoder: Features, pictures: Pictures, rows: Sequence[int]) -> Iterator[Extracted]:
    """The features of these rows, ascending, a block at a time."""
    prepare, extract = encoder.in_two_steps()
    if prepare is None and isinstance(pictures, ImageArray) and pictures.side is None:
        # What is in memory as it is to be needs no thread.
        per_block = _fitting(encoder.at_once, pictures.images[:1].nbytes)
        for start in range(0, len(rows), per_block):
            block = rows[start : start + per_block]
            yield Extracted(list(block), extracted(encoder, pictures.take(block).images), {})
        return
    for prepared in _blocks(prepare, pictures, rows, encoder.at_once):
        usable = {row: one for row, one in prepared.items() if not isinstance(one, str)}
        problems = {row: one for row, one in prepared.items() if isinstance(one, str)}
        X = np.empty((0, 0), np.float32)
        if usable:
            X = checked_rows(encoder, extract(list(usable.values())), len(usable))
        yield Extracted(list(usable), X, problems)


def extract(encoder: Features, pictures: Pictures, work: Work, first: int, n: int, note: str) -> Extracted:
    """The features of all the pictures, shared by the workers or the processes that can be had.

    They are some of `n`, and `first` of these are done: that is what is reported.
    """
    if work.n_workers:
        return _extract_by_workers(encoder, pictures, work, first, n, note)
    found: Extracted = work.together(_extract_share, encoder, pictures, first, n, note)
    return found


def _extract_share(encoder: Features, pictures: Pictures, first: int, n: int, note: str, *, work: Work) -> Extracted:
    """Blocks are dealt to the processes in turn, for a row depends on its image alone."""
    n_block = encoder.at_once
    blocks = range(work.rank * n_block, len(pictures), work.n_processes * n_block)
    mine = [row for start in blocks for row in range(start, min(start + n_block, len(pictures)))]
    parts: list[Extracted] = []
    for part in stream(encoder, pictures, mine):
        parts.append(part)
        done = max([*part.rows, *part.problems]) + 1
        work.progress(first + done, n, note)
    return _in_order([part for of_one in work.gather(parts) for part in of_one])


def _extract_by_workers(encoder: Features, pictures: Pictures, work: Work, first: int, n: int, note: str) -> Extracted:
    """Each worker gets pictures that are neighbours, as many as others, up to a few blocks at a time."""
    workers, found = work.n_workers, list[Extracted]()
    size = min(_DEALT, -(-len(pictures) // workers))
    starts = range(0, len(pictures), size)
    rounds = [starts[at : at + workers] for at in range(0, len(starts), workers)]
    some = (
        [pictures.take(range(start, min(start + size, len(pictures)))) for start in of_round] for of_round in rounds
    )
    recipe = (encoder, encoder.identity())
    for of_round, answers in zip(rounds, work.deal(_Extraction, [recipe] * workers, some), strict=True):
        for start, parts in zip(of_round, answers, strict=True):
            found += [part.counted_from(start) for part in parts]
        work.progress(first + min(of_round[-1] + size, len(pictures)), n, note)
    return _in_order(found)


class _Extraction:
    """An encoder in a worker, which has the weights of the command or none."""

    def __init__(self, encoder: Features, identity: dict[str, Any]) -> None:
        if encoder.identity() != identity:
            raise InputError(
                f"features: expected the weights of {encoder.name} that the command itself has, but a worker has "
                "others in the same place. Bring the same files to all machines."
            )
        self._encoder = encoder

    def __call__(self, pictures: Pictures) -> list[Extracted]:
        return list(stream(self._encoder, pictures, range(len(pictures))))


def _in_order(dealt: Sequence[Extracted]) -> Extracted:
    """All parts together."""
    problems = {row: reason for part in dealt for row, reason in part.problems.items()}
    filled = [part for part in dealt if part.rows]
    if not filled:
        return Extracted([], np.empty((0, 0), np.float32), problems)
    order = np.argsort([row for part in filled for row in part.rows])
    rows = np.array([row for part in filled for row in part.rows])[order]
    return Extracted(rows.tolist(), np.concatenate([part.X for part in filled])[order], problems)


def _blocks(prepare: Prepare | None, pictures: Pictures, rows: Sequence[int], at_once: int) -> Iterator[dict[int, Any]]:
    """Prepared images by row, as many as are extracted at once; in the place of an unusable one, the reason."""
    block: dict[int, Any] = {}
    n_bytes = 0
    made = ahead(partial(_prepared, prepare, pictures), rows, room=partial(_room, at_once))
    for row, one in zip(rows, made, strict=True):
        block[row] = one
        n_bytes += _nbytes(one)
        if len(block) == at_once or n_bytes >= at_once * _IMAGE_BYTES:
            yield block
            block, n_bytes = {}, 0
    if block:
        yield block


def _prepared(prepare: Prepare | None, pictures: Pictures, row: int) -> Any:
    try:
        image = pictures.image(row)
        return image if prepare is None else prepare(image)
    except InputError as error:
        return str(error)
    except (ValueError, RuntimeError, OverflowError, MemoryError) as error:
        # One image that no resize can handle, such as a line of pixels, must not end a night's work.
        return f"cannot be prepared ({error})"


def _room(at_once: int, one: Any) -> int:
    """How many may wait beside it; what an unusable image says nothing about."""
    return 0 if isinstance(one, str) else _fitting(at_once, _nbytes(one))


def _fitting(at_once: int, n_bytes: int) -> int:
    """How many images of so many bytes are extracted together."""
    return max(1, min(at_once, at_once * _IMAGE_BYTES // max(1, n_bytes)))


def _nbytes(one: Any) -> int:
    return int(getattr(one, "nbytes", 0))
