"""Packages of others that raise, leave, hang or lie: one line that names them, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fresh_python import SRC
from tiny import ONE_ARM, TWO_ARMS

from entropick.cli import main

PARTS = """
import time
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from entropick.features import Features
from entropick.generators import KDE
from entropick.selectors.base import Selection, Selector

NOT_A_CLASS = 7

def not_a_component():
    return None

@dataclass(kw_only=True)
class Broken(KDE):
    kind: ClassVar[str] = "broken"
    def fit(self, images, labels=None, *, stream=None, work=None):
        raise RuntimeError("no\\n\\x1b[31mluck")

@dataclass(kw_only=True)
class Leaving(KDE):
    kind: ClassVar[str] = "leaving"
    def fit(self, images, labels=None, *, stream=None, work=None):
        raise SystemExit(0)

@dataclass(kw_only=True)
class Unchecked(KDE):
    kind: ClassVar[str] = "unchecked"
    def check(self):
        raise KeyError("nowhere")

@dataclass(kw_only=True)
class Lying(Selector):
    kind: ClassVar[str] = "lying"
    def _select(self, X, sources, initial, work):
        return Selection(np.zeros(self.n_samples, int), np.ones(self.n_samples), {})

@dataclass(kw_only=True)
class Hanging(KDE):
    kind: ClassVar[str] = "hanging"
    def fit(self, images, labels=None, *, stream=None, work=None):
        print("it hangs", flush=True)
        while True:
            try:
                time.sleep(0.05)
            except BaseException:
                pass
"""
MODULES = {
    "parts": PARTS,
    "raises": "raise ValueError('not today')",
    "leaves": "import sys; sys.exit(0)",
    "interrupts": "raise NotImplementedError",
    "half": "import no_such_module_anywhere",
    "wrong": "this is no Python",
    "endless": "def f(): f()\nf()",
    "hangs": "import time\nprint('it hangs', flush=True)\nwhile True: time.sleep(0.05)",
}
POINTS = {
    "generators": {
        **{name: f"entropick_test_{name}:Anything" for name in MODULES if name != "parts"},
        "absent": "entropick_test_nothing:Anything",
        "unnamed": "entropick_test_parts:Nothing",
        "number": "entropick_test_parts:NOT_A_CLASS",
        "function": "entropick_test_parts:not_a_component",
        **{name.lower(): f"entropick_test_parts:{name}" for name in ("Broken", "Leaving", "Unchecked", "Hanging")},
    },
    "selectors": {"lying": "entropick_test_parts:Lying"},
    "metrics": {"odd": "entropick_test_parts:NOT_A_CLASS"},
    "figures": {"odd": "entropick_test_raises:Anything"},
}


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of packages, and a study beside it."""
    site = tmp_path / "site"
    info = site / "entropick_test-1.0.dist-info"
    info.mkdir(parents=True)
    for name, code in MODULES.items():
        (site / f"entropick_test_{name}.py").write_text(code)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: entropick-test\nVersion: 1.0\n")
    groups = {f"[entropick.{group}]": [f"{k} = {v}" for k, v in points.items()] for group, points in POINTS.items()}
    (info / "entry_points.txt").write_text("\n".join(line for head, of in groups.items() for line in (head, *of)))
    (tmp_path / "tiny.toml").write_text(ONE_ARM)
    monkeypatch.chdir(tmp_path)
    return site


@pytest.fixture
def installed(site, monkeypatch):
    monkeypatch.syspath_prepend(site)
    yield site
    for name in MODULES:
        sys.modules.pop(f"entropick_test_{name}", None)


AT_IMPORT = {
    "raises": "cannot be imported (ValueError('not today'))",
    "leaves": "cannot be imported (SystemExit(0))",
    "interrupts": "cannot be imported (NotImplementedError())",
    "half": "cannot be imported (No module named 'no_such_module_anywhere')",
    "wrong": "cannot be imported (SyntaxError",
    "endless": "cannot be imported (RecursionError",
    "absent": "cannot be imported (No module named 'entropick_test_nothing')",
    "unnamed": "cannot be imported (module 'entropick_test_parts' has no attribute 'Nothing')",
    "number": "expected a class of component there, got 7",
    "function": "expected a class of component there, got <function",
}


