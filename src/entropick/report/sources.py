"""Where training sets come from: bars stacked by source iteration, and the line 1/n."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt

from entropick.page.drawing import AnyChart
from entropick.report.curves import selected_iterations
from entropick.report.figures import Figure, Panel, Rows, data
from entropick.report.look import REAL_COLOR, ramp
from entropick.report.record import ArmRecord, StudyRecord
from entropick.report.summary import shares_over_seeds


def source_shares(study: StudyRecord) -> Figure | None:
    """A panel per arm whose training sets have several sources; None if there is no such arm."""
    arms = [arm for arm in study.arms if _has_several_sources(arm)]
    if not arms:
        return None
    sources = sorted({s for arm in arms for n in selected_iterations(arm) for s in shares_over_seeds(arm, n)})
    panels = tuple(Panel(arm.name, _bars(arm, sources), 150) for arm in arms)
    caption = (
        "Share of each source in the training set of each iteration: grey the real images, then the generations from "
        "early (light) to late (dark). The dashed line is 1/n, an equal share.",
    )
    return Figure("source-shares", "Sources of the training sets", caption, panels, section="sources")


def _bars(arm: ArmRecord, sources: Sequence[int]) -> AnyChart:
    shares = {n: shares_over_seeds(arm, n) for n in selected_iterations(arm)}
    rows: Rows = [
        {"iteration": n, "source": _name(source), "order": source, "share": share}
        for n, found in shares.items()
        for source, share in found.items()
    ]
    even: Rows = [{"iteration": n, "share": 1 / n} for n in shares]
    x = alt.X("iteration:O", title="iteration", axis=alt.Axis(labelAngle=0, labelOverlap=True))
    y = alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domain=[0, 1]))
    bars = (
        alt.Chart(data(rows))
        .mark_bar()
        .encode(
            x=x,
            y=y.stack("zero"),
            color=alt.Color("source:N", scale=_scale(sources), sort=[_name(s) for s in sources], legend=None),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("iteration:O"), alt.Tooltip("source:N"), alt.Tooltip("share:Q", format=".1%")],
        )
    )
    line = alt.Chart(data(even)).mark_line(strokeDash=[4, 3], strokeWidth=1.5)
    return alt.layer(bars, line.encode(x=x, y=y))


def _has_several_sources(arm: ArmRecord) -> bool:
    shares = [run.shares(n) for run in arm.runs for n, stage in run.entries if stage == "select"]
    return any(sum(share > 0 for share in found.values()) > 1 for found in shares)


def _name(source: int) -> str:
    return "0 (real)" if source == 0 else str(source)


def _scale(sources: Sequence[int]) -> alt.Scale:
    generated = [source for source in sources if source > 0]
    colors = [ramp(rank / max(len(generated) - 1, 1)) for rank in range(len(generated))]
    real = [REAL_COLOR] if 0 in sources else []
    return alt.Scale(domain=[_name(source) for source in sources], range=[*real, *colors])
