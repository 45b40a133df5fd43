"""The progress of one command that has no stages."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from entropick.work import Work


class Bar(Work):
    """Progress of whatever is going on, one bar on a terminal and nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._task = self._progress.add_task("", total=None) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._task is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._progress.stop()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Show it."""
        if self._task is not None:
            self._progress.update(self._task, description=note, completed=done, total=total)
