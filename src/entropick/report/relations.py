"""The generalization score against what the training set is like: a point per run and iteration, and Pearson's r."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from entropick.page.words import in_sentence, slug, split_key, words
from entropick.report.curves import size_warning
from entropick.report.figures import Figure, Panel, Rows, data
from entropick.report.intervals import Interval, correlation
from entropick.report.look import Look, faded, highlight, ramp
from entropick.report.record import StudyRecord


def related(study: StudyRecord, look: Look, score: str, other: str, *, for_file: bool) -> Figure | None:
    """The score, on a logarithmic axis, against another measure of the training set; None without points."""
    rows = points(study, look, score, other)
    if not rows:
        return None
    known = words(other)
    unit = f" ({known.unit})" if known.unit else ""
    x = alt.X("other:Q", title=f"{in_sentence(known.label)}{unit}", scale=alt.Scale(zero=False, padding=10))
    y = alt.Y("score:Q", title="generalization score", scale=alt.Scale(type="log", nice=False, padding=10))
    base = alt.Chart(data(rows)).mark_point(filled=True, size=45)
    chart = base.encode(
        x=x, y=y, color=_color(study, look, for_file), shape=look.shape(legend=for_file), opacity=faded(0.8)
    )
    chart = chart.encode(tooltip=_tooltip(study, other)).add_params(highlight())
    metric, space = split_key(other)
    caption = (
        "A point is one iteration of one run.",
        *(size_warning(study) if metric == "knn_entropy" else ()),
        *correlations(study, rows, in_sentence(known.label)),
    )
    return Figure(
        f"generalization_score-against-{slug(metric)}-{slug(space)}",
        f"Generalization score against {in_sentence(known.label)} ({space})",
        caption,
        (Panel("", chart),),
        section="relations",
    )


def points(study: StudyRecord, look: Look, score: str, other: str) -> Rows:
    """All runs and iterations that have both measures."""
    return [
        {
            **{"arm": arm.name, "label": look.label(arm), "size": "" if run.size is None else str(run.size)},
            **{"seed": str(run.seed), "iteration": n, "score": values[score], "other": values[other]},
        }
        for arm, run in study.runs()
        for n in run.measured
        for values in [run.metrics(n)]
        if (values.get(score) or 0.0) > 0 and values.get(other) is not None
    ]


def correlation_of(rows: Rows) -> Interval | None:
    """Pearson's r of the logarithmic score and the other measure."""
    # What arms share is one result, not several that agree.
    different: dict[tuple[float, float], dict[str, Any]] = {}
    for row in rows:
        different.setdefault((row["score"], row["other"]), row)
    found = list(different.values())
    clusters = [(row["arm"], row["size"], row["seed"]) for row in found]
    return correlation([math.log(row["score"]) for row in found], [row["other"] for row in found], clusters)


def correlations(study: StudyRecord, rows: Rows, name: str) -> list[str]:
    """Sentences: r over everything, and within each size where there are several."""
    whole = correlation_of(rows)
    if whole is None:
        return []
    told = [
        f"Pearson's r of {name} and the logarithm of the score: {described(whole)} over {whole.n} different points."
    ]
    if whole.low is not None:
        told.append(
            "In brackets its 95 % interval, from a bootstrap over whole runs: points of a run are not independent."
        )
    within = [(size, correlation_of([row for row in rows if row["size"] == str(size)])) for size in study.sizes]
    if len(study.sizes) > 1:
        told.append("Within a size: " + ", ".join(f"{described(r)} at {size:,}" for size, r in within if r) + ".")
    return told


def described(found: Interval) -> str:
    """An interval in a sentence: "0.91 [0.85, 0.95]".

    >>> described(Interval(0.914, 0.8512, 0.95, 40)), described(Interval(-0.3, None, None, 3))
    ('0.91 [0.85, 0.95]', '−0.30')
    """
    text = f"{found.estimate:.2f}"
    if found.low is not None and found.high is not None:
        text += f" [{found.low:.2f}, {found.high:.2f}]"
    return text.replace("-", "\u2212")


def _color(study: StudyRecord, look: Look, for_file: bool) -> alt.Color:
    sizes = [str(size) for size in sorted(study.sizes)]
    if len(sizes) < 2:
        return look.color(legend=for_file)
    colors = [ramp(rank / (len(sizes) - 1)) for rank in range(len(sizes))]
    legend = alt.Legend(orient="right" if for_file else "bottom", symbolType="circle")
    return alt.Color("size:N", title="size", sort=sizes, scale=alt.Scale(domain=sizes, range=colors), legend=legend)


def _tooltip(study: StudyRecord, other: str) -> list[alt.Tooltip]:
    size = [alt.Tooltip("size:N")] if study.sizes else []
    return [
        alt.Tooltip("arm:N"),
        *size,
        alt.Tooltip("seed:N"),
        alt.Tooltip("iteration:Q", format="d"),
        alt.Tooltip("score:Q", title="generalization score", format=".4~g"),
        alt.Tooltip("other:Q", title=in_sentence(words(other).label), format=".4~g"),
    ]
