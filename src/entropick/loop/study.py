"""A study: arms x sizes x seeds over shared data; what arms have in common is computed once."""

from __future__ import annotations

import dataclasses
import os
import re
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropick.arrays import check_count, check_real
from entropick.errors import (
    BudgetSpent,
    EntropickWarning,
    InputError,
    ProcessLost,
    RunChanged,
    RunDamaged,
    StudyFailed,
    memory_error,
    shown,
)
from entropick.loop.loop import Loop, goes_on_without
from entropick.processes.hardware import limited_threads
from entropick.processes.ranks import ALONE, Ranks
from entropick.processes.spread import run_in_processes
from entropick.run import (
    LEDGER,
    MAY_GROW,
    STUDY,
    Event,
    History,
    Pace,
    Place,
    Seal,
    Shared,
    begun_with,
    check_config,
    locked,
    places,
    read_study_file,
    remove_partial,
)

WORK = "work"
_OF_OTHERS = ("report.html", "selection.json", "score.json", "score.html", LEDGER)
_MOST_THREADS = 1024
# More are a slip of the finger: each has a folder, and a line wherever they are listed.
_MOST_RUNS = 10_000
# An interrupted study's processes may take a moment to die.
_ARM_WAIT_SECONDS = 10.0
_ARM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._+-]{0,63}")


@dataclass(frozen=True)
class ArmRun:
    """One loop of a study, and where it lies."""

    place: Place
    loop: Loop

    @property
    def path(self) -> str:
        """The run directory, relative to the study's."""
        return self.place.path


@dataclass(frozen=True)
class ArmEvent:
    """An `Event` of one run of a study."""

    place: Place
    event: Event


StudyObserver = Callable[[ArmEvent], None]


