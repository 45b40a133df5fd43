"""How long a report's page takes to draw what is in sight, in a real browser.

    python benchmarks/page.py runs/digits-grid/report.html

Wants Debian's ``chromium`` and ``pip install playwright``. Prints the size of the file and, of each opening, the
seconds until all that is in sight is drawn and until everything is.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def main() -> None:
    """Open the page a few times and print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    chromium = shutil.which("chromium") or parser.error("expected chromium on the path: apt-get install chromium")
    print(f"{given.page}: {given.page.stat().st_size / 1e6:.1f} MB")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        for _ in range(given.repeats):
            in_sight, complete = opening(browser, given.page)
            print(f"in sight after {in_sight:.2f} s, complete after {complete:.2f} s")
        browser.close()


def opening(browser: Any, page: Path) -> tuple[float, float]:
    """Seconds until what is in sight is drawn, and until everything is; each opening in a fresh profile."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    started = time.monotonic()
    tab.goto(page.resolve().as_uri())
    seconds = []
    for state in ("data-drawn", "data-complete"):
        tab.wait_for_selector(f"html[{state}]", timeout=60_000)
        seconds.append(time.monotonic() - started)
    context.close()
    return seconds[0], seconds[1]


if __name__ == "__main__":
    main()
