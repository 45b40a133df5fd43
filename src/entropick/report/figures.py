"""The figures: one function each, from a study's record to a chart. Page and figure files draw the same ones."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt

from entropick.page.drawing import AnyChart, specification
from entropick.page.words import name_with_space, number, percent, slug, split_key, words
from entropick.report.record import ArmRecord, StudyRecord
from entropick.report.summary import (
    Spread,
    metric_keys,
    metric_over_seeds,
    real_over_seeds,
    shares_over_seeds,
    training_sizes,
)

Rows: TypeAlias = list[dict[str, Any]]
Table: TypeAlias = tuple[tuple[str, ...], ...]

# Okabe and Ito's colours without black and yellow: told apart with any colour vision, legible on light and dark.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
REAL_COLOR = "#8A8F98"


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name
        Fit for a file name.
    title, caption
        Plain text; the caption says how to read it and where it misleads.
    chart
        Without width and theme.
    table
        The numbers drawn, as text, header first; empty where a table would say nothing new.
    arm
        The arm it shows, or None if it compares arms.
    """

    name: str
    title: str
    caption: tuple[str, ...]
    chart: AnyChart
    table: Table = ()
    arm: str | None = None

    def spec(self, ink: str, width: int | str, *, with_title: bool) -> dict[str, Any]:
        """The Vega-Lite specification in the colours that `ink` asks for."""
        title = f"{self.title}: {self.arm}" if self.arm else self.title
        return specification(self.chart, ink, width, title=title if with_title else "")


def study_figures(study: StudyRecord, *, legend: bool) -> list[Figure]:
    """All figures of a study in their order; `legend` draws the arms' legend into each: the page has its own."""
    keys = metric_keys(study)
    figures = [over_iterations(study, key, legend=legend) for key in keys if _has_results(study, key)]
    for space in dict.fromkeys(split_key(key)[1] for key in keys):
        score, entropy = f"generalization_score/{space}", f"knn_entropy/{space}"
        if _has_results(study, score) and _has_results(study, entropy):
            figures.append(score_against_entropy(study, score, entropy, legend=legend))
    return figures + [source_shares(arm) for arm in study.arms if _has_several_sources(arm)]


def over_iterations(study: StudyRecord, key: str, *, legend: bool) -> Figure:
    """A metric over iterations: a line per arm, a band from lowest to highest seed, real data as a dashed rule."""
    rows = [row for arm in study.arms for row in _rows_over_iterations(arm, key)]
    real = _real_rows(study, key)
    last = max(row["iteration"] for row in rows)
    x = alt.X(
        "iteration:Q",
        title="iteration",
        axis=alt.Axis(format="d", values=_whole_ticks(last), grid=False),
        scale=alt.Scale(domain=[1, max(last, 2)], nice=False, zero=False, padding=10),
    )
    meaning = words(key)
    y = alt.Y("mean:Q", title=meaning.unit or None, scale=_scale(key, rows + real))
    base = alt.Chart(alt.InlineData(values=rows)).encode(x=x, color=_arm_color(study, legend), opacity=_faded(1.0))
    line = base.mark_line(strokeWidth=2).encode(y=y)
    points = base.mark_point(filled=True, size=60).encode(y=y, shape=_arm_shape(study, legend), tooltip=_tooltip(key))
    layers: list[alt.Chart] = [line, points]
    if any(row["low"] != row["high"] for row in rows):
        band = base.mark_area(strokeWidth=0).encode(y=alt.Y("low:Q"), y2="high:Q", opacity=_faded(0.18))
        layers = [band, *layers]
    chart = alt.layer(*_real_rule(real, study), *layers).add_params(_highlight())
    return Figure(slug(key), name_with_space(key), _metric_caption(study, key, real), chart, _metric_table(study, key))


