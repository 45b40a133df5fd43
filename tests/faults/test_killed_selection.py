"""However a selection by workers is ended, no process is left, and the same command goes on to the same rows."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fresh_python import SRC

# The command, with checkpoints and looks at its files ten times a second, many short rounds, and rows in files.
COMMAND = """
import sys
from entropick import work
from entropick.arrays import rows
from entropick.cli import main
from entropick.selectors import greedy
from entropick.sources import output, scratch

if __name__ == "__main__":
    output._SECONDS = rows._SECONDS_BETWEEN_LOOKS = 0.1
    work._GRACE_SECONDS, greedy._WIDTH, scratch.LARGE = 3, (64, 64, 64), 0.0
    sys.exit(main(["select", "pool=shards", "--n", "3000", *sys.argv[1:]]))
"""
N_SHARDS = 3


class Started:
    """The command as a process of its own, in a session and with a mark that all that come from it inherit."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        (folder / "command.py").write_text(COMMAND)
        self._mark = f"SELECTION_UNDER_TEST={os.urandom(8).hex()}"
        name, _, value = self._mark.partition("=")
        environment = {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", name: value}
        self.process = subprocess.Popen(
            [sys.executable, "command.py", *arguments],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def family(self) -> list[int]:
        """The living processes that have come from it, itself left out."""
        living = []
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_of_it = self._mark.encode() in (place / "environ").read_bytes().split(b"\0")
                state = (place / "stat").read_text().rpartition(")")[2].split()[0]
                if is_of_it and state not in "ZX" and int(place.name) != self.process.pid:
                    living.append(int(place.name))
        return living

    def workers(self) -> list[int]:
        """Those of them that look at rows."""
        return [pid for pid in self.family() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def ended(self, seconds: float = 120, *, but: bytes | None = None) -> tuple[int, str]:
        """Its exit code, and what it said; soon nothing of it is left, but what has this word in its name."""
        said, _ = self.process.communicate(timeout=seconds)
        assert wait_until(lambda: all(but and but in name for name in map(name_of, self.family())), seconds=30), (
            "a process was left behind"
        )
        return self.process.returncode, said


def name_of(pid: int) -> bytes:
    """How a process was called, in small letters; of one that has ended nothing."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().lower()
    except OSError:
        return b""


def wait_until(condition: Callable[[], Any], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextlib.contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Started]:
    command = Started(folder, *arguments)
    try:
        yield command
    finally:
        command.process.kill()
        for pid in command.family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        command.process.communicate()


def write_shards(folder: Path) -> None:
    (folder / "shards").mkdir()
    X = np.random.default_rng(0).standard_normal((12_000, 48)).astype(np.float16)
    for number, part in enumerate(np.array_split(X, N_SHARDS)):
        np.save(folder / "shards" / f"part-{number}.npy", part)


def choice(out: Path) -> list[str]:
    """What was chosen: of each row its place and distance, wherever the pool lies."""
    lines = (out / "manifest.csv").read_text().splitlines()
    assert len(lines) == 3001
    return [line.replace(str(out.parent), "") for line in lines]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    write_shards(folder)
    with started(folder, "--out", "out") as command:
        code, said = command.ended()
    assert code == 0, said
    return choice(folder / "out")


@pytest.fixture
def place(tmp_path):
    write_shards(tmp_path)
    return tmp_path


def checkpoints(out: Path) -> list[tuple[int, int]]:
    """What has been saved: which files, and when."""
    found = []
    for file in out.glob("work/**/selection-*"):
        with contextlib.suppress(OSError):
            found.append((file.stat().st_ino, file.stat().st_mtime_ns))
    return found


def at_work(command: Started, out: Path, n_checkpoints: int = 1) -> None:
    """Wait until so many more checkpoints are there than when it began."""
    seen = [checkpoints(out)]

    def has_saved() -> bool:
        assert command.process.poll() is None, command.process.stdout.read()
        if (now := checkpoints(out)) != seen[-1]:
            seen.append(now)
        return len(seen) > n_checkpoints

    assert wait_until(has_saved, seconds=120)


def go_on(place: Path, *arguments: str) -> None:
    with started(place, "--out", "out", *arguments) as command:
        code, said = command.ended()
    assert code == 0, said
    assert not (place / "out" / ".rows").exists() and not list((place / "out" / "work").rglob("*.rows"))


def test_the_command_is_killed_at_several_moments(place, undisturbed):
    out = place / "out"
    with started(place, "--out", "out", "--engine", "processes:2") as command:
        assert wait_until(lambda: len(command.workers()) == 2, seconds=60)
        command.process.kill()
        assert command.ended()[0] == -signal.SIGKILL
    for arguments in (("--engine", "processes:1"), ()):
        with started(place, "--out", "out", *arguments) as command:
            at_work(command, out, 2)
            command.process.kill()
            assert command.ended()[0] == -signal.SIGKILL
    go_on(place, "--engine", "processes:2")
    assert choice(out) == undisturbed


def test_ctrl_c(place, undisturbed):
    with started(place, "--out", "out", "--engine", "processes:2") as command:
        at_work(command, place / "out")
        os.killpg(command.process.pid, signal.SIGINT)
        code, said = command.ended()
    assert code == 130 and "entropick: interrupted." in said and "Traceback" not in said
    with started(place, "--out", "out", "--engine", "processes:2", "--budget", "1s") as command:
        code, said = command.ended()
    assert code == 75 and "Traceback" not in said
    go_on(place)
    assert choice(place / "out") == undisturbed


def test_a_worker_that_is_stopped_is_waited_for(place, undisturbed):
    with started(place, "--out", "out", "--engine", "processes:2") as command:
        at_work(command, place / "out")
        os.kill(command.workers()[0], signal.SIGSTOP)
        time.sleep(1.5)
        assert command.process.poll() is None
        os.kill(command.workers()[0], signal.SIGCONT)
        at_work(command, place / "out")
        # For ever, but a signal ends the command all the same.
        os.kill(command.workers()[1], signal.SIGSTOP)
        time.sleep(0.5)
        command.process.send_signal(signal.SIGTERM)
        assert command.ended(30)[0] == 75
    go_on(place)
    assert choice(place / "out") == undisturbed


@pytest.mark.parametrize(("harm", "engine"), [("changed", "processes:2"), ("cut", "processes:1"), ("gone", None)])
def test_a_shard_that_changes_meanwhile(place, undisturbed, engine, harm):
    file, out = place / "shards" / "part-1.npy", place / "out"
    content = file.read_bytes()
    arguments = () if engine is None else ("--engine", engine)
    with started(place, "--out", "out", *arguments) as command:
        at_work(command, out)
        if harm == "cut":
            os.truncate(file, 4096)
        elif harm == "gone":
            file.unlink()
        else:
            os.utime(file, ns=(1, 1))
        code, said = command.ended()
    told = said.splitlines()[-1]
    assert code == 2 and "part-1.npy: expected a file that stays" in told and "Traceback" not in said, said
    file.write_bytes(content)
    go_on(place)
    assert choice(out) == undisturbed


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")
def test_the_command_is_killed_with_workers_on_ray(place, undisturbed):
    with started(place, "--out", "out", "--engine", "ray", "--workers", "2") as command:
        at_work(command, place / "out", 2)
        command.process.kill()
        # Two agents of Ray notice a minute later, at times, that their cluster is gone.
        assert command.ended(but=b"agent")[0] == -signal.SIGKILL
    go_on(place, "--engine", "processes:2")
    assert choice(place / "out") == undisturbed
