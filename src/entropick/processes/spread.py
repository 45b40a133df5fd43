"""Tasks spread over processes that die with the one that started them."""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, cast

from entropick.errors import BudgetSpent, StudyFailed, as_told
from entropick.work import stoppable, telling

# What tells libraries how many threads to use.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Progress more often than this cannot be seen, but costs time to send.
_SECONDS_BETWEEN_EVENTS = 0.1

Observer = Callable[[Any], None]


def run_in_processes(
    items: Sequence[Any],
    task: Callable[[Any, Observer], None],
    observer: Observer,
    *,
    workers: int,
    threads: int,
    gpus: int = 0,
) -> list[tuple[str, Exception]]:
    """Call ``task(item, observer)`` for every item, each in one of `workers` processes.

    Where there are GPUs, each process sees one of them, in turn.

    Items, task and events are pickled on their way between processes of one machine; nothing of it touches a disk.

    Returns
    -------
    list of (path, exception)
        The items that failed, by their ``path``, and why.
    """
    if not items:
        return []
    todo = list(items)
    problems: list[tuple[str, Exception]] = []
    with _started(min(workers, len(todo)), task, threads, gpus) as processes:
        busy: dict[Connection, Any] = {}
        idle = list(processes)
        while todo or busy:
            while todo and idle:
                connection = idle.pop()
                busy[connection] = todo.pop(0)
                # One that is gone already is noticed when it ought to answer.
                with contextlib.suppress(OSError):
                    connection.send(busy[connection])
            for ready in wait(list(busy)):
                connection = cast(Connection, ready)
                ended, result = _receive(connection)
                if not ended:
                    observer(result)
                    continue
                item = busy.pop(connection)
                if result is not None:
                    problems.append((item.path, result))
                if isinstance(ended, bool):
                    idle.append(connection)
            if todo and not busy and not idle:
                lost = StudyFailed("all processes were killed before its turn came; the same command goes on")
                return problems + [(item.path, lost) for item in todo]
    return problems


def _receive(connection: Connection) -> tuple[bool | str, Any]:
    """(has the item ended, event or exception); "died" if the process is no more."""
    try:
        message: tuple[bool, Any] = connection.recv()
        return message
    except (EOFError, OSError):
        return "died", StudyFailed("its process was killed, perhaps for want of memory; the same command goes on")


@contextlib.contextmanager
def _started(n: int, task: Callable[[Any, Observer], None], threads: int, gpus: int) -> Iterator[list[Connection]]:
    """Processes that wait for items; ended on the way out, however that comes about."""
    context = mp.get_context("spawn")
    processes: list[SpawnProcess] = []
    connections: list[Connection] = []
    for number in range(n):
        here, there = context.Pipe()
        process = context.Process(target=_serve, args=(there, task), daemon=True)
        with environment({**{name: str(threads) for name in THREAD_VARIABLES}, **one_gpu(number, gpus)}):
            process.start()
        # Only the process itself may hold its end, or its death would go unnoticed here.
        there.close()
        processes.append(process)
        connections.append(here)
    try:
        with telling(lambda: _ask_to_stop(processes)):
            yield connections
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


def _ask_to_stop(processes: Sequence[SpawnProcess]) -> None:
    for process in processes:
        if process.pid is not None and process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM)


def one_gpu(number: int, gpus: int) -> dict[str, str]:
    """What lets process `number` of some see one of the first `gpus` GPUs that this process may use, each in turn."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = named.split(",")[:gpus] if named else [str(gpu) for gpu in range(gpus)]
    return {"CUDA_VISIBLE_DEVICES": visible[number % len(visible)]} if visible else {}


def _serve(connection: Connection, task: Callable[[Any, Observer], None]) -> None:
    """The life of a process: take an item, run it, tell how it ended."""
    # Ctrl-C reaches the whole group; the parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=die_with_parent, daemon=True).start()
    warnings.formatwarning = plain_warning
    tell = _Throttled(connection)
    with contextlib.suppress(EOFError, BudgetSpent), stoppable(is_helper=True):
        while True:
            item = connection.recv()
            try:
                task(item, tell)
                connection.send((True, None))
            except Exception as error:
                connection.send((True, as_told(error)))


def plain_warning(message: Warning | str, *where: Any, **more: Any) -> str:
    """A warning as a person wants it: what, without the line of code that gave it."""
    return f"entropick: warning: {message}\n"


def die_with_parent() -> None:
    """End this process as soon as the one that started it is gone; for a thread of its own."""
    parent = mp.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Throttled:
    """Sends events, but signs of mere progress only now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent_at = 0.0

    def __call__(self, event: Any) -> None:
        is_progress = event.event.status == "running" and event.event.done > 0
        now = time.monotonic()
        if not is_progress or now - self._sent_at >= _SECONDS_BETWEEN_EVENTS:
            self._sent_at = now
            self._connection.send((False, event))


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started in here."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