@dataclass(kw_only=True)
class Study:
    """Several loops that differ in what is studied and share the rest.

    Parameters
    ----------
    name
        A short name; the default output directory is called after it.
    arms
        Loops by name; the name becomes a directory.
    seeds
        Every arm is run once with each.
    sizes
        Every arm is run at each of these numbers of real images, and all that goes with it scales: what the selector
        picks and what is generated per iteration. The real images of a smaller size are among those of a larger one.
        Empty: as the loops say.
    title, description
        For the report.
    threads
        Processor threads per arm. Part of the result's identity: the order of float additions depends on it.
    checkpoint_seconds
        Time between checkpoints inside a stage.
    """

    name: str
    arms: dict[str, Loop]
    seeds: tuple[int, ...] = (0,)
    sizes: tuple[int, ...] = ()
    title: str = ""
    description: str = ""
    threads: int = 1
    checkpoint_seconds: float = 60.0

    def check(self) -> None:
        """Raise InputError for everything that can be wrong without looking at data."""
        if not isinstance(self.name, str) or not isinstance(self.title, str) or not isinstance(self.description, str):
            raise InputError("study: expected text for name, title and description.")
        if not isinstance(self.arms, dict) or not all(isinstance(loop, Loop) for loop in self.arms.values()):
            raise InputError(f"arms: expected a dict of Loops by name, got {shown(self.arms)}.")
        if not self.arms:
            raise InputError("arms: expected at least one, in a study file a table such as [arms.replace], got none.")
        if not isinstance(self.seeds, tuple | list) or not self.seeds:
            raise InputError(f"seeds: expected a tuple of at least one seed, got {_shown(self.seeds)}.")
        if isinstance(self.sizes, tuple | list):
            n_runs = len(self.arms) * len(self.seeds) * max(1, len(self.sizes))
            if n_runs > _MOST_RUNS:
                raise InputError(
                    f"arms, sizes, seeds: expected at most {_MOST_RUNS:,} runs of a study, got {n_runs:,}: "
                    f"{len(self.arms):,} arms at {max(1, len(self.sizes)):,} sizes with {len(self.seeds):,} seeds. "
                    "Make several studies."
                )
        for name, numbers, minimum in (("seeds", self.seeds, 0), ("sizes", self.sizes, 1)):
            if not isinstance(numbers, tuple | list) or len(set(numbers)) < len(numbers):
                raise InputError(f"{name}: expected different numbers, got {_shown(numbers)}.")
            for number in numbers:
                check_count(number, name=name, minimum=minimum)
        if check_count(self.threads, name="threads") > _MOST_THREADS:
            raise InputError(f"threads: expected at most {_MOST_THREADS} per arm, got {self.threads}.")
        check_real(self.checkpoint_seconds, name="checkpoint_seconds", above=0.0)
        for name, loop in self.arms.items():
            if not isinstance(name, str) or not _ARM_NAME.fullmatch(name):
                raise InputError(
                    f"arms: expected names of letters, digits, spaces and . _ + - (at most 64), got {shown(name)}."
                )
            try:
                for size in self.sizes or (None,):
                    loop.at_size(size).check()
            except InputError as error:
                raise type(error)(f"arm {shown(name)}: {error}") from None

    def describe(self) -> dict[str, Any]:
        """The study as plain data."""
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "seeds": [int(seed) for seed in self.seeds],
            "sizes": [int(size) for size in self.sizes],
            "threads": int(self.threads),
            "arms": {arm: {k: v for k, v in loop.describe().items() if k != "seed"} for arm, loop in self.arms.items()},
        }

    def arm_runs(self) -> list[ArmRun]:
        """All loops of the study: every arm with the first seed at the first size, then at the second, ..."""
        return [
            ArmRun(Place(arm, size, seed), loop.at_size(size).at_seed(seed))
            for seed in self.seeds
            for size in self.sizes or (None,)
            for arm, loop in self.arms.items()
        ]

    def as_begun(self, folder: Path) -> Study:
        """The study with the measures that it began with in `folder`; see `Loop.as_begun`."""
        before = (begun_with(folder, STUDY) or {}).get("arms", {})
        arms = {name: loop.as_begun(before.get(name)) for name, loop in self.arms.items()}
        is_same = all(arms[name] is loop for name, loop in self.arms.items())
        return self if is_same else dataclasses.replace(self, arms=arms)

    def run(
        self,
        folder: str | Path,
        *,
        workers: int = 1,
        budget_seconds: float | None = None,
        observer: StudyObserver = lambda event: None,
        reuse: Sequence[str | Path] = (),
        ranks: Ranks = ALONE,
    ) -> int:
        """Run all arms in `folder`, or go on where they were interrupted; return how many stages were computed.

        Arms, sizes and seeds may be added to an existing directory; the report then shows all of them.

        Parameters
        ----------
        workers
            Processes that arms are spread over; 1 runs them here, one after another. The results are the same. With
            more than one, a script must guard its call with ``if __name__ == "__main__":``, as for any spawned process.
        budget_seconds
            Stop at the next checkpoint after this time.
        observer
            Called with an `ArmEvent` at every sign of life.
        reuse
            Directories of other studies on this machine; what they have computed from the same inputs is linked.
        ranks
            Processes that share each arm, one arm after another; then there are no `workers` beside them.

        Raises
        ------
        BudgetSpent
            The budget is spent; the same call goes on.
        ProcessLost
            One of the ranks has ended; the same call goes on.
        StudyFailed
            Some arms failed; the message tells each one's reason. The others are done.
        InputError, RunLocked, RunChanged, RunDamaged, StorageError
            As in `Loop.run`.
        """
        self.check()
        if (begun := self.as_begun(Path(folder))) is not self:
            newer = {name for arm, loop in self.arms.items() for name in {*loop.metrics} - {*begun.arms[arm].metrics}}
            advice = f'another folder with reuse=["{folder}"], which trains nothing again.'
            warnings.warn(f"{goes_on_without(folder, newer)} {advice}", EntropickWarning, stacklevel=2)
            return begun.run(
                folder, workers=workers, budget_seconds=budget_seconds, observer=observer, reuse=reuse, ranks=ranks
            )
        check_count(workers, name="workers")
        if ranks.size > 1 and workers > 1:
            raise InputError(
                f"workers: expected 1, because each arm is shared by {ranks.size} processes already, got {workers}. "
                "Leave it out, or start the command without torchrun."
            )
        folder = Path(folder)
        deadline = None
        if budget_seconds is not None:
            deadline = time.monotonic() + check_real(budget_seconds, name="budget_seconds")
        others = [self._reusable(Path(other)) for other in reuse]
        if not os.access(folder, os.W_OK) and all(_is_finished(folder / run.path, run.loop) for run in self.arm_runs()):
            # Nothing is to be written, so a read-only disk is no hindrance.
            self._check_arms(folder)
            return 0
        _check_folder(folder)
        with locked(folder):
            remove_partial(folder)
            self._register(folder)
            for other in others:
                Shared(folder / WORK).adopt(other)
            count = _StageCount(observer)
            threads = int(self.threads)
            task = ArmTask(folder, threads, Pace(self.checkpoint_seconds, deadline), ranks)
            # Reading a finished arm is not worth starting a process.
            here = [run for run in self.arm_runs() if workers == 1 or _is_finished(folder / run.path, run.loop)]
            elsewhere = [run for run in self.arm_runs() if run not in here]
            problems = _run_here(here, task, count)
            gpus = n_gpus(self) if elsewhere else 0
            problems += run_in_processes(elsewhere, task, count, workers=workers, threads=threads, gpus=gpus)
            _promise_runs(folder)
            _raise(problems, n_runs=len(self.arm_runs()))
            Shared(folder / WORK).tidy()
            return count.computed

    def _reusable(self, other: Path) -> Shared:
        """The index of another study's results; InputError if this study would not have got the same ones."""
        if not (other / STUDY).is_file():
            raise InputError(f"reuse: expected the directory of a study, found no {STUDY} in {other}.")
        if (threads := read_study_file(other)["threads"]) != self.threads:
            raise InputError(
                f"reuse: expected a study with threads = {self.threads}, {other} was made with {threads}. "
                "Threads decide about the last digits."
            )
        return Shared(other / WORK)

    def _check_arms(self, folder: Path) -> None:
        for arm_run in self.arm_runs():
            check_config(folder / arm_run.path, arm_run.loop.describe(), may_grow=MAY_GROW)

    def _register(self, folder: Path) -> None:
        """Refuse changed arms, then write down what the directory is about."""
        seal, described = Seal(folder), self.describe()
        if (folder / STUDY).exists() or STUDY in seal.copies:
            before = seal.copies.get(STUDY) or read_study_file(folder)
            is_begun = any((folder / place.path / LEDGER).exists() for place in places(before))
            if is_begun and before["threads"] != self.threads:
                raise RunChanged(
                    f"{folder} was made with threads = {before['threads']}, now {self.threads}. Repeat the command "
                    "with the old setting, or give another folder (--out)."
                )
            if is_begun and bool(before["sizes"]) != bool(self.sizes):
                had, has = ("sizes", "none") if before["sizes"] else ("no sizes", "some")
                raise RunChanged(f"{folder} was made with {had}, now there are {has}. Give another folder (--out).")
            described["arms"] = {**before["arms"], **described["arms"]}
            for name in ("seeds", "sizes"):
                described[name] = list(dict.fromkeys([*before[name], *described[name]]))
        self._check_arms(folder)
        seal.write(STUDY, described)
        _promise_runs(folder)


