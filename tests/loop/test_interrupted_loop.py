"""A loop that was stopped, or ran out of disk, goes on to what an undisturbed one would have written."""

from __future__ import annotations

import numpy as np
import pytest
from loop_parts import SELECTORS, CountedPace, make_loop, tiny_ddpm

from entropick.errors import BudgetSpent, RunDamaged, StorageError
from entropick.run import History, Ledger, Pace, repair_run, verify_run, write_atomic
from entropick.run.files import write_content


@pytest.fixture
def loop(images):
    return make_loop(images, generator=tiny_ddpm(), selector=SELECTORS["greedy"], n_iterations=2)


@pytest.fixture
def seal(loop, tmp_path):
    """Of a run that nothing disturbed."""
    return loop.run(tmp_path / "undisturbed").seal


def checkpoints(folder):
    return {path.name.rpartition("-")[0] for path in folder.glob("work/*/*.safetensors")}


def test_a_spent_budget_stops_at_a_checkpoint_and_the_same_call_goes_on(tmp_path, loop, seal):
    interrupted = set()
    for n in (7, 11, 13, 41):
        folder, n_stops = tmp_path / str(n), 0
        while True:
            try:
                history = loop.run(folder, pace=CountedPace(n=n))
                break
            except BudgetSpent:
                n_stops += 1
                interrupted |= checkpoints(folder)
                assert n_stops < 200
        assert history.seal == seal
        assert n_stops >= 4
        assert checkpoints(folder) == set()
    assert interrupted >= {"training", "sampled"}


def test_a_training_goes_on_from_its_checkpoint(tmp_path, loop, seal):
    with pytest.raises(BudgetSpent):
        loop.run(tmp_path / "run", pace=CountedPace(n=60))
    events = []
    assert loop.run(tmp_path / "run", observer=events.append).seal == seal
    steps = [event.done for event in events if (event.iteration, event.stage) == (1, "train") and event.done]
    assert steps[0] > 60


def test_a_deadline_that_has_passed_computes_nothing(tmp_path, loop):
    with pytest.raises(BudgetSpent, match="Repeat the same command"):
        loop.run(tmp_path / "run", pace=Pace(deadline=0.0))
    assert len(Ledger(tmp_path / "run")) == 0


def test_a_finished_run_needs_no_budget(tmp_path, loop, seal):
    assert loop.run(tmp_path / "undisturbed", pace=Pace(deadline=0.0)).seal == seal


@pytest.mark.parametrize("stage", ["data", "select", "train", "sample", "measure"])
def test_ctrl_c_in_any_stage(tmp_path, loop, seal, stage):
    def interrupt(event):
        if (event.stage, event.status) == (stage, "running"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run(tmp_path / "run", observer=interrupt)
    assert loop.run(tmp_path / "run").seal == seal


@pytest.mark.parametrize("name", ["real.npy", "model.safetensors", "generated.npy", "selection.parquet"])
def test_a_full_disk(tmp_path, loop, seal, name, monkeypatch):
    def half(stream):
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    def full(path, content):
        return write_atomic(path, half) if path.name == name else write_content(path, content)

    with monkeypatch.context() as patch, pytest.raises(StorageError, match=f"{name}: No space left"):
        patch.setattr("entropick.run.directory.write_content", full)
        loop.run(tmp_path / "run")
    assert list((tmp_path / "run").rglob("*.partial")) == []
    assert verify_run(tmp_path / "run").damages == ()
    assert loop.run(tmp_path / "run").seal == seal


@pytest.mark.parametrize("name", ["iteration-000/real.npy", "iteration-001/generated.npy", "iteration-002/model.json"])
def test_a_file_changed_behind_the_ledgers_back(tmp_path, loop, seal, name):
    folder = tmp_path / "undisturbed"
    path = folder / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    found = verify_run(folder)
    assert [str(path) in damage for damage in found.damages] == [True]
    repair_run(found)
    assert loop.run(folder).seal == seal
    assert verify_run(folder).damages == ()


def test_a_changed_file_is_noticed(tmp_path, loop, seal):
    path = tmp_path / "undisturbed" / "iteration-001" / "generated.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    loop.n_iterations += 1
    with pytest.raises(RunDamaged, match=rf"{path}: it is not the file .*--repair"):
        loop.run(tmp_path / "undisturbed")


def test_a_torn_ledger_line_costs_one_stage(tmp_path, loop, seal):
    path = tmp_path / "undisturbed" / "ledger.jsonl"
    path.write_bytes(path.read_bytes()[:-7])
    events = []
    assert loop.run(tmp_path / "undisturbed", observer=events.append).seal == seal
    assert [event.stage for event in events if event.status == "done"] == ["iteration", "measure", "iteration"]


def test_history_loads_what_was_written(tmp_path, loop, seal):
    history = History(tmp_path / "undisturbed")
    assert history.load(2, "generated.npy").dtype == np.uint8
    assert history.n_iterations_done == 2
