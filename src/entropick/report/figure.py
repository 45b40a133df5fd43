"""What a figure is, how arms are told apart in all of them, and which figures there are.

A figure function takes the table and the look and gives the figures that it can draw from them, here one or none::

    def last_recalls(table: Table, look: Look) -> Iterator[Figure]:
        key, rows = f"recall/{table.space}", []
        for arm in table.study.arms:
            if arm.last and (spread := table.over_seeds(arm, arm.last, key)):
                rows.append({"arm": arm.name, "recall": spread.mean})
        if rows:
            chart = alt.Chart(data(rows)).mark_bar().encode(x="recall:Q", y="arm:N")
            yield Figure("last-recalls", "Recall at the end", ("Means over seeds.",), (Panel("", chart),))

The package's own stand in `FIGURES` in the order of the page; installed packages add theirs behind them by the
entry-point group ``entropick.figures``, for instance ``last-recalls = "their_package:last_recalls"``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

import altair as alt

from entropick.component import Registry
from entropick.errors import InputError, shown
from entropick.page.document import HEIGHT, WIDTH, AnyChart, specification, theme
from entropick.page.words import different, slug, words
from entropick.report.study import ArmRecord, StudyRecord
from entropick.report.table import Spread, Table

Rows: TypeAlias = list[dict[str, Any]]
Cells: TypeAlias = tuple[tuple[str, ...], ...]

FIGURES = Registry(
    "entropick.figures",
    {
        "plane": "entropick.report.plane:plane",
        "measures": "entropick.report.curves:measures",
        "sources": "entropick.report.sources:sources",
        "classes": "entropick.report.classes:classes",
        "ablations": "entropick.report.relations:ablations",
        "sizes": "entropick.report.curves:sizes",
        "relations": "entropick.report.relations:relations",
        "probes": "entropick.report.relations:probes",
        "images": "entropick.report.images:image_figures",
    },
)
# Where the page can show a figure.
SECTIONS = ("measures", "relations", "ablations", "sources")

# Okabe and Ito's colours without black and yellow: told apart with any colour vision, legible on light and dark.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#8C8C8C")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
REAL_COLOR = "#8A8F98"
# Pixels between a drawing and its legend: a rule's label stands there.
LEGEND_OFFSET = 52
PANEL_WIDTH = 250


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure; `title` is empty where it is the only one. The chart has neither width nor theme."""

    title: str
    chart: AnyChart
    height: int = HEIGHT


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes
    ----------
    name
        Fit for a file name.
    title, caption
        Plain text; the caption says how to read it and where it misleads.
    panels
        Its drawings, side by side.
    cells
        The numbers drawn, as text, header first; empty where a table would say nothing new.
    section
        Where the page shows it: "measures", "relations", "ablations", "sources", or "" for figure files only.
    measure
        The measure it shows, for the page's picker; and whether that is shown at first.
    size
        The study size that it is of, or None; its name and title then say which.
    is_large
        Whether the page gives it a row of its own.
    """

    name: str
    title: str
    caption: tuple[str, ...]
    panels: tuple[Panel, ...]
    cells: Cells = ()
    section: str = "measures"
    measure: str = ""
    is_main: bool = True
    size: int | None = None
    is_large: bool = False

    def panel_spec(self, panel: Panel, ink: str) -> dict[str, Any]:
        """The Vega-Lite specification of one panel, as wide as what it stands in."""
        return specification(panel.chart, ink, panel.height)

    def file_spec(self, ink: str) -> dict[str, Any]:
        """The Vega-Lite specification of the whole figure."""
        if len(self.panels) == 1:
            drawn = self.panels[0].chart.properties(width=WIDTH, height=self.panels[0].height)
        else:
            charts = [
                panel.chart.properties(width=PANEL_WIDTH, height=panel.height, title=panel.title)
                for panel in self.panels
            ]
            drawn = alt.concat(*charts, columns=4).resolve_scale(color="independent", shape="independent")
        return {**drawn.to_dict(validate=False), "config": theme(ink), "title": {"text": self.title, "offset": 14}}


class Look:
    """How the arms of a study are told apart, and whether figures bring a legend: in files; the page has one for all.

    Few arms share one panel and have a colour each. Where there are more arms than colours, and their names fall into
    families ("replace", "replace+greedy", ...), each family has a panel of its own, and what arms of different families
    have in common, their method, has one colour.
    """

    def __init__(self, study: StudyRecord, *, for_file: bool = False) -> None:
        families = list(dict.fromkeys(arm.family for arm in study.arms))
        methods = list(dict.fromkeys(arm.method for arm in study.arms))
        self.in_panels = len(study.arms) > len(COLORS) and 1 < len(families) < len(study.arms) and len(methods) > 1
        self.labels = methods if self.in_panels else [arm.name for arm in study.arms]
        self.families = families if self.in_panels else [""]
        self.for_file = for_file

    def label(self, arm: ArmRecord) -> str:
        """What stands for the arm in a legend."""
        return arm.method if self.in_panels else arm.name

    def panel(self, arm: ArmRecord) -> str:
        """The heading of the panel that the arm is drawn in; empty where there is only one."""
        return arm.family if self.in_panels else ""

    def named(self, arm: ArmRecord) -> dict[str, Any]:
        """What every row of an arm holds: ``arm``, ``label`` and ``panel``."""
        return {"arm": arm.name, "label": self.label(arm), "panel": self.panel(arm)}

    def style(self, label: str) -> tuple[str, str]:
        """The colour and the shape that stand for a label."""
        return style_at(self.labels.index(label))

    def color(self, *, legend: bool) -> alt.Color:
        """The colour channel of rows that have a ``label``."""
        scale = alt.Scale(domain=self.labels, range=[self.style(label)[0] for label in self.labels])
        return alt.Color("label:N", title=None, scale=scale, legend=_legend() if legend else None)

    def shape(self, *, legend: bool) -> alt.Shape:
        """The shape channel of rows that have a ``label``."""
        scale = alt.Scale(domain=self.labels, range=[self.style(label)[1] for label in self.labels])
        return alt.Shape("label:N", title=None, scale=scale, legend=_legend() if legend else None)


def draw(table: Table, look: Look) -> list[Figure]:
    """All figures that there are of a study: the package's own in the order of the page, then those of others.

    Raises
    ------
    ConfigError
        A figure function cannot be imported.
    InputError
        A figure asks for a section that the page does not have; a figure function of others fails, or gives what is
        none.
    """
    names = dict.fromkeys((*FIGURES.built_in, *FIGURES.names()))
    figures: list[Figure] = []
    for name in names:
        for figure in _figures_of(name, table, look):
            if figure.section not in (*SECTIONS, ""):
                raise InputError(
                    f"figure {figure.name!r} of {name!r}: expected a section of {', '.join(SECTIONS)}, or '' for files "
                    f"only, got {figure.section!r}."
                )
            if figure.size is not None:
                title = f"{figure.title}, {figure.size:,} images"
                figure = replace(figure, name=f"{figure.name}-size-{figure.size}", title=title)
            figures.append(figure)
    # Each has a file of its own.
    files = different([figure.name for figure in figures])
    return [replace(figure, name=file) for figure, file in zip(figures, files, strict=True)]


def _figures_of(name: str, table: Table, look: Look) -> Iterable[Figure]:
    """What a figure function gives; what one of others raises, or gives else, is an InputError that names it."""
    function = FIGURES.load(name)
    if name in FIGURES.built_in:
        return cast("Iterable[Figure]", function(table, look))
    advice = "Mend its function, or remove the package that brings it."
    try:
        figures = list(function(table, look))
        for figure in figures:
            _check_figure(figure)
    except InputError as error:
        raise InputError(f"figure {name!r}: {error} {advice}") from error
    except Exception as error:  # whatever code of others does
        raise InputError(f"figure {name!r}: expected figures, but it failed ({shown(error)}). {advice}") from error
    return figures


def _check_figure(figure: Any) -> None:
    if not isinstance(figure, Figure):
        raise InputError(f"expected figures, got {shown(figure)}.")
    if figure.name != slug(figure.name):
        raise InputError(f"expected names of letters, digits and . _ - as those of files, got {shown(figure.name)}.")
    if isinstance(figure.caption, str):
        raise InputError(f"expected a caption in a tuple, got {shown(figure.caption)}.")
    for panel in figure.panels:
        # NaN and infinity are no JSON.
        json.dumps(panel.chart.to_dict(validate=False), allow_nan=False)


def data(rows: Rows) -> alt.InlineData:
    """Rows as the data of a chart. As text: Altair copies a chart, and every row in it, at each step of its making."""
    return alt.InlineData(values=json.dumps(rows, allow_nan=False), format=alt.DataFormat(type="json"))


def span(spread: Spread | None) -> dict[str, float | None]:
    """What a row holds of a number over seeds: ``mean``, ``low`` and ``high``; None where there is no number, which
    breaks a line, instead of drawing over what is missing."""
    return {name: getattr(spread, name, None) for name in ("mean", "low", "high")}


def style_at(index: int) -> tuple[str, str]:
    """The colour and the shape at `index`, the same in every figure; shapes differ where colours repeat."""
    return COLORS[index % len(COLORS)], SHAPES[index % len(SHAPES)]


def ramp(rank: int, n: int) -> str:
    """The blue of one of `n` ranks, from light (early or few) to dark, distinct from white and from near-black."""
    early, late, position = (0xA9, 0xD3, 0xF2), (0x1F, 0x5A, 0x9A), rank / max(n - 1, 1)
    mixed = (round(a + (b - a) * position) for a, b in zip(early, late, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def size_color(sizes: list[int], legend: alt.Legend | None) -> alt.Color:
    """The colour channel of rows that have a ``size``, from light (few) to dark (many)."""
    names, colors = [str(size) for size in sizes], [ramp(rank, len(sizes)) for rank in range(len(sizes))]
    return alt.Color("size:N", title="size", sort=names, scale=alt.Scale(domain=names, range=colors), legend=legend)


def share_axes(title: str, axis: alt.Axis) -> tuple[alt.X, alt.Y]:
    """The axes of bars of shares, an ``iteration`` each."""
    x = alt.X("iteration:O", title="iteration", axis=alt.Axis(labelAngle=0, labelOverlap=True))
    return x, alt.Y("share:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, 1]))


def stacked_shares(rows: Rows, x: alt.X, y: alt.Y, field: str, colors: dict[str, str]) -> alt.Chart:
    """Bars of the ``share`` of each value of a `field`, from the lowest ``order`` on; each value has a colour."""
    names = list(colors)
    scale = alt.Scale(domain=names, range=list(colors.values()))
    return (
        alt.Chart(data(rows))
        .mark_bar()
        .encode(
            x=x,
            y=y.stack("zero"),
            color=alt.Color(f"{field}:N", scale=scale, sort=names, legend=None),
            order=alt.Order("order:Q"),
            tooltip=[alt.Tooltip("iteration:O"), alt.Tooltip(f"{field}:N"), alt.Tooltip("share:Q", format=".1%")],
        )
    )


def highlight() -> alt.Parameter:
    """The labels that stand out, an empty list for all alike; the page sets it in all figures at once."""
    return alt.param(name="highlight", value=[])


def faded(opacity: float) -> alt.OpacityValue:
    """An opacity that falls for what is not highlighted."""
    chosen = "length(highlight) == 0 || indexof(highlight, datum.label) >= 0"
    return alt.OpacityValue(opacity / 8, condition={"test": chosen, "value": opacity})


def iteration_axis(last: int) -> alt.X:
    """Whole iterations from 1 to the last, about ten of them labelled."""
    ticks = list(range(1, max(last, 2) + 1, -(-last // 10) or 1))
    scale = alt.Scale(domain=[1, max(last, 2)], nice=False, zero=False, padding=10)
    return alt.X("iteration:Q", title="iteration", axis=alt.Axis(format="d", values=ticks, grid=False), scale=scale)


def _legend() -> alt.Legend:
    return alt.Legend(orient="right", columns=1, offset=LEGEND_OFFSET)


def value_scale(key: str, rows: Rows) -> alt.Scale:
    """The axis of a measure, one for all panels of a figure, over the range that its words tell."""
    values = [row[name] for row in rows for name in ("low", "high") if row[name] is not None]
    known = words(key)
    low, high = known.axis or known.range
    if low is None:
        margin = (max(values) - min(values)) * 0.05 or 1.0
        return alt.Scale(domain=[min(values) - margin, max(values) + margin], zero=False, nice=True)
    top = max([*values, high or 0.0])
    return alt.Scale(domain=[min([low, *values]), top or 1.0], nice=high is None)
