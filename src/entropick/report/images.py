"""What is shown of images: of every arm the first seed, iteration by iteration; on the page and as figure files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images
from entropick.page.document import Sheet, picture, sprite_sheet
from entropick.page.words import different, number, slug
from entropick.report.figure import Figure, Look, Panel, Rows, data
from entropick.report.study import ArmRecord, RunRecord, StudyRecord
from entropick.report.table import Table, finite

# What all images of a page may take before compression, so that it stays a page that can be sent by mail.
_BUDGET_BYTES = 4_000_000
# Images and pairs per iteration, and columns of the evolution: the first that fits into the budget, or else the last.
_AMOUNTS = ((32, 10, 12), (16, 10, 12), (16, 5, 8), (8, 5, 6))
_IMAGE_COLUMNS, _PAIR_COLUMNS = 8, 5

# Pairs of a cell of a strip, and its iterations at most.
_STRIP_PAIRS, _STRIP_CELLS = 3, 5

# Density maps have one colour whose opacity is the density: it stands on light and on dark ground.
_MAP_COLOR = (0x2A, 0x78, 0xB8)
_MAP_SCALE = 4

# In files: images and pairs per iteration, maps per arm.
_N_EXAMPLES, _N_PAIRS = 12, 10
_MOST_MAPS = 4
# Width of a file's picture; its pixels are enlarged, or a reader of PDFs would smooth them.
_WIDTH = 340
_PIXELS = 4


@dataclass(frozen=True)
class PairSheet:
    """Generated images above their nearest training images, and the distance of each pair as far as it is known."""

    sheet: Sheet
    distances: tuple[float | None, ...]


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

    def needed(n_images: int, n_pairs: int, n_columns: int) -> int:
        sizes = [int(np.prod(run.values(0, "data").get("image_shape") or [1])) for _, run in runs]
        per_iteration = n_images + 2 * n_pairs + n_columns
        return sum(size * (len(run.measured) + 1) * per_iteration for size, (_, run) in zip(sizes, runs, strict=True))

    amounts = next((amounts for amounts in _AMOUNTS if needed(*amounts) <= _BUDGET_BYTES), _AMOUNTS[-1])
    found = [_arm_pictures(arm, run, amounts) for arm, run in runs]
    return [pictures for pictures in found if len(pictures.frames) > 1]


@dataclass(frozen=True)
class Strip:
    """An arm from left to right: the real images, then of some iterations generated images beside their nearest ones.

    `cells` are (iteration, pictures); in that of iteration 0 there are real images, in the others each generated image
    stands to the left of its nearest training image.
    """

    arm: ArmRecord
    cells: tuple[tuple[int, Sheet], ...]


def strips(arms: Sequence[ArmRecord]) -> list[Strip]:
    """The first seed of each arm as a strip; of an arm without pictures none."""
    found = []
    for arm, run in ((arm, arm.runs[0]) for arm in arms if arm.runs and arm.runs[0].measured):
        real = _examples(run, 0, 2 * _STRIP_PAIRS)
        cells = [] if real is None else [(0, sprite_sheet(real, 2, f"{len(real)} real images"))]
        places = np.unique(np.linspace(0, len(run.measured) - 1, _STRIP_CELLS).astype(int))
        for n in (run.measured[place] for place in places):
            if pairs := _pairs(run, n, _STRIP_PAIRS):
                both = pairs[0]
                what = (
                    f"{arm.name}, iteration {n}: {len(both)} generated images, each beside its nearest training image"
                )
                cells.append((n, sprite_sheet(both.reshape(-1, *both.shape[2:]), 2, what)))
        if any(n for n, _ in cells):
            found.append(Strip(arm, tuple(cells)))
    return found


def image_figures(table: Table, look: Look) -> Iterator[Figure]:
    """Figure files of the evolution, the pairs and the spread at each size; the page shows images in its own way."""
    if look.for_file:
        for sized in table.by_size():
            runs = [(arm, arm.runs[0]) for arm in sized.study.arms if arm.runs and arm.runs[0].measured]
            files = different([slug(arm.name) for arm in table.study.arms])
            names = dict(zip((arm.name for arm in table.study.arms), files, strict=True))
            found = [draw(names[arm.name], arm, run) for arm, run in runs for draw in (_evolution, _transition)]
            yield from (figure for figure in [*found, _spread(runs)] if figure)


def _arm_pictures(arm: ArmRecord, run: RunRecord, amounts: tuple[int, int, int]) -> ArmPictures:
    n_images, n_pairs, n_columns = amounts
    iterations = (0, *run.measured)
    frames = [_frame(arm, run, n, n_images, n_pairs) for n in iterations]
    rows = [_examples(run, n, n_columns) for n in iterations]
    there = [row for row in rows if row is not None and len(row) == n_columns]
    evolution = None
    if len(there) >= max(len(rows), 2):
        words = f"{arm.name}: real images above, then a row of generated images per iteration"
        evolution = sprite_sheet(np.concatenate(there), n_columns, words)
    return ArmPictures(
        arm.name,
        run.size,
        run.seed,
        tuple(frame for frame in frames if frame.examples or frame.pairs),
        evolution,
        next((str(_pair_values(run, n).get("feature_space", "")) for n in run.measured), ""),
        _plane(run),
    )


def _frame(arm: ArmRecord, run: RunRecord, n: int, n_images: int, n_pairs: int) -> Frame:
    where = f"{arm.name}, iteration {n}" if n else f"{arm.name}, real data"
    shown, paired, density = _examples(run, n, n_images), _pairs(run, n, n_pairs), _map(run, n)
    examples: tuple[Sheet, ...] = ()
    pairs: tuple[PairSheet, ...] = ()
    if shown is not None:
        parts = np.array_split(shown, 2 if len(shown) > _IMAGE_COLUMNS else 1)
        kind = f"{'generated' if n else 'real'} images, {where}"
        examples = tuple(sprite_sheet(part, _IMAGE_COLUMNS, f"{len(part)} {kind}") for part in parts if len(part))
    if paired is not None:
        both, distances = paired
        slices = [slice(start, start + _PAIR_COLUMNS) for start in range(0, len(both), _PAIR_COLUMNS)]
        pairs = tuple(PairSheet(_pair_sheet(both[part], where), tuple(distances[part])) for part in slices)
    spread = None if density is None else picture(density, f"density on two principal axes of the real data: {where}")
    return Frame(n, examples, pairs, spread)


def _pair_sheet(pairs: NDArray[np.uint8], where: str) -> Sheet:
    missing = _PAIR_COLUMNS - len(pairs)
    words = f"{where}: above, {len(pairs)} generated images; below each, its nearest training image"
    padded = np.concatenate([pairs, np.zeros((missing, *pairs.shape[1:]), np.uint8)]) if missing else pairs
    return sprite_sheet(np.concatenate([padded[:, 0], padded[:, 1]]), _PAIR_COLUMNS, words)


def _examples(run: RunRecord, iteration: int, n: int) -> Images | None:
    """Some images of an iteration: the first that were generated, or real ones evenly spaced through the data."""
    if iteration:
        images = run.intact(iteration, "measure", "examples.npy")
        return None if images is None else np.asarray(images[:n])
    images = run.intact(0, "data", "real.npy")
    if images is None:
        return None
    # Real data is often sorted by class: its first rows would be no sample of it.
    rows = np.linspace(0, len(images) - 1, min(n, len(images))).astype(int)
    return np.asarray(images[rows])


def _pairs(run: RunRecord, iteration: int, n: int) -> tuple[NDArray[np.uint8], list[float | None]] | None:
    """Generated images beside their nearest training images, uint8 ``(m, 2, h, w, c)``, and their distances."""
    found = run.intact(iteration, "measure", "pairs.npy")
    if found is None:
        return None
    distances = [finite(distance) for distance in _pair_values(run, iteration).get("distances", [])[:n]]
    kept = np.asarray(found[:n])
    return kept, [*distances, *[None] * (len(kept) - len(distances))]


def _pair_values(run: RunRecord, iteration: int) -> dict[str, Any]:
    return run.values(iteration, "measure").get("pairs") or {}


def _map(run: RunRecord, iteration: int) -> NDArray[np.uint8] | None:
    """The density on the real data's two principal axes as an RGBA image, the second axis upwards; None without one.

    Its darkest cell is that of the real data's map, so that maps of one run compare; denser cells are as dark.
    """
    density = run.intact(iteration, "measure" if iteration else "baseline", "spread.npy")
    real = run.intact(0, "baseline", "spread.npy")
    if density is None or real is None or not np.max(real) > 0:
        return None
    # Square root: the thin parts are what collapses first, and they should be seen.
    strength = np.sqrt(np.clip(np.asarray(density, np.float64) / (2 * np.max(real)), 0, 1)).T[::-1]
    image = np.zeros((*strength.shape, 4), np.uint8)
    image[..., :3] = _MAP_COLOR
    image[..., 3] = np.round(255 * strength)
    return image.repeat(_MAP_SCALE, axis=0).repeat(_MAP_SCALE, axis=1)


def _plane(run: RunRecord) -> str:
    """Which plane the maps are of, in a sentence; empty without one."""
    spread: dict[str, Any] = run.values(0, "baseline").get("spread") or {}
    if not spread.get("explained"):
        return ""
    first, second = (round(100 * share) for share in spread["explained"])
    return (
        f"The plane of the real data's two principal axes ({spread.get('feature_space', '')}), which hold {first} % "
        f"and {second} % of its variance. All maps of an arm share one scale."
    )


def _evolution(file: str, arm: ArmRecord, run: RunRecord) -> Figure | None:
    rows = [(n, _examples(run, n, _N_EXAMPLES)) for n in (0, *run.measured)]
    sheets = [
        (f"iteration {n}" if n else "real images", sprite_sheet(images, _N_EXAMPLES, "", scale=_PIXELS))
        for n, images in rows
        if images is not None
    ]
    return _stacked(f"evolution-{file}", f"Generated images, {arm.name}", sheets, run.size)


def _transition(file: str, arm: ArmRecord, run: RunRecord) -> Figure | None:
    sheets = []
    for n in run.measured:
        if found := _pairs(run, n, _N_PAIRS):
            both, distances = found
            known = [distance for distance in distances if distance is not None]
            mean = f", mean distance {number(sum(known) / len(known), 3)}" if known else ""
            images = np.concatenate([both[:, 0], both[:, 1]])
            sheets.append((f"iteration {n}{mean}", sprite_sheet(images, len(both), "", scale=_PIXELS)))
    title = f"Generated images (upper row), their nearest training images (lower row), {arm.name}"
    return _stacked(f"transition-{file}", title, sheets, run.size)


def _spread(runs: Sequence[tuple[ArmRecord, RunRecord]]) -> Figure | None:
    panels = []
    for arm, run in runs:
        measured = run.measured
        chosen = [measured[i] for i in np.unique(np.linspace(0, len(measured) - 1, _MOST_MAPS - 1).astype(int))]
        for n in (0, *chosen):
            if (image := _map(run, n)) is not None:
                title = f"{arm.name}, iteration {n}" if n else f"{arm.name}, real data"
                panels.append(Panel(title, _chart([("", picture(image, ""))]), 240))
    if not panels:
        return None
    title, (_, first) = "Where generated images lie on the real data's two principal axes", runs[0]
    caption = tuple(filter(None, [_plane(first)]))
    return Figure("spread", title, caption, tuple(panels), section="", size=first.size)


def _stacked(name: str, title: str, sheets: Sequence[tuple[str, Sheet]], size: int | None) -> Figure | None:
    if not sheets:
        return None
    panel = Panel("", _chart(sheets), sum(_height(sheet) for _, sheet in sheets))
    return Figure(name, title, (), (panel,), section="", size=size)


def _chart(sheets: Sequence[tuple[str, Sheet]]) -> alt.LayerChart:
    rows: Rows = []
    top = 0.0
    for label, sheet in sheets:
        height = _height(sheet)
        rows.append({"label": label, "url": sheet.uri, "x": 0, "y": top, "middle": top + height / 2, "h": height - 4})
        top += height
    y = alt.Scale(domain=[0, top], range=[0, top], nice=False, zero=False)
    base = alt.Chart(data(rows))
    layers = [
        base.transform_filter(alt.datum.h == height)
        .mark_image(width=_WIDTH, height=height, align="left", baseline="top", smooth=False, aspect=True)
        .encode(url="url:N", x=alt.value(0), y=alt.Y("y:Q", scale=y, axis=None))
        for height in dict.fromkeys(row["h"] for row in rows)
    ]
    text = base.mark_text(align="right", dx=-6, fontSize=10).encode(
        text="label:N", x=alt.value(0), y=alt.Y("middle:Q", scale=y, axis=None)
    )
    return alt.layer(*layers, text)


def _height(sheet: Sheet) -> int:
    return round(_WIDTH * sheet.height / sheet.width) + 4
