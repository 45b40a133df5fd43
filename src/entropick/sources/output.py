"""The output folder of a command that goes from files into files: whose it is, whether it is whole, its tables."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from entropick.errors import InputError
from entropick.run.files import (
    FileRecord,
    hash_file,
    read_json,
    remove_partial,
    storage_errors,
    write_atomic,
    write_json,
)
from entropick.run.folder import CONFIG, check_config, locked
from entropick.sources.source import Source, readable


def check_output(out: Path, sources: Sequence[Source], config_keys: set[str], *, of: str) -> None:
    """Refuse a folder that is in one of the `sources`, or holds what no such command has written.

    `config_keys` are keys of the ``config.json`` by which the command knows its own folder; `of` is what it makes.
    """
    _check_outside(out, sources)
    with storage_errors(out):
        if not out.is_dir() or not any(path.name[0] != "." for path in out.iterdir()):
            return
        config = read_json(out / CONFIG) if (out / CONFIG).is_file() else None
    if not isinstance(config, dict) or not config_keys <= config.keys():
        raise InputError(f"out: expected a new folder or one of an earlier {of}, but {out} holds other files.")


@contextmanager
def begun(out: Path, config: Mapping[str, Any], *, done: str) -> Iterator[None]:
    """Hold the folder, free of what was left half-written, with the `config` that is worked by.

    `done` is the file without which nothing is finished, see `check_config`.
    """
    with locked(out):
        # Again: another process may have finished here while this one looked at its images.
        check_config(out, config, done=done)
        remove_partial(out)
        write_json(out / CONFIG, config)
        yield


def _check_outside(out: Path, sources: Sequence[Source]) -> None:
    """Refuse a folder in one of the `sources`: what is written there would be one of its images the next time."""
    for source in sources:
        # realpath minds no loop of links, which is refused where the folder is made.
        above = (Path(os.path.realpath(out)), *Path(os.path.realpath(out)).parents)
        if source.kind == "folder" and Path(os.path.realpath(source.path)) in above:
            raise InputError(
                f"out: expected a folder outside of the sources, but {readable(str(out))} is in {source.name} "
                f"({readable(str(source.path))}), whose images would change by it. Give another --out."
            )


def finished(path: Path) -> dict[str, Any] | None:
    """The result at `path`; None if there is none, or one of the files it names is not as it was written."""
    if not path.exists():
        return None
    result = read_json(path)
    if not isinstance(result, dict) or not isinstance(result.get("files"), dict):
        return None
    files = {path.parent / name: record for name, record in result["files"].items()}
    whole = all(file.is_file() and dataclasses.asdict(hash_file(file)) == record for file, record in files.items())
    return result if whole else None


def readable_columns(table: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The table with texts that can be written anywhere, see `readable`."""
    return {
        name: [readable(value) if isinstance(value, str) else value for value in column]
        for name, column in table.items()
    }


def write_csv(path: Path, table: Mapping[str, Sequence[Any]]) -> FileRecord:
    """Write columns of equal length; file names keep their bytes, whatever those are."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return write_atomic(path, lambda stream: stream.write(text.getvalue().encode("utf-8", "surrogateescape")))


def fitted(picture: Any, side: int) -> Any:
    """A Pillow image whose longer side is `side`; enlarged pixels stay squares, reduced ones are averaged."""
    from PIL import Image

    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)


def encoded(picture: Any, file_format: str, **options: Any) -> bytes:
    """A Pillow image as the bytes of a file."""
    stream = io.BytesIO()
    picture.save(stream, file_format, optimize=True, **options)
    return stream.getvalue()
