"""Rows of features on the disk, by the key of their image, in parts that say themselves what is in them.

A part is an array beside a note of the keys of its rows and of its own hash. There is no index beside them that could
be lost or wrong: whoever looks for rows reads the notes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from entropick.arrays import Features
from entropick.errors import RunDamaged
from entropick.run.files import hash_file, read_content, read_json, write_content, write_json
from entropick.run.work_folder import waiting_lock

# How many parts may have fewer rows than a full one before they are put together.
_LOOSE = 8
# Processes that want the same rows wait for each other; those that want others seldom do.
_N_LOCKS = 64
_KEY_BYTES = 32

Place = Callable[[Sequence[int], Features], None]
"""Takes the features of some rows, float32 ``(len(rows), d)``."""


class Part(NamedTuple):
    """What the note of a part says: where it is, the hash (hexadecimal) of its file, the keys of its rows."""

    path: Path
    sha256: str
    keys: list[bytes]


@dataclass(frozen=True)
class Parts:
    """The parts in a folder, which processes may share; `full` is how many rows a part has at most."""

    folder: Path
    full: int

    @contextlib.contextmanager
    def awaited(self, keys: Sequence[bytes | None]) -> Iterator[None]:
        """Hold the right to make the rows of these keys: another process that wants the same waits for it here."""
        digest = hashlib.sha256(b"".join(key or b"" for key in keys)).digest()
        with waiting_lock(self.folder / f".lock-{digest[0] % _N_LOCKS}"):
            yield

    def place(self, keys: Sequence[bytes | None], place: Place) -> list[int]:
        """Give `place` what is kept, by the numbers of its `keys`; the numbers of the others, ascending.

        A part that is not what was written is removed, and what was in it counts as not kept.
        """
        todo: dict[bytes, list[int]] = {}
        for number, key in enumerate(keys):
            if key is not None:
                todo.setdefault(key, []).append(number)
        with self._held():
            for part in self._parts():
                wanted = [(row, key) for row, key in enumerate(part.keys) if key in todo]
                if wanted and (X := self._intact(part)) is not None:
                    found = [(row, number) for row, key in wanted for number in todo.pop(key, ())]
                    place([number for _, number in found], X[[row for row, _ in found]])
        return sorted([n for of in todo.values() for n in of] + [n for n, key in enumerate(keys) if key is None])

    def keep(self, keys: Sequence[bytes], X: Features) -> None:
        """Keep rows as a part of their own."""
        with self._held():
            self._write(keys, X)

    def put_together(self) -> None:
        """Make full parts of small ones, once there are many: so there are few more files than the rows need."""
        with self._held():
            parts = list(self._parts())
            small = [part for part in parts if len(part.keys) < self.full]
            if len(small) <= _LOOSE:
                return
            known = {key for part in parts if len(part.keys) >= self.full for key in part.keys}
            # An encoder may have rows of several widths, for images of several sizes.
            by_width: dict[int, tuple[list[bytes], list[Features]]] = {}
            for part in small:
                if (X := self._intact(part)) is not None:
                    fresh = [row for row, key in enumerate(part.keys) if key not in known]
                    known |= set(part.keys)
                    keys, rows = by_width.setdefault(X.shape[1], ([], []))
                    keys += [part.keys[row] for row in fresh]
                    rows.append(X[fresh])
            for keys, rows in by_width.values():
                together = np.concatenate(rows)
                for start in range(0, len(keys), self.full):
                    self._write(keys[start : start + self.full], together[start : start + self.full])
            # Last: who is killed before has rows twice, and none less.
            for part in small:
                _remove(part.path)

    def _held(self) -> contextlib.AbstractContextManager[None]:
        return waiting_lock(self.folder / ".lock")

    def _write(self, keys: Sequence[bytes], X: Features) -> None:
        numbers = [int(path.stem) for path in self.folder.glob("[0-9]*.*") if path.stem.isdigit()]
        path = self.folder / f"{max(numbers, default=-1) + 1:09d}.npy"
        record = write_content(path, X)
        write_json(_note(path), {"sha256": record.sha256, "keys": b"".join(keys).hex()})

    def _parts(self) -> Iterator[Part]:
        """All parts whose notes can be read; what a killed process has left without one is removed."""
        for path in sorted(self.folder.glob("[0-9]*.npy")):
            try:
                known = read_json(_note(path))
                content = bytes.fromhex(known["keys"])
                keys = [content[start : start + _KEY_BYTES] for start in range(0, len(content), _KEY_BYTES)]
                yield Part(path, str(known["sha256"]), keys)
            except (OSError, RunDamaged, TypeError, KeyError, ValueError):
                _remove(path)

    def _intact(self, part: Part) -> Features | None:
        """The rows of a part, as a memory map; None, and it is removed, if they are not what was written."""
        try:
            if part.sha256 == hash_file(part.path).sha256:
                X: Features = read_content(part.path)
                if X.ndim == 2 and len(X) == len(part.keys):
                    return X
        except (OSError, RunDamaged):
            pass
        _remove(part.path)
        return None


def _note(path: Path) -> Path:
    return path.with_suffix(".json")


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        _note(path).unlink(missing_ok=True)
