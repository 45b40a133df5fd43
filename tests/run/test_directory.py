"""The run directory: what was computed is kept, what does not fit is refused with words that help."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from toy_run import CONFIG, counted, files_below, missing, other_bytes, other_size, write_run

from entropick.errors import RunChanged, RunDamaged, RunError
from entropick.run import Event, History, Inputs, Outcome, Run, check_config, find_runs, verify_run

NESTED = {"generator": {"kind": "ddpm", "steps": 10}, "selector": None, "seed": 0, "n_iterations": 3}


def begin(folder, config):
    """Pass the first stage of a run."""
    with Run.open(folder, config) as run:
        run.stage(0, "count", Inputs(), lambda given, work: counted(0))


def test_what_was_computed_is_kept(tmp_path):
    assert write_run(tmp_path) == [0, 1, 2, 3]
    # The lock holds nothing, and filelock before 4.2.11 opens it anew.
    files = set(files_below(tmp_path)) - {".lock"}
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files}
    events: list[Event] = []
    assert write_run(tmp_path, observer=events.append) == []
    assert [event.status for event in events] == ["kept"] * 4
    assert set(files_below(tmp_path)) - {".lock"} == files
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in files} == before


def test_a_stage_that_failed_is_computed_again_and_the_others_are_not(tmp_path):
    def fail(given, work):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"), Run.open(tmp_path, CONFIG) as run:
        run.stage(0, "count", Inputs(settings={"i": 0}), lambda given, work: counted(0))
        run.stage(1, "count", Inputs(settings={"i": 1}), fail)
    assert write_run(tmp_path) == [1, 2, 3]


def test_files_come_back_through_load(tmp_path):
    with Run.open(tmp_path, CONFIG) as run:
        entry = run.stage(2, "count", Inputs(), lambda given, work: Outcome({"a.npy": np.arange(4)}))
        np.testing.assert_equal(run.load(entry, "a.npy"), np.arange(4))
    np.testing.assert_equal(History(tmp_path).load(2, "a.npy"), np.arange(4))


def test_a_stage_of_other_inputs_is_refused(tmp_path):
    write_run(tmp_path)
    with pytest.raises(RunChanged, match="iteration 2, stage 'count'"), Run.open(tmp_path, CONFIG) as run:
        run.stage(2, "count", Inputs(settings={"i": "other"}), lambda given, work: counted(2))


def test_a_changed_config_is_refused_with_a_diff_of_what_changed_only(tmp_path):
    begin(tmp_path, NESTED)
    now = {"generator": {"kind": "ddpm", "steps": 20}, "selector": {"kind": "greedy"}, "seed": 0, "n_iterations": 3}
    with pytest.raises(RunChanged) as caught, Run.open(tmp_path, now):
        pass
    assert str(caught.value).splitlines() == [
        f"{tmp_path} was made with another config:",
        "  generator.steps: was 10, now 20",
        "  selector: was None, now absent",
        "  selector.kind: was absent, now 'greedy'",
        "Repeat the command with the old settings, or give another folder (--out, out=).",
    ]
    assert json.loads((tmp_path / "config.json").read_text()) == NESTED


def test_before_its_first_stage_is_done_a_run_takes_another_config(tmp_path):
    with Run.open(tmp_path, NESTED):
        pass
    begin(tmp_path, {**NESTED, "seed": 1})
    with pytest.raises(RunChanged, match="seed: was 1, now 0"):
        begin(tmp_path, NESTED)


def test_iterations_may_grow_and_not_shrink(tmp_path):
    for n in (3, 5, 5):
        begin(tmp_path, {**NESTED, "n_iterations": n})
    assert json.loads((tmp_path / "config.json").read_text())["n_iterations"] == 5
    fewer = {**NESTED, "n_iterations": 4}
    with pytest.raises(RunChanged, match="n_iterations: was 5, now 4"), Run.open(tmp_path, fewer):
        pass


def test_nothing_may_grow_unless_it_is_said(tmp_path):
    begin(tmp_path, NESTED)
    with pytest.raises(RunChanged, match="n_iterations: was 3, now 4"):
        check_config(tmp_path, {**NESTED, "n_iterations": 4})


def test_a_stage_that_may_change_is_made_anew_with_all_that_came_after_it(tmp_path):
    def passed(said, **options):
        with Run.open(tmp_path, CONFIG) as run:
            for iteration, text in enumerate(("first", said, "last")):
                stage = Inputs(settings={"said": text})
                run.stage(iteration, "tell", stage, lambda given, work: Outcome({}, {"said": given["said"]}), **options)
        return [entry.values["said"] for entry in History(tmp_path).entries]

    assert passed("this") == ["first", "this", "last"]
    with pytest.raises(RunChanged, match="computed from other inputs"):
        passed("that")
    assert passed("that", may_change=True) == ["first", "that", "last"]
    assert passed("that") == ["first", "that", "last"] and not verify_run(tmp_path).damages


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("hurt", [other_size, other_bytes, missing, a_folder])
def test_a_changed_file_is_named_at_once_with_what_to_do(tmp_path, hurt):
    write_run(tmp_path)
    path = tmp_path / "iteration-001" / "count.npy"
    hurt(path)
    with pytest.raises(RunDamaged, match=rf"{re.escape(str(path))}.*--repair"), Run.open(tmp_path, CONFIG):
        pass


def test_where_hashing_takes_long_a_file_of_other_bytes_is_named_when_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr("entropick.run.directory._HASHED_AT_ONCE", 0)
    write_run(tmp_path)
    path = tmp_path / "iteration-001" / "count.npy"
    other_bytes(path)
    with Run.open(tmp_path, CONFIG) as run, pytest.raises(RunDamaged, match=rf"{re.escape(str(path))}.*--repair"):
        run.load(run.ledger.find(1, "count"), "count.npy")


def test_the_environment_is_recorded_once_and_again_when_it_changes(tmp_path, monkeypatch):
    write_run(tmp_path)
    write_run(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 12345)
    write_run(tmp_path)
    records = json.loads((tmp_path / "environment.json").read_text())["environments"]
    assert [record["cores"] == 12345 for record in records] == [False, True]
    assert records[0]["packages"]["numpy"] == np.__version__


def test_what_is_no_run_is_an_error_with_its_path(tmp_path):
    for read in (History, find_runs):
        with pytest.raises(RunError, match=re.escape(str(tmp_path))):
            read(tmp_path)
