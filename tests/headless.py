"""Pages in Debian's chromium, and the name of a file that they must not obey."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

HOSTILE = '"><img src=x onerror=alert(1)>&<!--.png'

_CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; skips where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    if not _CHROMIUM:
        pytest.skip("no chromium: apt-get install chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=arguments)
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: Any, page: Path, width: int = 1280, *, until: str, script: str = "", **options: Any
) -> Iterator[Any]:
    """The page, once its root has the attribute `until`; whatever it complained about or asked for fails the test.

    A `script` runs in it before its own.
    """
    context = browser.new_context(viewport={"width": width, "height": 900}, **options)
    tab = context.new_page()
    tab.add_init_script(script)
    told: list[str] = []
    tab.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: told.append(f"error: {error}"))
    tab.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
    tab.on("request", lambda request: None if request.url.startswith("data:") else told.append(request.url))
    tab.goto(page.as_uri())
    tab.wait_for_selector(f"html[{until}]", timeout=30_000)
    yield tab
    assert told == [page.as_uri()]
    context.close()
