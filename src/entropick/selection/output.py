"""What a choice leaves in its folder: manifests, contact sheets, the chosen files, and lists that other tools open."""

from __future__ import annotations

import filecmp
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from entropick.datasets.reading import ImageFile
from entropick.errors import StorageError, counted
from entropick.run.files import FileRecord, hash_file, storage_errors
from entropick.sources import Source, changed, csv_text, encoded, fitted, readable, readable_columns
from entropick.work import Work

MANIFEST, MANIFEST_CSV, ASIDE, ORDER = "manifest.parquet", "manifest.csv", "set-aside.csv", "order.csv"
DUPLICATES, PAGE = "duplicates.csv", "selection.html"
SHEET, ASIDE_SHEET = "contact-sheet.png", "set-aside.png"
FIFTYONE, FILENAMES, METADATA, CARD = "fiftyone.csv", "filenames.txt", "metadata.jsonl", "README.md"
IDS = "ids.txt"
CHOSEN = "selected"
_UNFINISHED = "selected.unfinished"
# Pictures of a contact sheet, and how they lie on it.
_N_PICTURES, _N_COLUMNS, _SIDE, _MARGIN = 100, 10, 96, 4
_PAPER = (255, 255, 255)

Files = Literal["none", "link", "copy"]


@dataclass(frozen=True)
class Row:
    """A row of a source, and what was found of it.

    Attributes
    ----------
    source, row
        Where it is.
    rank
        Its place among the chosen ones, or among those that are set aside.
    distance
        When it was picked, to the nearest of the picks before it; of one that is set aside, how extreme it is.
    is_given
        Whether it was picked already, see `entropick.selection.Choice`.
    """

    source: Source
    row: int
    rank: int
    distance: float
    is_given: bool = False

    @property
    def label(self) -> str | None:
        """Its class, where that is known."""
        return None if self.source.classes is None else self.source.classes[self.row]

    @property
    def own_name(self) -> str | None:
        """What the file that holds it calls it: a key in a tar file, a path or id in a table."""
        return self.source.own_name(self.row)

    @property
    def base(self) -> str:
        """The folder, absolute, below which its file lies; empty if it is in memory."""
        if self.source.in_memory:
            return ""
        return str(self.source.base.absolute())

    @property
    def file_name(self) -> str:
        """Its file below `base`: an image, or the file of an array, or of a part of one, that it lies in."""
        return self.source.file_name(self.row)

    @property
    def path(self) -> str:
        """Where it is, absolute: its file, or a place in one."""
        return self.file_name if self.source.in_memory else self.source.absolute_place(self.row)


@dataclass(frozen=True)
class Repeat:
    """A row that repeats others: which, the number of its group, and whether it is the one of them to keep."""

    of: Row
    group: int
    keep: bool

    @property
    def kind(self) -> str:
        """What it is, beside the one to keep."""
        return "kept" if self.keep else "near" if self.of.distance else "exact"


def bases(sources: Sequence[Source]) -> dict[str, str]:
    """Where sources lie: of each, the absolute folder that the names of its files begin in."""
    return {source.name: readable(Row(source, 0, 0, 0.0).base) for source in sources}


def manifests(chosen: Sequence[Row], aside: Sequence[Row] | None, sources: Sequence[Source]) -> dict[str, Any]:
    """What was chosen and set aside, as tables, and the order of all files, by the names of their files."""
    table = _table(chosen, sources)
    files: dict[str, Any] = {MANIFEST: readable_columns(table), MANIFEST_CSV: csv_text(table)}
    if aside is not None:
        files[ASIDE] = csv_text({name: column for name, column in _table(aside, sources).items() if name != "given"})
    on_disk = [source for source in sources if not source.in_memory]
    if listed := [Row(source, row, 0, 0.0) for source in on_disk for row in range(len(source.files))]:
        order = _table(listed, sources)
        files[ORDER] = csv_text(
            {name: order[name] for name in ("source", "row", "path", "file_name", "name") if name in order}
        )
    return files


def duplicates_table(repeats: Sequence[Repeat]) -> str:
    """Rows that repeat others as CSV, group by group, in each the one to keep first."""
    columns: dict[str, list[Any]] = {
        "group": [repeat.group for repeat in repeats],
        "keep": [repeat.keep for repeat in repeats],
        "kind": [repeat.kind for repeat in repeats],
        "source": [repeat.of.source.name for repeat in repeats],
        "path": [repeat.of.path for repeat in repeats],
        "row": [repeat.of.row for repeat in repeats],
        "distance": [repeat.of.distance for repeat in repeats],
    }
    return csv_text(columns)


