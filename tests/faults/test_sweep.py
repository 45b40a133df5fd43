"""A thin slice of the sweep; what it is made of does what it says."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import power
import pytest
from disk import Call
from fresh_python import run_python
from power import Replay

HERE = Path(__file__).parent
SLICES = {
    ("selection", "score"): 499,
    ("loop", "report", "two ranks"): 1499,
    ("npz", "parquet", "parquet of images", "safetensors"): 71,
}


@pytest.mark.parametrize("scenarios", SLICES, ids=" ".join)
def test_after_each_fault_the_same_command_comes_to_the_same_results(scenarios):
    done = run_python(str(HERE / "sweep.py"), "--only", *scenarios, "--every", str(SLICES[scenarios]), check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and all(f"| {scenario} |" in done.stdout for scenario in scenarios), said


WRITES = f"""
import os, sys
sys.path.insert(0, {str(HERE)!r})
from disk import Disk, Fault
Disk(os.getcwd(), Fault({{fault}})).install()
try:
    for name, text in (("a", b"first"), ("b", b"second")):
        # Without a buffer, which would write what is left once more when it is closed.
        with open(name, "wb", buffering=0) as file:
            file.write(text)
except OSError as error:
    sys.exit(error.errno)
"""


@pytest.mark.parametrize(
    ("fault", "code", "a", "b"),
    [
        (f"1, {errno.EIO}", errno.EIO, "", None),
        (f"3, {errno.ENOSPC}, halfway=True", errno.ENOSPC, "first", "sec"),
        ("2, None", -9, "first", None),
        (f"4, {errno.EIO}", 0, "first", "second"),
    ],
)
def test_a_disk_does_to_a_call_what_its_fault_says(tmp_path, fault, code, a, b):
    done = run_python("-c", WRITES.format(fault=fault), cwd=tmp_path, check=False)
    assert done.returncode == code, done.stderr
    left = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert (left.get("a"), left.get("b")) == (a, b)


def replayed(tmp_path, *calls):
    (tmp_path / "old").write_bytes(b"old")
    replay = Replay(tmp_path, str(tmp_path))
    replay.do(Call(operation, os.path.normpath(tmp_path / path), *more) for operation, path, *more in calls)
    return replay


def test_only_what_was_fsynced_is_sure_to_survive(tmp_path):
    new = str(tmp_path / "new")
    calls = [("create", ".new"), ("write", ".new", "", 0, b"abc"), ("fsync", ".new"), ("rename", ".new", new)]
    replay = replayed(tmp_path, *calls)
    assert power.least(replay) == {"old": b"old"}
    assert power.names_without_content(replay) == {"old": b"old", "new": b"abc"}
    assert power.least(replayed(tmp_path, *calls, ("fsync", "."))) == {"old": b"old", "new": b"abc"}


def test_a_rename_may_be_there_before_the_content(tmp_path):
    calls = [("create", ".new"), ("write", ".new", "", 0, b"abc"), ("rename", ".new", str(tmp_path / "old"))]
    replay = replayed(tmp_path, *calls)
    assert power.names_without_content(replay) == {"old": bytes(3)}
    found = [power.anything(replay, random.Random(seed)) for seed in range(200)]
    assert all(left in found for left in ({"old": b"old"}, {"old": b""}, {"old": b"abc"}, {"old": bytes(3)}))


def test_a_file_in_a_folder_that_is_lost_is_lost(tmp_path):
    calls = [("mkdir", "f"), ("create", "f/x"), ("fsync", "f/x"), ("fsync", "f")]
    assert power.least(replayed(tmp_path, *calls)) == {"old": b"old"}
    assert power.least(replayed(tmp_path, *calls, ("fsync", "."))) == {"old": b"old", "f": None, "f/x": b""}
