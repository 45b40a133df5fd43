"""The page in a real browser: it draws, it asks nobody, it can be used."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_up_study import HOSTILE_TITLE

sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium: apt-get install chromium")

N_FIGURES = 9


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, page: Path, width: int = 1280, **options: Any) -> Iterator[Any]:
    """The page, drawn; whatever it complained about or asked for fails the test."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    tab = context.new_page()
    told: list[str] = []
    tab.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: told.append(f"error: {error}"))
    tab.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
    tab.on("request", lambda request: None if request.url.startswith("data:") else told.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-drawn]", timeout=30_000)
    yield tab
    assert told == [page.as_uri()]
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_legibly_without_a_word_of_complaint(browser: Any, page: Path, scheme: str) -> None:
    with opened(browser, page, color_scheme=scheme) as tab:
        assert tab.locator(".drawing svg").count() == N_FIGURES
        assert tab.locator(".drawing svg path[aria-roledescription=point], .drawing svg .mark-symbol path").count() > 20
        assert tab.title() == HOSTILE_TITLE
        assert tab.evaluate(CONTRAST) > 4.5


CONTRAST = """() => {
    const light = (color) => {
        const parts = color.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
        const linear = parts.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const ground = light(getComputedStyle(document.body).backgroundColor);
    const texts = [...document.querySelectorAll(".drawing svg text")].map((text) => light(getComputedStyle(text).fill));
    return Math.min(...texts.map((ink) => (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05)));
}"""


def test_the_arm_picker_switches_the_images(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        panels = tab.locator("[data-panel]")
        assert [panels.nth(i).is_visible() for i in range(2)] == [True, False]
        tab.locator(".picker input").first.focus()
        tab.keyboard.press("ArrowDown")
        assert [panels.nth(i).is_visible() for i in range(2)] == [False, True]
        assert tab.locator("[data-panel]:visible img").count() == 3 * (2 + 2)
        assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_the_legend_highlights_in_all_figures(browser: Any, page: Path) -> None:
    faint = ".drawing svg .mark-symbol path[opacity='0.125']"
    with opened(browser, page) as tab:
        assert tab.locator(faint).count() == 0
        button = tab.locator("[data-highlight]").first
        button.focus()
        tab.keyboard.press("Enter")
        tab.wait_for_selector(faint, state="attached")
        assert button.get_attribute("aria-pressed") == "true"
        button.click()
        tab.wait_for_selector(faint, state="detached")


def test_a_point_tells_its_numbers(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        point = tab.locator(".drawing svg .mark-symbol path").first
        point.scroll_into_view_if_needed()
        point.hover()
        tab.wait_for_selector("#vg-tooltip-element.visible")
        assert "lowest seed" in tab.locator("#vg-tooltip-element").inner_text()


@pytest.mark.parametrize("width", [320, 375, 768])
def test_it_fits_narrow_screens(browser: Any, page: Path, width: int) -> None:
    with opened(browser, page, width=width) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_everything_but_the_drawings_is_there(browser: Any, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.locator("[data-panel]:visible").count() == 2
    assert tab.locator("noscript").is_visible()
    context.close()


def test_it_prints(browser: Any, page: Path) -> None:
    with opened(browser, page, color_scheme="dark") as tab:
        assert tab.pdf().startswith(b"%PDF-")
