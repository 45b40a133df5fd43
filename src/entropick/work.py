"""What a long computation asks of whoever runs it: to be seen, to be saved, to be stopped, to be shared."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from numpy.typing import NDArray

from entropick.errors import BudgetSpent

Arrays = Mapping[str, NDArray[Any]]
State = dict[str, Any]


class Work:
    """Progress and checkpoints of one stage. This base class keeps nothing, for use without a run directory.

    A computation calls `progress` often, asks `due` between steps, and when it is due gives `save` all that it needs
    to go on. `save` may raise `entropick.errors.BudgetSpent` once the checkpoint is safe. What is computed must not
    depend on when checkpoints fall.

    Several processes may share a computation (`entropick.processes.ranks`). Then all of them call it with the same
    arguments, each does the part that `share` or its `rank` gives it, and `sum` and `gather` bring the parts together.
    In between all must do the same. This base class is one process, whose part is everything.
    """

    rank: int = 0
    """The number of this process among those that share the computation."""

    n_processes: int = 1
    """How many share it."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Tell that `done` of `total` steps are finished."""

    def due(self) -> bool:
        """Whether a checkpoint should be saved now."""
        return False

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        """Keep `arrays` and the JSON-able `state` under `name`, replacing what was there."""

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        """What was last saved under `name`, or None."""
        return None

    def choice(self, question: str) -> str | None:
        """What all who share the study have been told to take, or None."""
        return None

    def choose(self, question: str, answer: str) -> str:
        """Tell all who share the study what to take; what they were told first stands, and is returned."""
        return answer

    def part(self, name: str) -> Work:
        """The same work for one of several computations, whose checkpoints are kept apart under `name`."""
        return _Part(self, name)

    def together(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        """``function(*args, work=..., **named)``, in all processes that can be had; what it returned in this one."""
        return function(*args, work=self, **named)

    def share(self, n: int) -> slice:
        """The rows of `n` that fall to this process: neighbours, and as many as others get, or one more.

        >>> Work().share(5)
        slice(0, 5, None)
        """
        return slice(n * self.rank // self.n_processes, n * (self.rank + 1) // self.n_processes)

    def sum(self, tensors: Sequence[Any]) -> None:
        """Replace each of these torch tensors by its sum over all processes, the same bits in each of them."""

    def gather(self, part: Any) -> list[Any]:
        """What all processes have called this with, in the order of their ranks."""
        return [part]

    @property
    def n_workers(self) -> int:
        """How many workers answer what is dealt (`entropick.processes.dealing`); 0 where this process does itself."""
        return 0

    def for_workers(self, X: Any) -> Any:
        """The rows of a matrix (n, d) such that workers can read them; here they are as they are."""
        return X

    def deal(
        self,
        make: Callable[..., Callable[[Any], Any]],
        recipes: Sequence[tuple[Any, ...]],
        rounds: Iterable[Sequence[Any]],
    ) -> Iterator[list[Any]]:
        """The answers of each round, in order: its n-th question is asked of ``make(*recipe)`` of the n-th recipe.

        There are at most as many recipes as workers (or 1, for this process), and at most as many questions in a round
        as recipes. A question may be asked again, of a function that was made anew: answers must not depend on what was
        asked before.

        Examples
        --------
        >>> from functools import partial
        >>> list(Work().deal(partial, [(pow, 2), (pow, 3)], [[1, 1], [4, 2]]))
        [[2, 3], [16, 9]]
        """
        functions: list[Callable[[Any], Any]] = []
        for questions in rounds:
            functions = functions or [make(*recipe) for recipe in recipes]
            yield [function(question) for function, question in zip(functions, questions, strict=False)]

    def resting(self) -> contextlib.AbstractContextManager[None]:
        """Let workers go, whose processors and memory are for others in here; this process answers instead."""
        return contextlib.nullcontext()


class Passing(Work):
    """Passes everything on to another work; a subclass changes something on the way."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Pass it on."""
        self._work.progress(done, total, note)

    def due(self) -> bool:
        """Ask on."""
        return self._work.due()

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        """Pass it on."""
        self._work.save(name, arrays, state)

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        """Ask on."""
        return self._work.load(name)

    def choice(self, question: str) -> str | None:
        """Ask on."""
        return self._work.choice(question)

    def choose(self, question: str, answer: str) -> str:
        """Pass it on."""
        return self._work.choose(question, answer)

    @property
    def n_workers(self) -> int:
        """Ask on."""
        return self._work.n_workers

    def for_workers(self, X: Any) -> Any:
        """Pass it on."""
        return self._work.for_workers(X)

    def deal(
        self,
        make: Callable[..., Callable[[Any], Any]],
        recipes: Sequence[tuple[Any, ...]],
        rounds: Iterable[Sequence[Any]],
    ) -> Iterator[list[Any]]:
        """Pass it on."""
        return self._work.deal(make, recipes, rounds)

    def resting(self) -> contextlib.AbstractContextManager[None]:
        """Pass it on."""
        return self._work.resting()


class _Part(Passing):
    def __init__(self, whole: Work, name: str) -> None:
        super().__init__(whole)
        self._name = name

    def save(self, name: str, arrays: Arrays, state: State) -> None:
        super().save(f"{self._name}-{name}", arrays, state)

    def load(self, name: str) -> tuple[dict[str, NDArray[Any]], State] | None:
        return super().load(f"{self._name}-{name}")


# -- to be stopped by a signal: the first one ends at the next checkpoint, a second one at once ------------------------

# What schedulers, closed terminals, and Slurm ahead of a time limit send.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
# Schedulers kill after 30 seconds. Who waits for others waits a little longer than they.
_GRACE_SECONDS = 20
_PATIENCE_SECONDS = 25
# How much longer a process is given to come to its handlers.
_MOMENT_SECONDS = 1.5
_EXIT_STOPPED = 75

_asked_by = ""
_others: list[Callable[[], None]] = []


def asked_to_stop() -> str:
    """The name of the signal that asked this process to stop, or ""."""
    return _asked_by


@contextlib.contextmanager
def stoppable(*, is_helper: bool = False) -> Iterator[None]:
    """Heed the signals in here. Where no checkpoint comes in time, BudgetSpent is raised wherever the process is.

    Within a call of a library, which lets no handler of Python run, a thread ends the process in its place.

    A helper is told by the process that started it, and ends with it; it minds no second signal.
    """
    global _asked_by
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        global _asked_by
        if _asked_by:
            if not is_helper:
                os._exit(128 + number)
            return
        _asked_by = signal.Signals(number).name
        signal.alarm(_GRACE_SECONDS if is_helper or not _others else _PATIENCE_SECONDS)
        for tell in _others:
            tell()

    def end(number: int, frame: FrameType | None) -> None:
        raise BudgetSpent(stopped("what was finished and checkpointed is kept"))

    # nohup has SIGHUP ignored, which is to stay so.
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heeded}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, end)
    try:
        with contextlib.nullcontext() if is_helper else _heard_by_a_thread(heeded):
            yield
    finally:
        if _asked_by:
            signal.alarm(0)
        _asked_by = ""
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _heard_by_a_thread(heeded: Sequence[int]) -> Iterator[None]:
    """End the process from another thread once the main one is deaf for too long; what was saved is saved.

    Python writes the number of each signal into a pipe at once, whatever the main thread is within.
    """
    reads, writes = os.pipe()
    os.set_blocking(writes, False)

    def listen() -> None:
        n_heard = {True: 0, False: 0}
        while heard := os.read(reads, 1):
            number = heard[0]
            if number in heeded or number == signal.SIGINT:
                of_user = number == signal.SIGINT
                n_heard[of_user] += 1
                if n_heard[of_user] > 1:
                    leave(_MOMENT_SECONDS, 128 + number, "")
                elif not of_user:
                    name, grace = signal.Signals(number).name, _PATIENCE_SECONDS if _others else _GRACE_SECONDS
                    kept = "what was finished and checkpointed is kept. Repeat the same command to go on."
                    leave(grace + _MOMENT_SECONDS, _EXIT_STOPPED, f"entropick: stopped by {name}; {kept}\n")

    def leave(seconds: float, code: int, said: str) -> None:
        timer = threading.Timer(seconds, _leave, (code, said))
        timer.daemon = True
        timer.start()
        timers.append(timer)

    timers: list[threading.Timer] = []
    before = signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(writes)
        thread.join()
        os.close(reads)
        for timer in timers:
            timer.cancel()


def _leave(code: int, said: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, said.encode())
    os._exit(code)


def stopped(kept: str) -> str:
    """The message of a stop."""
    return f"stopped by {_asked_by}; {kept}. Repeat the same command to go on."


@contextlib.contextmanager
def telling(others: Callable[[], None]) -> Iterator[None]:
    """Call `others` when this process is asked to stop in here."""
    _others.append(others)
    try:
        yield
    finally:
        _others.remove(others)
