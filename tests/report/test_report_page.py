"""The page as text: the ledgers' numbers, hostile names as names, no way out."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from made_up_study import HOSTILE, HOSTILE_TITLE, metrics, pictures, write_study
from PIL import Image

from entropick.page import sprite_sheet
from entropick.page.words import number, words
from entropick.report import read_table, write_page
from entropick.report.page import final_table


class Reader(HTMLParser):
    """What a browser takes from the page: elements with attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in self.raw:
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.raw:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside[-1]].append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def read(page: Path) -> Reader:
    return Reader(page.read_text(encoding="utf-8"))


def test_it_lies_in_the_study_by_default(study: Path, page: Path) -> None:
    assert page == study / "report.html"
    assert page.stat().st_size < 3_000_000


def test_no_line_ends_between_a_number_and_its_sign(read: Reader, sized_page: Path) -> None:
    for came in (read, Reader(sized_page.read_text(encoding="utf-8"))):
        _title, *texts = [text for text in came.words if text.strip()]
        assert any("\u00a0%" in text for text in texts)
        assert not [text for text in texts if re.search(r"\d %", text)]


def test_the_overview_and_the_table_hold_the_ledgers_numbers(read: Reader) -> None:
    for arm in (0, 1):
        for n in (1, 3):
            for key in ("generalization_score/pixels", "knn_entropy/pixels"):
                values = [metrics(arm, seed, n)[key] or 0.0 for seed in (0, 1)]
                assert number(sum(values) / 2) in read.text
        for key, value in metrics(arm, 0, 3).items():
            if not words(key).is_main:
                continue
            low, high = sorted(metrics(arm, seed, 3)[key] or 0.0 for seed in (0, 1))
            assert value is not None
            assert (number(value) if low == high else f"{number(low, 3)} to {number(high, 3)}") in read.text


def test_the_course_of_an_arm_is_told_once(read: Reader) -> None:
    for arm in (0, 1):
        first, last = (
            number(sum(metrics(arm, seed, n)["generalization_score/pixels"] or 0.0 for seed in (0, 1)) / 2, 3)
            for n in (1, 3)
        )
        assert read.text.count(f"generalization score fell from {first} to {last}") == 1
    assert read.text.count("Arm by arm") == 1 and "At iteration 3: precision" in read.text


def test_an_unfinished_study_says_so(read: Reader) -> None:
    assert "Unfinished." in read.text
    assert "stopped <!--<script> & <b>early, seed 1: not started" in read.text


def test_hostile_names_stay_text(read: Reader, page: Path) -> None:
    assert HOSTILE_TITLE in read.text
    assert "7 * 7" in read.text and "49" not in read.text.split("Overview")[0]
    assert not [attrs for tag, attrs in read.elements if tag == "b" or "onerror" in attrs]
    assert page.read_text().count(HOSTILE) == 0


def test_the_policy_allows_these_scripts_and_nothing_else(read: Reader) -> None:
    policy = next(a["content"] for t, a in read.elements if t == "meta" and a.get("http-equiv")) or ""
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    scripts = [attrs for tag, attrs in read.elements if tag == "script"]
    assert [attrs.get("type") for attrs in scripts] == ["application/json", None, None, None]
    for code in [*read.raw["script"][1:], *read.raw["style"]]:
        assert base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() in policy


def test_nothing_is_loaded_from_anywhere(read: Reader) -> None:
    for tag, attrs in read.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "action", "style"):
            assert (attrs.get(name) or "data:").startswith(("data:image/png;base64,", "data:", "#"))
    assert "url(" not in read.raw["style"][0] and "@import" not in read.raw["style"][0]


def test_the_specs_survive_their_script_element(read: Reader) -> None:
    specs = json.loads(read.raw["script"][0])
    drawn = [attrs["data-spec"] for _, attrs in read.elements if "data-spec" in attrs]
    assert sorted(map(int, drawn)) == list(range(len(specs)))


def test_every_picture_and_drawing_has_words(read: Reader) -> None:
    assert all(attrs.get("alt") for tag, attrs in read.elements if tag == "img")
    assert all(attrs.get("aria-label") for _, attrs in read.elements if attrs.get("role") == "img")
    assert ("html", {"lang": "en"}) in read.elements


def test_settings_that_differ_are_marked(read: Reader) -> None:
    assert "selector.kind ≠" in read.text
    assert "n_iterations ≠" not in read.text


def test_equal_ledgers_give_equal_pages(study: Path, page: Path, tmp_path: Path) -> None:
    assert write_page(study, tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_a_single_run_has_a_page(single_run: Path, tmp_path: Path) -> None:
    read = Reader(write_page(single_run, tmp_path / "r.html").read_text())
    assert "my-run" in read.text and "Unfinished" not in read.text


def test_a_study_without_results_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"name": "new", "seeds": [0], "arms": {"a": {"n_iterations": 1}}}))
    read = Reader(write_page(tmp_path).read_text())
    assert "a, seed 0: not started" in read.text and "Nothing measured yet." in read.text


