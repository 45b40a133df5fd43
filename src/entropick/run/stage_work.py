"""A stage at work: its checkpoints on disk, its progress passed on, its time budget watched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.errors import BudgetSpent
from entropick.run.files import canonical_json, write_atomic
from entropick.work import Arrays, State, Work

_KEPT = 2


@dataclass
class Pace:
    """When to save and when to stop.

    `checkpoint_seconds` is the time between checkpoints inside a stage; `deadline` a ``time.time()`` after which the
    next safe moment ends the run, or None.
    """

    checkpoint_seconds: float = 60.0
    deadline: float | None = None
    _saved_at: float = field(default_factory=time.monotonic, init=False)

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.spent() or time.monotonic() - self._saved_at >= self.checkpoint_seconds

    def spent(self) -> bool:
        """Whether the budget is spent."""
        return self.deadline is not None and time.time() >= self.deadline

    def saved(self) -> None:
        """A checkpoint is safe: start counting anew, and end here if the budget is spent."""
        self._saved_at = time.monotonic()
        self.stop_if_spent()

    def stop_if_spent(self) -> None:
        """Raise BudgetSpent if the budget is spent."""
        if self.spent():
            raise BudgetSpent("the time budget is spent; everything so far is saved. Repeat the same command to go on.")


class StageWork(Work):
    """Checkpoints in `folder`: of each name the two newest, hashed; a damaged one is passed over for the older."""

    def __init__(self, folder: Path, pace: Pace, tell: Callable[[int, int, str], None]) -> None:
        self._folder = folder
        self._pace = pace
        self._tell = tell

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Pass the progress on."""
        self._tell(done, total, note)

    def due(self) -> bool:
        """Whether the pace wants a checkpoint."""
        return self._pace.due()

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        """Write a checkpoint, remove the last but one, and raise BudgetSpent if it is time to stop."""
        from safetensors.numpy import save

        contiguous = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        metadata = {"state": canonical_json(state), "sha256": _digest(contiguous, state)}
        existing = self._checkpoints(name)
        serial = existing[-1][0] + 1 if existing else 0
        data = save(contiguous, metadata=metadata)
        write_atomic(self._folder / f"{name}-{serial:06d}.safetensors", lambda stream: stream.write(data))
        for _, path in existing[: len(existing) + 1 - _KEPT]:
            path.unlink(missing_ok=True)
        self._pace.saved()

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        """The newest checkpoint that is intact, or None."""
        for _, path in reversed(self._checkpoints(name)):
            with contextlib.suppress(Exception):
                arrays, metadata = _read_checkpoint(path)
                state = json.loads(metadata["state"])
                if metadata["sha256"] == _digest(arrays, state):
                    return arrays, state
        return None

    def clear(self) -> None:
        """Remove all checkpoints: the stage is done, its ledger line exists."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _checkpoints(self, name: str) -> list[tuple[int, Path]]:
        paths = self._folder.glob(f"{name}-[0-9]*.safetensors")
        return sorted((int(path.stem.rpartition("-")[2]), path) for path in paths)


def _read_checkpoint(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118 - not a mapping


def _digest(arrays: Arrays, state: State) -> str:
    digest = hashlib.sha256(canonical_json(state).encode())
    for name in sorted(arrays):
        digest.update(f"{name}{arrays[name].dtype.str}{arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()
