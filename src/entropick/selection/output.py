"""What a choice leaves in its folder: manifests, contact sheets and, where wanted, the chosen files themselves."""

from __future__ import annotations

import contextlib
import filecmp
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from entropick.arrays import Floats, Integers
from entropick.run.files import storage_errors
from entropick.sources import Candidates, Source, csv_text, encoded, fitted, readable, readable_columns
from entropick.work import Work

MANIFEST, MANIFEST_CSV, ASIDE = "manifest.parquet", "manifest.csv", "set-aside.csv"
SHEET, ASIDE_SHEET = "contact-sheet.png", "set-aside.png"
CHOSEN = "selected"
_UNFINISHED = "selected.unfinished"
# Pictures of a contact sheet, and how they lie on it.
_N_PICTURES, _N_COLUMNS, _SIDE, _MARGIN = 100, 10, 96, 4
_PAPER = (255, 255, 255)

Files = Literal["none", "link", "copy"]


@dataclass(frozen=True)
class Rows:
    """Rows of the candidates, in order, and a distance of each."""

    rows: Integers
    distances: Floats


@dataclass(frozen=True)
class Output:
    """What is to be told of a choice from `candidates` of `sources`.

    `classes` are those of the candidates, for a column of the manifest; None leaves it out.
    """

    sources: Sequence[Source]
    candidates: Candidates
    classes: Sequence[str] | None = None

    def files(self, chosen: Rows, aside: Rows | None) -> dict[str, Any]:
        """What is in each of the files, by its name; `aside` is None without a guard."""
        table = self._table(chosen)
        files: dict[str, Any] = {MANIFEST: readable_columns(table), MANIFEST_CSV: csv_text(table)}
        if aside is not None:
            files[ASIDE] = csv_text(self._table(aside))
        if self.sources[0].kind != "embeddings":
            for name, shown in ((SHEET, chosen), (ASIDE_SHEET, aside)):
                if shown is not None and len(shown.rows):
                    files[name] = _sheet(self._places(shown.rows[:_N_PICTURES]))
        return files

    def counts(self, chosen: Rows, aside: Rows | None) -> dict[str, dict[str, int]]:
        """Of each source, how many rows it has and what became of them."""
        columns = {
            "files_or_rows": [len(source) for source in self.sources],
            "skipped": [len(bad) for bad in self.candidates.problems],
            "set_aside": [0] * len(self.sources) if aside is None else self._by_source(aside),
            "chosen": self._by_source(chosen),
        }
        names = [source.name for source in self.sources]
        return {name: {key: values[i] for key, values in columns.items()} for i, name in enumerate(names)}

    def class_counts(self, chosen: Rows) -> dict[str, dict[str, int]] | None:
        """Of each class, how many candidates it has and how many were chosen; None where classes do not count."""
        if self.classes is None:
            return None
        candidates = Counter(self.classes)
        taken = Counter(self.classes[row] for row in chosen.rows.tolist())
        return {readable(name): {"candidates": candidates[name], "chosen": taken[name]} for name in sorted(candidates)}

    def _by_source(self, shown: Rows) -> list[int]:
        counts: list[int] = np.bincount(self.candidates.source[shown.rows], minlength=len(self.sources)).tolist()
        return counts

    def _table(self, shown: Rows) -> dict[str, list[Any]]:
        places = self._places(shown.rows)
        table: dict[str, list[Any]] = {
            "rank": list(range(len(places))),
            "source": [source.name for source, _ in places],
            "path": [source.place(row) for source, row in places],
            "row": [row for _, row in places],
            "distance": shown.distances.tolist(),
        }
        if self.classes is not None:
            table["class"] = [self.classes[row] for row in shown.rows.tolist()]
        return table

    def _places(self, rows: Integers) -> list[tuple[Source, int]]:
        numbers, places = self.candidates.source[rows].tolist(), self.candidates.row[rows].tolist()
        return [(self.sources[number], row) for number, row in zip(numbers, places, strict=True)]


def place_files(out: Path, sources: Sequence[Source], manifest: Mapping[str, Any], *, link: bool, work: Work) -> None:
    """Link or copy the files that a manifest names into a folder; it is built aside and renamed when it is whole.

    A folder that holds all of them, byte for byte, is left as it is.
    """
    by_name = {source.name: source for source in sources}
    rows = zip(manifest["source"], manifest["row"], strict=True)
    files = [(by_name[name], by_name[name].files[row]) for name, row in rows]
    aside = out / _UNFINISHED
    with storage_errors(out / CHOSEN):
        if all(_is_placed(file, out / CHOSEN / source.name / file.relative_to(source.path)) for source, file in files):
            return
        for old in (aside, out / CHOSEN):
            if old.exists():
                shutil.rmtree(old)
        try:
            for done, (source, file) in enumerate(files, start=1):
                place(file, aside / source.name / file.relative_to(source.path), link=link)
                work.progress(done, len(files), "files")
            aside.rename(out / CHOSEN)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def remove_written(out: Path) -> None:
    """Remove what an unfinished choice, perhaps with other settings, has left."""
    with storage_errors(out):
        for name in (MANIFEST, MANIFEST_CSV, ASIDE, SHEET, ASIDE_SHEET):
            (out / name).unlink(missing_ok=True)
        for folder in (out / CHOSEN, out / _UNFINISHED):
            if folder.exists():
                shutil.rmtree(folder)


def _is_placed(file: Path, target: Path) -> bool:
    return target.is_file() and (target.samefile(file) or filecmp.cmp(file, target, shallow=False))


def place(file: Path, target: Path, *, link: bool) -> None:
    """Link or copy a file, byte for byte; copied where there can be no link."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(file.resolve(), target)
            return
        except OSError:
            # Another file system, or one without links.
            pass
    shutil.copyfile(file, target)


def _sheet(shown: Sequence[tuple[Source, int]]) -> bytes:
    """A PNG of rows of sources, in reading order, each fitted into a square; what fails stays blank."""
    from PIL import Image

    columns = min(_N_COLUMNS, len(shown))
    cell = _SIDE + _MARGIN
    sheet = Image.new("RGB", (columns * cell + _MARGIN, -(-len(shown) // columns) * cell + _MARGIN), _PAPER)
    for number, (source, row) in enumerate(shown):
        with contextlib.suppress(Exception):
            picture = fitted(source.picture(row), _SIDE)
            left, top = number % columns * cell + _MARGIN, number // columns * cell + _MARGIN
            sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
    return encoded(sheet, "PNG")