def test_a_damaged_picture_is_named(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    (copy / "arms/replace/seed-0/iteration-001/examples.npy").write_bytes(b"no")
    assert "iteration-001/examples.npy" in Reader(write_page(copy).read_text()).text


def test_many_missing_pictures_are_folded_each_with_its_arm(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    for path in [*copy.rglob("pairs.npy"), *copy.rglob("examples.npy")]:
        path.unlink()
    html = write_page(copy).read_text()
    # One seed of an arm is shown.
    named = re.findall(r"<li>(study/arms/[^<]*/seed-0/iteration-00\d/(?:pairs|examples)\.npy)</li>", html)
    assert "study/arms/replace/seed-0/iteration-002/pairs.npy" in named
    assert f"<summary>{len(set(named))} files</summary>" in html and len(named) > 6


def test_many_large_images_keep_the_page_small(tmp_path: Path) -> None:
    arms = {f"arm-{index}": {"n_iterations": 5} for index in range(6)}
    write_study(tmp_path, "t", arms, seeds=(0,), shape=(32, 32, 3))
    assert write_page(tmp_path).stat().st_size < 8_000_000


def test_the_page_of_a_grid_of_36_runs_stays_small(tmp_path: Path) -> None:
    arms = {f"{family}+{name}": {"n_iterations": 8} for family in "abc" for name in ("w", "x", "y", "z")}
    write_study(tmp_path, "t", arms, seeds=(0, 1, 2))
    assert write_page(tmp_path).stat().st_size < 12_000_000


def test_sizes_have_tables_and_pictures_of_their_own(sized_page: Path) -> None:
    read = Reader(sized_page.read_text(encoding="utf-8"))
    of_size = [attrs["data-size"] for _, attrs in read.elements if "data-size" in attrs]
    assert set(of_size) == {"64", "96"} and of_size.count("64") == of_size.count("96")
    assert "Last iteration of each arm, 64 real images" in read.text
    assert "12 arms, 2 sizes, 2 seeds, 5 iterations measured." in read.text


def test_what_is_explained_is_there(page: Path, sized_page: Path) -> None:
    judged = "“Better” and “worse” where"
    assert judged not in Reader(page.read_text(encoding="utf-8")).text
    assert judged in Reader(sized_page.read_text(encoding="utf-8")).text


@pytest.mark.parametrize(("guidance", "shown"), [((2.0, 4.0), True), ((2.0, 2.0), False)])
def test_the_table_shows_settings_in_which_arms_that_have_them_differ(tmp_path, guidance, shown) -> None:
    generators = [{"kind": "kde"}, *({"kind": "ddpm", "guidance": value} for value in guidance)]
    arms = {
        f"arm-{number}": {"paradigm": {"kind": "replace"}, "generator": generator, "n_iterations": 1}
        for number, generator in enumerate(generators)
    }
    write_study(tmp_path, "Guided", arms, seeds=(0,))
    assert final_table(read_table(tmp_path)).settings == (["guidance"] if shown else [])


def test_the_overview_says_what_happened_and_what_beats_the_controls(sized_page: Path) -> None:
    text = Reader(sized_page.read_text(encoding="utf-8")).text
    score = [
        sum(metrics(0, seed + 0.096, n)["generalization_score/pixels"] or 0.0 for seed in (0, 1)) / 2 for n in (1, 5)
    ]
    assert f"generalization score fell from {number(score[0], 3)} to {number(score[1], 3)}" in text
    # The third arm falls more slowly than the first, in every seed alike.
    assert "replace: greedy and threshold-decay beside replace+random: worse in GS" in text
    assert (
        "Most real images are kept by replace+random: 52 % of its training set at iteration 5, 52 % of its pool."
        in text
        and "The logarithm of the generalization score goes with entropy r = " in text
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_a_sprite_sheet_holds_the_very_pixels(channels: int) -> None:
    images = pictures(np.random.default_rng(0), 5, (6, 4, channels))
    sheet = sprite_sheet(images, 3, "five")
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet.uri.partition(",")[2]))))
    assert (sheet.width, sheet.height) == (3 * 5 - 1, 2 * 7 - 1) == drawn.shape[1::-1]
    assert (drawn[7:13, 5:9, :-1] == images[4]).all()
    assert (drawn[7:, 10:, -1] == 0).all() and (drawn[:6, :4, -1] == 255).all()


def test_importing_the_report_imports_no_plotting() -> None:
    heavy = {"altair", "vl_convert", "jinja2", "PIL", "torch"}
    code = f"import sys, entropick.report; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