def _whole_ticks(last: int) -> list[int]:
    """At most about ten iterations to label: an axis left to itself labels halves, too."""
    return list(range(1, max(last, 2) + 1, -(-last // 10)))


def score_against_entropy(study: StudyRecord, score: str, entropy: str, *, legend: bool) -> Figure:
    """The generalization score against the training set's entropy: a point per arm, seed and iteration."""
    rows: Rows = [
        {"arm": arm.name, "seed": str(run.seed), "iteration": n, "score": values[score], "entropy": values[entropy]}
        for arm in study.arms
        for run in arm.runs
        for n in run.measured
        for values in [run.metrics(n)]
        if values.get(score) is not None and values.get(entropy) is not None
    ]
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(filled=True, size=60)
        .encode(
            x=alt.X("entropy:Q", title="entropy of the training set (nats)", scale=alt.Scale(zero=False, padding=10)),
            y=alt.Y("score:Q", title="generalization score", scale=alt.Scale(zero=True)),
            color=_arm_color(study, legend),
            shape=_arm_shape(study, legend),
            opacity=_faded(0.85),
            tooltip=[
                alt.Tooltip("arm:N"),
                alt.Tooltip("seed:N"),
                alt.Tooltip("iteration:Q", format="d"),
                alt.Tooltip("score:Q", title="generalization score", format=".4~g"),
                alt.Tooltip("entropy:Q", title="entropy (nats)", format=".4~g"),
            ],
        )
        .add_params(_highlight())
    )
    _, space = split_key(score)
    title = f"Generalization score against entropy ({space})"
    caption = ("A point is one iteration of one arm and seed.", *_size_warning(study), *_correlation(study, rows))
    return Figure(f"generalization_score-against-entropy-{slug(space)}", title, caption, chart)


def source_shares(arm: ArmRecord) -> Figure:
    """Where an arm's training sets come from: bars stacked by source iteration, and the line 1/n."""
    iterations = sorted({n for run in arm.runs for n, stage in run.entries if stage == "select" and n > 0})
    shares = {n: shares_over_seeds(arm, n) for n in iterations}
    rows: Rows = [
        {"iteration": n, "source": _source_name(source), "order": source, "share": share}
        for n in iterations
        for source, share in shares[n].items()
    ]
    even: Rows = [{"iteration": n, "share": 1 / n} for n in iterations]
    sources = sorted({source for found in shares.values() for source in found})
    x = alt.X("iteration:O", title="iteration", axis=alt.Axis(labelAngle=0, labelOverlap=True))
    bars = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar()
        .encode(
            x=x,
            y=alt.Y("share:Q", title="share of the training set", axis=alt.Axis(format=".0%")).stack("zero"),
            color=alt.Color("source:N", title="from iteration", scale=_source_scale(sources), sort=None),
            order=alt.Order("order:Q"),
            tooltip=["iteration:O", alt.Tooltip("source:N", title="from"), alt.Tooltip("share:Q", format=".1%")],
        )
    )
    line = alt.Chart(alt.InlineData(values=even)).encode(
        x=x, y="share:Q", tooltip=["iteration:O", alt.Tooltip("share:Q", title="1/n", format=".1%")]
    )
    chart = alt.layer(
        bars,
        line.mark_line(strokeDash=[5, 3], strokeWidth=1.5),
        line.mark_point(filled=True, size=36, opacity=1),
    )
    caption = ("The dashed line is 1/n: what real data would get if all n sources had an equal share.",)
    return Figure(
        f"source-shares-{slug(arm.name)}",
        "Sources of the training set",
        caption,
        chart,
        _share_table(shares),
        arm.name,
    )


def arm_style(index: int) -> tuple[str, str]:
    """The colour and the shape of the arm at `index`, the same in every figure; shapes differ where colours repeat."""
    return COLORS[index % len(COLORS)], SHAPES[index % len(SHAPES)]


def _rows_over_iterations(arm: ArmRecord, key: str) -> Rows:
    spreads = {n: metric_over_seeds(arm, n, key) for n in arm.iterations}
    return [_row(arm, n, spread) for n, spread in spreads.items()]


def _row(arm: ArmRecord, iteration: int, spread: Spread | None) -> dict[str, Any]:
    row = {"arm": arm.name, "iteration": iteration, "seeds": f"{spread.n_seeds if spread else 0} of {len(arm.runs)}"}
    if spread is None:
        # A row without a value breaks the line there, instead of drawing over what is missing.
        return {**row, "mean": None, "low": None, "high": None}
    return {**row, "mean": spread.mean, "low": spread.low, "high": spread.high}


def _real_rows(study: StudyRecord, key: str) -> Rows:
    """What real data scores: one row if all arms have the same real data, otherwise a row per arm."""
    common = real_over_seeds(study, key)
    spreads = {"": common} if common else {arm.name: metric_over_seeds(arm, 0, key) for arm in study.arms}
    return [{"arm": name, "mean": s.mean, "low": s.low, "high": s.high} for name, s in spreads.items() if s]


def _correlation(study: StudyRecord, rows: Rows) -> tuple[str, ...]:
    """Pearson's r of the logarithmic score and the entropy, where sizes are equal and there is something to relate."""
    # What arms share is one result, not several that agree.
    points = list({(math.log(row["score"]), row["entropy"]): None for row in rows if row["score"] > 0})
    if (
        len(training_sizes(study)) != 1
        or len(points) < 3
        or any(len(set(axis)) < 2 for axis in zip(*points, strict=True))
    ):
        return ()
    r = statistics.correlation(*zip(*points, strict=True))
    return (f"Pearson's r of entropy and the logarithm of the score: {r:.2f} over {len(points)} different points.",)


def _real_rule(rows: Rows, study: StudyRecord) -> list[alt.Chart]:
    if not rows:
        return []
    rule = alt.Chart(alt.InlineData(values=rows)).mark_rule(strokeDash=[5, 3], strokeWidth=1.2)
    tooltip = [alt.Tooltip("mean:Q", title="real data", format=".4~g")]
    if len(rows) > 1:
        tooltip = [alt.Tooltip("arm:N"), *tooltip]
        return [rule.encode(y="mean:Q", color=_arm_color(study, legend=False), tooltip=tooltip)]
    label = alt.Chart(alt.InlineData(values=rows)).mark_text(align="right", dy=-6, fontSize=10, text="real data")
    return [rule.encode(y="mean:Q", tooltip=tooltip), label.encode(x=alt.value("width"), y="mean:Q")]


def _scale(key: str, rows: Rows) -> alt.Scale:
    values = [row[name] for row in rows for name in ("low", "high") if row[name] is not None]
    low, high = words(key).between
    if low is None:
        return alt.Scale(zero=False, nice=True, padding=8)
    top = max([*values, high or 0.0])
    return alt.Scale(domain=[min([low, *values]), top or 1.0], nice=high is None)


def _arm_names(study: StudyRecord) -> list[str]:
    return [arm.name for arm in study.arms]


def _arm_color(study: StudyRecord, legend: bool) -> alt.Color:
    colors = [arm_style(index)[0] for index in range(len(study.arms))]
    scale = alt.Scale(domain=_arm_names(study), range=colors)
    return alt.Color("arm:N", title=None, scale=scale, legend=_arm_legend() if legend else None)


def _arm_shape(study: StudyRecord, legend: bool) -> alt.Shape:
    shapes = [arm_style(index)[1] for index in range(len(study.arms))]
    scale = alt.Scale(domain=_arm_names(study), range=shapes)
    return alt.Shape("arm:N", title=None, scale=scale, legend=_arm_legend() if legend else None)


def _arm_legend() -> alt.Legend:
    return alt.Legend(orient="right", columns=1)


def _highlight() -> alt.Parameter:
    """The arms that stand out, an empty list for all alike; the page sets it in all figures at once."""
    return alt.param(name="highlight", value=[])


def _faded(opacity: float) -> alt.OpacityValue:
    chosen = "length(highlight) == 0 || indexof(highlight, datum.arm) >= 0"
    return alt.OpacityValue(opacity / 8, condition={"test": chosen, "value": opacity})


def _tooltip(key: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("arm:N"),
        alt.Tooltip("iteration:Q", format="d"),
        alt.Tooltip("mean:Q", title=words(key).label, format=".4~g"),
        alt.Tooltip("low:Q", title="lowest seed", format=".4~g"),
        alt.Tooltip("high:Q", title="highest seed", format=".4~g"),
        alt.Tooltip("seeds:N", title="seeds"),
    ]


def _metric_caption(study: StudyRecord, key: str, real: Rows) -> tuple[str, ...]:
    found = words(key)
    warning = _size_warning(study) if split_key(key)[0] == "knn_entropy" else ()
    rule = ("Dashed, in the arm's colour: what real data scores.",) if len(real) > 1 else ()
    return tuple(text for text in (found.meaning, found.trap, *warning, *rule) if text)


def _size_warning(study: StudyRecord) -> tuple[str, ...]:
    sizes = training_sizes(study)
    if len(sizes) < 2:
        return ()
    listed = f"{sizes[0]:,} to {sizes[-1]:,}"
    return (f"Here the training sets have {listed} images: points of different size do not compare in entropy.",)


def _metric_table(study: StudyRecord, key: str) -> Table:
    iterations = sorted({n for arm in study.arms for n in arm.iterations})
    rows = []
    for arm in study.arms:
        spreads = [metric_over_seeds(arm, n, key) for n in iterations]
        rows.append((arm.name, *(number(spread.mean if spread else None) for spread in spreads)))
    return (("arm", *(f"iteration {n}" for n in iterations)), *rows)


def _share_table(shares: dict[int, dict[int, float]]) -> Table:
    sources = sorted({source for found in shares.values() for source in found})
    rows = ((str(n), *(percent(found.get(s, 0.0)) for s in sources)) for n, found in shares.items())
    return (("iteration", *(f"from {_source_name(source)}" for source in sources)), *rows)


def _has_results(study: StudyRecord, key: str) -> bool:
    return any(metric_over_seeds(arm, n, key) for arm in study.arms for n in arm.iterations)


def _has_several_sources(arm: ArmRecord) -> bool:
    shares = [run.shares(n) for run in arm.runs for n, stage in run.entries if stage == "select"]
    return any(sum(share > 0 for share in found.values()) > 1 for found in shares)


def _source_name(source: int) -> str:
    return "0 (real)" if source == 0 else str(source)


def _source_scale(sources: Sequence[int]) -> alt.Scale:
    generated = [source for source in sources if source > 0]
    colors = [_ramp(rank / max(len(generated) - 1, 1)) for rank in range(len(generated))]
    real = [REAL_COLOR] if 0 in sources else []
    return alt.Scale(domain=[_source_name(source) for source in sources], range=[*real, *colors])


def _ramp(position: float) -> str:
    """A blue from light (0, early) to dark (1, late), both distinct from white and from near-black."""
    early, late = (0xA9, 0xD3, 0xF2), (0x1F, 0x5A, 0x9A)
    mixed = (round(a + (b - a) * position) for a, b in zip(early, late, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)
