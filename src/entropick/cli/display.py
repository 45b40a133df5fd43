"""What a person sees of a running study: nested bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from entropick.run import Event
from entropick.study import ArmEvent, Study


class Display:
    """The observer of a study; a context manager, because bars must be taken down again."""

    def __init__(self, study: Study, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._n_iterations = {arm: loop.n_iterations for arm, loop in study.arms.items()}
        total = sum(run.loop.n_iterations for run in study.arm_runs())
        self._bars = _Bars(console, total) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.progress.stop()

    def __call__(self, event: ArmEvent) -> None:
        """Show one event."""
        if self._bars:
            self._bars.show(event, self._n_iterations[event.arm])
        elif event.event.status in ("done", "linked") and event.event.iteration > 0:
            self._line(event)

    def _line(self, event: ArmEvent) -> None:
        inner, total = event.event, self._n_iterations[event.arm]
        if inner.stage == "iteration":
            return
        how = " (shared with another arm)" if inner.status == "linked" else ""
        self._console.print(
            f"[{time.monotonic() - self._started:6.1f} s] {event.arm} seed {event.seed} "
            f"iteration {inner.iteration}/{total} {inner.stage}{how}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


class _Bars:
    """One bar for the study, one for each arm at work."""

    def __init__(self, console: Console, total: int) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
        )
        self._study = self.progress.add_task("study, iterations", total=total, note="")
        self._arms: dict[tuple[str, int], TaskID] = {}

    def show(self, event: ArmEvent, n_iterations: int) -> None:
        key, inner = (event.arm, event.seed), event.event
        if inner.stage == "iteration":
            self.progress.advance(self._study)
            if inner.iteration == n_iterations and key in self._arms:
                self.progress.remove_task(self._arms.pop(key))
            return
        if key not in self._arms:
            self._arms[key] = self.progress.add_task("", total=None, note="")
        self.progress.update(self._arms[key], **_bar(event, inner, n_iterations))


def _bar(event: ArmEvent, inner: Event, n_iterations: int) -> dict[str, Any]:
    return {
        "description": f"  {event.arm} seed {event.seed}, iteration {inner.iteration}/{n_iterations}: {inner.stage}",
        "completed": inner.done,
        "total": inner.total or None,
        "note": inner.note,
    }


def print_summary(folder: Path, console: Console) -> None:
    """Print the last iteration of every arm, averaged over its seeds."""
    from entropick.report.summary import summary_table

    rows = summary_table(folder)
    if not rows:
        return
    columns = list(rows[0])
    table = Table(*columns, title=None)
    for row in rows:
        table.add_row(*(_cell(row.get(column)) for column in columns))
    console.print(table)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    return "-" if value is None else str(value)
