"""Stopping when asked: the first SIGTERM, SIGHUP or SIGUSR1 ends a run at its next checkpoint, a second one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from entropick.errors import BudgetSpent

# What schedulers, closed terminals, and Slurm ahead of a time limit send.
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
# Schedulers kill after 30 seconds. Who waits for others waits a little longer than they.
_GRACE_SECONDS = 20
_PATIENCE_SECONDS = 25

_asked_by = ""
_others: list[Callable[[], None]] = []


def asked_to_stop() -> str:
    """The name of the signal that asked this process to stop, or ""."""
    return _asked_by


@contextlib.contextmanager
def stoppable(*, is_helper: bool = False) -> Iterator[None]:
    """Heed the signals in here. Where no checkpoint comes in time, BudgetSpent is raised wherever the process is.

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
        yield
    finally:
        if _asked_by:
            signal.alarm(0)
        _asked_by = ""
        for number, handler in before.items():
            signal.signal(number, handler)


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
