"""The run directory: the only way to results, and the only place that writes them."""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from entropick.errors import RunChanged, RunDamaged
from entropick.run.files import (
    FileRecord,
    hash_file,
    link_or_copy,
    read_content,
    remove_partial,
    write_content,
)
from entropick.run.folder import MAY_GROW, check_config, locked, record_environment
from entropick.run.inputs import Given, Inputs
from entropick.run.ledger import Entry, Ledger
from entropick.run.seal import CONFIG, Seal
from entropick.run.work_folder import Pace, Shared, StageWork
from entropick.work import Work

# Bytes of a run that are hashed when it is opened: a second's work.
_HASHED_AT_ONCE = 1 << 29


@dataclass(frozen=True)
class Outcome:
    """What a stage computed: files by name (see `write_content` for the formats) and numbers.

    A name may have folders in it, ``chosen/0001.png``. The content may be the record of a file that the stage has put
    there itself, such as a copy.
    """

    files: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """One sign of life of a stage: ``done`` of ``total`` steps, or how it ended.

    `status` is "running", "done" (computed now), "linked" (taken from another arm) or "kept" (was there already).
    """

    iteration: int
    stage: str
    done: int = 0
    total: int = 0
    note: str = ""
    status: str = "running"


Observer = Callable[[Event], None]


def ignore(event: Event) -> None:
    """The observer that looks away."""


