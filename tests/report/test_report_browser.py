"""The page in a real browser: it draws, it asks nobody, it can be used."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import headless
import pytest
from made_up_study import HOSTILE_TITLE

# What is shown at first: 15 figures of one panel each, but for those of variance and of duplicates.
N_DRAWINGS = 15 - 2


opened = partial(headless.opened, until="data-complete")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_legibly_without_a_word_of_complaint(browser: Any, page: Path, scheme: str) -> None:
    with opened(browser, page, color_scheme=scheme) as tab:
        assert tab.locator(".drawing svg").count() == N_DRAWINGS
        assert tab.locator(".drawing svg path[aria-roledescription=point], .drawing svg .mark-symbol path").count() > 20
        assert tab.title().endswith(f" · {HOSTILE_TITLE}")
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
        tab.locator(".arms input").first.focus()
        tab.keyboard.press("ArrowDown")
        assert [panels.nth(i).is_visible() for i in range(2)] == [False, True]
        shown = tab.locator("[data-panel]:visible img:visible")
        # Two halves, two sheets of pairs, a map; the evolution, the map of the real data.
        assert shown.count() == 5 + 2
        assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_the_slider_goes_through_the_iterations(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        shown = tab.locator("[data-panel]:visible [data-frame]:visible")
        assert [shown.count(), shown.get_attribute("data-frame")] == [1, "3"]
        tab.locator("#iteration").focus()
        seen = []
        for _ in range(3):
            tab.keyboard.press("ArrowLeft")
            seen.append((shown.get_attribute("data-frame"), tab.locator("#iteration-shown").inner_text()))
        assert seen == [("2", "2"), ("1", "1"), ("0", "0, the real data")]
        assert shown.locator(".pairs").count() == 0 and shown.locator(".examples img").count() == 2


def test_the_measures_picker_shows_and_hides_figures(browser: Any, page: Path) -> None:
    variance = "[data-measure=total_variance]"
    with opened(browser, page) as tab:
        assert not tab.locator(variance).is_visible()
        tab.locator(".measures input[value=total_variance]").focus()
        tab.keyboard.press("Space")
        tab.wait_for_selector(f"{variance} .drawing svg")
        tab.locator(".measures input[value=recall]").uncheck()
        assert not tab.locator("[data-measure=recall]").is_visible()


def test_the_size_picker_switches_everything(browser: Any, sized_page: Path) -> None:
    with opened(browser, sized_page) as tab:
        for size, other in (("96", "64"), ("64", "96")):
            tab.locator(f".sizes input[value='{size}']").check()
            assert tab.locator(f"[data-size='{other}']:visible").count() == 0
            assert tab.locator(f"[data-panel]:visible[data-size='{size}']").count() == 1
            tab.wait_for_selector(f".chart[data-size='{size}'] .drawing svg")


# How many drawings the page has when it first says that all in sight is drawn, and where the others wait.
AT_FIRST = """new MutationObserver((changes, observer) => {
    if (!document.documentElement.dataset.drawn) return;
    observer.disconnect();
    const places = [...document.querySelectorAll("[data-spec]")].filter((place) => place.offsetParent !== null);
    const waiting = places.filter((place) => !place.querySelector("svg"));
    window.atFirst = [places.length, waiting.map((place) => place.getBoundingClientRect().top)];
}).observe(document, { attributes: true, subtree: true });"""


def test_what_is_in_sight_is_drawn_first(browser: Any, sized_page: Path) -> None:
    """How long that takes is measured by ``benchmarks/page.py``."""
    with opened(browser, sized_page, script=AT_FIRST) as tab:
        n_places, waiting = tab.evaluate("window.atFirst")
        assert min(waiting) > 900 and len(waiting) > n_places / 2


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
        point = tab.locator("[data-measure] .drawing svg .mark-symbol path").first
        point.scroll_into_view_if_needed()
        point.hover()
        tab.wait_for_selector("#vg-tooltip-element.visible")
        assert "lowest seed" in tab.locator("#vg-tooltip-element").inner_text()


@pytest.mark.parametrize("width", [320, 375, 768])
def test_it_fits_narrow_screens(browser: Any, page: Path, width: int) -> None:
    with opened(browser, page, width=width) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("#iteration").bounding_box()["width"] > 200


def test_tables_wider_than_the_screen_say_that_they_scroll(browser: Any, page: Path) -> None:
    said = "getComputedStyle(document.querySelector('.scroll:has(table.final)'), '::before').content"
    for width, words in ((320, '"scrolls sideways'), (1800, "none")):
        with opened(browser, page, width=width) as tab:
            assert tab.evaluate(said).startswith(words)


def test_pictures_stand_on_the_first_screen(browser: Any, page: Path) -> None:
    with opened(browser, page, width=1300) as tab:
        first = tab.locator("main img").first
        assert first.is_visible() and first.bounding_box()["y"] + first.bounding_box()["height"] < 900
        assert tab.locator(".cells img").count() == 2 * (1 + 3)


def test_without_scripts_everything_but_the_drawings_is_there(browser: Any, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.locator("[data-panel]:visible").count() == 2
    assert tab.locator("[data-frame]:visible").count() == 2 * 4 and not tab.locator("#iteration").is_visible()
    assert tab.locator("noscript").is_visible()
    context.close()


def test_it_prints(browser: Any, page: Path) -> None:
    with opened(browser, page, color_scheme="dark") as tab:
        assert tab.pdf().startswith(b"%PDF-")
