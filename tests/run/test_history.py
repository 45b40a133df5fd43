"""One reader of run directories: how far they are, what they found, and what of it can still be trusted."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from toy_run import CONFIG, flat_run, other_bytes, write_run

from entropick.errors import RunDamaged, RunError
from entropick.run import History, Inputs, Outcome, Run


@pytest.fixture
def folder(tmp_path):
    """Two of three iterations of what looks like a loop."""
    measured = {"metrics": {"recall/pixels": 0.5}}
    with Run.open(tmp_path, CONFIG) as run:
        run.stage(0, "baseline", Inputs(), lambda given, work: Outcome({"axes.npy": np.eye(2)}, measured))
        for n in (1, 2):
            run.stage(n, "measure", Inputs(), lambda given, work: Outcome({"x.npy": np.arange(3)}, measured))
    return tmp_path


def test_how_far_a_loop_is(folder):
    history = History(folder)
    assert (history.n_done, history.n_planned, history.measured, history.is_finished) == (2, 3, (1, 2), False)
    assert [found["iteration"] for found in history.metrics] == [1, 2]
    assert "2 of 3 iterations" in repr(history)


def test_numbers_and_hashes_of_a_stage_and_nothing_where_it_is_not_done(folder):
    history = History(folder)
    assert history.values(1, "measure")["metrics"] == {"recall/pixels": 0.5}
    assert history.values(3, "measure") == {}
    record = history.find(1, "measure").files["iteration-001/x.npy"]
    assert history.digest(1, "measure", "x.npy") == record.sha256
    assert history.digest(1, "measure", "y.npy") is history.digest(3, "measure", "x.npy") is None


def test_a_file_that_is_not_what_the_ledger_names_is_not_read_and_is_told(folder):
    other_bytes(folder / "iteration-001" / "x.npy")
    (folder / "iteration-002" / "x.npy").unlink()
    history = History(folder)
    np.testing.assert_array_equal(history.intact(0, "baseline", "axes.npy"), np.eye(2))
    assert history.intact(1, "measure", "x.npy") is history.intact(2, "measure", "x.npy") is None
    assert history.intact(1, "measure", "y.npy") is None
    assert history.damaged == ("iteration-001/x.npy", "iteration-002/x.npy")


def test_a_file_that_is_asked_for_by_name_is_what_was_written_or_an_error(folder):
    np.testing.assert_array_equal(History(folder).load(1, "x.npy"), np.arange(3))
    other_bytes(folder / "iteration-001" / "x.npy")
    with pytest.raises(RunDamaged, match=r"iteration-001/x\.npy: it is not the file that the ledger names"):
        History(folder).load(1, "x.npy")
    with pytest.raises(RunError, match="expected a file of this run, but there is none"):
        History(folder).load(1, "y.npy")


@pytest.mark.parametrize("content", ["{", "[]", '{"environments": 3}', "{}"])
def test_a_record_of_environments_that_cannot_be_read_is_none(folder, content):
    assert [environment["packages"]["numpy"] for environment in History(folder).environments] == [np.__version__]
    (folder / "environment.json").write_text(content)
    assert History(folder).environments == []
    write_run(folder, 0)
    assert len(History(folder).environments) == 1


def test_a_config_that_is_missing_is_empty_and_one_that_is_damaged_is_named(folder):
    (folder / "config.json").write_text('{"n_iterations": "three"}')
    with pytest.raises(RunDamaged, match=re.escape(f"{folder / 'config.json'}: expected a whole number")):
        History(folder)
    (folder / "config.json").unlink()
    history = History(folder)
    assert history.config == {} and history.n_planned is None and not history.is_finished


def test_a_run_without_iterations_is_as_far_as_its_stages(tmp_path):
    flat_run(tmp_path)
    history = History(tmp_path)
    assert (history.n_iterations, history.n_done, history.n_planned, history.is_finished) == (None, 2, None, False)
    (tmp_path / "config.json").write_text(json.dumps({"stages": ["choose", "measure"]}))
    history = History(tmp_path)
    assert (history.n_done, history.n_planned, history.is_finished) == (2, 2, True)
    np.testing.assert_array_equal(history.intact(0, "choose", "rows.npy"), [3])
    assert history.digest(0, "choose", "rows.npy") == history.find(0, "choose").files["rows.npy"].sha256
    assert history.metrics == [] and "2 of 2 stages" in repr(history)
