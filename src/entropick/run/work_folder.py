"""The work folder: checkpoints of stages under way, and pointers by which runs find each other's results.

All that lies in it can be computed again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.errors import BudgetSpent, RunDamaged
from entropick.run.files import (
    canonical_json,
    file_lock,
    fingerprint,
    hash_file,
    read_json,
    storage_errors,
    write_atomic,
    write_json,
)
from entropick.run.ledger import LEDGER, Entry, intact_entries
from entropick.work import Arrays, State, Work, asked_to_stop, stopped

_KEPT = 2


@dataclass
class Pace:
    """When to save and when to stop.

    `checkpoint_seconds` is the time between checkpoints inside a stage; `deadline` a ``time.monotonic()``, whatever the
    clock is set to, after which the next safe moment ends the run, or None.
    """

    checkpoint_seconds: float = 60.0
    deadline: float | None = None
    _saved_at: float = field(default_factory=time.monotonic, init=False)

    def due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.spent() or time.monotonic() - self._saved_at >= self.checkpoint_seconds

    def spent(self) -> bool:
        """Whether the budget is spent, or a signal has asked to stop."""
        return bool(asked_to_stop()) or (self.deadline is not None and time.monotonic() >= self.deadline)

    def saved(self) -> None:
        """A checkpoint is safe: start counting anew, and end here if the budget is spent."""
        self._saved_at = time.monotonic()
        self.stop_if_spent()

    def stop_if_spent(self) -> None:
        """Raise BudgetSpent if it is time to stop."""
        if asked_to_stop():
            raise BudgetSpent(stopped("everything so far is saved"))
        if self.spent():
            raise BudgetSpent("the time budget is spent; everything so far is saved. Repeat the same command to go on.")


class StageWork(Work):
    """Checkpoints in `folder`: of each name the two newest, hashed; a damaged one is passed over for the older.

    What was chosen for all stages lies beside it.
    """

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

    def choice(self, question: str) -> str | None:
        """What the file says; None of one that cannot be read."""
        with contextlib.suppress(OSError, RunDamaged, KeyError, TypeError):
            found = read_json(self._choice_file(question))
            return str(found["choice"]) if found["question"] == question else None
        return None

    def choose(self, question: str, answer: str) -> str:
        """Write it down, unless another process was first."""
        path = self._choice_file(question)
        with waiting_lock(path.with_suffix(".lock")):
            chosen = self.choice(question) or answer
            write_json(path, {"question": question, "choice": chosen})
        return chosen

    def _choice_file(self, question: str) -> Path:
        return self._folder.parent / "choices" / f"{fingerprint(question)[:16]}.json"

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


@contextlib.contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Wait for a lock that only spares work: equal results may be computed twice, so where none can be had, go on."""
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(file_lock(path))
        yield


class Shared:
    """An index ``key -> run directory`` in a folder beside the runs.

    The index holds pointers only; the truth stays in the ledgers, so a lost or stale pointer costs a recomputation and
    nothing else.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Hold the right to compute `key`: another process that wants the same result waits for it here."""
        with waiting_lock(self.folder / f"{key}.lock"):
            yield

    def find(self, key: str) -> tuple[Path, Entry] | None:
        """The run directory that has the result `key`, and its ledger entry.

        Files are hashed again: damage is not linked, where it would come back after every repair.
        """
        found = self._locate(key)
        return found if found and _is_intact(*found) else None

    def _locate(
        self, key: str, read: Callable[[Path], tuple[list[Entry], int, str | None]] = intact_entries
    ) -> tuple[Path, Entry] | None:
        try:
            run = (self.folder / read_json(self.folder / f"{key}.json")["run"]).resolve()
        except (OSError, RunDamaged, KeyError, TypeError, ValueError):
            return None
        entries, _, _ = read(run / LEDGER)
        return next(((run, entry) for entry in entries if entry.key == key and _is_present(run, entry)), None)

    def tidy(self) -> None:
        """Remove the locks, once nobody else can hold one."""
        for lock in self.folder.glob("*.lock"):
            with contextlib.suppress(OSError):
                lock.unlink(missing_ok=True)

    def adopt(self, other: Shared) -> None:
        """Take over what another index points to, where this one knows nothing of its own."""
        # A ledger has many results; it is read once.
        read = functools.cache(intact_entries)
        for pointer in other.folder.glob("*.json"):
            found = other._locate(pointer.stem, read)
            if found and not self._locate(pointer.stem, read):
                self.publish(pointer.stem, found[0])

    def publish(self, key: str, run: Path) -> None:
        """Tell the others that `run` has the result `key`."""
        write_json(self.folder / f"{key}.json", {"run": os.path.relpath(run, self.folder)})


def _is_present(run: Path, entry: Entry) -> bool:
    paths = {run / name: record.bytes for name, record in entry.files.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _is_intact(run: Path, entry: Entry) -> bool:
    with contextlib.suppress(OSError):
        return all(hash_file(run / name) == record for name, record in entry.files.items())
    return False
