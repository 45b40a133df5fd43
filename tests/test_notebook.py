"""What objects show of themselves in a notebook: it is whole HTML, says the numbers, and escapes everything."""

import math
import re
from html.parser import HTMLParser

import pytest

from entropick import notebook


class _Tags(HTMLParser):
    """Every tag that is opened is closed; which there were, and the text between."""

    def __init__(self, html):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag not in ("img", "circle", "line", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(html):
    found = _Tags(html)
    assert found.open == []
    return found


def test_a_table_has_its_numbers_to_the_right():
    html = notebook.table(["name", "value"], [["a", "1,234.5"], ["b", "-"], ["c", "\u22122e-05"]])
    assert parsed(html).text == ["name", "value", "a", "1,234.5", "b", "-", "c", "\u22122e-05"]
    assert html.count("text-align:right") == 4 and html.count("text-align:left") == 4


def test_fractions_are_written_as_on_pages():
    html = notebook.table(
        ["a", "b", "c"], [[45590.4, 0.0123456, 7], [None, float("inf"), "-"], [float("nan"), -1e-9, 8]]
    )
    assert parsed(html).text[3:] == ["45,590", "0.01235", "7", "\u2013", "inf", "-", "nan", "\u22121.000e\u221209", "8"]
    assert "text-align:left" not in html


def test_the_title_of_an_axis_is_never_cut():
    title = "distance to the nearest earlier pick (grey levels)"
    html = notebook.lines({"a": [(0, 1e4), (1, 5.5e4)]}, x="rank (number)", y=title)
    # It stands above the drawing, from its left edge, and is no longer than that is wide.
    assert f'<text x="0" y="12">{title}</text>' in html and "rotate" not in html
    assert "20,000" in parsed(html).text


def test_nothing_is_let_through():
    hostile = "<script>alert('1')</script>\"'&"
    html = notebook.block(
        hostile,
        notebook.paragraph(hostile),
        notebook.table([hostile], [[hostile]]),
        notebook.picture(b"png", hostile),
        notebook.lines({hostile: [(0, 1), (1, 2)], "b": [(0, 2)]}, x=hostile, y=hostile),
    )
    assert "script" not in parsed(html).seen and "<script" not in html
    assert not re.search(r'="[^"]*<', html)


def test_a_chart_leaves_out_what_is_not_finite():
    html = notebook.lines({"a": [(0, 1.0), (1, math.nan), (2, 3.0), (3, math.inf)]}, x="x", y="y")
    assert html.count("<circle") == 2 and "nan" not in html and "inf" not in html
    assert notebook.lines({"a": [(0, math.nan)]}, x="x", y="y") == ""


@pytest.mark.parametrize("values", [(0, 0), (5, 5), (1e-9, 2e-9), (-3, 1e12), (0.1, 0.3)])
def test_ticks_are_round_and_within(values):
    html = notebook.lines({"a": list(enumerate(values))}, x="x", y="y")
    labels = [float(text) for text in parsed(html).text if re.fullmatch(r"[-\d.e+]+", text)]
    assert 2 <= len(labels) <= 12
    places = re.search(r'points="([^"]+)"', html)[1].split()
    assert all(0 <= float(number) <= 460 for place in places for number in place.split(","))
