"""A study beside its trackers: each point once, whatever is killed in between, and no tracker stops a study."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from filelock import Timeout

from entropick.errors import BudgetSpent, EntropickError, ProcessLost, RunDamaged, RunLocked
from entropick.run import LEDGER, STUDY, History, places, read_json, read_study_file, write_json
from entropick.run.files import file_lock
from entropick.tracking.points import points_of
from entropick.tracking.tracker import Tracker, TrackerRun

RECORD = "trackers.json"
_LOCK = ".trackers.lock"


class StudyLog:
    """What trackers are told of the runs in a directory, from their ledgers.

    Which run is which of the tracker's, and how far it was told, is kept in ``trackers.json`` in the directory: what
    goes on there goes on in the tracker. Use it as a context manager, and call `catch_up` whenever there may be more;
    before the first call, nothing is done, for the directory may be another process's. While one process logs a study
    no other does: neither could know what the other has told since it last looked.

    Parameters
    ----------
    folder
        A study directory, or that of a single run.
    trackers
        Where to log.
    warn
        Is given a line when a tracker has failed; it is left out from then on.
    """

    def __init__(self, folder: Path, trackers: Sequence[Tracker], warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._warn = warn
        self._has_begun = False
        self._lock = file_lock(folder / _LOCK)
        self._logs = [_TrackerLog(folder, tracker) for tracker in trackers]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            # A budget that is spent, or a Ctrl-C, is no reason to hold back what is known.
            if self._has_begun or kind is None:
                self.catch_up()
            self._each(lambda log: log.finish())
        finally:
            with contextlib.suppress(OSError):
                self._lock.release()

    def catch_up(self, path: str | None = None) -> None:
        """Tell what is new of all runs, or of the one at this path below the directory; of all at the first call."""
        paths = [path] if path is not None and self._has_begun else self._paths()
        self._has_begun = True
        self._each(lambda log: self._hold())
        self._each(lambda log: log.catch_up(paths))

    def where(self) -> list[str]:
        """How to look at what was logged, a line for each tracker that has not failed."""
        return [f"{log.tracker.kind}: {log.tracker.where()}" for log in self._logs]

    def _paths(self) -> list[str]:
        if (self.folder / STUDY).is_file():
            return [place.path for place in places(read_study_file(self.folder))]
        return [""]

    def _hold(self) -> None:
        """Be the one process that logs the study; where no lock can be had, it is taken to be."""
        if self._lock.is_locked:
            return
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise RunLocked("another process logs this study") from None
        except OSError:
            return

    def _each(self, act: Callable[[_TrackerLog], None]) -> None:
        for log in list(self._logs):
            try:
                act(log)
            except (BudgetSpent, ProcessLost):
                raise
            except Exception as error:  # whatever a tracker does must not stop a study
                self._logs.remove(log)
                reason = str(error) if isinstance(error, EntropickError) else f"{type(error).__name__}: {error}"
                self._warn(
                    f"--log {log.tracker.kind}: going on without it ({' '.join(reason.split())}). "
                    f"`entropick report {self.folder} --log {log.tracker.kind}` logs the rest later."
                )


class _TrackerLog:
    """One tracker, its open runs, and what is remembered of them."""

    def __init__(self, folder: Path, tracker: Tracker) -> None:
        self.tracker = tracker
        self._folder = folder
        self._open: dict[str, TrackerRun] = {}
        # The last iteration that was logged, of each run by its path.
        self._last: dict[str, int] = {}
        # Two places of one tracker are two histories.
        self._name = tracker.kind if tracker.place is None else f"{tracker.kind}:{tracker.place.absolute()}"

    def catch_up(self, paths: Sequence[str]) -> None:
        for path in paths:
            if (self._folder / path / LEDGER).is_file():
                self._catch_up(path, History(self._folder / path))

    def finish(self) -> None:
        for path in list(self._open):
            self._finish(path)

    def _catch_up(self, path: str, history: History) -> None:
        known: dict[str, Any] = {}
        if path not in self._last:
            known = self._known(path)
            self._last[path] = int(known["last"])
        for point in points_of(history, self._last[path]):
            if path not in self._open:
                known = known or self._known(path)
                config = {**_coordinates(path), "study": self.tracker.project, **history.config}
                self._open[path] = self.tracker.open(known["name"], known["key"], config, self._last[path])
            self._open[path].log(point)
            self._last[path] = point.iteration
            if self._open[path].keeps_at_once:
                self._remember(path, last=point.iteration)
        if history.is_finished and path in self._open:
            self._finish(path)

    def _finish(self, path: str) -> None:
        self._open.pop(path).finish()
        self._remember(path, last=self._last[path])

    def _known(self, path: str) -> dict[str, Any]:
        """What the run is called, its key, and the last iteration that is surely kept; made up for a new one."""
        known = self._record().get(self._name, {}).get(path)
        if known is None:
            name = path.removeprefix("arms/") or self._folder.resolve().name
            key = uuid.uuid4().hex[:16]
            # A run of another directory may have the name.
            known = {"name": f"{name} {key[:6]}" if self.tracker.has(name) else name, "key": key, "last": -1}
            self._remember(path, **known)
        elif self.tracker.can_look and not self.tracker.has(known["name"]):
            known = {**known, "last": -1}
        return known

    def _record(self) -> dict[str, dict[str, dict[str, Any]]]:
        file = self._folder / RECORD
        try:
            found = read_json(file) if file.is_file() else {}
        except RunDamaged:  # a record, on which no result depends
            found = {}
        return found if isinstance(found, dict) else {}

    def _remember(self, path: str, **facts: Any) -> None:
        found = self._record()
        of_tracker = found.setdefault(self._name, {})
        of_tracker[path] = {**of_tracker.get(path, {}), **facts}
        write_json(self._folder / RECORD, found)


def _coordinates(path: str) -> dict[str, Any]:
    """Arm, size and seed of a run by its path below the study."""
    arm, *inner = path.removeprefix("arms/").split("/")
    parts = dict(part.split("-", 1) for part in inner if part.startswith(("size-", "seed-")))
    return {"arm": arm, **{name: int(text) for name, text in parts.items()}} if arm else {}
