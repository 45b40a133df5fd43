"""The picture of the README, docs/collapse.svg: a loop that collapses, and two that choose what they train on.

`python tools/collapse_picture.py` draws it from `results/mnist-14`: rows of images from the figures that the study has
left, and the ratio of the generalization score to that of fresh real images from its numbers.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import altair as alt

from entropick.page.document import FILE_INK, theme

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "results" / "mnist-14"
PICTURE = ROOT / "docs" / "collapse.svg"

ARMS = {
    "replace": ("Trained on its own images", "#c8503c"),
    "accumulate-subsample": ("Real ones kept, chosen at random", "#8a8a8a"),
    "accumulate-subsample+greedy": ("Real ones kept, chosen by greedy", "#2a78b8"),
}
ITERATIONS = (0, 1, 2, 4, 6, 8)
ROW_WIDTH, ROW_HEIGHT = 250, 21
MEASURE = "generalization_score_ratio/pixels"


def strips(arm: str) -> list[str]:
    """The rows of images of an arm, iteration 0 (real) first, as data URIs."""
    text = (STUDY / "figures" / f"evolution-{arm.replace('+', '-')}.svg").read_text(encoding="utf-8")
    return re.findall(r'xlink:href="(data:image/png;base64,[^"]+)"', text)


def images(arm: str) -> alt.Chart:
    """What an arm generated, iteration by iteration."""
    title, color = ARMS[arm]
    uris = strips(arm)
    values = [{"iteration": "real" if n == 0 else str(n), "url": uris[n]} for n in ITERATIONS]
    return (
        alt.Chart(alt.Data(values=values), title=alt.Title(title, color=color))
        .mark_image(width=ROW_WIDTH, height=ROW_HEIGHT, aspect=True)
        .encode(
            y=alt.Y("iteration:N", sort=None, title=None, axis=alt.Axis(domain=False, ticks=False)),
            url="url:N",
            x=alt.value(ROW_WIDTH / 2),
        )
        .properties(width=ROW_WIDTH, height=len(ITERATIONS) * (ROW_HEIGHT + 2))
    )


def curves() -> alt.LayerChart:
    """The ratio of each arm: 1 is as new as fresh real images, 0 is a copy."""
    with (STUDY / "numbers.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["arm"] in ARMS and row["measure"] == MEASURE]
    values = [
        {"arm": ARMS[row["arm"]][0], "iteration": int(row["iteration"]), "ratio": float(row["value"])}
        for row in rows
        if int(row["iteration"]) > 0
    ]
    colors = alt.Scale(domain=[name for name, _ in ARMS.values()], range=[color for _, color in ARMS.values()])
    base = alt.Chart(alt.Data(values=values), title="How new are the images? 1: as new as fresh real ones, 0: copies")
    line = base.mark_line(point=True, strokeWidth=2).encode(
        x=alt.X("iteration:Q", title="iteration", axis=alt.Axis(tickMinStep=1, grid=False)),
        y=alt.Y("ratio:Q", title=None, scale=alt.Scale(domain=[0, 1.1])),
        color=alt.Color("arm:N", scale=colors, legend=None),
    )
    fresh = alt.Chart(alt.Data(values=[{"ratio": 1}])).mark_rule(strokeDash=[4, 3]).encode(y="ratio:Q")
    return alt.layer(fresh, line).properties(width=3 * ROW_WIDTH + 90, height=150)


def draw() -> str:
    """The picture as SVG."""
    panels = alt.hconcat(*(images(arm) for arm in ARMS), spacing=14)
    chart = alt.vconcat(panels, curves(), spacing=18).configure(**theme(FILE_INK))
    import vl_convert

    return vl_convert.vegalite_to_svg(chart.to_dict(validate=False))


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
