"""What the sweep disturbs: commands on tiny inputs, each in processes of its own that are forked from this one.

Forked, because importing takes seconds and a command takes a fraction of one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What is forked has one thread; libraries ask when they are imported.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from entropick.cli import main
from entropick.run import LEDGER

SECONDS = 60
"""After so long a command hangs."""

_STUDY = """
name = "tiny"
n_images = 16
checkpoint_seconds = 1e-9
[loop]
n_iterations = 1
dataset = { kind = "array-file", path = "images.npz", n_reference = 8 }
[arms.one]
paradigm = "replace"
[arms.one.generator]
kind = "ddpm"
network = "mlp"
width = 8
depth = 1
steps = 2
batch_size = 8
sampling_steps = 2
sampling_chunk = 8
precision = "float32"
device = "cpu"
"""
_SECOND_ARM = """
[arms.two]
paradigm = "accumulate"
selector = "greedy"
generator = "kde"
"""
# Machines, processes and times.
_MAY_DIFFER = ("environment.json", ".lock", ".seal.json", ".lock-holder")


@dataclass(frozen=True)
class Scenario:
    """A command, and what writes the inputs that it wants into its working directory.

    Where time is limited, it gets its `share` of it, beside those of others.
    """

    command: tuple[str, ...]
    prepare: Callable[[], None]
    n_processes: int = 1
    with_times: bool = True
    share: int = 1


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: the signal), what it said, whether it had to be ended."""

    code: int
    said: str
    hung: bool = False

    @property
    def last(self) -> str:
        """The end of what it said."""
        return " | ".join(self.said.strip().splitlines()[-4:])[-600:]

    def unfit(self, *, killed: bool = False) -> str:
        """What is wrong with how a disturbed command ended, or ""; whether it may have been `killed`."""
        if self.hung:
            return f"it hung: {self.last}"
        if killed and self.code == -signal.SIGKILL:
            return ""
        if self.code not in (0, 2):
            return f"exit code {self.code}: {self.last}"
        if "Traceback" in self.said:
            return f"a traceback: {self.last}"
        if self.code == 2 and self.said.count("entropick: error:") != 1:
            return f"{self.said.count('entropick: error:')} messages: {self.last}"
        return ""


def _write_study(second: str = _SECOND_ARM) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 4, 4), np.uint8)
    np.savez("images.npz", images=images, labels=np.arange(24) % 2)
    Path("study.toml").write_text(_STUDY + second)


def _write_sources() -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("real", "made"):
        Path(name).mkdir()
        for number in range(12):
            Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(f"{name}/{number:02d}.png")
    np.savez("lessons.npz", images=rng.integers(0, 256, (16, 8, 8), np.uint8), labels=np.arange(16) % 2)


def _write_finished() -> None:
    _write_study()
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(list(_RUN)) == 0
    Path("out/report.html").unlink()


_RUN = ("run", "study.toml", "--out", "out", "--workers", "1")
_LEARNED = "{kind = 'classifier', path = 'lessons.npz', steps = 2}"
_SELECT = ("select", "real=real", "made=made", "--n", "4", "--out", "out", "--link", "--features", _LEARNED)
_SCORE = ("score", "--training", "real", "--generated", "made", "--out", "out", "--metrics", "generalization_score")
SCENARIOS = {
    "loop": Scenario(_RUN, _write_study, with_times=False, share=4),
    "selection": Scenario(_SELECT, _write_sources),
    "score": Scenario(_SCORE, _write_sources),
    "report": Scenario(("report", "out"), _write_finished),
    "two ranks": Scenario(_RUN[:4], lambda: _write_study(second=""), n_processes=2, with_times=False, share=2),
}


def execute(
    command: tuple[str, ...], folder: Path, *, n_processes: int = 1, prepare: Callable[[], Any] = lambda: None
) -> Ended:
    """Run a command of `entropick` in `folder`; `prepare` is called before, in its process, of ranks in the first."""
    said = folder.with_name(f"{folder.name}.said")
    port = _free_port() if n_processes > 1 else 0
    processes = {
        _forked(command, folder, said, _ranked(rank, n_processes, port), prepare if rank == 0 else lambda: None): rank
        for rank in range(n_processes)
    }
    deadline, codes, hung = time.monotonic() + SECONDS, {}, False
    while len(codes) < n_processes:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in processes:
            codes[processes[ended]] = os.waitstatus_to_exitcode(status)
        elif not hung and time.monotonic() > deadline:
            hung = True
            for process, rank in processes.items():
                if rank not in codes:
                    os.kill(process, signal.SIGKILL)
        else:
            time.sleep(0.001)
    return Ended(codes[0], said.read_text(), hung)


def _forked(
    command: tuple[str, ...], folder: Path, said: Path, variables: dict[str, str], prepare: Callable[[], Any]
) -> int:
    """Start it; return its process."""
    sys.stdout.flush()
    sys.stderr.flush()
    if process := os.fork():
        return process
    code = 70
    try:
        os.chdir(folder)
        os.environ.update(variables)
        is_first = variables.get("RANK", "0") == "0"
        output = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if is_first else os.open(os.devnull, os.O_WRONLY)
        sys.stdout = open(output, "w", buffering=1, encoding="utf-8")
        sys.stderr = open(os.dup(output), "w", buffering=1, encoding="utf-8")
        prepare()
        code = main(list(command))
        sys.stdout.flush()
        sys.stderr.flush()
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    except BaseException:
        traceback.print_exc()
        code = 71
    finally:
        os._exit(code)


def _ranked(rank: int, n: int, port: int) -> dict[str, str]:
    """What torchrun tells the processes that it starts."""
    if n == 1:
        return {}
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": n, "LOCAL_WORLD_SIZE": n, "MASTER_PORT": port}
    return {"TORCHELASTIC_RUN_ID": "sweep", "MASTER_ADDR": "127.0.0.1", **{k: str(v) for k, v in numbers.items()}}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def fresh(scenario: Scenario, folder: Path) -> Path:
    """A new folder with the inputs of the command."""
    folder.mkdir(parents=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        scenario.prepare()
    finally:
        os.chdir(before)
    return folder


def copied(original: Path, folder: Path) -> Path:
    """A copy in place of whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(original, folder, symlinks=True)


def contents(folder: Path, *, with_times: bool) -> dict[str, Any]:
    """Everything below that must not depend on what happened on the way; a page of ledgers tells their times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name in _MAY_DIFFER or name.startswith("out/work/") or not path.is_file():
            continue
        if path.name == "report.html" and not with_times:
            found[name] = path.read_text().rstrip().endswith("</html>")
        elif path.name == LEDGER:
            entries = [json.loads(line) for line in path.read_text().splitlines()]
            found[name] = [{key: value for key, value in entry.items() if key != "timing"} for entry in entries]
        else:
            found[name] = path.read_bytes()
    return found
