"""Trackio: a local database by default; a Space or a server where Trackio's own settings name one."""

from __future__ import annotations

import contextlib
import contextvars
import io
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from entropick.errors import InputError
from entropick.tracking.points import Point
from entropick.tracking.tracker import Tracker, TrackerRun

_PLACE = "TRACKIO_DIR"


class Trackio(Tracker):
    """A run of Trackio for each run of the study, in a project of its name.

    It is kept on this machine, unless ``TRACKIO_SPACE_ID`` or ``TRACKIO_SERVER_URL`` says where it goes.
    """

    kind: ClassVar[str] = "trackio"
    package: ClassVar[str] = "trackio"

    def check(self) -> None:
        """MissingDependency without Trackio; InputError where it works in another folder already."""
        wanted = None if self.place is None else str(self.place.absolute())
        if wanted is not None and "trackio" in sys.modules and os.environ.get(_PLACE) != wanted:
            raise InputError(
                f"--log trackio:{self.place}: expected to be the first to import trackio in this process, which reads "
                f"{_PLACE} then. Set that variable before Python starts."
            )
        if wanted is not None:
            os.environ[_PLACE] = wanted
        with _silence():
            super().check()

    def has(self, name: str) -> bool:
        """Whether the project has a run of the name on this machine."""
        return _last_step(self.project, name) is not None

    def open(self, name: str, key: str, config: Mapping[str, Any], last: int) -> TrackerRun:
        """The run of the name, with all that it has."""
        return _Run(self.project, name, config, last)

    def where(self) -> str:
        """The command that shows it."""
        place = f"{_PLACE}={self.place} " if self.place else ""
        return f"{place}trackio show --project {self.project!r}"


class _Run(TrackerRun):
    # A thread of Trackio's writes twice a second.
    keeps_at_once = False

    def __init__(self, project: str, name: str, config: Mapping[str, Any], last: int) -> None:
        import trackio

        # What was still queued when a run was killed is not in the database, whatever was handed over.
        stored = _last_step(project, name)
        is_local = not any(os.environ.get(name) for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"))
        self._last = stored if stored is not None else -1 if is_local else last
        with _silence():
            # In a context of its own: Trackio ends the run that is open in the same one.
            self._run: Any = contextvars.Context().run(
                trackio.init, project=project, name=name, config=dict(config), resume="allow", embed=False
            )

    def log(self, point: Point) -> None:
        if point.iteration <= self._last:
            return
        import trackio

        images = {name: trackio.Image(image) for name, image in point.images.items()}
        with _silence():
            self._run.log({**point.values, **images}, step=point.iteration)
        self._last = point.iteration

    def finish(self) -> None:
        with _silence():
            self._run.finish()


def _last_step(project: str, name: str) -> int | None:
    """The last step of the run in the local database; None where there is none."""
    from trackio.sqlite_storage import SQLiteStorage

    with _silence():
        step = SQLiteStorage.get_max_step_for_run(project, name)
    return None if step is None else int(step)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Without what Trackio prints; only the command line prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
