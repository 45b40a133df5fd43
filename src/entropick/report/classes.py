"""What becomes of each class: the classes of generated images over iterations, how many there are, and their spread.

Drawn where a loop counted them (``by_class``); see `entropick.loop.classes` for what the numbers are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt

from entropick.page.document import AnyChart
from entropick.page.words import number, split_key
from entropick.report.figure import (
    Figure,
    Look,
    Panel,
    Rows,
    data,
    faded,
    highlight,
    iteration_axis,
    ramp,
    share_axes,
    span,
    stacked_shares,
)
from entropick.report.study import ArmRecord
from entropick.report.table import Table

PART = "classes"
_SHARE = "generated_share_"
_LINES = {
    "generated_classes": (
        "Classes among the generated images",
        "classes (number)",
        "The exponential of the entropy of the classes' shares: ten for ten equal ones, one where a single one is "
        "left. An image is of the class of its nearest real image.",
    ),
    "generated_dispersion": (
        "Spread inside the classes",
        "dispersion (ratio to real)",
        "The total variance of the generated images of a class over that of its real images, the mean over classes; "
        "one that has vanished counts as 0.",
    ),
}


def classes(table: Table, look: Look) -> Iterator[Figure]:
    """At each size the number of classes and their spread, a line per arm, and a panel per arm of all shares."""
    for sized in table.by_size():
        for name in _LINES:
            if (figure := _lines(sized, look, name)) is not None:
                yield figure
        if (figure := _shares(sized)) is not None:
            yield figure


def _keys(table: Table) -> list[str]:
    """What was counted of classes, in the order of the ledger."""
    at = [(arm, run, n) for arm in table.study.arms for run in arm.runs for n in arm.iterations]
    return list(dict.fromkeys(key for place in at for key in table.of_run(*place, PART)))


def _lines(table: Table, look: Look, name: str) -> Figure | None:
    key = next((key for key in _keys(table) if split_key(key)[0] == name), None)
    if key is None:
        return None
    title, axis, caption = _LINES[name]
    rows: Rows = []
    for arm in table.study.arms:
        for n in arm.iterations:
            if spread := table.over_seeds(arm, n, key, PART):
                rows.append({**look.named(arm), "iteration": n, **span(spread)})
    iterations = sorted({row["iteration"] for row in rows})
    of = {(row["arm"], row["iteration"]): row["mean"] for row in rows}
    cells = [("arm", *(f"iteration {n}" for n in iterations))]
    names = [arm.name for arm in table.study.arms if any(row["arm"] == arm.name for row in rows)]
    cells += [(arm, *(number(of.get((arm, n)), 3) for n in iterations)) for arm in names]
    panels = tuple(
        Panel(family, _line_chart([row for row in rows if row["panel"] == family], look, axis, iterations[-1]))
        for family in look.families
    )
    place = (f"{caption} Means over seeds, a band from the lowest to the highest.",)
    slug = name.replace("_", "-")
    return Figure(slug, title, place, panels, tuple(cells), section="sources", size=table.size)


def _line_chart(rows: Rows, look: Look, title: str, last: int) -> AnyChart:
    x = iteration_axis(last)
    y = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=True))
    base = alt.Chart(data(rows)).encode(x=x, color=look.color(legend=look.for_file))
    tooltip = [alt.Tooltip("arm:N"), alt.Tooltip("iteration:Q", format="d"), alt.Tooltip("mean:Q", format=".3~f")]
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q", title=title), y2="high:Q")
    lines = base.mark_line(strokeWidth=2).encode(y=y, opacity=faded(1.0))
    points = base.mark_point(filled=True, size=50).encode(
        y=y, shape=look.shape(legend=look.for_file), tooltip=tooltip, opacity=faded(1.0)
    )
    return alt.layer(band, lines, points).add_params(highlight())


def _shares(table: Table) -> Figure | None:
    """A panel per arm: the share of each class among the generated images, stacked."""
    keys = [key for key in _keys(table) if key.startswith(_SHARE)]
    if not keys:
        return None
    arms = [arm for arm in table.study.arms if any(table.over_seeds(arm, n, keys[0], PART) for n in arm.iterations)]
    panels = tuple(Panel(arm.name, _bars(table, arm, keys), 150) for arm in arms)
    caption = (
        "The share of each class among the generated images of an iteration, the first class at the bottom, from light "
        "to dark; means over seeds. An image is of the class of its nearest real image.",
    )
    title = "Shares of the classes"
    return Figure("class-shares", title, caption, panels, section="sources", size=table.size)


def _bars(table: Table, arm: ArmRecord, keys: Sequence[str]) -> AnyChart:
    names = [split_key(key)[0].removeprefix(_SHARE) for key in keys]
    rows: Rows = [
        {"iteration": n, "class": name, "order": order, "share": spread.mean}
        for n in arm.iterations
        for order, (name, key) in enumerate(zip(names, keys, strict=True))
        if (spread := table.over_seeds(arm, n, key, PART))
    ]
    colors = {name: ramp(rank, len(names)) for rank, name in enumerate(names)}
    x, y = share_axes("share of the images", alt.Axis(format="%"))
    return stacked_shares(rows, x, y, "class", colors)
