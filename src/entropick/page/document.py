"""A room's template, style and script, and the drawings' data, as one file that needs no network."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any

from entropick.page import words

_HERE = "entropick.page"


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
        loader=jinja2.FunctionLoader(lambda name: _asset(_HERE if name == "frame.html.j2" else package, name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=words.number, percent=words.percent, duration=words.duration, signed=words.signed)
    return environment.get_template("page.html.j2").render(
        policy=_policy(style, scripts),
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        specs=Markup(_json_for_script(list(specs))),
        **content,
    )


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
