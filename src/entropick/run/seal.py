"""The seal of a folder: what shows that it is as it was left, where no line of a ledger does.

``.seal.json`` holds copies of the folder's small JSON files, how far its ledger was written and, of a study, which runs
have begun. A killed process leaves a seal that promises less than there is, never more: what it promises is taken out
before it is changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from entropick.errors import RunDamaged
from entropick.run.files import fingerprint, read_json, readable_json, set_aside, write_json
from entropick.run.ledger import LEDGER, intact_entries

SEAL = ".seal.json"
CONFIG, ENVIRONMENT, STUDY = SEALED = ("config.json", "environment.json", "study.json")


class Seal:
    """The seal of `folder`, as it lies on the disk; empty, with a `damage`, where it cannot be read.

    Attributes
    ----------
    damage
        A sentence about the seal itself, or "".
    copies
        The content of each sealed JSON file by its name.
    runs
        The runs of a study that have begun: paths below the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.damage = ""
        self.copies: dict[str, Any] = {}
        self.runs: list[str] = []
        self.ledger: dict[str, Any] = _written(b"")
        path = folder / SEAL
        if not os.path.lexists(path):
            self.damage = f"{path} is missing: it was lost, or an earlier entropick wrote none"
            return
        try:
            told = read_json(path)
            check = told.pop("check")
            if check != fingerprint(told):
                raise ValueError
            self.copies, self.runs, self.ledger = told["copies"], told["runs"], told["ledger"]
        except (RunDamaged, ValueError, KeyError, TypeError, AttributeError):
            self.damage = f"{path} is damaged: it is not a seal"

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file of the folder and its copy, unless both are there already."""
        value = json.loads(readable_json(value))
        if name in self.copies and self._is_as_written(name) and self.copies[name] == value:
            return
        if self.copies.pop(name, None) is not None:
            self._save()
        write_json(self.folder / name, value)
        self.copies[name] = value
        self._save()

    def promise_ledger(self, n_bytes: int) -> None:
        """Seal the first `n_bytes` of the ledger."""
        path = self.folder / LEDGER
        self.ledger = _written(path.read_bytes()[:n_bytes] if n_bytes else b"")
        self._save()

    def promise_runs(self, runs: Iterable[str]) -> None:
        """Seal that these runs have begun."""
        if (runs := sorted(runs)) != self.runs:
            self.runs = runs
            self._save()

    def changed(self) -> list[str]:
        """The names of the sealed JSON files that are not what was written."""
        return [name for name in self.copies if not self._is_as_written(name)]

    def damages(self) -> Iterator[str]:
        """One sentence for all that is not as the seal says; the ledger's own damage is told by its lines."""
        if self.damage:
            yield self.damage
        for name in self.changed():
            yield f"{self.folder / name} is not what was written, of which {SEAL} has a copy"
        for run in self.runs:
            if not any((self.folder / run / name).exists() for name in (LEDGER, SEAL)):
                yield f"{self.folder / run} is missing: the study had begun this run"
        path = self.folder / LEDGER
        _, length, damage = intact_entries(path)
        sealed = self.ledger["bytes"]
        if sealed and not path.exists():
            yield f"{path} is missing: expected at least {sealed} bytes"
        elif damage is None and length < sealed:
            yield f"{path} has lost its end: expected at least {sealed} bytes of whole lines, found {length}"
        elif damage is None and sealed and _written(path.read_bytes()[:sealed]) != self.ledger:
            yield f"{path} is damaged: a time or duration in it is not what was written"

    def repair(self, length: int) -> None:
        """Write from the copies what is not what was written, and seal what is there now: `length` of the ledger."""
        for name in self.changed():
            set_aside(self.folder / name)
            write_json(self.folder / name, self.copies[name])
        if self.damage:
            set_aside(self.folder / SEAL)
            for path in (self.folder / name for name in SEALED if os.path.lexists(self.folder / name)):
                try:
                    self.write(path.name, read_json(path))
                except RunDamaged:
                    # Without a copy nothing can restore it; the same command writes it anew.
                    set_aside(path)
                    path.unlink(missing_ok=True)
        self.runs = [run for run in self.runs if (self.folder / run / LEDGER).exists()]
        self.promise_ledger(length)

    def _is_as_written(self, name: str) -> bool:
        path = self.folder / name
        return path.is_file() and path.read_bytes() == readable_json(self.copies[name])

    def _save(self) -> None:
        told = {"copies": self.copies, "runs": self.runs, "ledger": self.ledger}
        write_json(self.folder / SEAL, {**told, "check": fingerprint(told)})


def _written(data: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
