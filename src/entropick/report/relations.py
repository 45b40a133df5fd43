"""What goes with what: the score against what training sets are like, what one parameter does, and what more steps do.

A point is one run's iteration for the first, with Pearson's r; the last iteration of an arm for the second, where arms
differ in nothing else; a probe into one training for the third.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import altair as alt

from entropick.page.words import axis_title, in_sentence, name_with_space, number, slug, split_key, words
from entropick.report.curves import size_warning
from entropick.report.figure import (
    COLORS,
    LEGEND_OFFSET,
    Figure,
    Look,
    Panel,
    Rows,
    data,
    faded,
    highlight,
    size_color,
    span,
    value_scale,
)
from entropick.report.intervals import Interval, correlation
from entropick.report.study import ArmRecord
from entropick.report.table import PROBE, Table, finite
from entropick.run import flatten

# What a parameter is called, and whether its axis is logarithmic.
_NAMES = {
    "selector.threshold": ("first threshold of the filter (units of the features)", True),
    "selector.decay": ("decay of the filter (factor per pass)", False),
    "n_generated": ("images generated per iteration (number)", True),
    "generator.steps": ("gradient steps (number)", True),
    "paradigm.n_fresh": ("fresh real images per iteration (number)", False),
    "paradigm.share": ("real images (share of the training set)", False),
    "garbage_share": ("garbage in the pool (share)", False),
}
_LEAST_VALUES = 3
# What the score is held against. The variance as it is, and its logarithm: entropy is a logarithm as well.
OTHERS = {"knn_entropy": False, "total_variance": True}
_BUILT_IN = (
    "Part of this r is built in: a set that is scaled by c has a score c times as large, an entropy d log c higher and "
    "a log variance 2 log c higher. So hold entropy against the logarithm of the variance, not against the variance."
)


def relations(table: Table, look: Look) -> Iterator[Figure]:
    """In each feature space the score, on a logarithmic axis, against entropy and variance of the training set."""
    for space in dict.fromkeys(split_key(key)[1] for key in table.measures):
        for other in OTHERS:
            if rows := points(table, look, f"{other}/{space}"):
                yield _against(table, look, f"{other}/{space}", rows)


def points(table: Table, look: Look, other: str) -> Rows:
    """All runs and iterations that have both a score and this measure, in its space; of all sizes."""
    score = f"generalization_score/{split_key(other)[1]}"
    return [
        {
            **{"arm": arm.name, "label": look.label(arm), "size": "" if run.size is None else str(run.size)},
            **{"seed": str(run.seed), "iteration": n, "score": values[score], "other": values[other]},
        }
        for arm, run in table.study.runs()
        for n in run.measured
        for values in [table.of_run(arm, run, n)]
        if (values.get(score) or 0.0) > 0 and values.get(other) is not None
    ]


def correlation_of(rows: Rows, *, log: bool = False) -> Interval | None:
    """Pearson's r of the logarithmic score and the other measure, or its logarithm."""
    # What arms share is one result, not several that agree.
    different: dict[tuple[float, float], dict[str, Any]] = {}
    for row in rows:
        different.setdefault((row["score"], row["other"]), row)
    found = list(different.values())
    found = [row for row in found if not log or row["other"] > 0]
    others = [math.log(row["other"]) if log else row["other"] for row in found]
    return correlation([math.log(row["score"]) for row in found], others, [row["seed"] for row in found])


def described(found: Interval) -> str:
    """An interval in a sentence: "0.91 [0.85, 0.95]".

    >>> described(Interval(0.914, 0.8512, 0.95, 40)), described(Interval(-0.3, None, None, 3))
    ('0.91 [0.85, 0.95]', '−0.30')
    """
    text = f"{found.estimate:.2f}"
    if found.low is not None and found.high is not None:
        text += f" [{found.low:.2f}, {found.high:.2f}]"
    return text.replace("-", "\u2212")


