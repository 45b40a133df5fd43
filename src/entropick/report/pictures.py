"""What the page shows of images: of every arm the first seed, iteration by iteration, as sprite sheets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from entropick.arrays import Images
from entropick.page.sprites import Sheet, picture, sprite_sheet
from entropick.report.maps import spread_image, spread_words
from entropick.report.record import ArmRecord, RunRecord, StudyRecord, finite
from entropick.report.sheets import PairSheet, halves, pair_sheets

# What all images of a page may take before compression, so that it stays a page that can be sent by mail.
_BUDGET_BYTES = 4_000_000
# Images and pairs per iteration, and columns of the evolution: the first that fits into the budget, or else the last.
_AMOUNTS = ((32, 10, 12), (16, 10, 12), (16, 5, 8), (8, 5, 6))


@dataclass(frozen=True)
class Frame:
    """What one iteration generated; iteration 0 is the real data. Sheets stand side by side or one below the other."""

    iteration: int
    examples: tuple[Sheet, ...]
    pairs: tuple[PairSheet, ...]
    spread: Sheet | None


@dataclass(frozen=True)
class ArmPictures:
    """The first seed of an arm at a size (None: the study has none), iteration by iteration.

    `evolution` has a row per frame; `space` is where the distances of the pairs were measured.
    """

    arm: str
    size: int | None
    seed: int | None
    frames: tuple[Frame, ...]
    evolution: Sheet | None
    space: str
    plane: str


def study_pictures(study: StudyRecord) -> list[ArmPictures]:
    """The pictures of every arm and size that has some, the largest size first."""
    runs = [(arm, arm.runs[0]) for sized in study.by_size() for arm in sized.arms if arm.runs]
    amounts = _amounts([run for _, run in runs])
    found = [arm_pictures(arm, run, amounts) for arm, run in runs]
    return [pictures for pictures in found if len(pictures.frames) > 1]


def arm_pictures(arm: ArmRecord, run: RunRecord, amounts: tuple[int, int, int] = _AMOUNTS[0]) -> ArmPictures:
    """The pictures of one run."""
    n_images, n_pairs, n_columns = amounts
    frames = [_frame(arm, run, n, n_images, n_pairs) for n in (0, *run.measured)]
    space = next((_told(run, n).get("feature_space", "") for n in run.measured), "")
    return ArmPictures(
        arm.name,
        run.size,
        run.seed,
        tuple(frame for frame in frames if frame.examples or frame.pairs),
        _evolution(arm, run, n_columns),
        str(space),
        spread_words(run),
    )


def examples(run: RunRecord, iteration: int, n: int) -> Images | None:
    """Some images of an iteration: the first that were generated, or real ones evenly spaced through the data."""
    if iteration:
        images = run.load(iteration, "measure", "examples.npy")
        return None if images is None else np.asarray(images[:n])
    images = run.load(0, "data", "real.npy")
    if images is None:
        return None
    # Real data is often sorted by class: its first rows would be no sample of it.
    rows = np.linspace(0, len(images) - 1, min(n, len(images))).astype(int)
    return np.asarray(images[rows])


def pairs(run: RunRecord, iteration: int, n: int) -> tuple[Images, list[float | None]] | None:
    """Generated images beside their nearest training images, uint8 ``(m, 2, h, w, c)``, and their distances."""
    found = run.load(iteration, "measure", "pairs.npy")
    if found is None:
        return None
    distances = [finite(distance) for distance in _told(run, iteration).get("distances", [])[:n]]
    kept = np.asarray(found[:n])
    return kept, [*distances, *[None] * (len(kept) - len(distances))]


def _told(run: RunRecord, iteration: int) -> dict[str, Any]:
    return run.values(iteration, "measure").get("pairs") or {}


def _amounts(runs: list[RunRecord]) -> tuple[int, int, int]:
    def needed(n_images: int, n_pairs: int, n_columns: int) -> int:
        per_iteration = n_images + 2 * n_pairs + n_columns
        return sum(_image_bytes(run) * (len(run.measured) + 1) * per_iteration for run in runs)

    return next((amounts for amounts in _AMOUNTS if needed(*amounts) <= _BUDGET_BYTES), _AMOUNTS[-1])


def _image_bytes(run: RunRecord) -> int:
    return int(np.prod(run.values(0, "data").get("image_shape") or [1]))


def _frame(arm: ArmRecord, run: RunRecord, n: int, n_images: int, n_pairs: int) -> Frame:
    where = f"{arm.name}, iteration {n}" if n else f"{arm.name}, real data"
    kind = f"{'generated' if n else 'real'} images, {where}"
    shown, paired, density = examples(run, n, n_images), pairs(run, n, n_pairs), spread_image(run, n)
    return Frame(
        n,
        () if shown is None else halves(shown, kind),
        () if paired is None else pair_sheets(*paired, where),
        None if density is None else picture(density, f"density on two principal axes of the real data: {where}"),
    )


def _evolution(arm: ArmRecord, run: RunRecord, n_columns: int) -> Sheet | None:
    rows = [examples(run, n, n_columns) for n in (0, *run.measured)]
    there = [row for row in rows if row is not None and len(row) == n_columns]
    if len(there) < max(len(rows), 2):
        return None
    alt = f"{arm.name}: real images above, then a row of generated images per iteration"
    return sprite_sheet(np.concatenate(there), n_columns, alt)
