"""Studies on the disk for the tests of the report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_study import HOSTILE, HOSTILE_TITLE, write_run, write_study


@pytest.fixture(scope="session", autouse=True)
def no_fsync() -> Iterator[None]:
    """These studies need not survive a power cut; waiting for the disk would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three arms, two seeds, three iterations; one arm stopped early, one metric is missing, names are hostile."""
    folder = tmp_path_factory.mktemp("study")
    arms = {
        "replace": {"paradigm": {"kind": "replace"}, "selector": None, "n_iterations": 3},
        "accumulate-greedy": {"paradigm": {"kind": "accumulate"}, "selector": {"kind": "greedy"}, "n_iterations": 3},
        "stopped <!--<script> & <b>early": {
            "paradigm": {"kind": "accumulate"},
            "selector": {"kind": HOSTILE},
            "n_iterations": 3,
        },
    }
    write_study(folder, HOSTILE_TITLE, arms, seeds=(0, 1), stop={"stopped <!--<script> & <b>early": 1})
    return folder


@pytest.fixture(scope="session")
def single_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One finished run without a study."""
    folder = tmp_path_factory.mktemp("single") / "my-run"
    write_run(folder, {"paradigm": {"kind": "replace"}, "seed": 7, "n_iterations": 2}, arm=0, seed=7, n_iterations=2)
    return folder


@pytest.fixture(scope="session")
def sized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve arms in three families, two sizes, two seeds: drawn in panels, with a picker of sizes."""
    folder = tmp_path_factory.mktemp("sized")
    methods = {"": None, "+random": "random", "+greedy": "greedy", "+threshold-decay": "threshold-decay"}
    arms = {
        f"{family}{name}": {
            "paradigm": {"kind": family},
            "selector": kind and {"kind": kind},
            "n_iterations": 5,
        }
        for family in ("replace", "accumulate", "fresh")
        for name, kind in methods.items()
    }
    write_study(folder, "Sizes", arms, seeds=(0, 1), sizes=(64, 96))
    return folder


@pytest.fixture(scope="session")
def sized_page(sized: Path) -> Path:
    """Its page."""
    from entropick.report import write_page

    return write_page(sized)


@pytest.fixture(scope="session")
def page(study: Path) -> Path:
    """The study's page."""
    from entropick.report import write_page

    return write_page(study)
