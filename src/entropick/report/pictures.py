"""The pictures of a study as sprite sheets, as many as a page can carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images
from entropick.page.sprites import Sheet, sprite_sheet
from entropick.report.record import ArmRecord, RunRecord, StudyRecord, finite

# What all images of a page may take before compression, so that it stays a page that can be sent by mail.
_BUDGET_BYTES = 1_700_000
# Images and pairs per iteration: the first of these that fits into the budget, or else the last.
_AMOUNTS = ((32, 10), (16, 10), (16, 5), (8, 5))
_IMAGE_COLUMNS, _PAIR_COLUMNS = 8, 5


@dataclass(frozen=True)
class PairSheet:
    """Generated images above their nearest training images, and the distance of each pair as far as it is known."""

    sheet: Sheet
    distances: tuple[float | None, ...]


@dataclass(frozen=True)
class RealPictures:
    """Some of the real images, and the arms that start from them."""

    arms: tuple[str, ...]
    sheets: tuple[Sheet, ...]


@dataclass(frozen=True)
class IterationPictures:
    """What one iteration generated; `space` is where the distances of its pairs were measured.

    Sheets stand side by side or, on a phone, one below the other.
    """

    iteration: int
    examples: tuple[Sheet, ...]
    pairs: tuple[PairSheet, ...]
    space: str


@dataclass(frozen=True)
class ArmPictures:
    """What the first seed of an arm generated, iteration by iteration."""

    arm: str
    seed: int | None
    iterations: tuple[IterationPictures, ...]


def study_pictures(study: StudyRecord) -> tuple[list[RealPictures], list[ArmPictures]]:
    """The real images, once for all arms that have the same, and the generated ones of every arm that has some."""
    runs = [(arm, arm.runs[0]) for arm in study.arms if arm.runs]
    n_images, n_pairs = _amount([run for _, run in runs])
    arms = [_arm_pictures(arm, run, n_images, n_pairs) for arm, run in runs]
    return _real_pictures(runs, n_images), [pictures for pictures in arms if pictures.iterations]


def _amount(runs: list[RunRecord]) -> tuple[int, int]:
    def needed(n_images: int, n_pairs: int) -> int:
        per_iteration = n_images + 2 * n_pairs
        return sum(_image_bytes(run) * len(run.measured) * per_iteration for run in runs)

    return next((amount for amount in _AMOUNTS if needed(*amount) <= _BUDGET_BYTES), _AMOUNTS[-1])


def _image_bytes(run: RunRecord) -> int:
    return int(np.prod(run.values(0, "data").get("image_shape") or [1]))


def _real_pictures(runs: list[tuple[ArmRecord, RunRecord]], n_images: int) -> list[RealPictures]:
    found: dict[str, tuple[list[str], RunRecord]] = {}
    for arm, run in runs:
        digest = run.digest(0, "data", "real.npy")
        if digest is not None:
            found.setdefault(digest, ([], run))[0].append(arm.name)
    pictures = [RealPictures(tuple(arms), _real_sheets(run, n_images)) for arms, run in found.values()]
    return [picture for picture in pictures if picture.sheets]


def _real_sheets(run: RunRecord, n_images: int) -> tuple[Sheet, ...]:
    images = run.load(0, "data", "real.npy")
    if images is None:
        return ()
    # Real data is often sorted by class: its first rows would be no sample of it.
    rows = np.linspace(0, len(images) - 1, min(n_images, len(images))).astype(int)
    return _halves(np.asarray(images[rows]), "images of the real data")


def _arm_pictures(arm: ArmRecord, run: RunRecord, n_images: int, n_pairs: int) -> ArmPictures:
    iterations = [_iteration_pictures(arm, run, n, n_images, n_pairs) for n in run.measured]
    return ArmPictures(arm.name, run.seed, tuple(i for i in iterations if i.examples or i.pairs))


def _iteration_pictures(arm: ArmRecord, run: RunRecord, n: int, n_images: int, n_pairs: int) -> IterationPictures:
    where = f"{arm.name}, iteration {n}"
    images = run.load(n, "measure", "examples.npy")
    pairs = run.load(n, "measure", "pairs.npy")
    told: dict[str, Any] = run.values(n, "measure").get("pairs") or {}
    return IterationPictures(
        n,
        () if images is None else _halves(np.asarray(images[:n_images]), f"generated images, {where}"),
        () if pairs is None else _pair_sheets(np.asarray(pairs[:n_pairs]), told.get("distances", []), where),
        str(told.get("feature_space", "")),
    )


def _halves(images: Images, kind: str) -> tuple[Sheet, ...]:
    n_parts = 2 if len(images) > _IMAGE_COLUMNS else 1
    parts = [part for part in np.array_split(images, n_parts) if len(part)]
    return tuple(sprite_sheet(part, _IMAGE_COLUMNS, f"{len(part)} {kind}") for part in parts)


def _pair_sheets(pairs: NDArray[np.uint8], told: list[Any], where: str) -> tuple[PairSheet, ...]:
    distances = [finite(distance) for distance in told[: len(pairs)]]
    distances += [None] * (len(pairs) - len(distances))
    starts = range(0, len(pairs), _PAIR_COLUMNS)
    parts = [slice(start, start + _PAIR_COLUMNS) for start in starts]
    return tuple(PairSheet(_pair_sheet(pairs[part], where), tuple(distances[part])) for part in parts)


def _pair_sheet(pairs: NDArray[np.uint8], where: str) -> Sheet:
    missing = _PAIR_COLUMNS - len(pairs)
    alt = f"{where}: above, {len(pairs)} generated images; below each, its nearest training image"
    padded = np.concatenate([pairs, np.zeros((missing, *pairs.shape[1:]), np.uint8)]) if missing else pairs
    return sprite_sheet(np.concatenate([padded[:, 0], padded[:, 1]]), _PAIR_COLUMNS, alt)
