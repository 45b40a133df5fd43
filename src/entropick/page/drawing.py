"""How charts and pictures look: one theme for all charts, in a page and in files; images as PNGs in the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images

if TYPE_CHECKING:
    import altair as alt

AnyChart: TypeAlias = "alt.Chart | alt.LayerChart | alt.FacetChart"

# In a page the text takes the colour of the text around it, so that one drawing serves light, dark and paper.
PAGE_INK = "currentColor"
FILE_INK = "#222222"
WIDTH, HEIGHT = 360, 220

# Transparent pixels between the images of a sheet.
_MARGIN = 1


def specification(chart: AnyChart, ink: str, height: int = HEIGHT) -> dict[str, Any]:
    """The Vega-Lite specification of a chart in the colours that `ink` asks for, as wide as what it stands in."""
    spec: dict[str, Any] = chart.properties(width="container", height=height).to_dict(validate=False)
    return {**spec, "config": theme(ink), "autosize": {"type": "fit-x", "contains": "padding"}}


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


@dataclass(frozen=True)
class Sheet:
    """One PNG: its data URI, how many pixels it has, what it shows in words."""

    uri: str
    width: int
    height: int
    alt: str


def picture(image: NDArray[np.uint8], alt: str) -> Sheet:
    """One image, uint8 ``(h, w, 2 or 4)``, its last channel opacity, as PNG."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG", optimize=True)
    return Sheet(data_uri("png", stream.getvalue()), image.shape[1], image.shape[0], alt)


def data_uri(kind: str, content: bytes) -> str:
    """An encoded picture, of the kind "png" or "jpeg", as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def sprite_sheet(images: Images, columns: int, alt: str, *, scale: int = 1) -> Sheet:
    """`images` in rows of `columns`, one transparent pixel apart, each pixel `scale` wide, as PNG."""
    n, height, width, channels = images.shape
    rows = -(-n // columns)
    cells = np.zeros((rows * columns, height + _MARGIN, width + _MARGIN, channels + 1), np.uint8)
    cells[:n, :height, :width, :channels] = images
    cells[:n, :height, :width, channels] = 255
    grid = cells.reshape(rows, columns, *cells.shape[1:]).swapaxes(1, 2)
    canvas = grid.reshape(rows * (height + _MARGIN), columns * (width + _MARGIN), channels + 1)[:-_MARGIN, :-_MARGIN]
    return picture(canvas.repeat(scale, axis=0).repeat(scale, axis=1), alt)
