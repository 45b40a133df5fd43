"""The page of a selection as text and in a real browser: what is shown, hostile names as text, no way out."""

from __future__ import annotations

import csv
import html
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import headless
import numpy as np
import pytest

from entropick.page.words import number
from entropick.selection import Choice, overview
from entropick.selection import page as page_file
from entropick.selectors import Greedy, Random
from entropick.sources import Space, given, open_sources
from entropick.work import Work


def test_it_is_one_file_without_a_way_out(page: Path) -> None:
    text = page.read_text()
    body = text.partition("<body>")[2].partition("<script")[0]
    assert page.stat().st_size < 3_000_000
    policy = html.unescape(re.search(r'Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
    assert policy.startswith("default-src 'none'; img-src data:;") and "unsafe" not in policy
    assert not re.findall(r"<(?:link|iframe|object|embed|base|form)\b|\sstyle=", body)
    assert all(found.startswith(("data:image/", "#")) for found in re.findall(r'\b(?:src|href)="([^"]*)"', body))


def test_hostile_names_stay_text(page: Path, selected: Path) -> None:
    text = page.read_text()
    assert "onerror=alert(1)&gt;" in text and "<img src=x" not in text and "<!--.png" not in text
    assert "<i>real" not in text and "class <b>" not in text and "&lt;i&gt;real" in text
    assert len(json.loads((selected / "selection.json").read_text())["skipped"]) == 1


def section(page: Path, name: str) -> str:
    return page.read_text().partition(f'<section id="{name}"')[2].partition("</section>")[0]


def test_all_is_shown_by_rank(page: Path, selected: Path) -> None:
    chosen, aside, left_out = section(page, "pictures").split("data-strip")[1:]
    with open(selected / "manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["given"] == "False"]
    titles = re.findall(r'data-title="([^"]*)"', chosen)
    assert titles == ["20 to 67", "68 to 89"] and chosen.count("<li>") == 70 == len(rows)
    assert [html.unescape(path) for path in re.findall(r'<figcaption title="([^"]*)"', chosen)] == [
        row["path"] for row in rows
    ]
    assert aside.count("<li>") == 10 and "set aside, made, row 140" in aside
    distances = [float(of) for of in re.findall(r"<b>([\d.]+)</b>", left_out)]
    assert distances == sorted(distances, reverse=True) and len(distances) > 100


def test_duplicates_are_told_with_their_rule(page: Path, selected: Path) -> None:
    told = html.unescape(section(page, "duplicates"))
    assert "40 rows in 20 groups, of which the first 12 are shown." in told
    share = json.loads((selected / "selection.json").read_text())["duplicates"]["share"]
    assert f"nearer to each other than {number(share, 2)} of the distance to their 16th neighbour" in told
    with open(selected / "duplicates.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["keep"] for row in rows] == ["True", "False"] * 20
    assert {row["kind"] for row in rows} == {"kept", "exact", "near"}
    pairs = {frozenset((a["row"], b["row"])) for a, b in zip(rows[::2], rows[1::2], strict=True)}
    with open(selected / "order.csv", newline="") as file:
        order = [Path(row["file_name"]).name[:3] for row in csv.DictReader(file)]
    assert pairs == {frozenset((str(order.index(f"{n:03d}")), str(120 + n))) for n in range(20)}
    with open(selected / "manifest.csv", newline="") as file:
        chosen = {(row["source"], row["row"]) for row in csv.DictReader(file)}
    in_choice = [[(row["source"], row["row"]) in chosen for row in rows[i : i + 2]] for i in range(0, 40, 2)]
    # Where one of a group was chosen, it is the one to keep.
    assert all(kept or not other for kept, other in in_choice)


def test_the_headline_and_the_sources(page: Path) -> None:
    text = page.read_text()
    headline = html.unescape(re.search(r"<h1>(.*?)</h1>", text)[1])  # type: ignore[index]
    assert re.fullmatch(r"70 of 340 rows after 20 that were given: the worst .* \d\d\.\d\s% nearer than .*", headline)
    figures = section(page, "figures")
    assert "all 70 chosen, all 270 left out" in figures.replace("all 20 given, ", "").replace("all 10 set aside, ", "")
    row = re.search(r'<th scope="row">made</th>(.*?)</tr>', figures)[1]  # type: ignore[index]
    assert re.findall(r"<td>(.*?)</td>", row)[:4] == ["150", "0", "0", "10"]


def test_the_map_and_the_curve_are_of_the_rows_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(0).standard_normal((90, 3)).astype(np.float32) * np.float32([9, 3, 0.1])
    np.save(tmp_path / "a.npy", X)
    monkeypatch.setitem(overview._N_POINTS, "left out", 20)
    monkeypatch.setattr(overview, "_N_LEFT_OUT", 30)
    candidates = given(open_sources([f"a={tmp_path / 'a.npy'}"]), None, [{}])
    rule, control = Greedy(n_samples=25, random_state=0).fit(X), Random(n_samples=25, random_state=1).fit(X)
    none = np.empty(0, np.int64)
    fates = {"given": none, "set aside": none, "chosen": rule.indices_}
    found = overview.overview(candidates, fates, rule, control, 0, Work())
    assert json.loads(json.dumps(found, allow_nan=False)) is not None
    assert found["map"]["counts"] == {"left out": [20, 65], "set aside": [0, 0], "given": [0, 0], "chosen": [25, 25]}
    assert sum(found["map"]["explained"]) > 0.99
    at = np.array([point[1:3] for point in found["map"]["points"]])
    rows = np.array([point[4] for point in found["map"]["points"]])
    # Two axes have nearly all of it: distances on the map are those of the rows.
    gaps = np.linalg.norm(at[:, None] - at, axis=2) - np.linalg.norm(X[rows][:, None] - X[rows], axis=2)
    assert np.abs(gaps).max() < 0.6
    assert found["distances"]["rank"] == list(range(1, 25))
    assert found["distances"]["selection"] == rule.distances_[1:].tolist()
    assert found["distances"]["random"] == control.distances_[1:].tolist()
    between = np.linalg.norm(X[rule.indices_][:, None].astype(float) - X[rule.indices_], axis=2)
    nearest = between[np.triu_indices(25, 1)].min()
    first = found["pairs"][0]
    assert first["distance"] == pytest.approx(nearest) and len(found["pairs"]) == 12
    (_, a), (_, b) = first["rows"]
    assert np.linalg.norm(X[a].astype(float) - X[b]) == pytest.approx(nearest)
    left_out = found["left_out"]
    assert left_out["n"] == 65 and len(left_out["rows"]) == 30
    of_all = np.linalg.norm(X[:, None].astype(float) - X[rule.indices_], axis=2).min(axis=1)
    assert left_out["distances"] == pytest.approx([of_all[row] for _, row in left_out["rows"]])


@pytest.mark.parametrize("X", [np.ones((1, 4)), np.arange(9.0)[:, None], np.ones((5, 3)), np.eye(3)])
@pytest.mark.filterwarnings("ignore::entropick.errors.DuplicateWarning")
def test_embeddings_have_a_page_without_pictures(tmp_path: Path, X: Any) -> None:
    np.save(tmp_path / "a.npy", X.astype(np.float32))
    sources = open_sources([f"a={tmp_path / 'a.npy'}"])
    for n in {1, min(2, len(X)), len(X)}:
        out = tmp_path / f"out-{n}"
        Choice(sources=sources, selector=Greedy(n_samples=n, random_state=0)).run(out)
        text = (out / "selection.html").read_text()
        assert "embeddings, so there are no pictures" in text and 'src="data:' not in text


def test_its_size_does_not_grow_with_the_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from entropick.features import Pixels

    images = np.random.default_rng(0).integers(0, 256, (4000, 12, 12)).astype(np.uint8)
    sizes = []
    for n in (1000, 4000):
        np.save(tmp_path / "a.npy", images[:n])
        choice = Choice(
            sources=open_sources([f"a={tmp_path / 'a.npy'}"]),
            selector=Random(n_samples=n // 2),
            space=Space("features", encoder=Pixels()),
        )
        choice.run(tmp_path / f"out-{n}")
        sizes.append((tmp_path / f"out-{n}" / "selection.html").stat().st_size)
    shown = (tmp_path / "out-4000" / "selection.html").read_text()
    assert sizes[1] < 1.25 * sizes[0] and shown.count("<img") < 12 * 48 + 12 * 2
    titles = re.findall(r'data-title="([^"]*)"', shown)
    assert titles[:6] == ["0 to 47", "390 to 437", "781 to 828", "1,171 to 1,218", "1,562 to 1,609", "1,952 to 1,999"]
    assert "1,500 of 2,000 left out" in shown and len(page_file.COLORS) == 4


opened = partial(headless.opened, until="data-drawn")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_draws_without_a_word_of_complaint(browser: Any, page: Path, scheme: str) -> None:
    with opened(browser, page, color_scheme=scheme) as tab:
        tab.locator("#figures").scroll_into_view_if_needed()
        tab.wait_for_selector("html[data-complete]")
        assert tab.locator(".drawing svg").count() == 3
        assert tab.locator(".drawing svg .mark-symbol path").count() > 300
        assert tab.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")


def test_the_slider_goes_through_the_ranks(browser: Any, page: Path) -> None:
    with opened(browser, page) as tab:
        strip = tab.locator("[data-strip]").first
        shown = strip.locator("[data-frame]:visible")
        assert [shown.count(), shown.get_attribute("data-title")] == [1, "20 to 67"]
        strip.locator("input[type=range]").focus()
        tab.keyboard.press("ArrowRight")
        assert [shown.count(), shown.get_attribute("data-title")] == [1, "68 to 89"]
        assert strip.locator("output").inner_text() == "68 to 89"


@pytest.mark.parametrize("width", [320, 390, 768, 1300])
def test_it_fits_screens_of_any_width(browser: Any, page: Path, width: int) -> None:
    with opened(browser, page, width=width) as tab:
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints_and_works_without_scripts(browser: Any, page: Path) -> None:
    with opened(browser, page, color_scheme="dark") as tab:
        assert tab.pdf().startswith(b"%PDF-")
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(page.as_uri())
    assert tab.locator("noscript").is_visible() and tab.locator("[data-frame]:visible").count() > 4
    assert not tab.locator("input[type=range]").first.is_visible()
    context.close()
