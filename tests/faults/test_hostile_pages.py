"""All three pages with hostile text wherever a user can put some, in chromium: no dialog, no request, no complaint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headless import chromium, opened
from PIL import Image
from tiny import TWO_ARMS

from entropick.cli import main
from entropick.run import LEDGER, Entry, Ledger
from entropick.run.seal import Seal

# What leaves a text, an attribute, a script, JSON, a template, a style or a terminal, if anything lets it.
HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`><svg onload=alert(3)> {{ 7 * 7 }} {% raw %} "
    "${alert(4)} javascript:alert(5) <!-- --> ]]> &lt;b&gt; \x1b[31m \u202e \u2028 \ud83d\ude00".encode(
        "utf-16", "surrogatepass"
    ).decode("utf-16")
    + "<style>*{display:none}</style><base href=http://127.0.0.1:1/><link rel=stylesheet href=//127.0.0.1:1/>"
)
# The same as a name of a file: without slashes, and of 255 bytes at most.
NAME = "<img src=x onerror=alert(1)>\"'`{{7*7}}${alert(2)}<svg onload=alert(3)>&amp;<!--\x1b[31m\u202e"
# As a name on the command line, where = ends a name and all is printable.
SOURCE = "".join(letter for letter in NAME.replace("=", ":") if letter.isprintable())


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


def hostile(value: Any) -> Any:
    """The same with hostile text behind every text in it, names of settings left as they are."""
    if isinstance(value, dict):
        return {key: hostile(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hostile(inner) for inner in value]
    return f"{value}{HOSTILE}" if isinstance(value, str) else value


def rewrite_run(folder: Path) -> None:
    """Put hostile text into every text of a run, and seal it anew as if it had been written so."""
    entries = list(Ledger(folder))
    (folder / LEDGER).unlink()
    for name in Seal(folder).copies:
        (folder / name).write_text(json.dumps(hostile(json.loads((folder / name).read_text()))))
    (folder / ".seal.json").unlink()
    ledger = Ledger(folder)
    for entry in entries:
        values, timing = hostile(dict(entry.values)), hostile(dict(entry.timing))
        ledger.append(Entry(entry.iteration, entry.stage, entry.key, entry.files, values, timing))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, in which all texts of all records are hostile, and one arm's name too."""
    place = tmp_path_factory.mktemp("hostile")
    (place / "tiny.toml").write_text(TWO_ARMS.replace('"tiny"', '"tiny"\ntitle = "Title"'))
    out = place / "out"
    assert main(["run", str(place / "tiny.toml"), "--out", str(out), "--workers", "1", "--quiet"]) == 0
    for run in ("one", "two"):
        rewrite_run(out / "arms" / run / "seed-0")
    described = json.loads((out / "study.json").read_text())
    described = {**hostile({key: of for key, of in described.items() if key != "arms"}), "arms": described["arms"]}
    described["arms"] = {NAME if name == "two" else name: hostile(of) for name, of in described["arms"].items()}
    (out / "arms" / "two").rename(out / "arms" / NAME)
    (out / "study.json").write_text(json.dumps(described))
    (out / ".seal.json").unlink()
    return out


def assert_harmless(browser: Any, page: Path, until: str, n_least: int) -> None:
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text and "<svg onload" not in text and "<script>alert" not in text
    assert text.count("alert(2)") >= n_least
    for scheme in ("light", "dark"):
        with opened(browser, page, until=until, color_scheme=scheme) as tab:
            assert tab.locator("img[src=x]").count() == 0 and tab.locator("base, link").count() == 0
            assert tab.locator("h1").is_visible()
            for summary in tab.locator("summary:visible").all():
                summary.click()
            for button in tab.locator("button:visible, label:visible input").all()[:20]:
                button.click(force=True)
            tab.wait_for_timeout(200)


def test_the_page_of_a_study(browser: Any, study: Path) -> None:
    assert main(["report", str(study), "--quiet"]) == 0
    assert_harmless(browser, study / "report.html", "data-complete", 5)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders whose sources, classes and files have hostile names, some of them broken."""
    place = tmp_path_factory.mktemp("hostile-sources")
    rng = np.random.default_rng(0)
    for source in ("real", "made"):
        for kind in (NAME, "plain"):
            folder = place / f"{source}{NAME}" / f"{kind}"
            folder.mkdir(parents=True)
            for number in range(12):
                Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{number}{NAME}.png")
            (folder / f"broken{NAME}.png").write_text(HOSTILE)
            # Copies, so that pairs and groups of duplicates are shown.
            shutil.copy(folder / f"0{NAME}.png", folder / f"again{NAME}.png")
    return place


def test_the_page_of_a_selection(browser: Any, sources: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{NAME}"
    given = [f"{name}{SOURCE}={sources / f'{name}{NAME}'}" for name in ("real", "made")]
    flags = ["--n", "20", "--skip-bad", "--quiet", "--copy", "--guard", f"real{SOURCE}"]
    assert main(["select", *given, *flags, "--out", str(out)]) == 0
    assert_harmless(browser, out / "selection.html", "data-drawn", 20)


def test_the_page_of_a_score(browser: Any, sources: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{NAME}"
    sets = ["--training", str(sources / f"real{NAME}"), "--generated", str(sources / f"made{NAME}")]
    assert main(["score", *sets, "--skip-bad", "--quiet", "--out", str(out)]) == 0
    assert_harmless(browser, out / "score.html", "data-drawn", 10)