def _against(table: Table, look: Look, other: str, rows: Rows) -> Figure:
    (metric, space), known = split_key(other), words(other)
    name, is_log = in_sentence(known.label), OTHERS[metric] and all(row["other"] > 0 for row in rows)
    sizes = sorted(table.study.sizes)
    legend = alt.Legend(orient="right" if look.for_file else "bottom", symbolType="circle")
    chart = alt.Chart(data(rows)).mark_point(filled=True, size=45)
    chart = chart.encode(
        x=alt.X(
            "other:Q",
            title=axis_title(other),
            axis=alt.Axis(titleAngle=0),
            scale=alt.Scale(type="log", nice=False, padding=10) if is_log else alt.Scale(zero=False, padding=10),
        ),
        y=alt.Y(
            "score:Q",
            title=axis_title(f"generalization_score/{space}"),
            scale=alt.Scale(type="log", nice=False, padding=10),
        ),
        color=size_color(sizes, legend) if len(sizes) > 1 else look.color(legend=look.for_file),
        shape=look.shape(legend=look.for_file),
        opacity=faded(0.8),
        tooltip=[
            alt.Tooltip("arm:N"),
            *([alt.Tooltip("size:N")] if sizes else []),
            alt.Tooltip("seed:N"),
            alt.Tooltip("iteration:Q", format="d"),
            alt.Tooltip("score:Q", title="generalization score", format=".4~g"),
            alt.Tooltip("other:Q", title=name, format=".4~g"),
        ],
    )
    caption = (
        "A point is one iteration of one run.",
        *(size_warning(table) if metric == "knn_entropy" else ()),
        *_correlations(table, rows, name, log=is_log),
    )
    return Figure(
        f"generalization_score-against-{slug(metric)}-{slug(space)}",
        f"Generalization score against {name} ({space})",
        caption,
        (Panel("", chart.add_params(highlight())),),
        section="relations",
    )


def _correlations(table: Table, rows: Rows, name: str, *, log: bool) -> list[str]:
    """Sentences: r over everything, and within each size where there are several."""
    whole = correlation_of(rows)
    if whole is None:
        return []
    sentences = [
        f"Pearson's r of {name} and the logarithm of the score: {described(whole)} over {whole.n} different points."
    ]
    if log and (of_logs := correlation_of(rows, log=True)):
        sentences.append(f"Of its logarithm: {described(of_logs)}.")
    if whole.low is not None:
        sentences.append(
            "In brackets the 95 % interval, from leaving out one seed at a time: only seeds are drawn, and what arms "
            "and iterations of a seed have in common is counted once."
        )
    else:
        sentences.append("From one seed there is no interval.")
    sentences.append(_BUILT_IN)
    sizes = table.study.sizes
    within = [(size, correlation_of([row for row in rows if row["size"] == str(size)])) for size in sizes]
    if len(sizes) > 1:
        sentences.append("Within a size: " + ", ".join(f"{described(r)} at {size:,}" for size, r in within if r) + ".")
    return sentences


def ablations(table: Table, look: Look) -> Iterator[Figure]:
    """At each size a figure per parameter that at least three arms differ in, and in nothing else."""
    for sized in table.by_size():
        configs = [(arm, _settings(arm)) for arm in sized.study.arms if arm.last is not None]
        for name in dict.fromkeys(name for _, config in configs for name in config):
            if groups := _groups(configs, name):
                yield _ablation(sized, name, groups)


# Arms that differ in one parameter alone, by their value of it.
_Group = dict[float, ArmRecord]


def _settings(arm: ArmRecord) -> dict[str, Any]:
    """All settings but how long it goes on, flat; without fresh data, zero images of it are let in each iteration."""
    config = {key: value for key, value in flatten(arm.config).items() if key not in ("seed", "n_iterations")}
    if config.get("paradigm.kind") == "accumulate":
        config |= {"paradigm.kind": "fresh-data", "paradigm.n_fresh": 0, "paradigm.keep": "all"}
    return config


