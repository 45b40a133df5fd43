"""The page of a study at work, kept up to date for little."""

from __future__ import annotations

import math
import time
from pathlib import Path

from entropick.loop.study import ArmEvent, StudyObserver

# Between two pages so many times the time that one took: 2.5 % of the study's time at most.
_PAUSE = 40
# Seconds; a page that took long on a busy machine does not put off the next for hours.
_LONGEST_PAUSE = 300.0
# What the first one is taken to cost, with its imports.
_FIRST_SECONDS = 3.0


class LivePage:
    """An observer that passes events on and writes the page when an iteration is done, unless that was just now."""

    def __init__(self, folder: Path, observer: StudyObserver) -> None:
        self._folder = folder
        self._observer = observer
        self._next = time.monotonic() + _PAUSE * _FIRST_SECONDS

    def __call__(self, event: ArmEvent) -> None:
        """Pass one event on."""
        self._observer(event)
        if event.event.stage == "iteration" and time.monotonic() >= self._next:
            self._write()

    def _write(self) -> None:
        from entropick import report

        started = time.monotonic()
        try:
            report.write_page(self._folder)
        except Exception:
            # No page is worth a study. Whatever is wrong is said when the last page is written.
            self._next = math.inf
            return
        ended = time.monotonic()
        self._next = ended + min(_PAUSE * (ended - started), _LONGEST_PAUSE)
