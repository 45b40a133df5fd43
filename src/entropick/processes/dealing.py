"""Questions that are dealt: a computation asks, and the workers of an engine answer side by side.

A computation says how what answers is made (`entropick.work.Work.deal`), and asks round by round; nothing depends on
who answers, or on how many there are. Workers are started once for all computations of a command, read rows from files,
and know only the computation that is under way. One that is lost is made anew, says that it knows nothing, is told
again what this is about, and asked again.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from entropick.arrays import BlockRows, Features, FileRows, in_files
from entropick.errors import ProcessLost
from entropick.processes.actors import Actors, Place
from entropick.processes.engine import Engine
from entropick.work import Passing, Work

# Bytes that are written at once where rows are not in a file yet.
_BLOCK_BYTES = 64 << 20
# How often workers may be lost between two answers of one round.
_PATIENCE = 20
_NOTHING: tuple[Any, ...] = ()

Answering = Callable[[Any], Any]


@contextlib.contextmanager
def dealing(work: Work, engine: Engine | None, scratch: Path) -> Iterator[Work]:
    """The same work, whose questions go to the workers of an engine until the context ends; without one, itself.

    Workers start when they are needed first. Rows that lie in no file are written into the folder `scratch` for them,
    which is removed in the end. On several machines it must be where all can open it.

    Raises
    ------
    InputError
        When workers are needed, if the engine cannot be used.
    ProcessLost
        From `deal`, if workers die again and again.
    """
    # What a killed command has left in it, whoever goes on.
    shutil.rmtree(scratch, ignore_errors=True)
    if engine is None:
        yield work
        return
    dealt = _Dealing(work, engine, scratch)
    try:
        yield dealt
    finally:
        dealt.close()
        shutil.rmtree(scratch, ignore_errors=True)


class _Dealing(Passing):
    def __init__(self, work: Work, engine: Engine, scratch: Path) -> None:
        super().__init__(work)
        self._engine, self._scratch = engine, scratch
        # The place has been connected to until it closes, workers are started until they rest.
        self._connection, self._starting = contextlib.ExitStack(), contextlib.ExitStack()
        self._place: Place | None = None
        self._workers: Actors | None = None
        self._rests = False
        self._numbers = itertools.count()
        self._written: dict[int, BlockRows] = {}

    @property
    def n_workers(self) -> int:
        return 0 if self._rests else self._connected().workers

    def for_workers(self, X: Any) -> Any:
        if self._rests or (isinstance(X, BlockRows) and X.lie_in_files):
            return X
        known = self._written.get(id(X))
        if known is None:
            files: list[Path] = []

            def write(part: Features) -> FileRows:
                files.append(self._scratch / f"{next(self._numbers)}.rows")
                return written(part, files[-1])

            known = self._written[id(X)] = in_files(X, write)
            # As long as the array is there, so that its number is not that of another.
            weakref.finalize(X, self._forget, id(X), files)
        return known

    def deal(
        self,
        make: Callable[..., Answering],
        recipes: Sequence[tuple[Any, ...]],
        rounds: Iterable[Sequence[Any]],
    ) -> Iterator[list[Any]]:
        if self._rests:
            yield from super().deal(make, recipes, rounds)
            return
        if self._workers is None:
            place = self._connected()
            self._workers = self._starting.enter_context(place.start(_Worker, [(str(Path.cwd()),)] * place.workers))
        about = _About(uuid4().hex, make, recipes)
        for questions in rounds:
            yield about.asked(self._workers, questions)

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        self._end_workers()
        self._rests = True
        try:
            yield
        finally:
            self._rests = False

    def close(self) -> None:
        """End all that was started."""
        self._end_workers()
        self._connection.close()

    def _end_workers(self) -> None:
        self._workers = None
        self._starting.close()

    def _connected(self) -> Place:
        if self._place is None:
            self._place = self._connection.enter_context(self._engine.connected())
        return self._place

    def _forget(self, number: int, files: Sequence[Path]) -> None:
        self._written.pop(number, None)
        for file in files:
            file.unlink(missing_ok=True)


class _About:
    """A computation under way: its name, and of what its answers are made."""

    def __init__(self, name: str, make: Callable[..., Answering], recipes: Sequence[tuple[Any, ...]]) -> None:
        self._name, self._make, self._recipes = name, make, recipes

    def asked(self, workers: Actors, questions: Sequence[Any]) -> list[Any]:
        """The answers of one round."""
        n, answers = len(workers), dict[int, Any]()
        for _ in range(_PATIENCE):
            asked = [
                (questions[number],) if number < len(questions) and number not in answers else _NOTHING
                for number in range(n)
            ]
            found = workers.call("ask", [self._name] * n, asked)
            answers |= {number: answer[0] for number, answer in enumerate(found) if answer}
            if len(answers) == len(questions):
                return [answers[number] for number in range(len(questions))]
            recipes = [*self._recipes, *[None] * n][:n]
            workers.call("begin", [self._name] * n, [self._make] * n, recipes)
        raise ProcessLost(
            f"engine: expected answers of {n} workers, but some were lost {_PATIENCE} times before they had answered "
            "once. What was finished is kept: repeat the same command."
        )


class _Worker:
    """Answers the questions of one computation after another; paths are those of the `folder` of the command."""

    def __init__(self, folder: str) -> None:
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._name = ""
        self._answer: Answering | None = None

    def begin(self, name: str, make: Callable[..., Answering], recipe: tuple[Any, ...] | None) -> None:
        """What is asked next is about this; None where nothing will be."""
        if name == self._name:
            return
        # What it had for the last one goes before the next is made.
        self._name, self._answer = "", None
        self._answer = None if recipe is None else make(*recipe)
        self._name = name

    def ask(self, name: str, question: tuple[Any, ...]) -> tuple[Any, ...]:
        """The answer, in a tuple as the question is; an empty one if there was none, or this worker is new to it."""
        if not question or name != self._name or self._answer is None:
            return _NOTHING
        return (self._answer(question[0]),)


def written(X: Features, file: Path) -> FileRows:
    """The rows of a matrix (n, d), float32, in a file, written block by block, for other processes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    step = max(1, _BLOCK_BYTES // (4 * X.shape[1]))
    with file.open("wb") as stream:
        for start in range(0, len(X), step):
            stream.write(np.ascontiguousarray(X[start : start + step], np.float32).data)
    return FileRows([np.memmap(file, np.float32, "r", shape=X.shape)])