def sheets(chosen: Sequence[Row], aside: Sequence[Row] | None) -> dict[str, Any]:
    """Contact sheets of the first of both, in order, by the names of their files."""
    shown = {SHEET: chosen, ASIDE_SHEET: aside or ()}
    return {name: _sheet(rows[:_N_PICTURES]) for name, rows in shown.items() if rows}


def lists(chosen: Sequence[Row], sources: Sequence[Source], *, placed: bool) -> dict[str, Any]:
    """The files chosen from `sources` as other tools read them, by the names of the lists; `docs/selection-folder.md`.

    Where the files are `placed`, a data set of Hugging Face is made of their folder; else its table tells where they
    lie. A name that is no UTF-8 cannot stand in some of these files and is left out there.
    """
    of_files = [source for source in sources if _are_files(source, placed=placed)]
    files = [row for row in chosen if _are_files(row.source, placed=placed)]
    if not files:
        ids = [row.own_name for row in chosen]
        # A line without a name would stand for no row.
        return {IDS: "".join(f"{_one_line(name)}\n" for name in ids if name)} if ids and all(ids) else {}
    named = [row for row in files if _is_utf8(row.path)]
    has_label = any(row.label is not None for row in files)
    on_disk = [row for row in named if not row.source.in_memory]
    found: dict[str, Any] = {FILENAMES: "".join(f"{_line(row, of_many=len(of_files) > 1)}\n" for row in files)}
    if on_disk:
        columns: dict[str, list[Any]] = {
            "filepath": [row.path for row in on_disk],
            "source": [row.source.name for row in on_disk],
            "rank": [row.rank for row in on_disk],
            "distance": [_finite(row.distance) for row in on_disk],
        }
        if has_label:
            columns["label"] = [row.label for row in on_disk]
        found[FIFTYONE] = csv_text(columns)
    lines = "".join(_metadata(row, placed=placed, with_label=has_label) for row in named)
    found[f"{CHOSEN}/{METADATA}" if placed else METADATA] = lines
    if placed:
        found[f"{CHOSEN}/{CARD}"] = _card(files, n_unnamed=len(files) - len(named))
    return found


def _table(rows: Sequence[Row], sources: Sequence[Source]) -> dict[str, list[Any]]:
    table: dict[str, list[Any]] = {
        "rank": [row.rank for row in rows],
        "source": [row.source.name for row in rows],
        "path": [row.path for row in rows],
        "row": [row.row for row in rows],
        "distance": [row.distance for row in rows],
        "base": [row.base for row in rows],
        "file_name": [row.file_name for row in rows],
    }
    names = [row.own_name for row in rows]
    if any(name is not None for name in names):
        table["name"] = names
    ids = [row.source.own_id(row.row) for row in rows]
    if any(of is not None for of in ids):
        table["id"] = ids
    if any(source.classes is not None for source in sources):
        table["class"] = [row.label for row in rows]
    if any(row.is_given for row in rows):
        table["given"] = [row.is_given for row in rows]
    return table


def _metadata(row: Row, *, placed: bool, with_label: bool) -> str:
    name = f"{row.source.name}/{row.file_name}" if placed else row.path
    facts = {"file_name": name, "source": row.source.name, "rank": row.rank, "distance": _finite(row.distance)}
    if with_label:
        facts["label"] = None if row.label is None else readable(row.label)
    return json.dumps(facts, ensure_ascii=False, allow_nan=False) + "\n"


def _card(rows: Sequence[Row], *, n_unnamed: int) -> str:
    """The card of the folder of chosen files: its front matter tells Hugging Face that all of it is one split."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.source.name] = counts.get(row.source.name, 0) + 1
    listed = "\n".join(f"- `{name.replace('`', '')}`: {count:,}" for name, count in counts.items())
    are = "whose name is no UTF-8 is" if n_unnamed == 1 else "whose names are no UTF-8 are"
    unnamed = f"\n\n{counted(n_unnamed, 'file')} {are} here, and not in the table." if n_unnamed else ""
    return f"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: "**"
---

# A selection by entropick

{len(rows):,} images, each with its source, its rank, its distance to the nearest image picked before it (none for the
first) and, where it is known, its label, in `{METADATA}`:

{listed}{unnamed}

```python
from datasets import load_dataset

images = load_dataset("path/to/this/folder", split="train")
```

`load_dataset("imagefolder", data_dir="path/to/this/folder")` does the same, unless a folder in here is called train,
test or validation: then it makes splits of these and leaves the table out.
"""


