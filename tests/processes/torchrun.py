"""Commands under ``torchrun`` that talk to nobody outside of this machine; nothing of them is left on the way out."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from fresh_python import SRC

_SECONDS = 300
_HERE = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")
_MARK = "ENTROPICK_TEST"


class Torchrun:
    """A command in `n` processes; every one of them is a session of its own, so all are known by a mark."""

    def __init__(self, n, *command):
        self._mark = uuid.uuid4().hex
        environment = {"PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "COLUMNS": "200", _MARK: self._mark}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *_HERE, f"--nproc-per-node={n}", *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **environment},
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.process.kill()
        for pid in self.ranks().values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=_SECONDS)

    def ended(self):
        """Exit code and all that was said; no process is left."""
        said, _ = self.process.communicate(timeout=_SECONDS)
        wait_until(lambda: not self.ranks())
        return self.process.returncode, said

    def ranks(self):
        """Rank -> process, of those that live; torchrun itself may be gone."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                variables = dict(item.partition("=")[::2] for item in (folder / "environ").read_text().split("\0"))
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if variables.get(_MARK) == self._mark and "RANK" in variables and state not in "ZX":
                    found[int(variables["RANK"])] = int(folder.name)
        return found


def finished(n, *command):
    """The command, left alone: exit code and all that it said."""
    with Torchrun(n, *command) as run:
        return run.ended()


def wait_until(condition):
    """Wait for it, for minutes on a busy machine."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
