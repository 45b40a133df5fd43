"""Results that several run directories of a study need are computed by one of them and linked by the others."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from entropick.errors import RunDamaged
from entropick.run.files import hash_file, read_json, storage_errors, write_json
from entropick.run.ledger import Entry, intact_entries


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
        with storage_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{key}.lock"):
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
        entries, _, _ = read(run / "ledger.jsonl")
        return next(((run, entry) for entry in entries if entry.key == key and _is_present(run, entry)), None)

    def tidy(self) -> None:
        """Remove the locks, once nobody else can hold one."""
        for lock in self.folder.glob("*.lock"):
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
