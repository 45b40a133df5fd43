"""The distances to the training set, generated beside fresh real images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import altair as alt

from entropick.page.drawing import PAGE_INK, specification
from entropick.page.words import number, percent

# Told apart with any colour vision, legible on light and dark.
GENERATED_COLOR, REFERENCE_COLOR = "#D55E00", "#0072B2"
_NAMES = {"generated": "generated", "reference": "fresh real images"}


def distance_figure(summary: Mapping[str, Any], space: str) -> dict[str, Any]:
    """The Vega-Lite specification of the histogram of one space."""
    rows = _rows(summary["histogram"])
    names = [name for key, name in _NAMES.items() if key in summary["histogram"]]
    colors = [GENERATED_COLOR, REFERENCE_COLOR][: len(names)]
    fills = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_bar(opacity=0.6)
        .encode(
            x=alt.X("low:Q", title=f"distance to the nearest training image ({space})", axis=alt.Axis(grid=False)),
            x2="high:Q",
            y=alt.Y("share:Q", title="share of images", axis=alt.Axis(format="%", tickCount=5)),
            y2=alt.datum(0),
            color=alt.Color(
                "set:N",
                title=None,
                scale=alt.Scale(domain=names, range=colors),
                legend=alt.Legend(symbolType="square"),
            ),
            tooltip=[
                alt.Tooltip("set:N", title="images"),
                alt.Tooltip("low:Q", title="from", format=".4~g"),
                alt.Tooltip("high:Q", title="to", format=".4~g"),
                alt.Tooltip("share:Q", title="share", format=".2%"),
            ],
        )
    )
    layers = [fills]
    if summary["near_copy_distance"] is not None:
        border = alt.Chart(alt.InlineData(values=[{"at": summary["near_copy_distance"]}]))
        layers.append(border.mark_rule(strokeDash=[5, 3], strokeWidth=1.2).encode(x="at:Q"))
    return specification(alt.layer(*layers), PAGE_INK, "container")


def distance_table(summary: Mapping[str, Any]) -> list[list[str]]:
    """The same as a table, header first; empty bins left out."""
    histogram = summary["histogram"]
    keys = [key for key in _NAMES if key in histogram]
    bins = zip(histogram["edges"], histogram["edges"][1:], *(histogram[key] for key in keys), strict=False)
    rows = [
        [f"{number(low)} to {number(high)}", *(percent(share) for share in shares)]
        for low, high, *shares in bins
        if any(shares)
    ]
    return [["distance", *(_NAMES[key] for key in keys)], *rows]


def _rows(histogram: Mapping[str, list[float]]) -> list[dict[str, Any]]:
    edges = histogram["edges"]
    return [
        {"set": name, "low": low, "high": high, "share": share}
        for key, name in _NAMES.items()
        if key in histogram
        for low, high, share in zip(edges, edges[1:], histogram[key], strict=False)
        if share
    ]
