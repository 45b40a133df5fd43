"""Figures of images as files: how generated images evolve, what they are copies of, where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np

from entropick.page.sprites import Sheet, picture, sprite_sheet
from entropick.page.words import number, slug
from entropick.report.figures import Figure, Panel, Rows, data
from entropick.report.maps import spread_image, spread_words
from entropick.report.pictures import examples, pairs
from entropick.report.record import ArmRecord, RunRecord, StudyRecord

_N_EXAMPLES, _N_PAIRS = 12, 10
_MOST_MAPS = 4
# Width of a file's picture; its pixels are enlarged, or a reader of PDFs would smooth them.
_WIDTH = 340
_PIXELS = 4


def image_figures(study: StudyRecord) -> list[Figure]:
    """Evolution, pairs and spread of the first seed of every arm, of a study at one size."""
    runs = [(arm, arm.runs[0]) for arm in study.arms if arm.runs and arm.runs[0].measured]
    found = [figure for arm, run in runs for figure in (_evolution(arm, run), _transition(arm, run))]
    return [figure for figure in [*found, _spread(runs)] if figure]


def _evolution(arm: ArmRecord, run: RunRecord) -> Figure | None:
    iterations = (0, *run.measured)
    rows = [(n, examples(run, n, _N_EXAMPLES)) for n in iterations]
    sheets = [
        (_row_name(n), sprite_sheet(images, _N_EXAMPLES, "", scale=_PIXELS)) for n, images in rows if images is not None
    ]
    return _stacked(f"evolution-{slug(arm.name)}", f"Generated images, {arm.name}", sheets)


def _transition(arm: ArmRecord, run: RunRecord) -> Figure | None:
    sheets = []
    for n in run.measured:
        if found := pairs(run, n, _N_PAIRS):
            both, distances = found
            known = [distance for distance in distances if distance is not None]
            mean = f", {number(sum(known) / len(known), 3)}" if known else ""
            images = np.concatenate([both[:, 0], both[:, 1]])
            sheets.append((f"{n}{mean}", sprite_sheet(images, len(both), "", scale=_PIXELS)))
    title = f"Generated images above their nearest training images, {arm.name}"
    return _stacked(f"transition-{slug(arm.name)}", title, sheets)


def _spread(runs: Sequence[tuple[ArmRecord, RunRecord]]) -> Figure | None:
    panels = []
    for arm, run in runs:
        measured = run.measured
        chosen = [measured[i] for i in np.unique(np.linspace(0, len(measured) - 1, _MOST_MAPS - 1).astype(int))]
        for n in (0, *chosen):
            if (image := spread_image(run, n)) is not None:
                title = f"{arm.name}, iteration {n}" if n else f"{arm.name}, real data"
                panels.append(Panel(title, _chart([("", picture(image, ""))], 240), 240))
    caption = tuple(text for text in [spread_words(runs[0][1])] if text) if runs else ()
    title = "Where generated images lie on the real data's two principal axes"
    return Figure("spread", title, caption, tuple(panels), section="") if panels else None


def _stacked(name: str, title: str, sheets: Sequence[tuple[str, Sheet]]) -> Figure | None:
    if not sheets:
        return None
    width = _WIDTH + 40
    height = sum(_height(sheet) for _, sheet in sheets)
    return Figure(name, title, (), (Panel("", _chart(sheets, width), height),), section="")


def _chart(sheets: Sequence[tuple[str, Sheet]], width: int) -> alt.LayerChart:
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


def _row_name(iteration: int) -> str:
    return str(iteration) if iteration else "real"
