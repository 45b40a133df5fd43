"""Points once, whatever fails; ledgers are all that is told."""

from __future__ import annotations

import json
import math
import os
import shutil
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from entropick import Loop, Study
from entropick.datasets import Digits
from entropick.errors import BudgetSpent, ConfigError, InputError
from entropick.generators import KDE
from entropick.run import History
from entropick.selectors import Greedy
from entropick.tracking import REGISTRY, StudyLog, Tracker, TrackerRun, points_of, tracker_of
from entropick.tracking.points import gallery

RUN = "arms/greedy/seed-0"


class Memory(Tracker):
    """Keeps what it is told, and fails where it is asked to."""

    kind = "memory"
    package = "json"
    kept: ClassVar[dict[str, dict[int, object]]] = {}
    opened: ClassVar[list[tuple[str, str, int]]] = []
    fails: tuple[str, ...] = ()
    error: type[Exception] = RuntimeError

    def has(self, name):
        return name in self.kept

    def open(self, name, key, config, last):
        self._fail("open")
        self.opened.append((name, key, last))
        self.config = config
        return _Run(self, self.kept.setdefault(name, {}))

    def where(self):
        return "in memory"

    def _fail(self, what):
        if what in self.fails:
            raise self.error(f"no {what}")


class _Run(TrackerRun):
    def __init__(self, tracker, kept):
        self.tracker, self.kept = tracker, kept

    def log(self, point):
        self.tracker._fail("log")
        assert point.iteration not in self.kept, "a point comes once"
        self.kept[point.iteration] = point

    def finish(self):
        self.tracker._fail("finish")


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    loop = Loop(
        dataset=Digits(n_images=32),
        generator=KDE(bandwidth=4),
        selector=Greedy(n_samples=32),
        metrics=("generalization_score", "duplicate_share"),
        n_iterations=2,
    )
    Study(name="tiny", arms={"greedy": loop}).run(folder)
    return folder


@pytest.fixture
def folder(study_folder, tmp_path):
    Memory.kept, Memory.opened, Memory.fails, Memory.error = {}, [], (), RuntimeError
    return shutil.copytree(study_folder, tmp_path / "study")


def logged(folder, warn=pytest.fail):
    with StudyLog(folder, [Memory("tiny", folder)], warn) as log:
        log.catch_up()
    return log


def test_a_point_is_what_the_ledger_says(study_folder):
    history = History(study_folder / RUN)
    real, first, last = points_of(history)
    assert [real.iteration, first.iteration, last.iteration] == [0, 1, 2]
    assert real.values == history.values(0, "baseline")["metrics"]
    metrics = history.values(2, "measure")["metrics"]
    assert {name: last.values[name] for name in metrics} == metrics
    assert last.values["selection/real_share"] == history.values(2, "select")["shares"]["0"]
    assert last.values["selection/covering_radius"] > 0 and last.values["seconds/train"] >= 0
    assert all(isinstance(value, float) and math.isfinite(value) for value in last.values.values())
    assert set(real.images) == {"images"} and set(last.images) == {"images", "pairs"}
    assert all(image.dtype == np.uint8 and image.ndim == 3 for image in last.images.values())
    assert [point.iteration for point in points_of(history, after=1)] == [2]


def test_a_gallery_has_every_image_once():
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] + np.zeros((5, 60, 60, 3), np.uint8)
    sheet = gallery(images, 3)
    assert sheet.shape == (121, 182, 3) and sheet[:60, 60].min() == 255
    assert [sheet[0, 0, 0], sheet[0, 61, 0], sheet[0, 122, 0], sheet[61, 0, 0], sheet[61, 61, 0]] == [0, 1, 2, 3, 4]
    assert (sheet[61:, 122:] == 255).all()


def test_each_point_comes_once_and_again_only_if_it_was_lost(folder):
    logged(folder)
    assert list(Memory.kept["greedy/seed-0"]) == [0, 1, 2]
    name, key, last = Memory.opened[0]
    assert (name, last) == ("greedy/seed-0", -1) and len(key) == 16
    logged(folder)
    assert len(Memory.opened) == 1, "nothing was new"
    record = json.loads((folder / "trackers.json").read_text())
    assert record == {"memory": {RUN: {"name": name, "key": key, "last": 2}}}
    Memory.kept.clear()
    logged(folder)
    assert list(Memory.kept["greedy/seed-0"]) == [0, 1, 2] and Memory.opened[1] == (name, key, -1)


