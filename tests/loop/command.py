"""``entropick run smoke`` as a process of its own, to be disturbed; and what must be equal afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from entropick.run import LEDGER, find_runs

_BESIDES = ("environment.json", ".lock", ".seal.json")


@contextlib.contextmanager
def started(out: Path, *flags: str) -> Iterator[subprocess.Popen[str]]:
    """The command, in a session of its own; all of it is gone on the way out."""
    command = [sys.executable, "-m", "entropick", "run", "smoke", "--out", str(out), *flags]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
    finally:
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def finished(out: Path, *flags: str) -> tuple[int, str]:
    """The command, left alone: exit code and all that it said."""
    with started(out, *flags) as process:
        said, _ = process.communicate()
        return process.returncode, said


def session(leader: int) -> list[int]:
    """The living processes of a session."""
    living = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session_id = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session_id) == leader and state not in "ZX":
                living.append(int(stat.parent.name))
    return living


def wait_until(condition: Callable[[], Any], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def ledger_bytes(out: Path) -> int:
    return sum(path.stat().st_size for path in out.glob(f"arms/*/*/{LEDGER}"))


def contents(out: Path) -> dict[str, Any]:
    """Everything in a study's directory that must not depend on what happened on the way."""
    found: dict[str, Any] = {"study": (out / "study.json").read_text()}
    for run in find_runs(out):
        for path in run.rglob("*"):
            if path.is_file() and path.name not in _BESIDES:
                found[str(path.relative_to(out))] = _without_timing(path) if path.name == LEDGER else path.read_bytes()
    return found


def _without_timing(ledger: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in ledger.read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name != "timing"} for entry in entries]
