"""What objects show of themselves in a notebook: tables and small charts, as HTML that escapes everything.

No scripts, no files, nothing from elsewhere; text has the colour of the page it is shown in, light or dark.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

Point = tuple[float, float]

DASH, _MINUS = "\u2013", "\u2212"

# Colours that can be told apart on light and dark ground, and without colour vision by their order.
_COLORS = ("#2a78b8", "#d9822b", "#3d9970", "#b5478b", "#8c6d31", "#5f5fc4", "#7f7f7f", "#c44e52")
_WIDTH, _HEIGHT = 460, 214
# Left for the axes and their titles; that of the vertical one stands above it, where it has room, as on pages.
_LEFT, _BELOW, _ABOVE = 46, 40, 26
_CELL = "padding:2px 8px;text-align:{}"
# How a cell of a column of numbers looks; a dash is a value that there is not.
_NUMBER = re.compile(r"[-\u2212+]?([\d,.]+(e[-\u2212+]?\d+)?|inf)|-|\u2013|nan")


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits, in plain notation where that is readable; a dash for none.

    Examples
    --------
    >>> number(1234.5), number(0.012345), number(-2.0), number(None)
    ('1,234', '0.01235', '−2', '–')
    """
    if value is None:
        return DASH
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("-", _MINUS)
    exponent = int(f"{value:e}".partition("e")[2])
    decimals = max(0, digits - 1 - exponent)
    text = f"{int(value):,}" if value == int(value) else f"{value:,.{decimals}f}"
    return text.replace("-", _MINUS)


def block(title: str, *parts: str) -> str:
    """A heading and what stands below it; `parts` are HTML already."""
    return f'<div style="font-size:13px"><p style="margin:4px 0"><b>{escape(title)}</b></p>{"".join(parts)}</div>'


def paragraph(text: str) -> str:
    """A line of text."""
    return f'<p style="margin:4px 0">{escape(text)}</p>'


def table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table, columns of numbers to the right and others to the left; fractions are written as `number` does."""
    texts = [[number(cell) if cell is None or isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    sides = [
        "right" if texts and all(_NUMBER.fullmatch(row[place]) for row in texts) else "left"
        for place in range(len(heading))
    ]
    html = []
    for tag, cells in [("th", list(heading)), *(("td", row) for row in texts)]:
        styled = zip(sides, cells, strict=True)
        html.append("".join(f'<{tag} style="{_CELL.format(side)}">{escape(cell)}</{tag}>' for side, cell in styled))
    body = "".join(f"<tr>{line}</tr>" for line in html)
    return f'<table style="border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums">{body}</table>'


def picture(png: bytes, alt: str) -> str:
    """A PNG, in the page itself."""
    from base64 import b64encode

    source = f"data:image/png;base64,{b64encode(png).decode()}"
    return f'<img alt="{escape(alt)}" style="max-width:100%;margin:8px 0" src="{source}">'


def lines(series: Mapping[str, Sequence[Point]], *, x: str, y: str) -> str:
    """A chart of lines, each a name and its points ``(x, y)``; points that are not finite are left out.

    Examples
    --------
    >>> "polyline" in lines({"a": [(0, 1.0), (1, 2.0)]}, x="iteration", y="score")
    True
    """
    finite = {name: [at for at in points if all(map(math.isfinite, at))] for name, points in series.items()}
    finite = {name: points for name, points in finite.items() if points}
    if not finite:
        return ""
    across, up = ([at[axis] for points in finite.values() for at in points] for axis in (0, 1))
    axes = _Axis(min(across), max(across), _LEFT, _WIDTH - 8), _Axis(min(up), max(up), _HEIGHT - _BELOW, _ABOVE)
    drawn = []
    for number, points in enumerate(finite.values()):
        color = _COLORS[number % len(_COLORS)]
        places = [(axes[0].place(at[0]), axes[1].place(at[1])) for at in points]
        joined = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
        drawn.append(f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if len(points) <= 60:
            drawn += [f'<circle cx="{left:.1f}" cy="{top:.1f}" r="2.5" fill="{color}"/>' for left, top in places]
    frame = _frame(*axes, x, y)
    label = f"{y} over {x}: {', '.join(finite)}"
    chart = (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" style="max-width:100%;display:block" role="img" '
        f'aria-label="{escape(label)}" font-size="11" fill="currentColor">{frame}{"".join(drawn)}</svg>'
    )
    return chart + (_legend(list(finite)) if len(finite) > 1 else "")


class _Axis:
    """Values from `low` to `high` between two places of a drawing."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = (low, high) if high > low else (low - 0.5, high + 0.5)
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)

    @property
    def ticks(self) -> list[float]:
        """About four round numbers."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / 3))
        step *= next(of for of in (1, 2, 5, 10) if (self.high - self.low) / (of * step) <= 5)
        first = math.ceil(self.low / step - 1e-9)
        return [number * step for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _frame(across: _Axis, up: _Axis, x: str, y: str) -> str:
    """Ticks, grid and titles of both axes."""
    parts = []
    for value in up.ticks:
        top = up.place(value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - 8}" y1="{top:.1f}" y2="{top:.1f}" stroke="currentColor" opacity="0.15"/>'
            f'<text x="{_LEFT - 6}" y="{top + 4:.1f}" text-anchor="end">{value:,.6g}</text>'
        )
    bottom = _HEIGHT - _BELOW
    parts += [
        f'<text x="{across.place(value):.1f}" y="{bottom + 15}" text-anchor="middle">{value:,.6g}</text>'
        for value in across.ticks
    ]
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(x)}</text>')
    parts.append(f'<text x="0" y="12">{escape(y)}</text>')
    return "".join(parts)


def _legend(names: Sequence[str]) -> str:
    entries = [
        f'<span style="margin-right:14px"><span style="color:{_COLORS[number % len(_COLORS)]}">&#9632;</span> '
        f"{escape(name)}</span>"
        for number, name in enumerate(names)
    ]
    return f'<p style="margin:2px 0">{"".join(entries)}</p>'
