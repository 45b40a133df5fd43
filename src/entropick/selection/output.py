"""The output folder of a choice: manifests, contact sheets and, where wanted, the chosen files themselves."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from entropick.arrays import Floats, Integers
from entropick.run.files import storage_errors, write_atomic, write_content
from entropick.sources import Candidates, Source, encoded, fitted, readable, readable_columns, write_csv
from entropick.work import Work

MANIFEST, MANIFEST_CSV, ASIDE = "manifest.parquet", "manifest.csv", "set-aside.csv"
SHEET, ASIDE_SHEET = "contact-sheet.png", "set-aside.png"
CHOSEN = "selected"
_UNFINISHED = "selected.unfinished"
# Pictures of a contact sheet, and how they lie on it.
_N_PICTURES, _N_COLUMNS, _SIDE, _MARGIN = 100, 10, 96, 4
_PAPER = (255, 255, 255)
_COLUMNS = ("rank", "source", "path", "row", "distance")

Files = Literal["none", "link", "copy"]


@dataclass(frozen=True)
class Rows:
    """Rows of the candidates, in order, and a distance of each."""

    rows: Integers
    distances: Floats

    @classmethod
    def none(cls) -> Rows:
        """Not a single row."""
        return cls(np.empty(0, np.int64), np.empty(0))


@dataclass(frozen=True)
class Output:
    """Writes what was chosen from `candidates` of `sources` into the folder `out`.

    `classes` are those of the candidates, for a column of the manifest; None leaves it out.
    """

    out: Path
    sources: Sequence[Source]
    candidates: Candidates
    classes: Sequence[str] | None = None

    def write(self, chosen: Rows, aside: Rows | None, *, files: Files, work: Work) -> list[Path]:
        """Write all of it; `aside` is None without a guard. Returns the files whose hashes make the choice whole."""
        table = self._table(chosen)
        written = [self.out / MANIFEST, self.out / MANIFEST_CSV]
        write_content(written[0], readable_columns(table))
        write_csv(written[1], table)
        if aside is not None:
            written.append(self.out / ASIDE)
            write_csv(written[-1], self._table(aside))
        written += self._write_sheets({SHEET: chosen, ASIDE_SHEET: aside or Rows.none()})
        if files != "none":
            self._place_files(self._places(chosen.rows), link=files == "link", work=work)
        return written

    def counts(self, chosen: Rows, aside: Rows | None) -> dict[str, dict[str, int]]:
        """Of each source, how many rows it has and what became of them."""
        columns = {
            "files_or_rows": [len(source) for source in self.sources],
            "skipped": [len(bad) for bad in self.candidates.problems],
            "set_aside": self._by_source(aside or Rows.none()),
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

    def _write_sheets(self, sheets: Mapping[str, Rows]) -> list[Path]:
        if self.sources[0].kind == "embeddings":
            return []
        filled = {self.out / name: shown for name, shown in sheets.items() if len(shown.rows)}
        for path, shown in filled.items():
            _write_sheet(path, self._places(shown.rows[:_N_PICTURES]))
        return list(filled)

    def _table(self, shown: Rows) -> dict[str, list[Any]]:
        places = self._places(shown.rows)
        values = (
            list(range(len(places))),
            [source.name for source, _ in places],
            [source.place(row) for source, row in places],
            [row for _, row in places],
            shown.distances.tolist(),
        )
        table: dict[str, list[Any]] = dict(zip(_COLUMNS, values, strict=True))
        if self.classes is not None:
            table["class"] = [self.classes[row] for row in shown.rows.tolist()]
        return table

    def _places(self, rows: Integers) -> list[tuple[Source, int]]:
        numbers, places = self.candidates.source[rows].tolist(), self.candidates.row[rows].tolist()
        return [(self.sources[number], row) for number, row in zip(numbers, places, strict=True)]

    def _place_files(self, chosen: Sequence[tuple[Source, int]], *, link: bool, work: Work) -> None:
        """Build the folder of chosen files aside and rename it when it is whole."""
        aside = self.out / _UNFINISHED
        with storage_errors(self.out / CHOSEN):
            for old in (aside, self.out / CHOSEN):
                if old.exists():
                    shutil.rmtree(old)
            try:
                for done, (source, row) in enumerate(chosen, start=1):
                    file = source.files[row]
                    place(file, aside / source.name / file.relative_to(source.path), link=link)
                    work.progress(done, len(chosen), "files")
                aside.rename(self.out / CHOSEN)
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


def _write_sheet(path: Path, shown: Sequence[tuple[Source, int]]) -> None:
    """Write a PNG of rows of sources, in reading order, each fitted into a square; what fails stays blank."""
    from PIL import Image

    columns = min(_N_COLUMNS, len(shown))
    cell = _SIDE + _MARGIN
    size = (columns * cell + _MARGIN, -(-len(shown) // columns) * cell + _MARGIN)
    sheet = Image.new("RGB", size, _PAPER)
    for place, (source, row) in enumerate(shown):
        with contextlib.suppress(Exception):
            picture = fitted(source.picture(row), _SIDE)
            left, top = place % columns * cell + _MARGIN, place // columns * cell + _MARGIN
            sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
    # Through memory: Pillow wants to seek, and the atomic writer only goes forward.
    write_atomic(path, lambda stream: stream.write(encoded(sheet, "PNG")))
