"""docs/extending.md: every part on it is installed as a package of others, and used by the command beside it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fresh_python import SRC
from sklearn.datasets import load_digits

PAGE = (SRC.parent / "docs" / "extending.md").read_text(encoding="utf-8")
GROUPS = ("selectors", "guards", "metrics", "features", "generators", "paradigms", "datasets", "figures")


class Part(NamedTuple):
    group: str
    name: str
    target: str
    code: str
    commands: list[list[str]]


def parts():
    for section in PAGE.split("\n## ")[1:]:
        python, toml, shell = (
            re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)[1] for language in ("python", "toml", "sh")
        )
        ((group, names),) = tomllib.loads(toml)["project"]["entry-points"].items()
        ((name, target),) = names.items()
        commands = [shlex.split(line)[1:] for line in shell.splitlines()]
        yield Part(group.removeprefix("entropick."), name, target, python, commands)


PARTS = {part.group: part for part in parts()}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of installed packages, one for each part."""
    site = tmp_path_factory.mktemp("site-packages")
    for part in PARTS.values():
        module = part.target.partition(":")[0]
        (site / f"{module}.py").write_text(part.code)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[entropick.{part.group}]\n{part.name} = {part.target}\n")
    return site


@pytest.fixture
def place(tmp_path, monkeypatch, site):
    """The reader's folder with the two files of images, where the packages can be imported."""
    monkeypatch.chdir(tmp_path)
    digits = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
    np.save("real.npy", digits[:60])
    np.save("made.npy", digits[60:100])
    before = set(sys.modules)
    monkeypatch.syspath_prepend(site)
    yield tmp_path
    for module in set(sys.modules) - before:
        if (site / f"{module}.py").is_file():
            del sys.modules[module]


def read(path):
    return json.loads(Path(path).read_text())


def of_loop(key, out):
    return lambda: read(f"{out}/arms/kde-random/seed-0/config.json")[key]


# Group -> what came of the command: a table that says the name.
USED = {
    "selectors": lambda: read("chosen/selection.json")["config"]["selector"],
    "guards": of_loop("guard", "dark"),
    "features": lambda: read("by-grey/selection.json")["config"]["features"],
    "generators": of_loop("generator", "blended"),
    "paradigms": of_loop("paradigm", "few"),
    "datasets": of_loop("dataset", "discs"),
}


def test_the_page_has_all_that_can_be_added():
    assert tuple(PARTS) == GROUPS


@pytest.mark.parametrize("group", GROUPS)
def test_a_part_is_short(group):
    assert len(PARTS[group].code.splitlines()) <= 35


@pytest.mark.parametrize("group", GROUPS)
def test_a_part_is_installed_and_used(cli, place, group):
    part = PARTS[group]
    for command in part.commands:
        ended = cli(*command)
        assert ended.code == 0 and not ended.err, ended.err
    if group == "metrics":
        assert read("check/score.json")["values"][f"{part.name}/pixels"] > 0
        assert "Shift of the mean" in Path("check/score.html").read_text()
    elif group == "figures":
        assert "Size of the pool" in Path("drawn/report.html").read_text()
        assert Path(f"figures/{part.name}.svg").is_file()
    else:
        assert USED[group]()["kind"] == part.name


def test_a_guard_of_others_guards(cli, place):
    assert cli(*PARTS["guards"].commands[0]).code == 0
    ledger = Path("dark/arms/kde-random/seed-0/ledger.jsonl").read_text()
    told = re.findall(r'"guard_set_aside": ?([0-9]+)', ledger)
    assert len(told) == 2 and min(map(int, told)) > 0


def test_parameters_of_a_part_are_set_and_checked(cli, place):
    command = PARTS["features"].commands[0]
    assert cli(*command).code == 0 and read("by-grey/selection.json")["config"]["features"]["bins"] == 32
    ended = cli(*command, "--set", "features.bin=3")
    assert ended.code == 2 and "--set features: there is no 'bin'; known are bins. Did you mean 'bins'?" in ended.err


def test_in_a_process_of_its_own(place, site):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(SRC), str(site))), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "entropick", *PARTS["selectors"].commands[0]]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0 and not done.stderr
    sources = [line.split(",")[1] for line in Path("chosen/manifest.csv").read_text().splitlines()[1:]]
    assert sources == ["made"] * 20, "the latest source comes first"
