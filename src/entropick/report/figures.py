"""The figures of a study, in their order. Page and figure files draw the same ones."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

import altair as alt

from entropick.page.drawing import HEIGHT, WIDTH, AnyChart, theme
from entropick.report.look import PANEL_WIDTH

Rows: TypeAlias = list[dict[str, Any]]
Table: TypeAlias = tuple[tuple[str, ...], ...]


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
    table
        The numbers drawn, as text, header first; empty where a table would say nothing new.
    section
        Where the page shows it: "measures", "relations", "sources", "ablations", or "" for figure files only.
    measure
        The measure it shows, for the page's picker; and whether that is shown at first.
    size
        The study size that it is of, or None.
    """

    name: str
    title: str
    caption: tuple[str, ...]
    panels: tuple[Panel, ...]
    table: Table = ()
    section: str = "measures"
    measure: str = ""
    is_main: bool = True
    size: int | None = None

    def panel_spec(self, panel: Panel, ink: str) -> dict[str, Any]:
        """The Vega-Lite specification of one panel, as wide as what it stands in."""
        spec: dict[str, Any] = panel.chart.properties(width="container", height=panel.height).to_dict(validate=False)
        return {**spec, "config": theme(ink), "autosize": {"type": "fit-x", "contains": "padding"}}

    def file_spec(self, ink: str, *, columns: int = 4) -> dict[str, Any]:
        """The Vega-Lite specification of the whole figure."""
        if len(self.panels) == 1:
            panel = self.panels[0]
            spec: dict[str, Any] = panel.chart.properties(width=WIDTH, height=panel.height).to_dict(validate=False)
        else:
            charts = [
                panel.chart.properties(width=PANEL_WIDTH, height=panel.height, title=panel.title)
                for panel in self.panels
            ]
            joined = alt.concat(*charts, columns=columns).resolve_scale(color="independent", shape="independent")
            spec = joined.to_dict(validate=False)
        return {**spec, "config": theme(ink), "title": {"text": self.title, "offset": 14}}


def data(rows: Rows) -> alt.InlineData:
    """Rows as the data of a chart. As text: Altair copies a chart, and every row in it, at each step of its making."""
    return alt.InlineData(values=json.dumps(rows, allow_nan=False), format=alt.DataFormat(type="json"))