def _are_files(source: Source, *, placed: bool) -> bool:
    """Whether the images of a source are files: what is in memory has none, unless one is placed."""
    return bool(source.files) and (placed or not source.in_memory)


def _line(row: Row, *, of_many: bool) -> str:
    """The name of a row's file on a line of its own, behind that of its source where there are several."""
    return _one_line(f"{row.source.name}/{row.file_name}" if of_many else row.file_name)


def _one_line(name: str) -> str:
    return name.replace("\r", "\\r").replace("\n", "\\n")


def _is_utf8(text: str) -> bool:
    return readable(text) == text


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def check_placeable(sources: Iterable[Source], files: Files) -> None:
    """Raise ValueError, which says why, if chosen files cannot be placed in a folder of their own."""
    for source in sources:
        if files != "none" and not source.files:
            what = "in memory, in an array" if source.in_memory else "one file"
            raise ValueError(f"folders of image files, but {source.name!r} is {what}; the manifest names its rows.")
        if files != "none" and source.name in (METADATA, CARD):
            raise ValueError(f"another name for the source {source.name!r}: {CHOSEN}/ has a file of that name.")


def place_files(
    out: Path, chosen: Sequence[Row], contents: Mapping[str, Sequence[bytes | None]], *, link: bool, work: Work
) -> dict[str, FileRecord]:
    """Link or copy the files of rows into a folder; it is built aside and renamed when it is whole.

    A folder that holds all of them, byte for byte, is left as it is. Returns what is in it. `contents` are the hashes
    of the files of each source, by its name, when they were looked at.

    Raises
    ------
    InputError
        If a file is no longer what it was then; nothing is left in the folder.
    """
    rows = {f"{row.source.name}/{row.file_name}": row for row in chosen}
    files = {name: row.source.files[row.row] for name, row in rows.items()}
    aside, folder = out / _UNFINISHED, out / CHOSEN
    with storage_errors(folder):
        if not all(_is_placed(file, folder / name) for name, file in files.items()):
            for old in (aside, folder):
                if old.exists():
                    shutil.rmtree(old)
            try:
                for done, (name, file) in enumerate(files.items(), start=1):
                    place(file, aside / name, link=link)
                    work.progress(done, len(files), "files")
                aside.rename(folder)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise
        placed = {name: hash_file(folder / name) for name in files}
    for name, row in rows.items():
        # An image in memory is known by its pixels.
        if not row.source.in_memory and placed[name].sha256 != (contents[row.source.name][row.row] or b"").hex():
            with storage_errors(folder):
                shutil.rmtree(folder)
            raise changed(files[name])
    return {f"{CHOSEN}/{name}": record for name, record in placed.items()}


def remove_written(out: Path) -> None:
    """Remove what an unfinished choice, perhaps with other settings, has left."""
    names = (
        MANIFEST,
        MANIFEST_CSV,
        ASIDE,
        ORDER,
        DUPLICATES,
        SHEET,
        ASIDE_SHEET,
        FIFTYONE,
        FILENAMES,
        METADATA,
        IDS,
        PAGE,
    )
    with storage_errors(out):
        for name in names:
            (out / name).unlink(missing_ok=True)
        for folder in (out / CHOSEN, out / _UNFINISHED):
            if folder.exists():
                shutil.rmtree(folder)


def _is_placed(file: ImageFile, target: Path) -> bool:
    if not isinstance(file, Path):
        return target.is_file() and target.read_bytes() == file.read_bytes()
    return target.is_file() and (target.samefile(file) or filecmp.cmp(file, target, shallow=False))


def place(file: ImageFile, target: Path, *, link: bool) -> None:
    """Link or copy a file, byte for byte; copied where there can be no link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(file, Path):
        target.write_bytes(file.read_bytes())
        return
    if link:
        try:
            os.link(file.resolve(), target)
            return
        except OSError:
            # Another file system, or one without links.
            pass
    shutil.copyfile(file, target)


def _sheet(shown: Sequence[Row]) -> bytes:
    """A PNG of rows of sources, in reading order, each fitted into a square; what fails stays blank."""
    from PIL import Image

    columns = min(_N_COLUMNS, len(shown))
    cell = _SIDE + _MARGIN
    sheet = Image.new("RGB", (columns * cell + _MARGIN, -(-len(shown) // columns) * cell + _MARGIN), _PAPER)
    for number, of in enumerate(shown):
        try:
            picture = fitted(of.source.picture(of.row, side=_SIDE), _SIDE)
        except StorageError:
            raise
        except Exception:
            continue
        left, top = number % columns * cell + _MARGIN, number // columns * cell + _MARGIN
        sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
    return encoded(sheet, "PNG")
