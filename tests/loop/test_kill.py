"""However a study is ended, the same command goes on to what an undisturbed run would have written."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from command import contents, finished, ledger_bytes, session, started, wait_until
from filelock import FileLock

from entropick.cli import main
from entropick.config import load_study

# Of every arm of the preset: its data and baseline, and four stages in each of three iterations.
_N_LINES = 14 * len(load_study("smoke").arms)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, request):
    """The contents of a run that nothing disturbed; made once, however many processes test."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if hasattr(request.config, "workerinput") else base) / "undisturbed"
    with FileLock(f"{folder}.lock"):
        if not (folder / "report.html").exists():
            code, said = finished(folder, "--workers", "2")
            assert code == 0, said
    found = contents(folder)
    assert sum(len(lines) for name, lines in found.items() if name.endswith("ledger.jsonl")) == _N_LINES
    return found


def assert_equal(out, undisturbed):
    found = contents(out)
    assert found.keys() == undisturbed.keys()
    assert [name for name in found if found[name] != undisturbed[name]] == []


def assert_nothing_left_of(leader):
    # Python's own resource tracker ends only once it sees that its parent has: a moment later.
    assert wait_until(lambda: session(leader) == [], seconds=20), "a process was left behind"


def kill_at_random(out: Path, rng: random.Random, *, workers: int) -> str:
    """Start the command and kill it at a random moment; return what was going on, or "finished"."""
    before = ledger_bytes(out)
    with started(out, "--workers", str(workers)) as process:
        if rng.random() < 0.2:
            moment = "starting"
            time.sleep(rng.uniform(0.0, 3.0))
        else:
            moment = "working"
            wait_until(lambda: ledger_bytes(out) > before or process.poll() is not None, seconds=60)
            time.sleep(rng.uniform(0.0, 1.2 / workers))
        if process.poll() is not None:
            assert process.returncode == 0, process.stdout.read()
            return "finished"
        if rng.random() < 0.5:
            os.kill(process.pid, signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert_nothing_left_of(process.pid)
        return moment


@pytest.mark.parametrize(("workers", "n_kills"), [(1, 13), (2, 7)])
def test_killed_at_random_moments_again_and_again(tmp_path, undisturbed, workers, n_kills, capsys):
    rng = random.Random(workers)
    killed = {"starting": 0, "working": 0}
    outs = [tmp_path / "0"]
    while sum(killed.values()) < n_kills:
        moment = kill_at_random(outs[-1], rng, workers=workers)
        if moment == "finished":
            assert_equal(outs[-1], undisturbed)
            outs.append(tmp_path / str(len(outs)))
        else:
            killed[moment] += 1
    assert killed["working"] > n_kills / 2
    code, said = finished(outs[-1], "--workers", str(workers))
    assert code == 0, said
    assert_equal(outs[-1], undisturbed)
    assert main(["verify", str(outs[-1])]) == 0
    assert "all as written" in capsys.readouterr().out


def test_a_second_process_ends_at_once_and_ctrl_c_leaves_what_can_be_resumed(tmp_path):
    out = tmp_path / "out"
    with started(out, "--workers", "2") as first:
        assert wait_until(lambda: ledger_bytes(out), seconds=60)
        code, said = finished(out)
        assert code == 2
        assert f"in use by process {first.pid}" in said.replace("\n", " ")
        assert first.poll() is None
        # As a terminal does: to the whole group.
        os.killpg(first.pid, signal.SIGINT)
        said, _ = first.communicate(timeout=60)
        assert first.returncode == 130
        assert said.splitlines()[-1] == (
            "entropick: interrupted. What was finished is kept; repeat the same command to go on."
        )
        assert "Traceback" not in said
        assert_nothing_left_of(first.pid)
    before = ledger_bytes(out)
    with started(out, "--workers", "1"):
        assert wait_until(lambda: ledger_bytes(out) > before, seconds=60)


def test_a_spent_budget_has_its_own_exit_code_and_the_same_command_goes_on(tmp_path, undisturbed):
    # Far less than three trainings take on any machine.
    out, arm = tmp_path / "out", "replace"
    code, said = finished(out, "--arms", arm, "--budget", "0.5s")
    assert code == 75, said
    assert "budget is spent" in said
    code, said = finished(out, "--arms", arm, "--budget", "10m")
    assert code == 0, said
    found = contents(out)
    assert found[f"arms/{arm}/seed-0/ledger.jsonl"] == undisturbed[f"arms/{arm}/seed-0/ledger.jsonl"]
