"""How charts look: one theme for all of them, in a page and in files."""

from __future__ import annotations

from typing import Any, TypeAlias

import altair as alt

AnyChart: TypeAlias = alt.Chart | alt.LayerChart | alt.FacetChart

# In a page the text takes the colour of the text around it, so that one drawing serves light, dark and paper.
PAGE_INK = "currentColor"
FILE_INK = "#222222"
WIDTH, HEIGHT = 360, 220


def specification(chart: AnyChart, ink: str, width: int | str, *, title: str = "") -> dict[str, Any]:
    """The Vega-Lite specification of a chart in the colours that `ink` asks for."""
    spec: dict[str, Any] = chart.properties(width=width, height=HEIGHT).to_dict()
    spec["config"] = theme(ink)
    spec["autosize"] = {"type": "fit-x", "contains": "padding"} if width == "container" else "pad"
    if title:
        spec["title"] = title
    return spec


def theme(ink: str) -> dict[str, Any]:
    """The Vega-Lite config: everything that is not data in one colour, on no background (files: on white)."""
    text = {"labelColor": ink, "titleColor": ink, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal"}
    lines = {"domainColor": ink, "tickColor": ink, "domainOpacity": 0.4, "tickOpacity": 0.4}
    return {
        "background": "transparent" if ink == PAGE_INK else "white",
        "font": "Helvetica Neue, Helvetica, Arial, sans-serif",
        "view": {"stroke": None},
        "title": {"color": ink, "anchor": "start", "fontSize": 13, "offset": 10},
        "axis": {**text, **lines, "gridColor": ink, "gridOpacity": 0.12, "labelOpacity": 0.85, "titlePadding": 8},
        "axisY": {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": 0, "titleY": -10},
        "legend": {**text, "orient": "bottom", "symbolOpacity": 1, "symbolSize": 80, "columns": 6, "labelLimit": 320},
        "rule": {"color": ink},
        "line": {"color": ink},
        "point": {"color": ink},
        "text": {"color": ink},
    }