@pytest.mark.parametrize("name", AT_IMPORT)
def test_what_it_does_at_import_is_told_in_one_line(installed, capsys, name):
    assert main(["run", "tiny.toml", "--out", "out", "--set", f"loop.generator={name}"]) == 2
    said = capsys.readouterr().err
    assert AT_IMPORT[name] in said and f"kind {name!r} stands for" in " ".join(said.split())
    assert said.count("\n") == 1 and not Path("out").exists()


def test_of_broken_packages_that_nobody_asked_for_only_a_figure_is_missed(installed, capsys):
    """All figures are drawn: a broken one is told, and all that was computed is kept."""
    assert main(["run", "tiny.toml", "--out", "out", "--workers", "1"]) == 2
    said = capsys.readouterr().err
    assert "'odd' stands for entropick_test_raises:Anything, which cannot be imported" in said and said.count("\n") == 1
    assert main(["status", "out"]) == main(["verify", "out"]) == 0
    (installed / "entropick_test-1.0.dist-info" / "entry_points.txt").write_text("")
    assert main(["run", "tiny.toml", "--out", "out", "--workers", "1"]) == 0
    assert "nothing was computed" in capsys.readouterr().out and Path("out/report.html").exists()


AT_WORK = {
    "broken": (70, "something unexpected, RuntimeError: no \\x1b[31mluck. The traceback is in"),
    "leaving": (70, "something unexpected, RuntimeError: code of another package has called sys.exit(0)"),
    "unchecked": (70, "something unexpected, KeyError"),
}


@pytest.mark.parametrize("name", AT_WORK)
def test_what_it_raises_at_work_is_told_in_one_line_and_the_run_can_go_on_with_another(installed, capsys, name):
    code, expected = AT_WORK[name]
    assert main(["run", "tiny.toml", "--out", "out", "--workers", "1", "--set", f"loop.generator={name}"]) == code
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1
    assert main(["run", "tiny.toml", "--out", "out", "--workers", "1"]) in (0, 2)


BESIDE = TWO_ARMS + '[arms.bad]\ngenerator = "broken"\n'


def test_where_one_arm_fails_the_page_of_the_others_is_written_and_named(installed, capsys):
    points = installed / "entropick_test-1.0.dist-info" / "entry_points.txt"
    points.write_text(points.read_text().partition("[entropick.figures]")[0])
    Path("three.toml").write_text(BESIDE)
    assert main(["run", "three.toml", "--out", "out", "--workers", "1", "--json"]) == 2
    out, err = capsys.readouterr()
    page = Path("out/report.html")
    assert "1 of 3 arm runs failed; the others are done" in err and f"What is done is on the page: {page}" in err
    told = json.loads(out)
    assert (told["study"], told["out"], told["page"], told["exit_code"]) == ("tiny", "out", str(page), 2)
    assert "arms/bad/seed-0: RuntimeError" in told["error"] and "two" in page.read_text()


def test_a_page_that_cannot_be_drawn_does_not_hide_what_failed(installed, capsys):
    Path("three.toml").write_text(BESIDE)
    assert main(["run", "three.toml", "--out", "out", "--workers", "1"]) == 2
    said = capsys.readouterr().err
    assert "1 of 3 arm runs failed" in said and "page" not in said


def test_rows_that_a_selector_makes_up_are_refused(installed, capsys):
    lying = "loop.selector={kind='lying',n_samples=8}"
    assert main(["run", "tiny.toml", "--out", "out", "--workers", "1", "--set", lying]) == 2
    assert "selector 'lying': expected 8 different rows of 24" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "n_interrupts"), [("hangs", 1), ("hanging", 2)])
def test_ctrl_c_ends_one_that_hangs(site, name, n_interrupts):
    """At import the first one; a second one where whatever is raised is caught."""
    flags = ["--out", "out", "--workers", "1", "--set", f"loop.generator={name}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "entropick", "run", "tiny.toml", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{SRC}{os.pathsep}{site}", "OMP_NUM_THREADS": "1"},
    )
    try:
        while "it hangs" not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        for _ in range(n_interrupts):
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    finally:
        process.kill()
    assert process.returncode == 130 and "Traceback" not in said
    assert name == "hanging" or said.count("\n") == 1
