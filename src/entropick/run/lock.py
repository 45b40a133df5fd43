"""One process at a time in a run directory; the lock dies with its process."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from entropick.errors import RunError, RunLocked
from entropick.run.files import storage_errors

_LOCK = ".lock"
_HOLDER = ".lock-holder"
# `is_locked` has to take the lock for a moment to see whether it is free; that moment must not look like a process.
_LEAST_SECONDS = 0.2


@contextlib.contextmanager
def locked(folder: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of `folder`, creating the folder where it is missing.

    The operating system drops the lock with the process that held it, however it ended, so there is nothing to unlock
    by hand.

    Raises
    ------
    RunLocked
        Another process has it, and kept it for `wait_seconds`.
    """
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        raise RunError(f"{folder}: expected a directory or a path that is free, but it is a file. Give another one.")
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / _LOCK)
        try:
            lock.acquire(timeout=max(wait_seconds, _LEAST_SECONDS))
        except Timeout:
            raise RunLocked(
                f"{folder} is in use by {_holder(folder)}. Wait until that ends, stop it, or give another --out."
            ) from None
    try:
        with contextlib.suppress(OSError):
            (folder / _HOLDER).write_text(str(os.getpid()))
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / _HOLDER).unlink(missing_ok=True)
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether some process holds the lock of `folder` right now."""
    if not (folder / _LOCK).exists():
        return False
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


def _holder(folder: Path) -> str:
    try:
        return f"process {int((folder / _HOLDER).read_text())}"
    except (OSError, ValueError):
        return "another process"