def _check_folder(folder: Path) -> None:
    """Refuse a folder with results of something else: a page, a selection, a score, a single run."""
    others = [name for name in _OF_OTHERS if (folder / name).exists()]
    if others and not any((folder / name).exists() for name in (STUDY, "arms")):
        raise InputError(
            f"out: expected a new folder or one of an earlier study, but {folder} holds {others[0]} of something else. "
            "Give another folder (--out)."
        )
    for place in (folder.absolute(), *folder.absolute().parents):
        if place.name == "arms" and (place.parent / STUDY).is_file():
            raise InputError(
                f"out: expected a folder outside of other studies, but {folder} is among the arms of {place.parent}. "
                "Give another folder (--out)."
            )


def _promise_runs(folder: Path) -> None:
    """Seal which runs of the study have begun, so that a lost one is missed."""
    seal = Seal(folder)
    begun = {place.path for place in places(seal.copies[STUDY]) if (folder / place.path / LEDGER).exists()}
    seal.promise_runs({*seal.runs, *begun})


def n_gpus(study: Study) -> int:
    """How many GPUs the study's arms can be spread over: 0 where some arm computes on the processor."""
    devices = {getattr(loop.generator, "device", "cpu") for loop in study.arms.values()}
    if not devices <= {"auto", "cuda"}:
        return 0
    import torch

    return torch.cuda.device_count()


@dataclass(frozen=True)
class ArmTask:
    """How to run one arm of a study; called in whichever process the arm is given to."""

    folder: Path
    threads: int
    pace: Pace
    ranks: Ranks = ALONE

    def __call__(self, arm_run: ArmRun, observer: StudyObserver) -> None:
        """Run the arm to its end."""
        with limited_threads(self.threads):
            arm_run.loop.run(
                self.folder / arm_run.path,
                pace=Pace(self.pace.checkpoint_seconds, self.pace.deadline),
                observer=lambda event: observer(ArmEvent(arm_run.place, event)),
                shared=self.folder / WORK,
                wait_seconds=_ARM_WAIT_SECONDS,
                ranks=self.ranks,
            )


class _StageCount:
    """Passes events on and counts the computed stages."""

    def __init__(self, observer: StudyObserver) -> None:
        self._observer = observer
        self.computed = 0

    def __call__(self, event: ArmEvent) -> None:
        self.computed += event.event.status == "done" and event.event.stage != "iteration"
        self._observer(event)


Problems = list[tuple[str, Exception]]


def _is_finished(folder: Path, loop: Loop) -> bool:
    try:
        return (folder / LEDGER).is_file() and History(folder).n_iterations_done >= loop.n_iterations
    except RunDamaged:  # running it tells more
        return False


def _run_here(arm_runs: list[ArmRun], task: ArmTask, observer: StudyObserver) -> Problems:
    problems: Problems = []
    for arm_run in arm_runs:
        try:
            task(arm_run, observer)
        except (BudgetSpent, ProcessLost):
            raise
        except Exception as error:  # a failed arm does not take the others with it
            problems.append((arm_run.path, memory_error(error) or error))
    return problems


def _raise(problems: Problems, *, n_runs: int) -> None:
    for _, problem in problems:
        if isinstance(problem, BudgetSpent):
            raise problem
    reasons = {str(problem) for _, problem in problems}
    if len(problems) == n_runs and len(reasons) == 1:
        # The same mistake in every arm is said once, as itself.
        raise problems[0][1]
    if problems:
        first = problems[0][1]
        rest = "the others are done" if len(problems) < n_runs else "repeat the command once their causes are mended"
        listed = "\n".join(f"  {path}: {type(problem).__name__}: {problem}" for path, problem in problems)
        raise StudyFailed(f"{len(problems)} of {n_runs} arm runs failed; {rest}.\n{listed}") from first


def _shown(numbers: Any) -> str:
    return str(list(numbers)) if isinstance(numbers, tuple) else repr(numbers)
