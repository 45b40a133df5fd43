"""The ledger: one line of JSON per finished stage, each sealed with a hash over all lines before it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from entropick.errors import RunDamaged
from entropick.run.files import FileRecord, canonical_json, storage_errors, sync, sync_folder, write_atomic

LEDGER = "ledger.jsonl"


@dataclass(frozen=True)
class Entry:
    """One finished stage.

    Attributes
    ----------
    iteration, stage
        What was done; iteration 0 is the real data.
    key
        Fingerprint of all that the result depends on: settings, seed, and the hashes of the input files.
    files
        Path below the run directory -> its record.
    values
        The stage's numbers, plain JSON.
    timing
        When, how long, and whether the result was shared by another arm. The only part that differs between two runs
        of the same config on the same machine, and therefore not sealed.
    check
        The seal: hash of the previous line's seal and of everything above but `timing`.
    """

    iteration: int
    stage: str
    key: str
    files: dict[str, FileRecord] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, Any] = field(default_factory=dict)
    check: str = ""

    def sealed(self, previous: str) -> str:
        """The seal that this entry must carry after a line sealed with `previous`."""
        body = {key: value for key, value in asdict(self).items() if key not in ("timing", "check")}
        return hashlib.sha256((previous + canonical_json(body)).encode()).hexdigest()[:16]

    def path(self, name: str) -> str:
        """The path, below the run directory, of the stage's file of that name; KeyError if it wrote none."""
        of_iteration = f"iteration-{self.iteration:03d}/{name}"
        if of_iteration in self.files:
            return of_iteration
        if name in self.files:
            return name
        raise KeyError(f"iteration {self.iteration}, stage {self.stage!r} wrote no file {name!r}")

    def has(self, name: str) -> bool:
        """Whether the stage wrote a file of that name."""
        return name in self.files or f"iteration-{self.iteration:03d}/{name}" in self.files

    def to_line(self) -> str:
        """The line of JSON that stands for this entry, with its line end."""
        return canonical_json(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Entry:
        """Read a line; ValueError, KeyError or TypeError if it is not one."""
        fields = json.loads(line)
        if not isinstance(fields["timing"], dict):
            raise TypeError("timing")
        fields["files"] = {path: FileRecord(**record) for path, record in fields["files"].items()}
        return cls(**fields)


class Ledger:
    """The entries of one run directory, in memory and on disk.

    A torn last line (the process died while it was appended) is what a crash leaves: it is not part of the ledger, and
    the next append replaces it. Any other damage raises RunDamaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LEDGER
        self._entries, self.n_bytes = _read(self.path)
        self._by_name = {(entry.iteration, entry.stage): entry for entry in self._entries}

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, iteration: int, stage: str) -> Entry | None:
        """The entry of a finished stage, or None."""
        return self._by_name.get((iteration, stage))

    @property
    def seal(self) -> str:
        """The last line's check: equal for two runs exactly when all their results are equal."""
        return self._entries[-1].check if self._entries else ""

    def append(self, entry: Entry) -> Entry:
        """Seal `entry`, write it as the next line and fsync; return it as it will be read again."""
        line = Entry(**{**vars(entry), "check": entry.sealed(self.seal)}).to_line().encode()
        entry = Entry.from_line(line.decode())
        with storage_errors(self.path), open(self.path, "ab", buffering=0) as file:
            file.truncate(self.n_bytes)
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                sync(file.fileno())
                if not self.n_bytes:
                    sync_folder(self.path.parent)
            except OSError:
                # A full disk may have taken half of the line: leave the ledger as it was.
                file.truncate(self.n_bytes)
                raise
        self.n_bytes += len(line)
        self._entries.append(entry)
        self._by_name[entry.iteration, entry.stage] = entry
        return entry

    def cut(self, entry: Entry) -> None:
        """Forget an entry and all that came after it; their files stay until others take their place."""
        kept = self._entries[: self._entries.index(entry)]
        lines = "".join(of.to_line() for of in kept).encode()
        write_atomic(self.path, lambda stream: stream.write(lines))
        self._entries, self.n_bytes = kept, len(lines)
        self._by_name = {(of.iteration, of.stage): of for of in kept}


def intact_entries(path: Path) -> tuple[list[Entry], int, str | None]:
    """Read a ledger up to its first damaged line.

    Returns
    -------
    (entries, n_bytes, damage)
        The intact entries, how many bytes they take, and a sentence about the damaged line, or None.
    """
    entries: list[Entry] = []
    length = 0
    if not os.path.lexists(path):
        return entries, length, None
    if not path.is_file():
        return entries, length, f"{path} is not a file"
    for number, raw in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        if not raw.endswith(b"\n"):
            break
        try:
            entry = Entry.from_line(raw.decode())
            reason = "" if entry.check == entry.sealed(entries[-1].check if entries else "") else "its seal is broken"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            reason = "it is not a ledger entry"
        if reason:
            return entries, length, f"{path}: line {number} is damaged: {reason}"
        entries.append(entry)
        length += len(raw)
    return entries, length, None


def _read(path: Path) -> tuple[list[Entry], int]:
    entries, length, damage = intact_entries(path)
    if damage is not None:
        raise RunDamaged(
            f"{damage}. Restore the file, or run `entropick verify {path.parent} --repair`, which keeps the "
            f"{len(entries)} lines before it; the same command then computes the rest anew."
        )
    return entries, length