def _groups(configs: list[tuple[ArmRecord, dict[str, Any]]], name: str) -> list[_Group]:
    groups: dict[str, _Group] = {}
    for arm, config in configs:
        rest = dict(config)
        value = finite(rest.pop(name, None))
        if value is not None:
            groups.setdefault(json.dumps(rest, sort_keys=True, default=str), {})[value] = arm
    return [dict(sorted(group.items())) for group in groups.values() if len(group) >= _LEAST_VALUES]


def _ablation(table: Table, name: str, groups: list[_Group]) -> Figure:
    label, is_log = _NAMES.get(name, (name.replace("_", " "), False))
    values = sorted({value for group in groups for value in group})
    keys = [key for key in table.measures if words(key).is_main]
    x_scale = alt.Scale(type="log" if is_log and values[0] > 0 else "linear", zero=False, padding=12)
    x = alt.X("value:Q", title=label, scale=x_scale, axis=alt.Axis(values=values, grid=False))
    panels = []
    cells = [("arm", label, *(name_with_space(key) for key in keys))]
    for key in keys:
        rows: Rows = []
        for group in groups:
            for value, arm in group.items():
                if spread := table.over_seeds(arm, _common(group), key):
                    row = {"arm": arm.name, "group": _kind(list(group.values())), "value": value}
                    rows.append(row | span(spread))
        if rows:
            panels.append(Panel(name_with_space(key), _points(rows, x, axis_title(key)), 150))
    for value, arm, n in ((value, arm, _common(group)) for group in groups for value, arm in group.items()):
        spreads = [table.over_seeds(arm, n, key) for key in keys]
        cells.append((arm.name, number(value), *(number(s.mean if s else None) for s in spreads)))
    caption = (
        "The last iteration that all arms have which differ in this alone: the mean over seeds, and a bar from lowest "
        "to highest.",
    )
    file, title = f"ablation-{slug(name)}", f"Ablation: {label}"
    return Figure(file, title, caption, tuple(panels), tuple(cells), section="ablations", size=table.size)


def _common(group: _Group) -> int:
    """The last iteration that all arms of a group have measured."""
    return min(arm.last or 0 for arm in group.values())


def _kind(group: list[ArmRecord]) -> str:
    """What the arms of a group have in common: their method, or their family."""
    methods, families = {arm.method for arm in group}, {arm.family for arm in group}
    return methods.pop() if len(methods) == 1 else families.pop() if len(families) == 1 else group[0].name


def _points(rows: Rows, x: alt.X, title: str) -> alt.LayerChart:
    groups = list(dict.fromkeys(row["group"] for row in rows))
    legend = alt.Legend(orient="bottom") if len(groups) > 1 else None
    scale = alt.Scale(domain=groups, range=[COLORS[index % len(COLORS)] for index in range(len(groups))])
    y = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False, padding=10))
    base = alt.Chart(data(rows)).encode(x=x, color=alt.Color("group:N", title=None, legend=legend, scale=scale))
    tooltip = [
        alt.Tooltip("arm:N"),
        *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("value", "mean", "low", "high")),
    ]
    bars = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    return alt.layer(
        base.mark_line().encode(y=y), bars, base.mark_point(filled=True, size=50).encode(y=y, tooltip=tooltip)
    )


def probes(table: Table, look: Look) -> Iterator[Figure]:
    """Measures over the steps of one training, that of the first iteration that was probed, a figure each: a line per
    arm, or per size in a panel per arm."""
    if iterations := probed_iterations(table):
        for key in table.measures:
            rows = list(_probe_rows(table, look, key, iterations[0]))
            if any(row["mean"] is not None for row in rows):
                yield _over_steps(table, look, key, rows, iterations)


def probed_iterations(table: Table) -> list[int]:
    """The iterations that were looked into."""
    return sorted({n for arm, run in table.study.runs() for n, _ in _steps(run.entries)})


