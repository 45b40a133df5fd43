"""The output folder of a command that goes from files into files: whose it is, whether it is whole, its tables."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from entropick.errors import InputError
from entropick.run.directory import CONFIG
from entropick.run.files import FileRecord, hash_file, read_json, write_atomic


def check_output(out: Path, config_keys: set[str], *, of: str) -> None:
    """Refuse a folder that holds what no such command has written: nothing of a user's is mixed with results.

    `config_keys` are keys of the ``config.json`` by which the command knows its own folder; `of` is what it makes.
    """
    if not out.is_dir() or not any(path.name[0] != "." for path in out.iterdir()):
        return
    config = read_json(out / CONFIG) if (out / CONFIG).is_file() else {}
    if not config_keys <= config.keys():
        raise InputError(f"out: expected a new folder or one of an earlier {of}, but {out} holds other files.")


def finished(path: Path) -> dict[str, Any] | None:
    """The result at `path`; None if there is none, or one of the files it names is not as it was written."""
    if not path.exists():
        return None
    result: dict[str, Any] = read_json(path)
    files = {path.parent / name: record for name, record in result["files"].items()}
    whole = all(file.is_file() and dataclasses.asdict(hash_file(file)) == record for file, record in files.items())
    return result if whole else None


def write_csv(path: Path, table: Mapping[str, Sequence[Any]]) -> FileRecord:
    """Write columns of equal length; file names keep their bytes, whatever those are."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return write_atomic(path, lambda stream: stream.write(text.getvalue().encode("utf-8", "surrogateescape")))
