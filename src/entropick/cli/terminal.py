"""Where the commands print, and how: lines, columns, the progress of one command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from entropick.work import Work


class Terminal(Console):
    """A console whose broken pipe is an error that `main` handles; rich would exit with code 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error."""
        raise BrokenPipeError


def print_anything() -> None:
    """Print letters that the terminal's encoding does not have as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def print_columns(lines: Sequence[Sequence[str]], console: Console) -> None:
    """Print lines of cells in columns, the first to the left, never cut or wrapped; the first line is the heading."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text = "  ".join([line[0].ljust(widths[0]), *cells])
        console.print(text, style="bold" if line is lines[0] else None, soft_wrap=True, highlight=False, markup=False)


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

    def __exit__(self, *error: object) -> None:
        if self._task is not None:
            self._progress.stop()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Show it."""
        if self._task is not None:
            self._progress.update(self._task, description=note, completed=done, total=total)
