"""Asked to stop, a command saves what it has, ends with 75 in time, and the same command goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from fresh_python import run_python

from entropick import work
from entropick.cli import main
from entropick.errors import BudgetSpent

STUDY = """
name = "long"
n_images = 32
checkpoint_seconds = 1000
[loop]
dataset = { kind = "digits", n_reference = 20 }
generator = { kind = "ddpm", network = "mlp", width = 16, steps = 1000000, sampling_steps = 2, device = "cpu" }
n_iterations = 1
[arms.one]
paradigm = "replace"
[arms.two]
paradigm = "accumulate"
"""


@pytest.fixture(autouse=True)
def without_nohup():
    """These tests hold also where what runs them was started with nohup, which SIGHUP does not reach."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def training(tmp_path):
    """Start a study, wait until it trains, and return the process."""
    (tmp_path / "long.toml").write_text(STUDY)
    started = []

    def start(*flags):
        command = [sys.executable, "-m", "entropick", "run", "long.toml", "--out", "out", *flags]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        ledger, deadline = tmp_path / "out" / "arms" / "one" / "seed-0" / "ledger.jsonl", time.monotonic() + 90
        while not (ledger.exists() and '"stage":"select"' in ledger.read_text()):
            assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
            time.sleep(0.05)
        time.sleep(1.0)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, "1"), (signal.SIGHUP, "2"), (signal.SIGUSR1, "1")])
def test_a_signal_saves_a_checkpoint_and_ends_with_75_within_30_seconds(training, tmp_path, number, workers):
    process = training("--workers", workers)
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 75, said
    assert said.count("entropick: stopped by SIG") == 1 and "Repeat the same command" in said
    assert list((tmp_path / "out" / "work").glob("*/training-*.safetensors"))
    assert main(["verify", str(tmp_path / "out")]) == 0


def test_a_second_signal_ends_at_once(monkeypatch):
    ended = []
    monkeypatch.setattr("os._exit", ended.append)
    with work.stoppable():
        signal.raise_signal(signal.SIGTERM)
        assert ended == [] and work.asked_to_stop() == "SIGTERM"
        signal.raise_signal(signal.SIGHUP)
    assert ended == [128 + signal.SIGHUP] and work.asked_to_stop() == ""


def test_where_no_checkpoint_comes_in_time_the_command_ends_all_the_same(monkeypatch):
    monkeypatch.setattr(work, "_GRACE_SECONDS", 1)
    with pytest.raises(BudgetSpent, match="stopped by SIGUSR1"), work.stoppable():
        signal.raise_signal(signal.SIGUSR1)
        time.sleep(20)


# Within a call of a library that neither returns nor lets Python run: a lock that is taken twice.
DEAF = """
import ctypes, os, signal, sys, threading, time
from entropick import work

work._GRACE_SECONDS = 1
lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)

def ask():
    for name in sys.argv[1:]:
        time.sleep(0.3)
        os.kill(os.getpid(), getattr(signal, name))

with work.stoppable():
    lock(mutex)
    threading.Thread(target=ask, daemon=True).start()
    lock(mutex)
"""


@pytest.mark.parametrize(
    ("names", "code"), [(["SIGUSR1"], 75), (["SIGTERM", "SIGHUP"], 128 + signal.SIGHUP), (["SIGINT", "SIGINT"], 130)]
)
def test_within_a_call_of_a_library_it_ends_as_well(names, code):
    done = run_python("-c", DEAF, *names, check=False)
    assert done.returncode == code, done.stderr
    assert ("stopped by SIGUSR1; what was finished" in done.stderr) == (code == 75)


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with work.stoppable():
            signal.raise_signal(signal.SIGHUP)
            assert work.asked_to_stop() == ""
    finally:
        signal.signal(signal.SIGHUP, before)