class Run:
    """An open run directory. Use `Run.open`; every result goes through `stage`."""

    def __init__(
        self,
        seal: Seal,
        shared: Shared,
        pace: Pace,
        observer: Observer,
        by_iteration: bool,
        sharing: Callable[[Work], Work],
    ) -> None:
        self.folder = seal.folder
        self.ledger = Ledger(seal.folder)
        self._seal = seal
        self._by_iteration = by_iteration
        self._sharing = sharing
        self._shared = shared
        self._pace = pace
        self._observer = observer
        self._verified: set[str] = set()
        self._check_files()
        if self.ledger.n_bytes > seal.ledger["bytes"]:
            seal.promise_ledger(self.ledger.n_bytes)

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        folder: Path,
        config: Mapping[str, Any],
        *,
        shared: Path | None = None,
        pace: Pace | None = None,
        observer: Observer = ignore,
        wait_seconds: float = 0.0,
        by_iteration: bool = True,
        sharing: Callable[[Work], Work] = lambda work: work,
    ) -> Iterator[Run]:
        """Open or create the run directory for `config` and hold its lock.

        Parameters
        ----------
        folder, config
            Where, and what it is made with.
        shared
            The folder of checkpoints and of the index through which several runs find each other's results; None:
            ``work`` in the run directory.
        pace
            Seconds between checkpoints, and a deadline.
        observer
            Called with an `Event` at every sign of life.
        wait_seconds
            How long to wait for another process to leave the directory.
        by_iteration
            Whether the files of a stage lie in a folder of its iteration, as in a loop, or in the run directory itself.
        sharing
            What the work of every stage goes through, so that several processes may do it.

        Raises
        ------
        RunLocked
            Another process works in it.
        RunChanged
            It was made with another config; the message is a diff. More iterations than before are allowed.
        RunDamaged
            Its ledger or one of its files is not what was written.
        """
        with locked(folder, wait_seconds=wait_seconds):
            check_config(folder, config, may_grow=MAY_GROW)
            remove_partial(folder)
            seal = Seal(folder)
            seal.write(CONFIG, config)
            record_environment(seal)
            index = Shared(folder / "work" if shared is None else shared)
            yield cls(seal, index, pace or Pace(), observer, by_iteration, sharing)
            if shared is None:
                index.tidy()

    def stage(
        self,
        iteration: int,
        stage: str,
        inputs: Inputs,
        compute: Callable[[Given, Work], Outcome],
        *,
        may_change: bool = False,
    ) -> Entry:
        """Return the entry of a stage: from the ledger, from another arm of the study, or by computing it now.

        `inputs` is everything that the result is a function of, and what `compute` can reach. A stage that
        `may_change` is made anew from other inputs, and with it all that came after it; else they are RunChanged.
        """
        key = inputs.key(iteration, stage)
        if (entry := self.ledger.find(iteration, stage)) and entry.key != key and may_change:
            self._seal.promise_ledger(0)
            self.ledger.cut(entry)
        if entry := self.ledger.find(iteration, stage):
            if entry.key != key:
                raise RunChanged(
                    f"{self.folder}: iteration {iteration}, stage {stage!r} was computed from other inputs "
                    "(another version of entropick, or data that changed). Use a new directory."
                )
            self._settle(key)
            self._observer(Event(iteration, stage, status="kept"))
            return entry
        with self._shared.held(key):
            if found := self._shared.find(key):
                return self._link(*found)
            given = Given(iteration, stage, inputs, self.load)
            entry = self._compute(Entry(iteration, stage, key), functools.partial(compute, given))
            self._shared.publish(key, self.folder)
            return entry

    @property
    def work(self) -> Path:
        """Where checkpoints are, and whatever else can be computed again; the arms of a study share it."""
        return self._shared.folder

    def load(self, entry: Entry, name: str) -> Any:
        """The content of an entry's file; its hash is checked at the first load.

        Raises
        ------
        RunDamaged
            The file is not what the ledger says.
        """
        path = entry.path(name)
        self._check_hash(path, entry.files[path])
        return read_content(self.folder / path)

    def _compute(self, entry: Entry, compute: Callable[[Work], Outcome]) -> Entry:
        self._pace.stop_if_spent()
        started = time.monotonic()

        def tell(done: int, total: int, note: str) -> None:
            self._observer(Event(entry.iteration, entry.stage, done, total, note))

        tell(0, 0, "")
        work = StageWork(self._shared.folder / entry.key, self._pace, tell)
        outcome = compute(self._sharing(work))
        below = f"iteration-{entry.iteration:03d}/" if self._by_iteration else ""
        files = {
            f"{below}{name}": write_content(self.folder / f"{below}{name}", content)
            for name, content in outcome.files.items()
        }
        self._verified.update(files)
        timing = {"finished": _now(), "seconds": round(time.monotonic() - started, 3)}
        entry = self._append(replace(entry, files=files, values=dict(outcome.values), timing=timing))
        work.clear()
        self._observer(Event(entry.iteration, entry.stage, status="done"))
        return entry

    def _append(self, entry: Entry) -> Entry:
        entry = self.ledger.append(entry)
        self._seal.promise_ledger(self.ledger.n_bytes)
        return entry

    def _settle(self, key: str) -> None:
        """Do what a process that was killed just after its ledger line left undone."""
        checkpoints = self._shared.folder / key
        if checkpoints.exists():
            with self._shared.held(key):
                self._shared.publish(key, self.folder)
                shutil.rmtree(checkpoints, ignore_errors=True)

    def _link(self, other: Path, entry: Entry) -> Entry:
        for path in entry.files:
            link_or_copy(other / path, self.folder / path)
        # Nothing was computed here; what the result took elsewhere goes along, so that arms can be compared at it.
        took = entry.timing.get("took", entry.timing.get("seconds"))
        timing = {"finished": _now(), "seconds": 0.0, "shared_from": other.name, "took": took}
        entry = self._append(replace(entry, timing=timing))
        self._observer(Event(entry.iteration, entry.stage, status="linked"))
        return entry

    def _check_files(self) -> None:
        """All sizes; all hashes too, unless that takes long. A file is hashed before its first use in any case."""
        records = {path: record for entry in self.ledger for path, record in entry.files.items()}
        for path, record in records.items():
            size = (self.folder / path).stat().st_size if (self.folder / path).is_file() else None
            if size != record.bytes:
                came = "it is missing" if size is None else f"it has {size} bytes"
                self._refuse(path, f"expected the {record.bytes} bytes that the ledger names, but {came}")
        if sum(record.bytes for record in records.values()) <= _HASHED_AT_ONCE:
            for path, record in records.items():
                self._check_hash(path, record)

    def _check_hash(self, path: str, record: FileRecord) -> None:
        if path not in self._verified and hash_file(self.folder / path) != record:
            self._refuse(path, "it is not the file that the ledger names (its sha256 differs)")
        self._verified.add(path)

    def _refuse(self, path: str, reason: str) -> NoReturn:
        raise RunDamaged(
            f"{self.folder / path}: {reason}. Restore the file, or run `entropick verify {self.folder} --repair` and "
            "then the same command again."
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
