"""The page as text and in a real browser: words first, planted copies first, hostile names as text, no way out."""

from __future__ import annotations

import html
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import headless
import numpy as np
import pytest
from PIL import Image

from entropick import score
from entropick.scoring import PAGE


def test_it_is_one_file_without_a_way_out(page: Path) -> None:
    text = page.read_text()
    body = text.partition("<body>")[2].partition("<script")[0]
    assert page.name == PAGE and page.stat().st_size < 3_000_000
    policy = html.unescape(re.search(r'Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    assert not re.findall(r"<(?:link|iframe|object|embed|base|form)\b", body)
    assert all(found.startswith(("data:image/", "#")) for found in re.findall(r'\b(?:src|href)="([^"]*)"', body))


def test_hostile_names_stay_text(page: Path, scored: Path) -> None:
    text = page.read_text()
    assert "onerror=alert(1)&gt;" in text and "<img src=x" not in text and "<!--.png" not in text
    told = json.loads((scored / "score.json").read_text())
    assert len(told["skipped"]) == 1 and "onerror" in told["skipped"][0]["path"]


def test_planted_copies_come_first(page: Path) -> None:
    first_space = page.read_text().partition('<ol class="gallery">')[2].partition("</ol>")[0]
    pairs = re.findall(r"<li(.*?)</li>", first_space, re.S)
    generated = [int(re.search(r"generated</b> (\d+)", html.unescape(pair))[1]) for pair in pairs]  # type: ignore[index]
    assert set(generated[:20]) == set(range(40, 60)) and len(pairs) == 24
    assert all("near copy" in pair for pair in pairs[:20])
    training = [int(re.search(r"training</b> row (\d+)", pair)[1]) for pair in pairs[:20]]  # type: ignore[index]
    assert training == [row - 40 for row in generated[:20]]
    distances = [float(re.search(r'distance">([^<]*)<', pair)[1]) for pair in pairs]  # type: ignore[index]
    assert distances == sorted(distances)


def test_it_says_what_was_found(page: Path) -> None:
    text = page.read_text().partition("<h2")[0]
    headline = r"It copies in part: 3\d(\.\d)?\u00a0% of the generated images are near copies\."
    assert re.search(rf"<h1[^>]*>{headline}</h1>", text)
    words = page.read_text()
    assert re.search(r"<strong>Failed\.</strong> near_copy_rate/pixels is [^(]+ \(fails if &gt;0\.2\)\.", words)
    assert re.search(r"<strong>Passed\.</strong> recall/pixels is \S+ \(fails if &lt;0\.1\)\.", words)


opened = partial(headless.opened, until="data-drawn")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_without_a_word_of_complaint(browser: Any, page: Path, scheme: str) -> None:
    with opened(browser, page, color_scheme=scheme) as tab:
        assert tab.locator(".drawing svg").count() == 2
        assert tab.locator(".drawing svg .mark-rect path").count() > 20
        assert tab.locator(".drawing svg .mark-rule.role-mark line").count() == 2
        assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
        assert tab.locator(".gallery li").count() == 48


@pytest.mark.parametrize("width", [320, 390, 768])
def test_it_fits_narrow_screens(browser: Any, page: Path, width: int) -> None:
    with opened(browser, page, width=width) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_it_can_be_used_with_the_keyboard_alone(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.className") == "skip"
        summary = tab.locator("summary").first
        summary.focus()
        tab.keyboard.press("Enter")
        assert tab.locator("details[open] table").first.is_visible()


def test_it_prints_and_works_without_scripts(browser: Any, page: Path) -> None:
    with opened(browser, page, color_scheme="dark") as tab:
        assert tab.pdf().startswith(b"%PDF-")
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.locator("noscript").is_visible() and tab.locator(".gallery li").count() == 48
    context.close()


def test_it_tells_what_was_passed_over_changed_and_skipped(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "made").mkdir()
    for row in range(20):
        Image.fromarray(rng.integers(0, 4096, (8, 8), np.uint16)).save(tmp_path / "made" / f"{row:02d}.png")
    for row in range(120):
        (tmp_path / "made" / f"torn {row:03d}.png").write_bytes(b"no image")
    (tmp_path / "made" / "notes.txt").write_text("no image")
    training = rng.integers(0, 256, (30, 8, 8), np.uint8)
    found = score(training=training, generated=tmp_path / "made", bit_depth=12, skip_bad=True)
    for heading, line in (
        ("Passed over", r"1 × no image \(\.txt\)"),  # noqa: RUF001
        ("Compared in other numbers", "20 × more than 8 bits per channel, brought to 8"),  # noqa: RUF001
    ):
        assert re.search(rf"<h3>{heading}</h3>\s*<ul[^>]*><li>generated: {line}</li>", found.page)
    origin = found.page.partition("<h3>Skipped</h3>")[2]
    assert origin.count("torn ") == 100 and "torn 099" in origin and "torn 100" not in origin
    assert "The first 100 of 120; all are in <code>score.json</code>" in origin
    assert len(found.summary["skipped"]) == 120
    # Long paths break their lines.
    assert ".skipped { overflow-wrap: anywhere" in found.page
