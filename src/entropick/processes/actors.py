"""Actors: objects that live in processes of their own, each asked the same at the same time, each made anew when lost.

An actor is made by a function from a recipe. The object answers calls of its methods, one after another; whatever is
sent is pickled on its way, and nothing of it touches a disk. When its process dies, however that comes about, it is
made again from its recipe, having forgotten all it was told, and asked again: so methods must be such that a call may
be repeated, and answer sensibly after a loss. Here are those of this machine; `entropick.processes.engine` has others.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing as mp
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from entropick.errors import ProcessLost, as_told
from entropick.processes.hardware import limited_memory, usable_cores, usable_memory
from entropick.processes.spread import THREAD_VARIABLES, die_with_parent, environment, one_gpu
from entropick.work import SIGNALS

# How often a process may be lost within one call before it is given up.
TRIES = 4

Make = Callable[..., Any]
Answer = tuple[bool, Any]
"""Whether the call was answered; what was returned, or the error."""


class Actors(Protocol):
    """Objects elsewhere."""

    def __len__(self) -> int: ...

    def call(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """What this method of each object returns, each called with its element of every argument, side by side.

        Raises
        ------
        EntropickError
            What an object raised.
        ProcessLost
            If a process is lost whenever it is asked.
        """

    @property
    def pids(self) -> list[int]:
        """The numbers of their processes, each on its machine."""


class Place(Protocol):
    """A place that actors can be started in."""

    workers: int
    """How many it is meant to have."""

    def start(self, make: Make, recipes: Sequence[tuple[Any, ...]]) -> contextlib.AbstractContextManager[Actors]:
        """Actors made by ``make(*recipe)``, until the context ends."""


def share_of_memory(workers: int) -> int:
    """What each of so many workers of this machine may use, beside the process that started them."""
    return usable_memory() // (workers + 1)


class ThisMachine:
    """Processes of this machine, which share its cores, memory and GPUs evenly and end with the one that started
    them."""

    def __init__(self, workers: int | None) -> None:
        self._cores = usable_cores()
        self.workers = workers or self._cores

    @contextlib.contextmanager
    def start(self, make: Make, recipes: Sequence[tuple[Any, ...]]) -> Iterator[Actors]:
        """See `Place`."""
        import torch

        n, gpus = len(recipes), torch.cuda.device_count()
        shares = Shares(max(1, self._cores // n), share_of_memory(n), gpus, 1 / math.ceil(n / max(1, gpus)))
        actors = _Local(make, recipes, shares)
        try:
            yield actors
        finally:
            actors.close()


@dataclass(frozen=True)
class Shares:
    """What each process may use: threads, bytes of memory, one of so many GPUs, and what part of that one's memory."""

    threads: int
    memory: int
    gpus: int
    of_gpu: float


class _Local:
    """Actors in processes of this machine."""

    def __init__(self, make: Make, recipes: Sequence[tuple[Any, ...]], shares: Shares) -> None:
        self._make, self._recipes, self._shares = make, recipes, shares
        self._processes: list[tuple[SpawnProcess, Connection] | None] = [None] * len(recipes)

    def __len__(self) -> int:
        return len(self._recipes)

    def call(self, method: str, *arguments: Sequence[Any]) -> list[Any]:
        """See `Actors`."""
        asked = [(method, *of) for of in (zip(*arguments, strict=True) if arguments else [()] * len(self))]
        answers: list[Answer | None] = [None] * len(self)
        for _ in range(TRIES):
            waiting = [number for number, answer in enumerate(answers) if answer is None]
            for number in waiting:
                self._send(number, asked[number])
            for number in waiting:
                answers[number] = self._receive(number)
            if None not in answers:
                return [answered(answer) for answer in answers]
        number = answers.index(None)
        raise ProcessLost(
            f"engine: expected an answer of process {number} of {len(self)}, but it was killed {TRIES} times, perhaps "
            "for want of memory. What was finished is kept: take fewer processes, and repeat the same command."
        )

    def close(self) -> None:
        """End all processes."""
        running = [process for process, _ in filter(None, self._processes)]
        for process in running:
            process.kill()
        for process in running:
            process.join()

    @property
    def pids(self) -> list[int]:
        """See `Actors`."""
        return [process.pid for process, _ in filter(None, self._processes) if process.pid is not None]

    def _send(self, number: int, question: tuple[Any, ...]) -> None:
        """A process that is lost is noticed when its answer is missing."""
        with contextlib.suppress(OSError):
            self._connection(number).send(question)

    def _receive(self, number: int) -> Answer | None:
        """The answer, or None if the process was lost."""
        held = self._processes[number]
        assert held is not None
        try:
            answer: Answer = held[1].recv()
            return answer
        except (EOFError, OSError):
            held[0].kill()
            held[0].join()
            held[1].close()
            self._processes[number] = None
            return None

    def _connection(self, number: int) -> Connection:
        held = self._processes[number]
        if held is None:
            context = mp.get_context("spawn")
            here, there = context.Pipe()
            life = (there, self._make, self._recipes[number], self._shares)
            process = context.Process(target=_live, args=life, daemon=True)
            threads = dict.fromkeys(THREAD_VARIABLES, str(self._shares.threads))
            with environment({**threads, **one_gpu(number, self._shares.gpus)}):
                process.start()
            # Only the process itself may hold its end, or its death would go unnoticed here.
            there.close()
            held = self._processes[number] = (process, here)
        return held[1]


def _live(connection: Connection, make: Make, recipe: tuple[Any, ...], shares: Shares) -> None:
    """The life of an actor in a process of its own."""
    # These reach the whole group; whoever started it decides what becomes of it.
    for name in (signal.SIGINT, *SIGNALS):
        signal.signal(name, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    actor = Actor(make, recipe)
    with contextlib.suppress(EOFError, OSError), limited_memory(shares.memory, shares.of_gpu):
        while True:
            method, *arguments = connection.recv()
            connection.send(actor.ask(method, *arguments))


class Actor:
    """An object, made when it is asked for the first time, and its answers as they are sent."""

    def __init__(self, make: Make, recipe: tuple[Any, ...]) -> None:
        self._make, self._recipe, self._object = make, recipe, None

    def ask(self, method: str, *arguments: Any) -> Answer:
        """Call a method; an error is an answer too."""
        try:
            if self._object is None:
                self._object = self._make(*self._recipe)
            return True, getattr(self._object, method)(*arguments)
        except Exception as error:
            return False, as_told(error)


def answered(answer: Answer | None) -> Any:
    """What was returned; or raise the error."""
    assert answer is not None
    if not answer[0]:
        raise answer[1]
    return answer[1]
