"""What a person sees of a running study: nested bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

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

from entropick.loop.study import ArmEvent, Study
from entropick.run import Event, Place

if TYPE_CHECKING:
    from entropick.report.table import Spread

# Without bars, a stage at work gives a sign of life this often.
_SECONDS_BETWEEN_LINES = 30.0


class Display:
    """The observer of a study; a context manager, because bars must be taken down again."""

    def __init__(self, study: Study, console: Console) -> None:
        self._n_iterations = {arm: loop.n_iterations for arm, loop in study.arms.items()}
        total = sum(run.loop.n_iterations for run in study.arm_runs())
        self._bars = _Bars(console, total) if console.is_terminal else None
        self._lines = None if self._bars else _Lines(console, self._n_iterations)

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
            self._bars.show(event, self._n_iterations[event.place.arm])
        elif self._lines:
            self._lines.show(event)


class _Lines:
    """A line for every stage that ends, and now and then one for a stage that takes its time."""

    def __init__(self, console: Console, n_iterations: dict[str, int]) -> None:
        self._console = console
        self._n_iterations = n_iterations
        self._started = time.monotonic()
        self._stage_began: dict[Place, float] = {}
        self._told: dict[Place, float] = {}

    def show(self, event: ArmEvent) -> None:
        key, inner, now = event.place, event.event, time.monotonic()
        if inner.stage == "iteration" or inner.status == "kept":
            return
        if inner.status == "running" and inner.done == 0:
            self._stage_began[key] = self._told[key] = now
        elif inner.status == "running" and now - self._told.get(key, now) >= _SECONDS_BETWEEN_LINES:
            self._told[key] = now
            left = (now - self._stage_began[key]) * (inner.total - inner.done) / inner.done
            self._print(event, f"{inner.done:,} of {inner.total:,}, {left:.0f} s left {inner.note}".rstrip())
        elif inner.status in ("done", "linked") and inner.iteration > 0:
            self._print(event, "shared with another arm" if inner.status == "linked" else "done")

    def _print(self, event: ArmEvent, what: str) -> None:
        inner, total = event.event, self._n_iterations[event.place.arm]
        self._console.print(
            f"[{time.monotonic() - self._started:6.1f} s] {_name(event.place)} "
            f"iteration {inner.iteration}/{total} {inner.stage}: {what}",
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
        self._arms: dict[Place, TaskID] = {}

    def show(self, event: ArmEvent, n_iterations: int) -> None:
        key, inner = event.place, event.event
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
        "description": f"  {_name(event.place)}, iteration {inner.iteration}/{n_iterations}: {inner.stage}",
        "completed": inner.done,
        "total": inner.total or 1,
        "note": inner.note,
    }


def _name(place: Place) -> str:
    size = "" if place.size is None else f" size {place.size}"
    return f"{place.arm}{size} seed {place.seed}"


def print_summary(folder: Path, console: Console) -> None:
    """Print what the last iteration of every arm measured, averaged over its seeds, below what real data scores."""
    from entropick.metrics.suite import REGISTRY
    from entropick.page.words import split_key, words
    from entropick.report import read_table

    table = read_table(folder)
    study = table.study
    names = dict.fromkeys([*REGISTRY.built_in, *(split_key(key)[0] for key in table.measures)])
    # The page has the others.
    headings = {name: words(name).summary for name in names if words(name).summary}
    for space in dict.fromkeys(split_key(key)[1] for key in table.measures):
        shown = [f"{name}/{space}" for name in headings]
        lines = [["real data", "0", *(_mean(table.real(key)) for key in shown), "-"]]
        for arm in study.arms:
            if (last := arm.last) is not None:
                values = [_mean(table.over_seeds(arm, last, key)) for key in shown]
                lines.append([arm.name, str(last), *values, _number(table.real_share(arm, last) or 0.0)])
        seeds = f", means over {len(study.seeds)} seeds" if len(study.seeds) > 1 else ""
        print_columns([[f"{space}{seeds}", "iter.", *headings.values(), "real"], *lines], console)
    console.print("GS: generalization score. real: share of real images in the training set.", highlight=False)
    for sentence in study.unfinished:
        console.print(f"not finished: {sentence}", soft_wrap=True, highlight=False, markup=False)


def print_columns(lines: Sequence[Sequence[str]], console: Console) -> None:
    """Print lines of cells in columns, the first to the left, never cut or wrapped; the first line is the heading."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text = "  ".join([line[0].ljust(widths[0]), *cells])
        console.print(text, style="bold" if line is lines[0] else None, soft_wrap=True, highlight=False, markup=False)


def _mean(spread: Spread | None) -> str:
    return "-" if spread is None else _number(spread.mean)


def _number(value: float) -> str:
    return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"