def test_what_was_killed_goes_on(folder):
    (folder / "trackers.json").write_text(json.dumps({"memory": {RUN: {"name": "mine", "key": "k" * 16, "last": 1}}}))
    Memory.kept["mine"] = {0: None, 1: None}
    logged(folder)
    assert list(Memory.kept["mine"]) == [0, 1, 2] and Memory.opened == [("mine", "k" * 16, 1)]


def test_a_name_that_another_directory_has_is_not_taken_over(folder):
    Memory.kept["greedy/seed-0"] = {0: "of another study"}
    logged(folder)
    ((name, key, _),) = Memory.opened
    assert name == f"greedy/seed-0 {key[:6]}" and list(Memory.kept[name]) == [0, 1, 2]


def test_a_damaged_record_is_begun_anew(folder):
    (folder / "trackers.json").write_text("{")
    logged(folder)
    assert list(Memory.kept["greedy/seed-0"]) == [0, 1, 2]


@pytest.mark.parametrize("what", ["open", "log", "finish"])
def test_a_tracker_that_fails_is_left_out_with_one_warning(folder, what):
    Memory.fails, lines = (what,), []
    with StudyLog(folder, [Memory("tiny", folder)], lines.append) as log:
        log.catch_up()
        log.catch_up(RUN)
    assert len(lines) == 1 and f"RuntimeError: no {what}" in lines[0] and "entropick report" in lines[0]
    assert log.where() == []


def test_while_one_process_logs_a_study_no_other_does(folder):
    """A second one would tell again what the first has told since, and the first what the second has."""
    lines = []
    with StudyLog(folder, [Memory("tiny", folder)], pytest.fail) as first:
        first.catch_up()
        Memory.kept.clear()
        second = logged(folder, lines.append)
        assert Memory.kept == {} and second.where() == []
    assert len(lines) == 1 and "--log memory: going on without it (another process logs this study)" in lines[0]
    assert logged(folder).where() == ["memory: in memory"] and list(Memory.kept["greedy/seed-0"]) == [0, 1, 2]


def test_a_spent_budget_is_no_failure_of_a_tracker(folder):
    Memory.fails, Memory.error = ("log",), BudgetSpent
    with pytest.raises(BudgetSpent):
        logged(folder)


def test_nothing_is_done_before_the_first_call(folder):
    with pytest.raises(InputError), StudyLog(folder, [Memory("tiny", folder)], pytest.fail):
        raise InputError("the directory is another process's")
    assert Memory.opened == [] and not (folder / "trackers.json").exists()


def test_a_single_run_is_logged_by_the_name_of_its_folder(folder):
    logged(folder / RUN)
    assert list(Memory.kept["seed-0"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tensorbord", "no tracker 'tensorbord'.*Did you mean 'tensorboard'"),
        ("tensorboard:", "expected tensorboard or tensorboard:DIR"),
    ],
)
def test_no_tracker(text, message):
    with pytest.raises(ConfigError, match=message):
        tracker_of(text, "tiny", Path("run"))


def test_trackers_are_known_by_name():
    assert set(REGISTRY.built_in) == {"tensorboard", "trackio", "wandb"}
    for name in REGISTRY.built_in:
        assert issubclass(REGISTRY.load(name), Tracker) and REGISTRY.load(name).kind == name


@pytest.mark.parametrize(
    ("variables", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_API_KEY": "k", "WANDB_MODE": "disabled"}, "disabled"),
        ({"WANDB_API_KEY": "k", "WANDB_DISABLED": "true"}, "disabled"),
        ({"NETRC": "netrc"}, "online"),
        ({"NETRC": "netrc", "WANDB_BASE_URL": "https://wandb.example.org"}, "offline"),
    ],
)
def test_wandb_sends_nothing_without_a_key_or_against_its_mode(tmp_path, monkeypatch, variables, mode):
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password k\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    tracker = REGISTRY.load("wandb")("tiny", tmp_path)
    assert tracker._mode == mode and ("sync" in tracker.where()) == (mode != "online")


def test_no_warning_is_left(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logged(folder)
