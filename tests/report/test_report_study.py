"""Reading: ledgers in, records out; what is missing or damaged is said, never guessed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up_study import metrics, write_study

from entropick.errors import RunDamaged, RunError
from entropick.report import read_study, read_table
from entropick.report.table import tabulate


def test_arms_and_seeds_stand_in_the_order_of_the_study(study: Path) -> None:
    record = read_study(study)
    assert [arm.name for arm in record.arms] == ["replace", "accumulate-greedy", "stopped <!--<script> & <b>early"]
    assert [[run.seed for run in arm.runs] for arm in record.arms] == [[0, 1], [0, 1], [0]]
    assert record.seeds == (0, 1)


def test_the_random_control_is_known_by_its_name_in_the_paper_too(tmp_path: Path) -> None:
    def told(*names: str, selector: str = "random", paradigm: str = "accumulate") -> tuple[str, str]:
        arms = {name: {"paradigm": {"kind": paradigm}, "selector": {"kind": selector}} for name in names}
        (tmp_path / "study.json").write_text(json.dumps({"arms": arms, "seeds": [0]}))
        arm = read_study(tmp_path).arms[0]
        return arm.family, arm.method

    assert told("accumulate-subsample", "accumulate+greedy") == ("accumulate", "random")
    assert told("accumulate+greedy", "accumulate-subsample") == ("accumulate", "greedy")
    # Neither another selector, another paradigm nor another name makes one; nor where it heads a family of its own.
    assert told("accumulate-subsample", selector="greedy") == ("accumulate-subsample", "vanilla")
    assert told("accumulate-subsample", paradigm="replace") == ("accumulate-subsample", "vanilla")
    assert told("mine") == ("mine", "vanilla")
    assert told("accumulate-subsample", "accumulate-subsample+greedy") == ("accumulate-subsample", "vanilla")


def test_metrics_are_the_ledgers_numbers(study: Path) -> None:
    table = read_table(study)
    for index, arm in enumerate(table.study.arms[:2]):
        for run in arm.runs:
            assert run.measured == (1, 2, 3) and run.is_finished
            for n in run.measured:
                assert table.of_run(arm, run, n) == metrics(index, run.seed or 0, n)


def test_a_stopped_run_has_what_it_has(study: Path) -> None:
    table = read_table(study)
    arm = table.study.arms[2]
    assert (arm.iterations, arm.last, arm.runs[0].is_finished) == ((), None, False)
    assert table.of_run(arm, arm.runs[0], 1, "shares") == {"0": 1.0}
    assert table.of_run(arm, arm.runs[0], 1) == {} and arm.runs[0].intact(1, "measure", "pairs.npy") is None


def test_one_run_is_a_study_of_one_arm(single_run: Path) -> None:
    record = read_study(single_run)
    assert [arm.name for arm in record.arms] == ["my-run"]
    assert [run.seed for run in record.arms[0].runs] == [7]


def test_infinite_numbers_count_as_missing(tmp_path: Path) -> None:
    write_study(tmp_path, "t", {"a": {"n_iterations": 1}}, seeds=(0,))
    ledger = tmp_path / "arms/a/seed-0/ledger.jsonl"
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    # As another program may have written it: JSON's own nonsense values, and a word.
    study = read_study(tmp_path)
    (arm,) = study.arms
    values = lines[-1]["values"]["metrics"] | {"x/y": float("inf"), "x/z": "good", "x/w": True}
    arm.runs[0].find(1, "measure").values["metrics"] = values
    found = tabulate(study).of_run(arm, arm.runs[0], 1)
    assert [found[key] for key in ("x/y", "x/z", "x/w")] == [None, None, None]


def test_a_damaged_picture_is_left_out_and_named(tmp_path: Path, study: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(study, copy)
    path = copy / "arms/replace/seed-0/iteration-002/pairs.npy"
    np.save(path, np.zeros_like(np.load(path)))
    run = read_study(copy).arms[0].runs[0]
    assert run.intact(2, "measure", "pairs.npy") is None
    assert run.intact(1, "measure", "pairs.npy") is not None
    assert run.damaged == ("iteration-002/pairs.npy",)


def test_a_damaged_ledger_is_refused(tmp_path: Path, single_run: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(single_run, copy)
    ledger = copy / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace('"n_real":96', '"n_real":97'))
    with pytest.raises(RunDamaged, match="line 1 is damaged"):
        read_study(copy)


def test_a_folder_that_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"expected a study or run directory"):
        read_study(tmp_path)


def test_an_arm_cannot_point_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(json.dumps({"seeds": [0], "arms": {"../../elsewhere": {}}}))
    with pytest.raises(RunError, match="name of a folder"):
        read_study(tmp_path)
