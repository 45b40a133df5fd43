"""The plane of contraction and copying: where the images of every arm go, iteration by iteration.

To the right the images contract, upwards they become copies; what falls in the generalization score as one is two
things here. Every path begins at the real data, below on the left.
"""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt

from entropick.page.document import AnyChart
from entropick.page.words import number, slug, split_key
from entropick.report.figure import COLORS, Figure, Look, Panel, Rows, data, faded, highlight
from entropick.report.intervals import CONTROLS
from entropick.report.outcome import ACROSS, UPWARDS, level
from entropick.report.table import Table

_TITLE = "Contraction and copying"
_HEIGHT = 360
_MARGIN = 0.12
_EMPTY = "There is no drawing: "
_WIDE = (
    "A training set that was chosen for distance is spaced wide, which lifts its arm; how many images are near copies "
    "is told apart."
)


def plane(table: Table, look: Look) -> Iterator[Figure]:
    """At each size the path of every arm: in the feature space of the overview, and in the others that have one."""
    others = [space for space in dict.fromkeys(split_key(key)[1] for key in table.measures) if space != table.space]
    for sized in table.by_size():
        for space in (table.space, *others):
            found = _plane(sized, look, space)
            if found is not None and (found.panels or space == table.space):
                yield found


def _plane(table: Table, look: Look, space: str) -> Figure | None:
    arms = [arm for arm in table.study.arms if arm.iterations]
    if not arms:
        return None
    keys = [f"{name}/{space}" for name in (ACROSS, UPWARDS)]
    rows: Rows = []
    for arm in arms:
        for n in (0, *arm.iterations):
            x, y = (table.over_seeds(arm, n, key) for key in keys)
            if x and y:
                rows.append({**look.named(arm), "iteration": n, "kept": x.mean, "spaced": y.mean})
    how = tuple(filter(None, [table.derived.how, table.derived.missing]))
    drawn = {row["arm"] for row in rows if row["iteration"]}
    if not drawn:
        reason = table.derived.missing or "the study does not measure what it is made of, " + " and ".join(keys) + "."
        return Figure("plane", _TITLE, (f"{_EMPTY}{reason}",), (), size=table.size)
    rows = [row for row in rows if row["arm"] in drawn]
    caption = (
        "A point is an iteration, a line the way of an arm from the real data (iteration 0) on; means over seeds. To "
        "the right the images contract: the variance that is left of the real data's. Upwards they copy: the distance "
        "of a generated image to its nearest training image, over the distance of training images to one another. A "
        "set that merely shrinks moves to the right alone; sharp copies move straight up. A loop that loses kinds of "
        "images and keeps its variance stays near the real data here: entropy and near copies tell that one.",
        *((_WIDE,) if any(arm.method not in CONTROLS for arm in arms) else ()),
        *(("Dashed: above it the mean image is a near copy.",) if level(table, space) is not None else ()),
        *how,
    )
    iterations = sorted({row["iteration"] for row in rows})
    at = {(row["arm"], row["iteration"]): row for row in rows}
    cells = [("arm", "", *(f"iteration {n}" for n in iterations))]
    for arm in arms:
        for name, label in (("kept", "variance kept"), ("spaced", "score/spacing")):
            found = [at.get((arm.name, n)) for n in iterations]
            cells.append((arm.name, label, *(number(row[name] if row else None, 3) for row in found)))
    border = level(table, space)
    panels = tuple(Panel(family, _chart(border, look, rows, family), _HEIGHT) for family in look.families)
    name, title = "plane" if space == table.space else f"plane-{slug(space)}", f"{_TITLE} ({space})"
    return Figure(name, title, caption, panels, tuple(cells), size=table.size, is_large=True)


def _chart(border: float | None, look: Look, rows: Rows, family: str) -> AnyChart:
    own = [row for row in rows if row["panel"] == family]
    legend = look.for_file and family == look.families[-1]
    # Both axes end at the real data: less variance to the right, smaller distances upwards.
    right, top = (max(1.0, *(row[name] for row in rows)) * (1 + _MARGIN) for name in ("kept", "spaced"))
    x = alt.X(
        "kept:Q",
        title="variance kept of the real data (share): contraction \N{RIGHTWARDS ARROW}",
        axis=alt.Axis(format="%", grid=False, tickCount=6),
        scale=alt.Scale(domain=[0, right], reverse=True, nice=False),
    )
    y = alt.Y(
        "spaced:Q",
        title="\N{UPWARDS ARROW} copying: score over spacing (ratio)",
        axis=alt.Axis(grid=False),
        scale=alt.Scale(domain=[0, top], reverse=True, nice=False),
    )
    base = alt.Chart(data(own)).encode(x=x, y=y, color=look.color(legend=legend), opacity=faded(1.0))
    tooltip = [
        alt.Tooltip("arm:N"),
        alt.Tooltip("iteration:Q", format="d"),
        alt.Tooltip("kept:Q", title="variance kept", format=".1%"),
        alt.Tooltip("spaced:Q", title="score over spacing", format=".3~f"),
    ]
    last = max(row["iteration"] for row in own) if own else 0
    ends = alt.Chart(data([row for row in own if row["iteration"] == last])).mark_text(dx=9, dy=-8, fontSize=10)
    origin = base.transform_filter("datum.iteration == 0").mark_point(shape="circle", size=110, strokeWidth=2)
    points = base.transform_filter("datum.iteration > 0").mark_point(filled=True, size=55)
    return alt.layer(
        *_corners(x, y, right, top),
        *_level(border, y),
        # Below the points, which tell their numbers.
        ends.encode(x=x, y=y, text="iteration:Q", opacity=faded(1.0)),
        base.mark_line(strokeWidth=1.8).encode(order="iteration:Q", detail="arm:N"),
        points.encode(shape=look.shape(legend=legend), tooltip=tooltip),
        # The real data, where all paths begin.
        origin.encode(color=alt.value(_INK), opacity=alt.value(1), tooltip=tooltip),
    ).add_params(highlight())


_INK = COLORS[-1]


def _corners(x: alt.X, y: alt.Y, right: float, top: float) -> list[alt.Chart]:
    """What it means to be in a corner, in words."""
    near, far = 0.02, 0.98
    places: Rows = [
        {"kept": right * far, "spaced": top * far, "words": "like real data"},
        {"kept": right * near, "spaced": top * far, "words": "one grey blur"},
        {"kept": right * far, "spaced": top * near, "words": "sharp copies"},
        {"kept": right * near, "spaced": top * near, "words": "copies of few"},
    ]
    drawn = []
    for row in places:
        align, baseline = "left" if row["kept"] > right / 2 else "right", "bottom" if row["spaced"] > top / 2 else "top"
        text = alt.Chart(data([row])).mark_text(align=align, baseline=baseline, fontSize=11, fontStyle="italic")
        drawn.append(text.encode(x=x, y=y, text="words:N", opacity=alt.value(0.75)))
    return drawn


def _level(at: float | None, y: alt.Y) -> list[alt.Chart]:
    if at is None:
        return []
    tooltip = [alt.Tooltip("spaced:Q", title="a near copy on average", format=".3~f")]
    rule = alt.Chart(data([{"spaced": at}])).mark_rule(strokeDash=[5, 3], strokeWidth=1.2)
    return [rule.encode(y=y, tooltip=tooltip)]
