"""A full disk loses nothing, leaves nothing half-written, and the same call goes on after some was freed."""

from __future__ import annotations

import os
import subprocess

import numpy as np
import pytest
from toy_run import CONFIG, CONTENTS, no_file_longer_than, partial_files, seal, write_run

from entropick.errors import StorageError
from entropick.run import LEDGER, Inputs, Outcome, Pace, Run, verify_run
from entropick.run.work_folder import StageWork


def stage(run, outcome):
    return run.stage(9, "big", Inputs(), lambda given, work: outcome)


@pytest.mark.parametrize("name", CONTENTS)
def test_no_room_for_a_file(tmp_path, name):
    write_run(tmp_path)
    before = seal(tmp_path)
    with Run.open(tmp_path, CONFIG) as run:
        outcome = Outcome({"small.npy": np.arange(3), name: CONTENTS[name]}, {"x": 1})
        with no_file_longer_than(20_000), pytest.raises(StorageError, match=rf"{name}: File too large.*Free some"):
            stage(run, outcome)
        assert not (tmp_path / "iteration-009" / name).exists()
        assert partial_files(tmp_path) == []
        assert seal(tmp_path) == before
        stage(run, outcome)
    assert verify_run(tmp_path).damages == ()
    assert verify_run(tmp_path).n_entries == 5


def test_no_room_for_the_ledger_line(tmp_path):
    write_run(tmp_path / "undisturbed", 5)
    write_run(tmp_path / "run")
    before = (tmp_path / "run" / LEDGER).read_bytes()
    with no_file_longer_than(len(before) + 100), pytest.raises(StorageError, match=LEDGER):
        write_run(tmp_path / "run", 5)
    assert (tmp_path / "run" / LEDGER).read_bytes() == before
    assert write_run(tmp_path / "run", 5) == [4]
    assert seal(tmp_path / "run") == seal(tmp_path / "undisturbed")


def test_no_room_for_a_checkpoint_keeps_the_one_before(tmp_path):
    work = StageWork(tmp_path / "work", Pace(), lambda *progress: None)
    work.save("training", {"x": np.arange(100)}, {"step": 1})
    with no_file_longer_than(4096), pytest.raises(StorageError, match="training-"):
        work.save("training", {"x": np.arange(5000)}, {"step": 2})
    assert partial_files(tmp_path) == []
    assert work.load("training")[1] == {"step": 1}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a tmpfs needs root and a kernel that lets it")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk):
    ballast = small_disk / "ballast"
    ballast.write_bytes(os.urandom(800_000))
    outcome = Outcome({"array.npy": CONTENTS["array.npy"]})
    with Run.open(small_disk / "run", CONFIG) as run:
        with pytest.raises(StorageError, match=r"array\.npy: No space left on device"):
            stage(run, outcome)
        assert partial_files(small_disk) == []
    ballast.write_bytes(os.urandom(small_disk.stat().st_blksize))
    with Run.open(small_disk / "run", CONFIG) as run:
        stage(run, outcome)
    assert verify_run(small_disk / "run").damages == ()


def test_a_ledger_line_on_a_disk_that_is_really_full(small_disk):
    write_run(small_disk / "run")
    before = (small_disk / "run" / LEDGER).read_bytes()
    long = Outcome(values={"text": "x" * 10_000})
    with Run.open(small_disk / "run", CONFIG) as run:
        (small_disk / "run" / "work" / "room").mkdir(parents=True, exist_ok=True)
        with pytest.raises(OSError, match="No space"), open(small_disk / "ballast", "wb", buffering=0) as ballast:
            while True:
                ballast.write(b"x" * 4096)
        with pytest.raises(StorageError):
            stage(run, long)
        assert (small_disk / "run" / LEDGER).read_bytes() == before
        (small_disk / "ballast").unlink()
        stage(run, long)
    assert verify_run(small_disk / "run").n_entries == 5
