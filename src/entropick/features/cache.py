"""Features kept on the disk by encoder and image, so that only what is new is extracted.

An image is known by its content: a file that is renamed is the same image, one that is mended is another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from entropick.arrays import Features as FeatureMatrix
from entropick.arrays import Images, Integers
from entropick.datasets.array_files import read_array_file
from entropick.errors import InputError
from entropick.features.base import Features, LearnedFeatures, check_name, extracted
from entropick.features.parts import Parts, Place
from entropick.features.stream import ImageArray, Pictures, extract, stream
from entropick.run.files import fingerprint, read_content, write_content
from entropick.run.work_folder import waiting_lock
from entropick.work import Work

# Images kept together.
_PART = 512

Check = Callable[[Sequence[int]], None]
"""May refuse rows that were read, before anything of them is kept."""


@dataclass(frozen=True)
class FeatureCache:
    """A folder of features; processes may share it. A part that is not what was written is made again."""

    folder: Path

    def matrix(self, encoder: Features, images: Images, work: Work, note: str) -> FeatureMatrix:
        """Features of uint8 images ``(n, h, w, c)``, float32 ``(n, d)``; nothing is kept where extraction is cheap."""
        if encoder.cheap:
            return extracted(encoder, images)
        rows = Rows(len(images))
        self.fill(rows.put, encoder, ImageArray(images), work, note)
        return rows.matrix()

    def fill(
        self,
        place: Place,
        encoder: Features,
        pictures: Pictures,
        work: Work,
        note: str,
        check: Check | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> dict[int, str]:
        """Give `place` the features of all pictures that can be used, in no certain order; the others, and why not.

        What extraction costs less than to keep is not kept. Of the rest, each part is kept as soon as it is there.
        """
        check = check or (lambda rows: None)
        if encoder.cheap:
            return _fill_without_keeping(place, encoder, pictures, work, note, check)
        n, problems = len(pictures), dict[int, str]()
        keys = [pictures.key(row) for row in range(n)]
        parts = Parts(self.folder / fingerprint({"encoder": encoder.identity()})[:16], _PART)
        with parts.awaited(keys):
            todo = parts.place(keys, place)
            done = n - len(todo)
            if done:
                work.progress(done, n, note)
            # Equal images are extracted once.
            alike: dict[bytes | int, list[int]] = {}
            for row in todo:
                alike.setdefault(keys[row] or row, []).append(row)
            groups = list(alike.values())
            if done:
                say(f"{note}: {done:,} of {n:,} are kept from before, {len(groups):,} to extract.")
            step = _PART * max(1, work.n_workers) if groups else _PART
            for start in range(0, len(groups), step):
                part = groups[start : start + step]
                rows = [group[0] for group in part]
                found = extract(encoder, pictures.take(rows), work, done, n, note)
                check(rows)
                kept = [(at, key) for at, number in enumerate(found.rows) if (key := keys[rows[number]]) is not None]
                for some in (kept[at : at + _PART] for at in range(0, len(kept), _PART)):
                    parts.keep([key for _, key in some], found.X[[at for at, _ in some]])
                twins = [(at, row) for at, number in enumerate(found.rows) for row in part[number]]
                if twins:
                    place([row for _, row in twins], found.X[[at for at, _ in twins]])
                problems |= {row: reason for number, reason in found.problems.items() for row in part[number]}
                if work.due():
                    work.save("features", {}, {})  # all is kept already: a moment at which the budget may end
                done += sum(map(len, part))
                work.progress(done, n, note)
            if groups:
                parts.put_together()
        return problems

    def taught(self, encoder: Features, work: Work) -> Features:
        """The encoder; one that learns from the images at its `path` learns now, or has what was kept of it."""
        if not isinstance(encoder, LearnedFeatures) or encoder.fitted:
            return encoder
        encoder = dataclasses.replace(encoder)
        folder = self.folder / f"learned-{fingerprint(encoder.identity())[:16]}"
        weights, known = folder / "weights.safetensors", folder / "known.json"
        with waiting_lock(folder / ".lock"):
            if not known.exists():
                encoder.fit(*lessons_of(encoder), work=work)
                arrays, state = encoder.state()
                write_content(weights, arrays)
                write_content(known, state)
            return encoder.restore(read_content(weights), read_content(known))


def check_encoder(encoder: Features) -> None:
    """Raise InputError, before anything is extracted, if an encoder cannot be used where there is no loop."""
    encoder.check()
    check_name(encoder)
    if not isinstance(encoder, LearnedFeatures) or encoder.fitted:
        return
    if encoder.path is None:
        raise InputError(
            f"features: {encoder.name} learns from labelled images. Say which: "
            f"'{{kind = \"{encoder.kind}\", path = \"FILE.npz\"}}', a file with arrays 'images' and 'labels'."
        )
    encoder.check_lessons(*lessons_of(encoder))


def lessons_of(encoder: LearnedFeatures) -> tuple[Images, Integers | None]:
    """Images and labels at the `path` of a space that learns; InputError if they cannot be read."""
    assert encoder.path is not None
    return read_array_file(Path(encoder.path))


class Rows:
    """A float32 matrix of `n` rows that come in any order; made when the first do, and say how wide it is."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._X: FeatureMatrix | None = None

    def put(self, rows: Sequence[int], X: FeatureMatrix) -> None:
        """Take the features of some rows; InputError if they are not as wide as those before."""
        if self._X is None:
            self._X = np.empty((self._n, X.shape[1]), np.float32)
        if X.shape[1] != self._X.shape[1]:
            raise InputError(
                f"features: expected as many of each image, got {self._X.shape[1]} of some and {X.shape[1]} of others. "
                "Give images of one size."
            )
        self._X[rows] = X

    def matrix(self, rows: Integers | None = None) -> FeatureMatrix:
        """All rows, or those of these numbers, ascending; then no longer usable for anything else."""
        assert self._X is not None, "no row came"
        if rows is None or len(rows) == self._n:
            return self._X
        # In its own place: a copy might not fit beside it.
        for start in range(0, len(rows), _PART):
            block = rows[start : start + _PART]
            self._X[start : start + len(block)] = self._X[block]
        return self._X[: len(rows)]


def _fill_without_keeping(
    place: Place, encoder: Features, pictures: Pictures, work: Work, note: str, check: Check
) -> dict[int, str]:
    n, done, problems = len(pictures), 0, dict[int, str]()
    for part in stream(encoder, pictures, range(n)):
        check([*part.rows, *part.problems])
        if part.rows:
            place(part.rows, part.X)
        problems |= part.problems
        done += len(part.rows) + len(part.problems)
        work.progress(done, n, note)
        if work.due():
            work.save("features", {}, {})  # a moment at which the budget may end; what was read is read again then
    return problems
