"""Files that lie elsewhere: what ``pyarrow.fs`` opens by an address, such as ``s3://bucket/pool/part-*.parquet``.

Nothing is contacted unless an address is given. pyarrow is imported then.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import translate
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from entropick.errors import InputError

# Of a scheme two letters at least: one is a drive of Windows.
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_READ_BYTES = 8 << 20


def is_address(text: str) -> bool:
    """Whether a text is an address with a scheme, and no path."""
    return _ADDRESS.match(text) is not None


def local_path(address: str) -> str | None:
    """The path that a ``file://`` address stands for; None for any other."""
    parts = urlsplit(address)
    return unquote(parts.path) if parts.scheme == "file" and parts.netloc in ("", "localhost") else None


class RemotePath:
    """A file or folder behind an address, or a pattern: what its readers use of a `Path`, and it is one to them.

    Its text is the address without what may be secret: a name with a password, options.
    """

    def __init__(self, address: str, below: PurePosixPath | None = None) -> None:
        self._address, parts = address, urlsplit(address)
        self._scheme = parts.scheme
        self._path = _shown_path(address) if below is None else below

    def _at(self, path: PurePosixPath) -> RemotePath:
        return RemotePath(self._address, path)

    def __str__(self) -> str:
        return f"{self._scheme}://{self._path}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __truediv__(self, name: str) -> RemotePath:
        return self._at(self._path / name)

    @property
    def name(self) -> str:
        """The last part."""
        return self._path.name

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return self._path.stem

    @property
    def suffix(self) -> str:
        """The suffix of the name."""
        return self._path.suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that it lies in."""
        return self._at(self._path.parent)

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts of the path."""
        return self._path.parts

    def as_posix(self) -> str:
        """The address."""
        return str(self)

    def absolute(self) -> RemotePath:
        """It is."""
        return self

    def with_name(self, name: str) -> RemotePath:
        """Another one in its place."""
        return self._at(self._path.with_name(name))

    def is_relative_to(self, folder: object) -> bool:
        """Whether it lies below a folder."""
        return isinstance(folder, RemotePath) and self._path.is_relative_to(folder._path)

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """Its path below a folder."""
        return self._path.relative_to(folder._path)

    def exists(self) -> bool:
        """Whether there is something."""
        return bool(self._info.type.name != "NotFound")

    def is_file(self) -> bool:
        """Whether it is a file."""
        return bool(self._info.type.name == "File")

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return bool(self._info.type.name == "Directory")

    def stat(self) -> Any:
        """Bytes (``st_size``) and the time of change (``st_mtime_ns``)."""
        found = self._info
        if found.type.name != "File":
            raise FileNotFoundError(2, os.strerror(2), str(self))
        return SimpleNamespace(st_size=int(found.size), st_mtime_ns=int(found.mtime_ns or 0))

    def content_hash(self) -> bytes:
        """By what it is known, 32 bytes: its path, size and time of change; to read it takes what reading it takes."""
        found = self.stat()
        return hashlib.sha256(f"{self}\0{found.st_size}\0{found.st_mtime_ns}".encode()).digest()

    def open(self) -> Any:
        """A file of pyarrow that can be read anywhere; closed by who asked for it."""
        with _reachable(str(self)):
            return self._system.open_input_file(self._fs_path)

    def blocks(self) -> Iterator[bytes]:
        """All bytes in order, some at once."""
        n_read, size = 0, self.stat().st_size
        with self.open() as stream:
            while True:
                with _reachable(str(self)):
                    block = stream.read(_READ_BYTES)
                if not block:
                    break
                n_read += len(block)
                yield block
        if n_read != size:
            raise InputError(f"{self}: expected {size:,} bytes, got {n_read:,}. Repeat the command.")

    def below(self) -> list[RemotePath]:
        """All files at and below this folder."""
        from pyarrow.fs import FileSelector

        with _reachable(str(self)):
            found = self._system.get_file_info(FileSelector(self._fs_path, recursive=True))
        # Paths are those of the file system, which may begin elsewhere than the address says.
        start = self._fs_path.rstrip("/")
        names = [of.path.removeprefix(start).lstrip("/") for of in found if of.type.name == "File"]
        return [self / name for name in sorted(names)]

    def matching(self) -> list[RemotePath]:
        """The files that match this pattern, in which ``**`` is any number of folders."""
        folder = self._at(_folder_of(self._path))
        wanted = re.compile(_expression(self.relative_to(folder).parts))
        return [file for file in folder.below() if wanted.fullmatch(str(file.relative_to(folder)))]

    @property
    def _info(self) -> Any:
        # Asked anew each time: it may have changed.
        with _reachable(str(self)):
            return self._system.get_file_info(self._fs_path)

    @property
    def _system(self) -> Any:
        return _opened(self._address)[0]

    @property
    def _fs_path(self) -> str:
        """What the file system calls it, which need not begin with a host."""
        base, known = _folder_of(_shown_path(self._address)), PurePosixPath(_opened(self._address)[1])
        if self._path.is_relative_to(base):
            return str(known / self._path.relative_to(base))
        return str(known.parents[len(base.relative_to(self._path).parts) - 1])


def _shown_path(address: str) -> PurePosixPath:
    """Host and path of an address, without a password and the name that it belongs to."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    # Of Azure the name is that of a container.
    return PurePosixPath(f"{host if ':' in user else user + at + host}{unquote(parts.path)}")


def _folder_of(path: PurePosixPath) -> PurePosixPath:
    """The folder in which a pattern begins; any other path as it is."""
    while any(mark in str(path) for mark in "*?["):
        path = path.parent
    return path


def _expression(parts: Sequence[str]) -> str:
    """What the paths match that match a pattern, given by its parts."""
    found = ""
    for number, part in enumerate(parts):
        if part == "**":
            found += "(?:[^/]+/)*"
        else:
            # Within a name, a star stands for anything but a slash.
            found += translate(part).removesuffix(r"\Z").removesuffix(r"\z").replace(".*", "[^/]*")
            found += "/" if number < len(parts) - 1 else ""
    return found


@functools.lru_cache(maxsize=64)
def _opened(address: str) -> tuple[Any, str]:
    """The file system behind an address, and the path in it, of a pattern that of its folder."""
    from pyarrow.fs import FileSystem

    parts, options = urlsplit(address), ""
    # Google's library would try for a quarter of an hour.
    if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in parts.query:
        options = "retry_limit_seconds=60"
    path = _folder_of(PurePosixPath(unquote(parts.path) or "/"))
    whole = urlunsplit(
        (parts.scheme, parts.netloc, quote(str(path)), "&".join(filter(None, (parts.query, options))), "")
    )
    shown = f"{parts.scheme}://{_shown_path(address)}"
    with _reachable(shown):
        try:
            found: tuple[Any, str] = FileSystem.from_uri(whole)
        except (ValueError, NotImplementedError) as error:
            raise InputError(
                f"{shown}: expected a path, or an address that pyarrow.fs opens (file, s3, gs, hdfs, abfs), but: "
                f"{_reason(error)}. Copy the files to this machine."
            ) from None
    return found


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")


class _reachable:  # noqa: N801 - a context, used like a function
    """Turn what a file system raises into a message that names the address."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError) and not isinstance(error, InputError | FileNotFoundError):
            raise InputError(
                f"{self._address}: expected an address that answers, but: {_reason(error)}. See whether it is right, "
                "and whether this machine may reach it."
            ) from error
