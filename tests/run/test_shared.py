"""What one run computed the others link; the index holds pointers, the ledgers the truth."""

from __future__ import annotations

import shutil
import threading

import numpy as np
import pytest
from toy_run import CONFIG, files_below, other_bytes, seal, write_run

from entropick.run import LEDGER, Inputs, Outcome, Run, verify_run
from entropick.run.ledger import Ledger


@pytest.fixture
def first(tmp_path):
    """A finished run, and the folder through which others find its results."""
    write_run(tmp_path / "first", shared=tmp_path / "work")
    return tmp_path / "first"


def test_the_second_run_links_instead_of_computing(tmp_path, first):
    events = []
    assert write_run(tmp_path / "second", shared=tmp_path / "work", observer=events.append) == []
    assert [event.status for event in events] == ["linked"] * 4
    assert all(entry.timing["shared_from"] == "first" for entry in Ledger(tmp_path / "second"))
    name = "iteration-002/count.npy"
    assert (tmp_path / "second" / name).samefile(first / name)
    assert seal(tmp_path / "second") == seal(first)
    assert verify_run(tmp_path / "second").damages == ()


def test_the_linked_run_stands_without_the_first(tmp_path, first):
    write_run(tmp_path / "second", shared=tmp_path / "work")
    shutil.rmtree(first)
    assert verify_run(tmp_path / "second").damages == ()
    assert write_run(tmp_path / "second", shared=tmp_path / "work") == []


def remove_run(first):
    shutil.rmtree(first)


def remove_file(first):
    (first / "iteration-001" / "count.npy").unlink()


def cut_file(first):
    (first / "iteration-001" / "count.npy").write_bytes(b"short")


def damage_file(first):
    other_bytes(first / "iteration-001" / "count.npy")


def cut_ledger(first):
    lines = (first / LEDGER).read_text().splitlines(keepends=True)
    (first / LEDGER).write_text(lines[0] + lines[1][:20])


def damage_ledger(first):
    lines = (first / LEDGER).read_text().splitlines(keepends=True)
    (first / LEDGER).write_text(lines[0] + "junk\n" + "".join(lines[1:]))


def damage_pointers(first):
    for pointer in (first.parent / "work").glob("*.json"):
        pointer.write_text("{")


def misdirect_pointers(first):
    contents = ["[]", "{}", '{"run": 3}', '{"run": "\\u0000"}']
    for pointer, content in zip((first.parent / "work").glob("*.json"), contents, strict=True):
        pointer.write_text(content)


def remove_pointers(first):
    for pointer in (first.parent / "work").glob("*.json"):
        pointer.unlink()


STALE = [
    remove_run,
    remove_file,
    cut_file,
    damage_file,
    cut_ledger,
    damage_ledger,
    damage_pointers,
    misdirect_pointers,
    remove_pointers,
]


@pytest.mark.parametrize("hurt", STALE)
def test_a_stale_pointer_costs_a_computation_and_nothing_else(tmp_path, first, hurt):
    before = seal(first)
    hurt(first)
    assert 1 in write_run(tmp_path / "second", shared=tmp_path / "work")
    assert seal(tmp_path / "second") == before
    assert verify_run(tmp_path / "second").damages == ()
    assert write_run(tmp_path / "third", shared=tmp_path / "work") == []


def test_two_runs_at_once_compute_only_once(tmp_path):
    computed = []
    started, go_on = threading.Event(), threading.Event()

    def compute(given, work):
        computed.append(1)
        started.set()
        assert go_on.wait(10)
        return Outcome({"count.npy": np.arange(3)})

    def run(name):
        with Run.open(tmp_path / name, CONFIG, shared=tmp_path / "work") as open_run:
            open_run.stage(0, "count", Inputs(), compute)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("first", "second")]
    threads[0].start()
    assert started.wait(10)
    threads[1].start()
    threads[1].join(0.3)
    assert threads[1].is_alive()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert computed == [1]
    assert seal(tmp_path / "first") == seal(tmp_path / "second")


def test_checkpoints_that_a_kill_left_after_the_ledger_line_are_cleared(tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    def compute(given, work):
        work.save("training", {"x": np.arange(3)}, {})
        return Outcome(values={"x": 1})

    def run():
        with Run.open(tmp_path / "run", CONFIG) as open_run:
            open_run.stage(0, "train", Inputs(), compute)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("entropick.run.work_folder.StageWork.clear", killed)
        run()
    assert any(name.endswith(".safetensors") for name in files_below(tmp_path))
    run()
    assert not any(name.endswith(".safetensors") for name in files_below(tmp_path))


def test_what_a_kill_left_half_written_is_removed(tmp_path, first):
    leftover = tmp_path / "second" / "iteration-001" / ".count.npy.partial"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    write_run(tmp_path / "second", shared=tmp_path / "work")
    assert not leftover.exists()
