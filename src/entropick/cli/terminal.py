"""Where the commands print, and how: lines, columns, the progress of one command."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from entropick.sources import on_one_line
from entropick.work import Work

# Where there is no terminal, what is at work prints a line this often.
SECONDS_BETWEEN_LINES = 10.0


class Terminal(Console):
    """A console whose broken pipe is an error that `main` handles; rich would exit with code 1."""

    def on_broken_pipe(self) -> None:
        """Raise the error."""
        raise BrokenPipeError

    def print(self, *objects: Any, **how: Any) -> None:
        """Print, no text with codes that a terminal would obey: names and classes may hold some."""
        super().print(*(harmless(of) if isinstance(of, str) else of for of in objects), **how)


def harmless(text: str) -> str:
    """Lines of text in which codes that a terminal would obey are escapes."""
    return "\n".join(map(on_one_line, text.split("\n")))


@contextlib.contextmanager
def steady_output() -> Iterator[None]:
    """Within, no output stops the work: letters that an encoding does not have are printed as escapes, and what cannot
    be written (a full disk, a closed file) is said once on stderr. A broken pipe stays an error.
    """
    with contextlib.ExitStack() as stack:
        for redirect, stream in ((contextlib.redirect_stderr, sys.stderr), (contextlib.redirect_stdout, sys.stdout)):
            # A closed stream is None; its number must not go to the next file that is opened, where others print too.
            stream = stream or stack.enter_context(open(os.devnull, "w"))
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
            stack.enter_context(redirect(_Steady(stream)))
        yield


class _Steady:
    """A stream of text that leaves off writing once it cannot."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, if that is possible."""
        self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Flush, if that is possible."""
        self._attempt(self._stream.flush)

    def _attempt(self, act: Callable[..., Any], *args: Any) -> None:
        if self._is_lost:
            return
        try:
            act(*args)
        except BrokenPipeError:
            raise
        except OSError as error:
            self._is_lost = True
            # What is buffered still has to go somewhere when Python ends.
            with contextlib.suppress(OSError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self._stream.fileno())
            if sys.stderr is not self:
                why = error.strerror or error
                print(
                    f"entropick: warning: the output cannot be written ({why}); going on without it.", file=sys.stderr
                )


def print_columns(lines: Sequence[Sequence[str]], console: Console) -> None:
    """Print lines of cells in columns, the first to the left, never cut or wrapped; the first line is the heading."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text = "  ".join([line[0].ljust(widths[0]), *cells])
        console.print(text, style="bold" if line is lines[0] else None, soft_wrap=True, highlight=False, markup=False)


class Bar(Work):
    """Progress of whatever is going on: one bar on a terminal, elsewhere now and then a line."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        rate = TextColumn("{task.fields[rate]}", markup=False)
        self._console = console
        self._progress = Progress(*columns, rate, TimeRemainingColumn(), console=console, transient=True)
        self._task = self._progress.add_task("", total=None, rate="") if console.is_terminal else None
        self._pace = Pace()

    def __enter__(self) -> Self:
        if self._task is not None:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._task is not None:
            self._progress.stop()

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Show it."""
        is_due = self._pace.counts(note, done)
        if self._task is not None:
            rate = self._pace.rate(done)
            self._progress.update(self._task, description=note, completed=done, total=total, rate=rate)
        elif is_due:
            told = self._pace.told(done, total)
            self._console.print(f"{note}: {told}" if note else told, soft_wrap=True, highlight=False, markup=False)


class Pace:
    """How fast one thing after another goes on, and when it is time for a line about it."""

    def __init__(self) -> None:
        self._what: str | None = None
        self._began = self._last_line = 0.0
        self._first = 0

    def counts(self, what: str, done: int) -> bool:
        """Note how far `what` is; whether a line is due."""
        now = time.monotonic()
        if what != self._what or done < self._first:
            self._what, self._began, self._first = what, now, done
            # Many short things in a row are told like one long one.
            self._last_line = self._last_line or now
        if now - self._last_line < SECONDS_BETWEEN_LINES:
            return False
        self._last_line = now
        return True

    def rate(self, done: int) -> str:
        """How many in a second, since it began; "" while that is not known."""
        seconds, n = time.monotonic() - self._began, done - self._first
        return f"{n / seconds:,.3g}/s" if seconds > 0.5 and n > 0 else ""

    def told(self, done: int, total: int) -> str:
        """How far, how fast, and how long it will take: ``1,024 of 5,000, 85/s, 47 s left``."""
        parts = [f"{done:,} of {total:,}" if total else f"{done:,}"]
        if rate := self.rate(done):
            seconds = (time.monotonic() - self._began) * (total - done) / (done - self._first)
            parts += [rate, f"{seconds:,.0f} s left"] if total else [rate]
        return ", ".join(parts)
