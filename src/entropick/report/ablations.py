"""What one parameter does: where arms differ in nothing else, their last iteration against it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt

from entropick.page.words import name_with_space, number, slug, words
from entropick.report.figures import Figure, Panel, Rows, data
from entropick.report.look import COLORS
from entropick.report.record import ArmRecord, StudyRecord, finite
from entropick.report.summary import metric_keys, metric_over_seeds
from entropick.run import flatten

# What a parameter is called, and whether its axis is logarithmic.
_NAMES = {
    "selector.threshold": ("first threshold of the filter", True),
    "selector.decay": ("decay of the filter", False),
    "n_generated": ("images generated per iteration", True),
    "generator.steps": ("gradient steps", True),
    "paradigm.n_fresh": ("fresh real images per iteration", False),
    "paradigm.share": ("share of real images", False),
    "garbage_share": ("share of garbage in the pool", False),
}
_LEAST_VALUES = 3


def ablations(study: StudyRecord) -> list[Figure]:
    """A figure per parameter that at least three arms differ in, and in nothing else."""
    arms = [arm for arm in study.arms if arm.last is not None]
    configs = {arm.name: _settings(arm) for arm in arms}
    names = dict.fromkeys(name for config in configs.values() for name in config)
    found = ((name, _groups(arms, configs, name)) for name in names)
    return [_figure(study, name, groups) for name, groups in found if groups]


def _settings(arm: ArmRecord) -> dict[str, Any]:
    """All settings, flat; without fresh data, zero images of it are let in each iteration."""
    config = {key: value for key, value in flatten(arm.config).items() if key != "seed"}
    if config.get("paradigm.kind") == "accumulate":
        config |= {"paradigm.kind": "fresh-data", "paradigm.n_fresh": 0, "paradigm.keep": "all"}
    return config


def _groups(arms: list[ArmRecord], configs: Mapping[str, Mapping[str, Any]], name: str) -> list[list[ArmRecord]]:
    """Arms that differ in this number alone, at least three values of it."""
    groups: dict[str, dict[float, ArmRecord]] = {}
    for arm in arms:
        config = dict(configs[arm.name])
        value = finite(config.pop(name, None))
        if value is not None:
            groups.setdefault(json.dumps(config, sort_keys=True, default=str), {})[value] = arm
    return [[group[v] for v in sorted(group)] for group in groups.values() if len(group) >= _LEAST_VALUES]


def _figure(study: StudyRecord, name: str, groups: list[list[ArmRecord]]) -> Figure:
    label, is_log = _NAMES.get(name, (name.replace("_", " "), False))
    values = {arm.name: float(_settings(arm)[name]) for group in groups for arm in group}
    keys = [key for key in metric_keys(study) if words(key).is_main]
    x_scale = alt.Scale(type="log" if is_log and min(values.values()) > 0 else "linear", zero=False, padding=12)
    x = alt.X("value:Q", title=label, scale=x_scale, axis=alt.Axis(values=sorted(set(values.values())), grid=False))
    panels = tuple(
        Panel(name_with_space(key), _chart(rows, x, words(key).unit), 150)
        for key in keys
        for rows in [[row for group in groups for row in _rows(group, key, values)]]
        if rows
    )
    head = ("arm", label, *(name_with_space(key) for key in keys))
    table = [head]
    for arm in (arm for group in groups for arm in group):
        spreads = [metric_over_seeds(arm, arm.last or 0, key) for key in keys]
        table.append((arm.name, number(values[arm.name]), *(number(s.mean if s else None) for s in spreads)))
    caption = (
        "The last iteration of arms that differ in this alone: the mean over seeds, and a bar from lowest to highest.",
    )
    return Figure(f"ablation-{slug(name)}", f"Ablation: {label}", caption, panels, tuple(table), section="ablations")


def _rows(group: list[ArmRecord], key: str, values: Mapping[str, float]) -> Rows:
    spreads = [(arm, metric_over_seeds(arm, arm.last or 0, key)) for arm in group]
    return [
        {
            "arm": arm.name,
            "group": _kind(group),
            "value": values[arm.name],
            "mean": s.mean,
            "low": s.low,
            "high": s.high,
        }
        for arm, s in spreads
        if s
    ]


def _kind(group: list[ArmRecord]) -> str:
    """What the arms of a group have in common: their method, or their family."""
    methods, families = {arm.method for arm in group}, {arm.family for arm in group}
    return methods.pop() if len(methods) == 1 else families.pop() if len(families) == 1 else group[0].name


def _chart(rows: Rows, x: alt.X, unit: str) -> alt.LayerChart:
    groups = list(dict.fromkeys(row["group"] for row in rows))
    legend = alt.Legend(orient="bottom") if len(groups) > 1 else None
    scale = alt.Scale(domain=groups, range=[COLORS[index % len(COLORS)] for index in range(len(groups))])
    y = alt.Y("mean:Q", title=unit or None, scale=alt.Scale(zero=False, padding=10))
    base = alt.Chart(data(rows)).encode(x=x, color=alt.Color("group:N", title=None, legend=legend, scale=scale))
    tooltip = [
        alt.Tooltip("arm:N"),
        *(alt.Tooltip(f"{name}:Q", format=".4~g") for name in ("value", "mean", "low", "high")),
    ]
    bars = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q"), y2="high:Q")
    return alt.layer(
        base.mark_line().encode(y=y), bars, base.mark_point(filled=True, size=50).encode(y=y, tooltip=tooltip)
    )
