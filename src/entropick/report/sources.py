"""Where training sets come from: the share of real images over iterations, and of planted garbage, and bars stacked by
source iteration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt

from entropick.page.document import AnyChart
from entropick.page.words import percent
from entropick.report.figure import (
    REAL_COLOR,
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
    stacked_shares,
)
from entropick.report.study import ArmRecord
from entropick.report.table import Table

_SHARE = "real images (share of the training set)"
_GARBAGE = "garbage"


def sources(table: Table, look: Look) -> Iterator[Figure]:
    """At each size the share of real images, of garbage where some was planted, and where training sets have several
    sources, all shares."""
    for sized in table.by_size():
        figures = (_real_shares(sized, look), _garbage_shares(sized, look), _source_shares(sized))
        yield from (figure for figure in figures if figure)


def _real_shares(table: Table, look: Look) -> Figure | None:
    """The share of real images in the training set over iterations, with the line 1/n."""
    shares = {(arm.name, n): table.real_share(arm, n) or 0.0 for arm in table.study.arms for n in arm.selected}
    if not shares:
        return None
    iterations = sorted({n for _, n in shares})
    axis = iteration_axis(iterations[-1])
    even = [{"iteration": n, "share": 1 / n} for n in range(1, iterations[-1] + 1)]
    panels = []
    for family in look.families:
        arms = [arm for arm in table.study.arms if look.panel(arm) == family]
        rows = [{**look.named(arm), "iteration": n, "share": shares[arm.name, n]} for arm in arms for n in arm.selected]
        y = alt.Y("share:Q", title=_SHARE, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1]))
        panels.append(Panel(family, _share_lines(rows, even, axis, y, look, "1/n")))
    cells = [("arm", *(f"iteration {n}" for n in iterations))]
    for name in (arm.name for arm in table.study.arms):
        cells.append((name, *(percent(shares[name, n]) if (name, n) in shares else "" for n in iterations)))
    caption = (
        "Dotted, on top of the lines: 1/n, what real data would get if all n sources had an equal share. A random "
        "choice lies on it where each generation is as large as the real data, and below it where pools are larger.",
    )
    title = "Share of real images in the training set"
    return Figure("real-shares", title, caption, tuple(panels), tuple(cells), section="sources", size=table.size)


def _garbage_shares(table: Table, look: Look) -> Figure | None:
    """The share of planted garbage in the training set over iterations, beside its share in the pool."""
    arms = {arm.name: arm for arm in table.study.arms if garbage(table, arm)}
    if not arms:
        return None
    found = {(name, n): share for name, arm in arms.items() for n, share in garbage(table, arm).items()}
    pool: dict[int, float] = {}
    for arm in arms.values():
        for n in arm.selected:
            if spread := table.over_seeds(arm, n, "pool", _GARBAGE):
                pool.setdefault(n, spread.mean)
    iterations = sorted({n for _, n in found})
    axis, even = iteration_axis(iterations[-1]), [{"iteration": n, "share": share} for n, share in sorted(pool.items())]
    panels = []
    for family in look.families:
        own = [arm for arm in arms.values() if look.panel(arm) == family]
        rows = [
            {**look.named(arm), "iteration": n, "share": share}
            for arm in own
            for n, share in garbage(table, arm).items()
        ]
        y = alt.Y("share:Q", title="planted garbage (share of the training set)", axis=alt.Axis(format="%"))
        panels += [Panel(family, _share_lines(rows, even, axis, y, look, "pool"))] if own else []
    cells = [("arm", *(f"iteration {n}" for n in iterations))]
    cells += [("*the pool*", *(percent(pool[n]) if n in pool else "" for n in iterations))]
    cells += [(name, *(percent(found[name, n]) if (name, n) in found else "" for n in iterations)) for name in arms]
    caption = (
        "Dotted, on top of the lines: the share of planted garbage in the pool, of which training sets are chosen.",
    )
    title = "Share of planted garbage in the training set"
    return Figure("garbage-shares", title, caption, tuple(panels), tuple(cells), section="sources", size=table.size)


def garbage(table: Table, arm: ArmRecord) -> dict[int, float]:
    """The mean share of planted garbage in each training set of an arm, by iteration; empty where none was planted."""
    spreads = {n: table.over_seeds(arm, n, "training", _GARBAGE) for n in arm.selected}
    return {n: spread.mean for n, spread in spreads.items() if spread}


def _share_lines(rows: Rows, even: Rows, x: alt.X, y: alt.Y, look: Look, told: str) -> AnyChart:
    base = alt.Chart(data(rows)).encode(x=x, y=y, color=look.color(legend=look.for_file), opacity=faded(1.0))
    tooltip = [alt.Tooltip("arm:N"), alt.Tooltip("iteration:Q"), alt.Tooltip("share:Q", format=".1%")]
    points = base.mark_point(filled=True, size=50).encode(shape=look.shape(legend=look.for_file), tooltip=tooltip)
    # On top: a random control lies on it, and would hide it.
    rule = alt.Chart(data(even)).mark_line(strokeDash=[1, 5], strokeWidth=3, strokeCap="round")
    name = alt.Chart(data(even[-1:])).mark_text(align="left", dx=6, fontSize=10, text=told)
    layers = (base.mark_line(strokeWidth=2), points, rule.encode(x=x, y=y), name.encode(x=x, y=y))
    return alt.layer(*layers).add_params(highlight())


def _source_shares(table: Table) -> Figure | None:
    """A panel per arm whose training sets have several sources; None if there is no such arm."""
    arms = []
    for arm in table.study.arms:
        shares = [table.of_run(arm, run, n, "shares") for run in arm.runs for n in arm.selected]
        if any(sum((share or 0) > 0 for share in found.values()) > 1 for found in shares):
            arms.append(arm)
    if not arms:
        return None
    sources = sorted({source for arm in arms for n in arm.selected for source in table.shares(arm, n)})
    panels = tuple(Panel(arm.name, _bars(table, arm, sources), 150) for arm in arms)
    caption = (
        "Share of each source in the training set of each iteration: grey the real images, then the generations from "
        "early (light) to late (dark). The dashed line is 1/n, an equal share.",
    )
    title = "Sources of the training sets"
    return Figure("source-shares", title, caption, panels, section="sources", size=table.size)


def _bars(table: Table, arm: ArmRecord, sources: Sequence[int]) -> AnyChart:
    rows: Rows = [
        {"iteration": n, "source": _name(source), "order": source, "share": share}
        for n in arm.selected
        for source, share in table.shares(arm, n).items()
    ]
    even: Rows = [{"iteration": n, "share": 1 / n} for n in arm.selected]
    generated = [source for source in sources if source > 0]
    colors = {_name(0): REAL_COLOR} if 0 in sources else {}
    colors |= {_name(source): ramp(rank, len(generated)) for rank, source in enumerate(generated)}
    x, y = share_axes("share of the training set", alt.Axis(format="%", tickCount=4))
    line = alt.Chart(data(even)).mark_line(strokeDash=[4, 3], strokeWidth=1.5)
    return alt.layer(stacked_shares(rows, x, y, "source", colors), line.encode(x=x, y=y))


def _name(source: int) -> str:
    return "0 (real)" if source == 0 else str(source)