def _steps(entries: Any) -> Iterator[tuple[int, int]]:
    """(iteration, step) of every probe."""
    for entry in entries:
        if entry.stage.startswith(PROBE):
            yield entry.iteration, int(entry.values["step"])


def _probe_rows(table: Table, look: Look, key: str, iteration: int) -> Iterator[dict[str, Any]]:
    for sized in table.by_size():
        for arm in sized.study.arms:
            for step in _steps_of(arm, iteration):
                spread = sized.over_seeds(arm, iteration, key, f"{PROBE}{step}")
                size = "" if sized.size is None else str(sized.size)
                yield {**look.named(arm), "size": size, "step": step, **span(spread)}


def _steps_of(arm: ArmRecord, iteration: int) -> list[int]:
    return sorted({step for run in arm.runs for n, step in _steps(run.entries) if n == iteration})


def _over_steps(table: Table, look: Look, key: str, rows: Rows, iterations: list[int]) -> Figure:
    known, sizes = words(key), sorted(table.study.sizes)
    legend = alt.Legend(orient="right", symbolType="circle", offset=LEGEND_OFFSET) if look.for_file else None
    # A line per size wants a panel per arm; without sizes arms lie in the panels that they have everywhere.
    panels: dict[str, Rows] = {}
    for row in rows:
        panels.setdefault(row["arm"] if sizes else row["panel"], []).append(row)
    color = size_color(sizes, legend) if sizes else look.color(legend=look.for_file)
    caption = (
        known.meaning,
        f"The model of iteration {iterations[0]} as it was after each number of steps, sampled from the same noise; a "
        f"{'line per number of real images' if sizes else 'line per arm'}, a band over seeds.",
        *((f"Iterations {', '.join(map(str, iterations[1:]))} were probed too.",) if len(iterations) > 1 else ()),
    )
    return Figure(
        f"{slug(key)}-over-steps",
        f"{name_with_space(key)} over training steps",
        tuple(text for text in caption if text),
        tuple(Panel(name, _probe_panel(key, own, color, value_scale(key, rows))) for name, own in panels.items()),
        _probe_cells(rows, sizes=bool(sizes)),
        section="relations",
        is_main=known.is_main,
    )


def _probe_panel(key: str, rows: Rows, color: alt.Color, scale: alt.Scale) -> alt.LayerChart:
    x = alt.X(
        "step:Q",
        title="gradient steps (number)",
        axis=alt.Axis(labelOverlap="greedy", labelSeparation=8),
        scale=alt.Scale(type="log", nice=False, padding=10),
    )
    y = alt.Y("mean:Q", title=axis_title(key), scale=scale)
    tooltip = [alt.Tooltip("arm:N"), *([alt.Tooltip("size:N")] if rows[0]["size"] else [])]
    tooltip += [alt.Tooltip("step:Q", format=","), alt.Tooltip("mean:Q", title=words(key).label, format=".4~g")]
    base = alt.Chart(data(rows)).encode(x=x, color=color, opacity=faded(1.0), detail="arm:N")
    band = base.mark_area(strokeWidth=0).encode(y="low:Q", y2="high:Q", opacity=faded(0.18))
    points = base.mark_point(filled=True, size=40).encode(y=y, tooltip=tooltip)
    return alt.layer(band, base.mark_line(strokeWidth=2).encode(y=y), points).add_params(highlight())


def _probe_cells(rows: Rows, *, sizes: bool) -> tuple[tuple[str, ...], ...]:
    steps = sorted({row["step"] for row in rows})
    found: dict[tuple[str, str], dict[int, float | None]] = {}
    for row in rows:
        found.setdefault((row["arm"], row["size"]), {})[row["step"]] = row["mean"]
    head = ("arm", *(("size",) if sizes else ()), *(f"{step:,} steps" for step in steps))
    lines = [
        (arm, *((f"{int(size):,}",) if sizes else ()), *(number(of.get(step)) for step in steps))
        for (arm, size), of in found.items()
    ]
    return (head, *lines)
