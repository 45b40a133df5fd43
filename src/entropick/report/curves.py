"""Measures over iterations: a line per arm, or per size; a band over seeds; what real data scores as a dashed rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt

from entropick.page.drawing import AnyChart
from entropick.page.words import name_with_space, number, percent, slug, split_key, words
from entropick.report.figures import Figure, Panel, Rows, Table, data
from entropick.report.forecasts import NOVELTY, ArmForecast, forecast_layers, forecasts, reach
from entropick.report.look import LEGEND_OFFSET, Look, faded, highlight, iteration_axis, ramp
from entropick.report.record import ArmRecord, StudyRecord
from entropick.report.summary import (
    Spread,
    metric_over_seeds,
    real_over_seeds,
    shares_over_seeds,
    training_sizes,
)


def over_iterations(study: StudyRecord, look: Look, key: str, *, for_file: bool) -> Figure:
    """A measure over iterations: a line per arm, a band from lowest to highest seed, real data as a dashed rule.

    The novelty also has its forecast.
    """
    metric, space = split_key(key)
    found = forecasts(study, space) if metric == NOVELTY else []
    rows = [row for arm in study.arms for row in _rows(arm, look, key)]
    real = _real_rows(study, look, key)
    drawing = _Drawing(key, look, rows, real, found, for_file)
    table = _table(study, key)
    if found:
        told = {one.arm.name: one.told for one in found}
        table = ((*table[0], "forecast"), *((*row, told.get(row[0], "")) for row in table[1:]))
    return Figure(
        slug(key),
        name_with_space(key),
        (*_caption(study, key, real), *_forecast_caption(found)),
        tuple(Panel(family, drawing.panel(family)) for family in look.families),
        table,
        measure=metric,
        is_main=words(key).is_main,
    )


def over_sizes(study: StudyRecord, key: str, *, for_file: bool) -> Figure:
    """A measure over iterations: a panel per arm, a line per size, a band over seeds."""
    arms = [arm for arm in study.arms if arm.iterations]
    by_arm = {arm.name: _rows_by_size(study, arm, key) for arm in arms}
    scale = _scale(key, [row for rows in by_arm.values() for row in rows])
    y = alt.Y("mean:Q", title=words(key).unit or None, scale=scale)
    sizes = sorted(study.sizes)
    colors = alt.Color(
        "size:N",
        title="size",
        sort=[str(size) for size in sizes],
        scale=alt.Scale(
            domain=[str(size) for size in sizes], range=[ramp(i / max(len(sizes) - 1, 1)) for i in range(len(sizes))]
        ),
        legend=alt.Legend(orient="right", symbolType="circle", offset=LEGEND_OFFSET) if for_file else None,
    )
    panels = tuple(Panel(name, _sized(rows, key, y, colors)) for name, rows in by_arm.items() if rows)
    lines = f"A line per number of real images, from {sizes[0]:,} (light) to {sizes[-1]:,} (dark); a band over seeds."
    caption = (words(key).meaning, lines)
    return Figure(f"{slug(key)}-by-size", f"{name_with_space(key)} by size", caption, panels, section="relations")


def real_shares(study: StudyRecord, look: Look, *, for_file: bool) -> Figure:
    """The share of real images in the training set over iterations, with the line 1/n."""
    rows: Rows = [
        {"arm": arm.name, "label": look.label(arm), "panel": look.panel(arm), "iteration": n, "share": share}
        for arm in study.arms
        for n in selected_iterations(arm)
        for share in [shares_over_seeds(arm, n).get(0, 0.0)]
    ]
    last = max(row["iteration"] for row in rows)
    even = [{"iteration": n, "share": 1 / n} for n in range(1, last + 1)]
    panels = tuple(
        Panel(family, _share_lines([row for row in rows if row["panel"] == family], even, look, last, for_file))
        for family in look.families
    )
    iterations = sorted({row["iteration"] for row in rows})
    by_point = {(row["arm"], row["iteration"]): row["share"] for row in rows}
    told = (
        (arm.name, *(percent(by_point[arm.name, n]) if (arm.name, n) in by_point else "" for n in iterations))
        for arm in study.arms
    )
    table = (("arm", *(f"iteration {n}" for n in iterations)), *told)
    caption = ("Dotted: 1/n, what real data would get if all n sources had an equal share.",)
    return Figure("real-shares", "Share of real images in the training set", caption, panels, table, section="sources")


def has_results(study: StudyRecord, key: str) -> bool:
    """Whether any run has measured this at all."""
    return any(metric_over_seeds(arm, n, key) for arm in study.arms for n in arm.iterations)


def selected_iterations(arm: ArmRecord) -> list[int]:
    """The iterations whose training set some run of the arm has chosen."""
    return sorted({n for run in arm.runs for n, stage in run.entries if stage == "select" and n > 0})


def size_warning(study: StudyRecord) -> tuple[str, ...]:
    """What to say where training sets of different size stand side by side."""
    sizes = training_sizes(study)
    if len(sizes) < 2:
        return ()
    listed = f"{sizes[0]:,} to {sizes[-1]:,}"
    return (f"Here the training sets have {listed} images: points of different size do not compare in entropy.",)


def _rows(arm: ArmRecord, look: Look, key: str) -> Rows:
    spreads = {n: metric_over_seeds(arm, n, key) for n in arm.iterations}
    named = {"arm": arm.name, "label": look.label(arm), "panel": look.panel(arm)}
    return [{**named, **_row(n, spread, len(arm.runs))} for n, spread in spreads.items()]


def _rows_by_size(study: StudyRecord, arm: ArmRecord, key: str) -> Rows:
    return [
        {"arm": arm.name, "size": str(size), **_row(n, metric_over_seeds(sized, n, key), len(sized.runs))}
        for size in study.sizes
        for sized in [arm.at_size(size)]
        for n in sized.iterations
    ]


def _row(iteration: int, spread: Spread | None, n_runs: int) -> dict[str, object]:
    row: dict[str, object] = {"iteration": iteration, "seeds": f"{spread.n_seeds if spread else 0} of {n_runs}"}
    if spread is None:
        # A row without a value breaks the line there, instead of drawing over what is missing.
        return {**row, "mean": None, "low": None, "high": None}
    return {**row, "mean": spread.mean, "low": spread.low, "high": spread.high}


def _real_rows(study: StudyRecord, look: Look, key: str) -> Rows:
    """What real data scores: one row if all arms have the same real data, otherwise a row per arm."""
    common = real_over_seeds(study, key)
    if common:
        return [{"label": "", "panel": "", "mean": common.mean, "low": common.low, "high": common.high}]
    found = [(arm, metric_over_seeds(arm, 0, key)) for arm in study.arms]
    return [
        {"label": look.label(arm), "panel": look.panel(arm), "mean": s.mean, "low": s.low, "high": s.high}
        for arm, s in found
        if s
    ]


@dataclass(frozen=True)
class _Drawing:
    """What the panels of one measure have in common: one scale, and all their rows."""

    key: str
    look: Look
    rows: Rows
    real: Rows
    forecasts: list[ArmForecast]
    for_file: bool

    def panel(self, family: str) -> AnyChart:
        look, own = self.look, [row for row in self.rows if row["panel"] == family]
        legend = self.for_file and family == look.families[-1]
        x = iteration_axis(reach(self.forecasts, max(row["iteration"] for row in self.rows)))
        y = alt.Y("mean:Q", title=words(self.key).unit or None, scale=_scale(self.key, self.rows + self.real))
        base = alt.Chart(data(own)).encode(x=x, color=look.color(legend=legend), opacity=faded(1.0))
        points = base.mark_point(filled=True, size=50)
        layers = [
            *_real_rule(self.real, look, family),
            *forecast_layers(
                [one for one in self.forecasts if look.panel(one.arm) == family], look, x, y, legend=legend
            ),
            *_band(base, own),
            base.mark_line(strokeWidth=2).encode(y=y),
            points.encode(y=y, shape=look.shape(legend=legend), tooltip=_tooltip(self.key, "arm")),
            *(_real_label(self.real) if self.for_file else []),
        ]
        return alt.layer(*layers).add_params(highlight())


def _forecast_caption(found: list[ArmForecast]) -> tuple[str, ...]:
    arrivals = [one for one in found if one.found.iteration is not None]
    if not arrivals:
        return ()
    return (
        "Dotted: the forecast of the arms that fall along a line, down to the novelty at which a model copies; the bar "
        "is its 95 % interval.",
    )


def _sized(rows: Rows, key: str, y: alt.Y, color: alt.Color) -> AnyChart:
    last = max(row["iteration"] for row in rows)
    base = alt.Chart(data(rows)).encode(x=iteration_axis(last), color=color)
    points = base.mark_point(filled=True, size=40).encode(y=y, tooltip=_tooltip(key, "size"))
    return alt.layer(*_band(base, rows), base.mark_line(strokeWidth=2).encode(y=y), points)


def _band(base: alt.Chart, rows: Rows) -> list[alt.Chart]:
    if not any(row["low"] != row["high"] for row in rows):
        return []
    opacity = faded(0.18) if "label" in rows[0] else alt.value(0.18)
    return [base.mark_area(strokeWidth=0).encode(y=alt.Y("low:Q"), y2="high:Q", opacity=opacity)]


def _share_lines(rows: Rows, even: Rows, look: Look, last: int, for_file: bool) -> AnyChart:
    y = alt.Y("share:Q", title=None, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
    base = alt.Chart(data(rows)).encode(
        x=iteration_axis(last), y=y, color=look.color(legend=for_file), opacity=faded(1.0)
    )
    tooltip = [alt.Tooltip("arm:N"), alt.Tooltip("iteration:Q"), alt.Tooltip("share:Q", format=".1%")]
    points = base.mark_point(filled=True, size=50).encode(shape=look.shape(legend=for_file), tooltip=tooltip)
    rule = alt.Chart(data(even)).mark_line(strokeDash=[1, 4], strokeWidth=2, strokeCap="round")
    return alt.layer(rule.encode(x=iteration_axis(last), y=y), base.mark_line(strokeWidth=2), points).add_params(
        highlight()
    )


def _real_rule(rows: Rows, look: Look, family: str) -> list[alt.Chart]:
    own = [row for row in rows if row["panel"] in ("", family)]
    if not own:
        return []
    rule = alt.Chart(data(own)).mark_rule(strokeDash=[5, 3], strokeWidth=1.2)
    tooltip = [alt.Tooltip("mean:Q", title="real data", format=".4~g")]
    if own[0]["label"]:
        tooltip = [alt.Tooltip("label:N", title="arm"), *tooltip]
        return [rule.encode(y="mean:Q", color=look.color(legend=False), tooltip=tooltip)]
    return [rule.encode(y="mean:Q", tooltip=tooltip)]


def _real_label(rows: Rows) -> list[alt.Chart]:
    """Beside the plot, where no line can cross it; the page has it in its legend instead."""
    if not rows or rows[0]["label"]:
        return []
    label = alt.Chart(data(rows)).mark_text(align="left", dx=4, fontSize=10, text="real data")
    return [label.encode(x=alt.value("width"), y="mean:Q")]


def _scale(key: str, rows: Rows) -> alt.Scale:
    """One scale for all panels of a figure."""
    values = [row[name] for row in rows for name in ("low", "high") if row[name] is not None]
    known = words(key)
    low, high = known.axis or known.range
    if low is None:
        margin = (max(values) - min(values)) * 0.05 or 1.0
        return alt.Scale(domain=[min(values) - margin, max(values) + margin], zero=False, nice=True)
    top = max([*values, high or 0.0])
    return alt.Scale(domain=[min([low, *values]), top or 1.0], nice=high is None)


def _tooltip(key: str, who: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{who}:N"),
        alt.Tooltip("iteration:Q", format="d"),
        alt.Tooltip("mean:Q", title=words(key).label, format=".4~g"),
        alt.Tooltip("low:Q", title="lowest seed", format=".4~g"),
        alt.Tooltip("high:Q", title="highest seed", format=".4~g"),
        alt.Tooltip("seeds:N", title="seeds"),
    ]


def _caption(study: StudyRecord, key: str, real: Sequence[object]) -> tuple[str, ...]:
    found = words(key)
    warning = size_warning(study) if split_key(key)[0] == "knn_entropy" else ()
    rule = ("Dashed, in the arm's colour: what real data scores.",) if len(real) > 1 else ()
    return tuple(text for text in (found.meaning, found.trap, *warning, *rule) if text)


def _table(study: StudyRecord, key: str) -> Table:
    iterations = sorted({n for arm in study.arms for n in arm.iterations})
    rows = []
    for arm in study.arms:
        spreads = [metric_over_seeds(arm, n, key) for n in iterations]
        rows.append((arm.name, *(number(spread.mean if spread else None) for spread in spreads)))
    return (("arm", *(f"iteration {n}" for n in iterations)), *rows)
