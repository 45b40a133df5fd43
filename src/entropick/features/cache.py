"""Features kept on the disk by encoder and content, in parts, so that a repeat goes on where it was interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entropick.arrays import Features as FeatureMatrix
from entropick.arrays import Images, Integers
from entropick.datasets.reading import read_array_file
from entropick.errors import InputError, RunDamaged
from entropick.features.base import Features, LearnedFeatures
from entropick.run.files import (
    fingerprint,
    hash_file,
    read_content,
    read_json,
    write_content,
    write_json,
)
from entropick.run.work_folder import waiting_lock
from entropick.work import Work

# Images kept together, and images between two signs of life.
_PART, _BLOCK = 512, 64

Read = Callable[[range], tuple[Images | None, dict[int, str]]]
"""Rows -> the images of those that are usable, None if there is none, and why the others are not."""


@dataclass(frozen=True)
class FeatureCache:
    """A folder of features; processes may share it. A part that is not what was written is made again."""

    folder: Path

    def matrix(
        self,
        encoder: Features,
        content: str,
        images: Images,
        work: Work,
        note: str,
        check: Callable[[range], None] = lambda rows: None,
    ) -> FeatureMatrix:
        """Features of an array of images with this content hash; nothing is kept where extraction is cheap.

        `check` may refuse rows that were read, before anything of them is kept.
        """
        n = len(images)
        if encoder.cheap:
            X = encoder.extract(images)
            check(range(n))
            return X
        parts = self.parts(encoder, content, lambda rows: (images[rows.start : rows.stop], {}), n, work, note, check)
        return np.concatenate([X for X, _ in parts])

    def parts(
        self,
        encoder: Features,
        content: str,
        read: Read,
        n: int,
        work: Work,
        note: str,
        check: Callable[[range], None] = lambda rows: None,
    ) -> list[tuple[FeatureMatrix, dict[int, str]]]:
        """Features of `n` images, part by part, each with the rows that have none and why; `read` gives the images.

        `check` may refuse rows that were read, before anything of them is kept.
        """
        folder = self.folder / fingerprint({"encoder": encoder.identity(), "content": content})[:16]
        found = []
        with waiting_lock(folder / ".lock"):
            for start in range(0, n, _PART):
                rows = range(start, min(start + _PART, n))
                path = folder / f"{start:09d}.npy"
                if not _is_intact(path):
                    images, problems = read(rows)
                    X = _extract(encoder, images, rows.start, n, note, work)
                    check(rows)
                    _keep(path, X, problems)
                    if work.due():
                        work.save("features", {}, {})  # all is kept already: a moment at which the budget may end
                work.progress(rows.stop, n, note)
                problems = {int(row): reason for row, reason in read_json(_notes(path))["problems"].items()}
                found.append((read_content(path), problems))
        return found

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


def _extract(encoder: Features, images: Images | None, first_row: int, n: int, note: str, work: Work) -> FeatureMatrix:
    if images is None:
        return np.empty((0, 0), np.float32)
    X: FeatureMatrix = work.together(_extract_share, encoder, images, first_row, n, note)
    return X


def _extract_share(
    encoder: Features, images: Images, first_row: int, n: int, note: str, *, work: Work
) -> FeatureMatrix:
    """Features of all images; blocks are dealt to the processes in turn, for a row depends on its image alone."""
    blocks = [images[start : start + _BLOCK] for start in range(0, len(images), _BLOCK)]
    mine = []
    for number in range(work.rank, len(blocks), work.n_processes):
        mine.append(encoder.extract(blocks[number]))
        work.progress(first_row + min((number + 1) * _BLOCK, len(images)), n, note)
    dealt = work.gather(mine)
    return np.concatenate([dealt[i % work.n_processes][i // work.n_processes] for i in range(len(blocks))])


def _keep(path: Path, X: FeatureMatrix, problems: dict[int, str]) -> None:
    record = write_content(path, X)
    write_json(_notes(path), {"sha256": record.sha256, "problems": problems})


def _is_intact(path: Path) -> bool:
    try:
        known: Any = read_json(_notes(path))
        return bool(known["sha256"] == hash_file(path).sha256)
    except (OSError, RunDamaged, TypeError, KeyError):
        return False


def _notes(path: Path) -> Path:
    return path.with_suffix(".json")
