"""Measures over iterations: a line per arm, or per size; a band over seeds; what real data scores as a dashed rule.

The novelty also has its early warning: when an arm will be copying, by its own ledgers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import altair as alt

from entropick.metrics.early_warning import Arrival, early_warning
from entropick.page.document import AnyChart
from entropick.page.words import axis_title, name_with_space, number, slug, split_key, words
from entropick.report.figure import (
    LEGEND_OFFSET,
    Figure,
    Look,
    Panel,
    Rows,
    data,
    faded,
    highlight,
    iteration_axis,
    size_color,
    span,
    value_scale,
)
from entropick.report.outcome import UPWARDS
from entropick.report.study import ArmRecord
from entropick.report.table import Table

NOVELTY = "generalization_score_ratio"
_BY_SIZE = ("generalization_score", NOVELTY, "knn_entropy")


@dataclass(frozen=True)
class Warned:
    """What is said of one arm, from its means over seeds.

    `level` is the novelty that counts as copying, `what` lowers it, see `EarlyWarning.what`.
    """

    arm: ArmRecord
    level: float
    last: int
    novelty: float
    found: Arrival
    what: str

    @property
    def text(self) -> str:
        """The warning, or why there is none, in a few words."""
        cause = f"; what lowers it: {self.what}" if self.what else ""
        if self.found.iteration is None or self.found.low is None or self.found.high is None:
            return f"{self.found.reason}{cause if self.novelty <= self.level else ''}"
        interval = f"{number(self.found.low, 3)} to {number(self.found.high, 3)}"
        return f"as near as copies from about iteration {number(self.found.iteration, 3)} on (95 %: {interval}){cause}"


def measures(table: Table, look: Look) -> Iterator[Figure]:
    """A figure per size and measure: a line per arm, a band from lowest to highest seed, real data as a rule."""
    for sized in table.by_size():
        for key in _drawn(sized):
            yield over_iterations(sized, look, key)


def sizes(table: Table, look: Look) -> Iterator[Figure]:
    """Score, novelty and entropy over iterations: a panel per arm, a line per size."""
    if len(table.study.sizes) > 1:
        for key in _drawn(table):
            if split_key(key)[0] in _BY_SIZE:
                yield _over_sizes(table, look, key)


def over_iterations(table: Table, look: Look, key: str) -> Figure:
    """A measure over iterations; of a study at one size."""
    metric, space = split_key(key)
    arms, known = table.study.arms, words(key)
    found = warnings(table, space) if metric == NOVELTY else []
    rows = [{**look.named(arm), **row} for arm in arms for row in _rows(table, arm, key)]
    real = _real_rows(table, look, key)
    drawing = _Drawing(key, look, rows, real, found)
    rule = ("Dashed, in the arm's colour: what real data scores.",) if len(real) > 1 else ()
    caption = (known.meaning, known.trap, *(size_warning(table) if metric == "knn_entropy" else ()), *rule)
    if any(one.found.iteration is not None for one in found):
        caption = (
            *caption,
            "Dotted: the early warning of arms that fall along a line, down to the novelty at which the mean image is "
            "as near as a copy; whether it is one, or the images contract or crowd round few, the table says. The bar "
            "is its 95 % interval.",
        )
    iterations = sorted({n for arm in arms for n in arm.iterations})
    warned = {one.arm.name: one.text for one in found}
    cells = [("arm", *(f"iteration {n}" for n in iterations), *(["early warning"] if found else []))]
    for arm in arms:
        spreads = [table.over_seeds(arm, n, key) for n in iterations]
        means = [number(spread.mean if spread else None) for spread in spreads]
        cells.append((arm.name, *means, *([warned.get(arm.name, "")] if found else [])))
    return Figure(
        slug(key),
        name_with_space(key),
        tuple(text for text in caption if text),
        tuple(Panel(family, drawing.panel(family)) for family in look.families),
        tuple(cells),
        measure=metric,
        is_main=known.is_main,
        size=table.size,
    )


def warnings(table: Table, space: str) -> list[Warned]:
    """The early warning of every arm that has been measured; of a study at one size."""
    key, warned = f"{NOVELTY}/{space}", list[Warned]()
    for arm in table.study.arms:
        level = table.over_seeds(arm, 0, f"copying_ratio/{space}", "stages")
        # As far as all seeds have come: a mean over fewer of them lies elsewhere, which is no fall.
        spreads = {n: table.over_seeds(arm, n, key) for n in arm.iterations if n <= (arm.last or 0)}
        rows = [{"iteration": float(n), key: spread.mean} for n, spread in spreads.items() if spread]
        if level and level.mean > 0 and rows:
            for row in rows:
                for part in (f"{UPWARDS}/{space}", f"total_variance/{space}"):
                    if of_part := table.over_seeds(arm, int(row["iteration"]), part):
                        row[part] = of_part.mean
            found = early_warning(rows, copying_ratio=level.mean, space=space)
            last = rows[-1]
            warned.append(Warned(arm, level.mean, int(last["iteration"]), last[key], found.arrival, found.what))
    return warned


def size_warning(table: Table) -> tuple[str, ...]:
    """What to say where training sets of different size stand side by side."""
    sizes = table.training_sizes()
    if len(sizes) < 2:
        return ()
    listed = f"{sizes[0]:,} to {sizes[-1]:,}"
    return (f"Here the training sets have {listed} images: points of different size do not compare in entropy.",)


def _drawn(table: Table) -> list[str]:
    """The measures that any run has a value of after the real data."""
    arms = [(arm, n) for arm in table.study.arms for n in arm.iterations]
    return [key for key in table.measures if any(table.over_seeds(arm, n, key) for arm, n in arms)]


def _over_sizes(table: Table, look: Look, key: str) -> Figure:
    by_size = {one.size: one for one in table.by_size()}
    sizes = sorted(table.study.sizes)
    rows: dict[str, Rows] = {}
    for arm in table.study.arms:
        of = [(size, by_size[size], arm.at_size(size)) for size in table.study.sizes]
        rows[arm.name] = [
            {"arm": arm.name, "size": str(size), **row} for size, one, sized in of for row in _rows(one, sized, key)
        ]
    y = alt.Y("mean:Q", title=axis_title(key), scale=value_scale(key, [row for of in rows.values() for row in of]))
    legend = alt.Legend(orient="right", symbolType="circle", offset=LEGEND_OFFSET) if look.for_file else None
    panels = []
    for name, own in rows.items():
        if own:
            x = iteration_axis(max(row["iteration"] for row in own))
            base = alt.Chart(data(own)).encode(x=x, color=size_color(sizes, legend))
            points = base.mark_point(filled=True, size=40).encode(y=y, tooltip=_tooltip(key, "size"))
            chart = alt.layer(*_band(base, own), base.mark_line(strokeWidth=2).encode(y=y), points)
            panels.append(Panel(name, chart))
    lines = f"A line per number of real images, from {sizes[0]:,} (light) to {sizes[-1]:,} (dark); a band over seeds."
    title, caption = f"{name_with_space(key)} by size", (words(key).meaning, lines)
    return Figure(f"{slug(key)}-by-size", title, caption, tuple(panels), section="relations")


def _rows(table: Table, arm: ArmRecord, key: str) -> Rows:
    rows: Rows = []
    for n in arm.iterations:
        spread = table.over_seeds(arm, n, key)
        row = {"iteration": n, "seeds": f"{spread.n_seeds if spread else 0} of {len(arm.runs)}"}
        rows.append(row | span(spread))
    return rows


def _real_rows(table: Table, look: Look, key: str) -> Rows:
    """What real data scores: one row if all arms have the same real data, otherwise a row per arm."""
    if common := table.real(key):
        return [{"label": "", "panel": "", **span(common)}]
    found = [(arm, table.over_seeds(arm, 0, key)) for arm in table.study.arms]
    return [{"label": look.label(arm), "panel": look.panel(arm), **span(spread)} for arm, spread in found if spread]


@dataclass(frozen=True)
class _Drawing:
    """What the panels of one measure have in common: one scale, and all their rows."""

    key: str
    look: Look
    rows: Rows
    real: Rows
    warned: list[Warned]

    def panel(self, family: str) -> AnyChart:
        look, own = self.look, [row for row in self.rows if row["panel"] == family]
        # Whether the drawing has one: a layer that declines it would take it from all.
        legend = look.for_file and family == look.families[-1]
        measured = max(row["iteration"] for row in self.rows)
        ends = [int(one.found.high) + 1 for one in self.warned if one.found.high is not None]
        # As far as the warnings go, at most twice as far as was measured.
        x = iteration_axis(min(max([measured, *ends]), 2 * measured))
        y = alt.Y("mean:Q", title=axis_title(self.key), scale=value_scale(self.key, self.rows + self.real))
        base = alt.Chart(data(own)).encode(x=x, color=look.color(legend=legend), opacity=faded(1.0))
        points = base.mark_point(filled=True, size=50)
        layers = [
            *self._real_rule(family, legend=legend),
            *self._warning_layers(family, x, y, legend=legend),
            *_band(base, own),
            base.mark_line(strokeWidth=2).encode(y=y),
            points.encode(y=y, shape=look.shape(legend=legend), tooltip=_tooltip(self.key, "arm")),
            *(self._real_label() if look.for_file else []),
        ]
        return alt.layer(*layers).add_params(highlight())

    def _warning_layers(self, family: str, x: alt.X, y: alt.Y, *, legend: bool) -> list[alt.Chart]:
        """The way from the last measured novelty down to copying, and the interval in which it gets there.

        As far as the axis goes.
        """
        ways: Rows = []
        spans: Rows = []
        for one in self.warned:
            if one.found.iteration is not None and self.look.panel(one.arm) == family:
                named = {"arm": one.arm.name, "label": self.look.label(one.arm)}
                end = {**named, "mean": one.level}
                ways.append({**named, "iteration": one.last, "mean": one.novelty})
                ways.append({**end, "iteration": one.found.iteration})
                spans.append({**end, "iteration": one.found.low, "until": one.found.high, "text": one.text})
        if not spans:
            return []
        tooltip = [alt.Tooltip("arm:N"), alt.Tooltip("text:N", title="early warning")]
        color = self.look.color(legend=legend)
        way = alt.Chart(data(ways)).mark_line(strokeDash=[2, 4], strokeWidth=1.5, clip=True)
        span = alt.Chart(data(spans)).mark_rule(strokeWidth=4, strokeCap="round", clip=True)
        return [
            way.encode(x=x, y=y, color=color, opacity=faded(0.9), detail="arm:N"),
            span.encode(x=x, x2="until:Q", y=y, color=color, opacity=faded(0.6), tooltip=tooltip),
        ]

    def _real_rule(self, family: str, *, legend: bool) -> list[alt.Chart]:
        own = [row for row in self.real if row["panel"] in ("", family)]
        if not own:
            return []
        rule = alt.Chart(data(own)).mark_rule(strokeDash=[5, 3], strokeWidth=1.2)
        tooltip = [alt.Tooltip("mean:Q", title="real data", format=".4~g")]
        if own[0]["label"]:
            tooltip = [alt.Tooltip("label:N", title="arm"), *tooltip]
            return [rule.encode(y="mean:Q", color=self.look.color(legend=legend), tooltip=tooltip)]
        return [rule.encode(y="mean:Q", tooltip=tooltip)]

    def _real_label(self) -> list[alt.Chart]:
        """Beside the plot, where no line can cross it; the page has it in its legend instead."""
        if not self.real or self.real[0]["label"]:
            return []
        label = alt.Chart(data(self.real)).mark_text(align="left", dx=4, fontSize=10, text="real data")
        return [label.encode(x=alt.value("width"), y="mean:Q")]


def _band(base: alt.Chart, rows: Rows) -> list[alt.Chart]:
    if not any(row["low"] != row["high"] for row in rows):
        return []
    opacity = faded(0.18) if "label" in rows[0] else alt.value(0.18)
    return [base.mark_area(strokeWidth=0).encode(y=alt.Y("low:Q"), y2="high:Q", opacity=opacity)]


def _tooltip(key: str, line: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{line}:N"),
        alt.Tooltip("iteration:Q", format="d"),
        alt.Tooltip("mean:Q", title=words(key).label, format=".4~g"),
        alt.Tooltip("low:Q", title="lowest seed", format=".4~g"),
        alt.Tooltip("high:Q", title="highest seed", format=".4~g"),
        alt.Tooltip("seeds:N", title="seeds"),
    ]
