"""One process at a time, and no unlocking by hand."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys

import pytest
from toy_run import write_run

from entropick.errors import RunLocked
from entropick.run import is_locked, locked

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
