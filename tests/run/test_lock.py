"""One process at a time, and no unlocking by hand."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys

import pytest
from toy_run import write_run

from entropick.errors import RunLocked, StorageError
from entropick.run import is_locked, locked
from entropick.run.folder import working_in

_HOLDER = """
import sys, time
from pathlib import Path
from entropick.run import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


@contextlib.contextmanager
def holder(folder):
    """Another process that holds the lock of `folder`."""
    with subprocess.Popen([sys.executable, "-c", _HOLDER, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_a_second_process_ends_at_once_and_names_the_first(tmp_path):
    with holder(tmp_path / "run") as process:
        message = rf"{re.escape(str(tmp_path))}/run is in use by process {process.pid}\..*--out"
        with pytest.raises(RunLocked, match=message):
            write_run(tmp_path / "run")
        assert is_locked(tmp_path / "run")
        process.kill()
        process.wait()
        assert not is_locked(tmp_path / "run")
        assert write_run(tmp_path / "run") == [0, 1, 2, 3]


def test_waiting_for_a_holder_that_dies(tmp_path):
    with holder(tmp_path) as process:
        process.kill()
        with locked(tmp_path, wait_seconds=10):
            pass


def test_the_lock_is_given_back_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path):
        raise KeyError
    with locked(tmp_path):
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)


def test_the_same_process_cannot_enter_twice_and_the_first_keeps_its_lock(tmp_path):
    with locked(tmp_path):
        with pytest.raises(RunLocked, match=f"process {os.getpid()}"), locked(tmp_path):
            pass
        assert is_locked(tmp_path)


def test_asking_creates_nothing(tmp_path):
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_command_holds_its_folder_from_its_beginning(tmp_path):
    folder = tmp_path / "new" / "run"
    with working_in(folder):
        assert is_locked(folder)
        with pytest.raises(RunLocked), working_in(tmp_path / "new" / ".." / "new" / "run"):
            pass
        assert is_locked(folder) and write_run(folder) == [0, 1, 2, 3] and is_locked(folder)
    assert not is_locked(folder) and (folder / ".lock").exists()
    with holder(folder), pytest.raises(RunLocked, match="in use by process"), working_in(folder):
        raise AssertionError


def test_a_folder_in_which_nothing_is_begun_is_left_as_it_was(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    for folder in (tmp_path / "mine", tmp_path / "a" / "b", tmp_path):
        with pytest.raises(KeyError), working_in(folder):
            raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "notes.txt"]


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(StorageError, match=r"could not write .*mine: Permission"), working_in(tmp_path / "mine"):
        raise AssertionError
