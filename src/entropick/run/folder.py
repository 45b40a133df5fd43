"""A folder that a command works in: held by one process at a time, made with one config, on known machines."""

from __future__ import annotations

import contextlib
import errno
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import Timeout

from entropick.errors import RunChanged, RunDamaged, RunError, RunLocked, cut
from entropick.run.files import UNABLE, file_lock, read_json, storage_errors
from entropick.run.ledger import LEDGER
from entropick.run.seal import CONFIG, ENVIRONMENT, Seal

# Letters at which two values begin alike, before they are told without their beginning.
_MOST_ALIKE = 100
# More iterations than before leave all earlier ones as they are.
MAY_GROW = ("n_iterations",)
_LOCK = ".lock"
_HOLDER = ".lock-holder"
# `is_locked` has to take the lock for a moment to see whether it is free; that moment must not look like a process.
_LEAST_SECONDS = 0.2
# The folder whose lock this command holds from its beginning to its end.
_entered: ContextVar[str | None] = ContextVar("entered", default=None)
_PACKAGES = ("entropick", "numpy", "scipy", "torch", "diffusers", "scikit-learn", "pillow", "pyarrow", "safetensors")


@contextlib.contextmanager
def locked(folder: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock of `folder`, creating the folder where it is missing.

    The operating system drops the lock with the process that held it, however it ended, so there is nothing to unlock
    by hand. Within `working_in` that folder its lock is held already.

    Raises
    ------
    RunLocked
        Another process has it, and kept it for `wait_seconds`.
    """
    with contextlib.nullcontext() if _entered.get() == os.path.realpath(folder) else _lock(folder, wait_seconds):
        yield


@contextlib.contextmanager
def _lock(folder: Path, wait_seconds: float) -> Iterator[None]:
    if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
        came = "it is a file" if folder.exists() else "it is a link that leads nowhere"
        raise RunError(f"{folder}: expected a directory or a path that is free, but {came}. Give another one.")
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = file_lock(folder / _LOCK)
        try:
            lock.acquire(timeout=max(wait_seconds, _LEAST_SECONDS))
        except Timeout:
            raise RunLocked(
                f"{folder} is in use by {_holder(folder)}. Wait until that ends, stop it, or give another folder "
                "(--out, out=)."
            ) from None
        except OSError as error:
            if error.errno not in UNABLE:
                raise
            raise RunError(
                f"{folder}: expected a file system on which files can be locked, but: {error.strerror}. Without a lock "
                "two processes could spoil each other's results. Give a folder (--out, out=) on another file system."
            ) from error
    try:
        with contextlib.suppress(OSError):
            # A pipe of that name, wherever it came from, would be waited for.
            (folder / _HOLDER).unlink(missing_ok=True)
            (folder / _HOLDER).write_text(str(os.getpid()))
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / _HOLDER).unlink(missing_ok=True)
        # What cannot be released goes with the process, and hides no other error.
        with contextlib.suppress(OSError):
            lock.release()


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder` from before anything is read until all is written; see `locked`.

    A folder in which nothing was begun is left as it was found, and one that was not there is gone again.

    Raises
    ------
    RunLocked
        Another process has it.
    StorageError
        Nothing can be written there.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with _lock(folder, 0.0):
            if not (folder / LEDGER).exists() and not os.access(folder, os.W_OK | os.X_OK):
                with storage_errors(folder):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            token = _entered.set(os.path.realpath(folder))
            try:
                yield
            finally:
                _entered.reset(token)
                if not (folder / CONFIG).exists():
                    with contextlib.suppress(OSError):
                        # Whoever waits for it sees that it is gone, and makes a new one.
                        (folder / _LOCK).unlink()
    finally:
        for place in made:
            with contextlib.suppress(OSError):
                place.rmdir()


def is_locked(folder: Path) -> bool:
    """Whether some process holds the lock of `folder` right now."""
    if not (folder / _LOCK).exists():
        return False
    lock = file_lock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # who cannot lock it, as on a read-only disk, cannot work in it
        return False
    lock.release()
    return False


def _holder(folder: Path) -> str:
    path = folder / _HOLDER
    with contextlib.suppress(OSError, ValueError):
        if path.is_file():
            return f"process {int(path.read_text())}"
    return "another process"


def read_config(folder: Path) -> dict[str, Any]:
    """The config that a directory was made with; RunDamaged if the file is not what was written."""
    path = folder / CONFIG
    config = read_json(path) if path.exists() else None
    if not isinstance(config, dict):
        raise RunDamaged(f"{path}: expected a table of settings. Remove the file: the same command writes it anew.")
    return config


def begun_with(folder: Path, name: str = CONFIG) -> dict[str, Any] | None:
    """The config that `folder` was made with; None where nothing has been made there, or it cannot be read."""
    path = folder / name
    try:
        copy = Seal(folder).copies.get(name) or (read_json(path) if path.exists() else None)
    except RunDamaged:  # opening the folder tells more
        return None
    return copy if isinstance(copy, dict) else None


def check_config(
    folder: Path, config: Mapping[str, Any], *, may_grow: tuple[str, ...] = (), done: str = LEDGER
) -> None:
    """Raise RunChanged, with a diff, if the run in `folder` was made with another config; a new folder is fine.

    A number under one of the names in `may_grow` may be larger than it was. `done` is the file without which nothing
    is finished.
    """
    path = folder / CONFIG
    # A run that never finished a stage has nothing that another config could spoil.
    if not path.exists() or not (folder / done).exists():
        return
    # A file that somebody has changed is no reason to blame what is asked now.
    before, now = flatten(Seal(folder).copies.get(CONFIG) or read_config(folder)), flatten(config)
    changed = [name for name in sorted({*before, *now}) if before.get(name, ...) != now.get(name, ...)]
    # A part of another kind has other parameters altogether: its kind says it all.
    replaced = tuple(name.removesuffix("kind") for name in changed if name.endswith(".kind"))
    changed = [name for name in changed if name.endswith(".kind") or not name.startswith(replaced)]
    refused = [name for name in changed if not (name in may_grow and _is_less(before.get(name), now.get(name)))]
    if refused:
        lines = "\n".join(f"  {name}: {_difference(before, now, name)}" for name in refused)
        raise RunChanged(
            f"{folder} was made with another config:\n{lines}\n"
            "Repeat the command with the old settings, or give another folder (--out, out=)."
        )


def _is_less(before: Any, now: Any) -> bool:
    return isinstance(before, int) and isinstance(now, int) and before < now


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one flat mapping with dotted names."""
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    items: dict[str, Any] = {}
    for key, inner in value.items():
        items.update(flatten(inner, f"{prefix}.{key}" if prefix else str(key)))
    return items


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> str:
    """What a setting was and is; of long ones from a little ahead of where they part."""
    was, is_now = (repr(values[name]) if name in values else "absent" for values in (before, now))
    alike = next((at for at, letters in enumerate(zip(was, is_now, strict=False)) if len({*letters}) > 1), 0)
    if alike > _MOST_ALIKE:
        was, is_now = (f"…{text[alike - _MOST_ALIKE // 2 :]}" for text in (was, is_now))
    return f"was {cut(was)}, now {cut(is_now)}"


def environment() -> dict[str, Any]:
    """Describe this process's Python, packages and machine; imports none of the packages."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def record_environment(seal: Seal) -> None:
    """Add this environment to ``environment.json`` unless its newest record is the same."""
    known = seal.copies.get(ENVIRONMENT, {}).get("environments") or recorded_environments(seal.folder)
    current = environment()
    seal.write(ENVIRONMENT, {"environments": known if known and known[-1] == current else [*known, current]})


def recorded_environments(folder: Path) -> list[dict[str, Any]]:
    """What ``environment.json`` holds, the newest last; empty where it cannot be read.

    It is a record, and nothing depends on it: better to begin anew than to stop a run or a report.
    """
    path = folder / ENVIRONMENT
    try:
        known = read_json(path)["environments"] if path.exists() else []
        return [record for record in known if isinstance(record, dict)]
    except (RunDamaged, TypeError, KeyError):  # what the disk does not give now is no damage
        return []


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def free_bytes(folder: Path) -> int:
    """Free space of the file system that `folder` is or will be on."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
