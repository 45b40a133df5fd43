"""Files that are either whole or absent: written aside, fsynced, hashed, renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import inspect
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock

from entropick.errors import EntropickError, RunDamaged, StorageError

_READ_BYTES = 1 << 20
_PARTIAL = ".partial"
# What file systems say that cannot do a thing at all, such as to lock a file or to fsync a folder.
UNABLE = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK)

# What they say where a file lies in the place of a folder, a folder in that of a file, or a link leads nowhere.
_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP)

# Releases that can fall back to another kind of lock can also be told not to.
_NO_FALLBACK: dict[str, Any] = (
    {"fallback_to_soft": False} if "fallback_to_soft" in inspect.signature(FileLock.__init__).parameters else {}
)


@dataclass(frozen=True)
class FileRecord:
    """What a ledger line remembers of a file: its sha256 (hexadecimal) and its size in bytes."""

    sha256: str
    bytes: int


class _HashingWriter(io.RawIOBase):
    """Passes bytes on to a file and hashes them on the way, so that no file is read back to be hashed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._hash = hashlib.sha256()
        self._bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._hash.update(view)
        self._bytes += len(view)
        return len(view)

    def record(self) -> FileRecord:
        return FileRecord(self._hash.hexdigest(), self._bytes)


def write_atomic(path: Path, write: Callable[[Any], None]) -> FileRecord:
    """Write a file through ``write(stream)`` so that `path` holds either all of it or what was there before.

    Raises
    ------
    StorageError
        The disk is full or refuses; what was written aside is removed.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(partial, "wb") as file:
                writer = _HashingWriter(file)
                write(writer)
                file.flush()
                sync(file.fileno())
            partial.replace(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return writer.record()


def remove_partial(folder: Path) -> None:
    """Remove what a killed process was writing in or below `folder`."""
    with storage_errors(folder):
        for path in folder.rglob(f".*{_PARTIAL}"):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        advice = "Free some space or mend the permissions"
        if error.errno in _IN_THE_WAY:
            advice = f"Move away what lies at {error.filename2 or error.filename or path}"
        raise StorageError(
            f"could not write {path}: {error.strerror or error}. {advice}, then repeat the same command: what was "
            "finished is kept."
        ) from error


def file_lock(path: Path) -> FileLock:
    """A lock of the system, which goes with its process; where there are none, taking it is an OSError of `UNABLE`.

    Never the kind that a file stands for by being there: that would outlive a process that was killed.
    """
    return _Lock(path, **_NO_FALLBACK)


class _Lock(FileLock):
    def acquire(self, *args: Any, **named: Any) -> Any:
        try:
            return super().acquire(*args, **named)
        except NotImplementedError as error:  # what releases say that have no other kind to fall back to
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), self.lock_file) from error


def set_aside(path: Path) -> None:
    """Rename a folder that lies where a file belongs: to ``NAME.damaged``, or with a number where that is taken."""
    if path.is_dir() and not path.is_symlink():
        names = (f"{path.name}.damaged{number}" for number in ("", *range(2, 1000)))
        with storage_errors(path):
            path.rename(next(free for free in map(path.with_name, names) if not os.path.lexists(free)))


def sync(descriptor: int) -> None:
    """fsync; a file system that has none for this (FUSE, some NFS) promises less at a power cut, and nothing else."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in UNABLE:
            raise


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`: a hard link, or a copy where the file system has none."""
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(source, target)
        except OSError:
            with open(source, "rb") as file:
                write_atomic(target, lambda stream: shutil.copyfileobj(file, stream, _READ_BYTES))
        sync_folder(target.parent)


def hash_file(path: Path) -> FileRecord:
    """Hash a file as it lies on the disk."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    return FileRecord(digest.hexdigest(), size)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values are equal text; NaN and infinity are refused."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_of_numpy
    )
    # Bytes of file names that are no UTF-8 are surrogates in Python, and escapes in JSON.
    return text.encode("utf-8", "backslashreplace").decode()


def fingerprint(value: Any) -> str:
    """The sha256 (hexadecimal) of a JSON-able value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def read_json(path: Path) -> Any:
    """Read a JSON file of a run; a damaged one, or what is no file, is a RunDamaged error."""
    if (path.exists() or path.is_symlink()) and not path.is_file():
        # A pipe would be waited for, and a device may have no end.
        raise RunDamaged(
            f"{path}: expected a file, but something else lies there. `entropick verify {path.parent} --repair` moves "
            "it aside and restores what it can."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError, RecursionError) as error:
        raise RunDamaged(
            f"{path} is not readable as JSON ({error}). `entropick verify {path.parent} --repair` restores what it can."
        ) from error


def write_json(path: Path, value: Any) -> FileRecord:
    """Write indented JSON atomically."""
    return write_atomic(path, lambda stream: stream.write(readable_json(value)))


def readable_json(value: Any) -> bytes:
    """Indented JSON, for people."""
    text = json.dumps(value, indent=2, sort_keys=False, ensure_ascii=False, allow_nan=False, default=_of_numpy)
    return f"{text}\n".encode()


def _of_numpy(value: Any) -> Any:
    """Numbers of NumPy as those of Python, which every key, ledger line and config then has."""
    if isinstance(value, np.generic | np.ndarray) and value.dtype.kind in "fiub":
        return value.tolist()
    raise TypeError(f"expected plain data, got {type(value).__name__}")


def write_content(path: Path, content: Any) -> FileRecord:
    """Write `content` in the format that the suffix of `path` names.

    ``.npy`` takes an array, ``.safetensors`` a mapping of arrays, ``.parquet`` a mapping of columns of equal length,
    ``.json`` anything JSON-able; any other takes text. Bytes are written as they are under any name. A `FileRecord`
    says that the file is there already.
    """
    writers: dict[str, Callable[[Any], None]] = {
        ".npy": lambda stream: np.save(stream, content, allow_pickle=False),
        ".safetensors": lambda stream: stream.write(_safetensors_bytes(content)),
        ".parquet": lambda stream: _write_parquet(stream, content),
        ".json": lambda stream: stream.write(canonical_json(content).encode()),
    }
    if isinstance(content, FileRecord):
        return content
    if isinstance(content, bytes):
        return write_atomic(path, lambda stream: stream.write(content))
    return write_atomic(
        path, writers.get(path.suffix, lambda stream: stream.write(content.encode("utf-8", "surrogateescape")))
    )


def read_content(path: Path) -> Any:
    """Read what `write_content` wrote; an array comes back as a read-only memory map, an unknown format as bytes."""
    readers: dict[str, Callable[[Path], Any]] = {
        ".npy": lambda path: np.load(path, mmap_mode="r", allow_pickle=False),
        ".safetensors": _read_safetensors,
        ".parquet": _read_parquet,
        ".json": read_json,
    }
    try:
        return readers.get(path.suffix, Path.read_bytes)(path)
    except EntropickError:
        raise
    except Exception as error:
        raise RunDamaged(f"{path} cannot be read ({error}). `entropick verify` names everything damaged.") from error


def _safetensors_bytes(arrays: Mapping[str, Any]) -> bytes:
    from safetensors.numpy import save

    data: bytes = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return data


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    arrays: dict[str, Any] = load_file(path)
    return arrays


def _write_parquet(stream: Any, columns: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(dict(columns)), pa.PythonFile(stream, mode="w"), compression="zstd")


def _read_parquet(path: Path) -> dict[str, Any]:
    import pyarrow.parquet as pq

    # partitioning=None: else a folder such as "seed-0" or "x=1" on the way could be taken for a column.
    # Absolute: a leading ~ of a folder that is called so would be taken for somebody's home.
    table = pq.read_table(path.absolute(), partitioning=None)
    return {name: table.column(name).to_numpy() for name in table.column_names}
