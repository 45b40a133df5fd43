"""What a person sees of a running study: bars on a terminal, lines elsewhere, and a page kept up to date."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
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

from entropick.cli.terminal import Pace, print_columns
from entropick.errors import ConfigError, TrackerWarning, shown
from entropick.loop.study import ArmEvent, Study, StudyObserver
from entropick.run import Place

if TYPE_CHECKING:
    from entropick.report.table import Spread
    from entropick.tracking import StudyLog

# Between two pages this many times the time that one took: 2.5 % of the study's time at most.
_PAUSE = 40
# Seconds: after a page that took long on a busy machine the next must not wait for hours.
_LONGEST_PAUSE = 300.0
# Taken for the time of the first page, with its imports.
_FIRST_SECONDS = 3.0


class Display:
    """The observer of a study; a context manager, because bars must be taken down again."""

    def __init__(self, study: Study, console: Console) -> None:
        n_iterations = {arm: loop.n_iterations for arm, loop in study.arms.items()}
        total = sum(run.loop.n_iterations for run in study.arm_runs())
        self._bars = _Bars(console, n_iterations, total) if console.is_terminal else None
        self._show = self._bars.show if self._bars else _Lines(console, n_iterations).show

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bars:
            self._bars.progress.stop()

    def __call__(self, event: ArmEvent) -> None:
        """Show one event."""
        self._show(event)


class _Lines:
    """A line for every stage that ends, and now and then one for a stage that takes its time."""

    def __init__(self, console: Console, n_iterations: dict[str, int]) -> None:
        self._console = console
        self._n_iterations = n_iterations
        self._started = time.monotonic()
        self._paces: dict[Place, Pace] = {}

    def show(self, event: ArmEvent) -> None:
        inner = event.event
        if inner.stage == "iteration" or inner.status == "kept":
            return
        if inner.status == "running":
            pace = self._paces.setdefault(event.place, Pace())
            if pace.counts(f"{inner.iteration} {inner.stage}", inner.done) and inner.done:
                self._print(event, f"{pace.told(inner.done, inner.total)} {inner.note}".rstrip())
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

    def __init__(self, console: Console, n_iterations: dict[str, int], total: int) -> None:
        self._n_iterations = n_iterations
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
        )
        self._study = self.progress.add_task("study, iterations", total=total, rate="", note="")
        self._arms: dict[Place, TaskID] = {}
        self._paces: dict[Place, Pace] = {}

    def show(self, event: ArmEvent) -> None:
        key, inner, n_iterations = event.place, event.event, self._n_iterations[event.place.arm]
        if inner.stage == "iteration":
            self.progress.advance(self._study)
            if inner.iteration == n_iterations and key in self._arms:
                self.progress.remove_task(self._arms.pop(key))
            return
        if key not in self._arms:
            self._arms[key] = self.progress.add_task("", total=None, rate="", note="")
        what = f"  {_name(key)}, iteration {inner.iteration}/{n_iterations}: {inner.stage}"
        pace = self._paces.setdefault(key, Pace())
        pace.counts(f"{inner.iteration} {inner.stage}", inner.done)
        self.progress.update(
            self._arms[key],
            description=what,
            completed=inner.done,
            total=inner.total or 1,
            rate=pace.rate(inner.done),
            note=inner.note,
        )


def _name(place: Place) -> str:
    size = "" if place.size is None else f" size {place.size}"
    return f"{place.arm}{size} seed {place.seed}"


class LivePage:
    """An observer that passes events on and, after an iteration, writes the page if the last one is old enough."""

    def __init__(self, folder: Path, observer: StudyObserver) -> None:
        self._folder = folder
        self._observer = observer
        self._next = time.monotonic() + _PAUSE * _FIRST_SECONDS

    def __call__(self, event: ArmEvent) -> None:
        """Pass one event on."""
        self._observer(event)
        started = time.monotonic()
        if event.event.stage != "iteration" or started < self._next:
            return
        from entropick import report

        try:
            report.write_page(self._folder)
        except Exception:
            # A page must not stop a study. The last page, written at the end, says what is wrong.
            self._next = math.inf
            return
        ended = time.monotonic()
        self._next = ended + min(_PAUSE * (ended - started), _LONGEST_PAUSE)


class Logged:
    """An observer that passes events on and tells trackers of each iteration that has ended."""

    def __init__(self, log: StudyLog, observer: StudyObserver) -> None:
        self._log = log
        self._observer = observer

    def __call__(self, event: ArmEvent) -> None:
        """Pass one event on."""
        self._observer(event)
        if event.event.stage in ("baseline", "iteration") and event.event.status != "running":
            self._log.catch_up(event.place.path)


def study_log(folder: Path, named: Sequence[str], project: str) -> StudyLog:
    """What logs a study to the trackers of these names; ConfigError or MissingDependency before anything is begun."""
    from entropick.tracking import StudyLog, tracker_of

    if twice := [name for name in named if list(named).count(name) > 1]:
        raise ConfigError(f"--log: expected different trackers, got {shown(twice[0])} more than once.")
    return StudyLog(
        folder,
        [tracker_of(name, project, folder) for name in named],
        lambda line: warnings.warn(line, TrackerWarning, stacklevel=2),
    )


def print_summary(folder: Path, console: Console) -> dict[str, Any]:
    """Print what each arm's last iteration measured, its mean over seeds, below real data; then what came of it. All of
    it as plain data."""
    from entropick.metrics.suite import REGISTRY
    from entropick.page.words import split_key, words
    from entropick.report import read_table
    from entropick.report.outcome import outcome

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
    if came := outcome(table):
        console.print()
        for sentence in came.sentences:
            console.print(sentence, highlight=False, markup=False, soft_wrap=not console.is_terminal)
        console.print()
    for sentence in study.unfinished:
        console.print(f"not finished: {sentence}", soft_wrap=True, highlight=False, markup=False)
    arms = {
        arm.name: {
            "iteration": last,
            "real_share": table.real_share(arm, last),
            "values": {key: _plain_mean(table.over_seeds(arm, last, key)) for key in table.measures},
        }
        for arm in study.arms
        if (last := arm.last) is not None
    }
    real = {key: _plain_mean(table.real(key)) for key in table.measures}
    told = {"seeds": list(study.seeds), "real": real, "arms": arms, "unfinished": study.unfinished}
    return {**told, "outcome": list(came.sentences) if came else []}


def _plain_mean(spread: Spread | None) -> float | None:
    return None if spread is None else spread.mean


def _mean(spread: Spread | None) -> str:
    return "-" if spread is None else _number(spread.mean)


def _number(value: float) -> str:
    return f"{value:.{3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0}f}"
