"""One file that needs no network: a room's template, style and script, charts in one look, pictures as data."""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Images
from entropick.page import words

if TYPE_CHECKING:
    import altair as alt

AnyChart: TypeAlias = "alt.Chart | alt.LayerChart | alt.FacetChart"

# In a page the text takes the colour of the text around it, so that one drawing serves light, dark and paper.
PAGE_INK = "currentColor"
FILE_INK = "#222222"
WIDTH, HEIGHT = 360, 220

_HERE = "entropick.page"
# Templates that pages of other rooms take from here.
_SHARED = ("frame.html.j2", "left_out.html.j2")
# Per cent signs of sentences; what else is matched here is left as it is: elements that are no sentences, and tags.
_PERCENT = re.compile(r"<(title|script|style|code|pre)\b.*?</\1>|<[^>]*>|(?<=\d) %", re.DOTALL)
# Transparent pixels between the images of a sheet.
_MARGIN = 1


def render(package: str, *, specs: Sequence[dict[str, Any]], **content: Any) -> str:
    """The page of a room as HTML: ``page.html.j2``, ``page.css`` and any ``page.js`` of `package`, in the common frame.

    Everything in `content` is escaped. The policy of the page allows its own scripts and style by their hashes,
    pictures from the page itself, and nothing else.

    Parameters
    ----------
    package
        Where the room's template, style and script lie, for instance ``"entropick.report"``.
    specs
        Vega-Lite specifications; the template says where each is drawn, with ``data-spec`` and its number.
    content
        What the template asks for.
    """
    import jinja2
    from markupsafe import Markup

    style = _asset(_HERE, "page.css") + _asset(package, "page.css")
    scripts = [*([_javascript_bundle()] if specs else []), _asset(_HERE, "charts.js")]
    if resources.files(package).joinpath("page.js").is_file():
        scripts.append(_asset(package, "page.js"))
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _asset(_HERE if name in _SHARED else package, name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=words.number, percent=words.percent, duration=words.duration, signed=words.signed)
    page = environment.get_template("page.html.j2").render(
        policy=_policy(style, scripts),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        specs=Markup(_json_for_script(list(specs))),
        **content,
    )
    # No line ends between a number and its sign.
    return _PERCENT.sub(lambda found: "\u00a0%" if found[0] == " %" else found[0], page)


@functools.cache
def _javascript_bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as they come with vl-convert: no network."""
    import vl_convert

    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle


def _policy(style: str, scripts: list[str]) -> str:
    """The content security policy: these very scripts and this very style, pictures from the page itself, no more."""
    allowed = " ".join(_source_hash(script) for script in scripts)
    return (
        f"default-src 'none'; img-src data:; script-src {allowed}; style-src {_source_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _source_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json_for_script(value: Any) -> str:
    """JSON that cannot end the script element it stands in, whatever its strings hold."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _asset(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


# -- charts and pictures -----------------------------------------------------------------------------------------------


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
