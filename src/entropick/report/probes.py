"""Measures over the steps of one training: what the probes saw, a line per arm, or per size in a panel per arm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

from entropick.page.words import axis_title, name_with_space, number, slug, words
from entropick.report.figure import LEGEND_OFFSET, Figure, Look, Panel, Rows, data, faded, highlight, size_color
from entropick.report.study import ArmRecord
from entropick.report.table import PROBE, Spread, Table


def probes(table: Table, look: Look) -> Iterator[Figure]:
    """A figure per measure, of the first iteration that was probed."""
    if iterations := probed_iterations(table):
        for key in table.measures:
            rows = list(_rows(table, look, key, iterations[0]))
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


def _rows(table: Table, look: Look, key: str, iteration: int) -> Iterator[dict[str, Any]]:
    for sized in table.by_size():
        for arm in sized.study.arms:
            for step in _steps_of(arm, iteration):
                spread = sized.over_seeds(arm, iteration, key, f"{PROBE}{step}")
                size = "" if sized.size is None else str(sized.size)
                yield {**look.named(arm), "size": size, "step": step, **_range(spread)}


def _steps_of(arm: ArmRecord, iteration: int) -> list[int]:
    return sorted({step for run in arm.runs for n, step in _steps(run.entries) if n == iteration})


def _range(spread: Spread | None) -> dict[str, float | None]:
    if spread is None:
        return dict.fromkeys(("mean", "low", "high"))
    return {"mean": spread.mean, "low": spread.low, "high": spread.high}


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
        tuple(Panel(name, _panel(key, own, color)) for name, own in panels.items()),
        _cells(rows, sizes=bool(sizes)),
        section="relations",
        is_main=known.is_main,
    )


def _panel(key: str, rows: Rows, color: alt.Color) -> alt.LayerChart:
    x = alt.X("step:Q", title="gradient steps (number)", scale=alt.Scale(type="log", nice=False, padding=10))
    y = alt.Y("mean:Q", title=axis_title(key), scale=alt.Scale(zero=False, padding=10))
    tooltip = [alt.Tooltip("arm:N"), *([alt.Tooltip("size:N")] if rows[0]["size"] else [])]
    tooltip += [alt.Tooltip("step:Q", format=","), alt.Tooltip("mean:Q", title=words(key).label, format=".4~g")]
    base = alt.Chart(data(rows)).encode(x=x, color=color, opacity=faded(1.0), detail="arm:N")
    band = base.mark_area(strokeWidth=0).encode(y="low:Q", y2="high:Q", opacity=faded(0.18))
    points = base.mark_point(filled=True, size=40).encode(y=y, tooltip=tooltip)
    return alt.layer(band, base.mark_line(strokeWidth=2).encode(y=y), points).add_params(highlight())


def _cells(rows: Rows, *, sizes: bool) -> tuple[tuple[str, ...], ...]:
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
