"""Keep what a finished study found: its ledgers, every number, figures, and the tables of the docs.

    python experiments/results.py runs/digits-grid results/digits-grid            # keep
    python experiments/results.py --without-pictures runs/faces-16 results/faces-16   # images that may not be shown
    python experiments/results.py --unpack results/digits-grid runs/digits-again  # a study directory without its images

`ledgers.parquet` has every line of every ledger, config and environment as it was written, so that all else follows
from it: what is unpacked is whole for ``entropick report --figures``, so of the figures those are kept that a page of
the docs shows, and those of images, which only the run itself has. `numbers.parquet` has a row per number. A study that
is kept already can be given again, for tables and figures of a newer version. The folders of data and encoders on this
machine, $ENTROPICK_DATA and $ENTROPICK_ENCODERS, go by these names.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from entropick import report
from entropick.errors import EntropickError, RunDamaged
from entropick.page import words
from entropick.report.classes import PART
from entropick.report.figure import Look
from entropick.report.intervals import CONTROLS, Interval, compared_in, comparisons, mean_difference
from entropick.report.relations import correlation_of, described, points
from entropick.report.study import ArmRecord
from entropick.report.table import Table, read_table

ROOT = Path(__file__).parents[1]
# What makes a run directory; everything else is images, weights and tables of rows.
KEPT = ("config.json", "environment.json", "ledger.jsonl")
# What is told of classes, of all of them together.
_OF_CLASSES = {
    "training_classes/": "classes trained on",
    "training_dispersion/": "spread in them",
    "generated_classes/": "classes generated",
    "generated_dispersion/": "spread in these",
}
# The folders that the study files take from the environment.
_PLACES = ("ENTROPICK_DATA", "ENTROPICK_ENCODERS")
LEDGERS, NUMBERS, TABLES, STUDY = "ledgers.parquet", "numbers.parquet", "tables.md", "study.json"


def main() -> None:
    """Keep one study, or unpack what was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="a finished study, or one that was kept")
    parser.add_argument("out", type=Path)
    parser.add_argument("--unpack", action="store_true", help="make a study directory of what was kept")
    parser.add_argument(
        "--without-pictures",
        action="store_true",
        help="leave out figures that show images, for data sets whose terms forbid to pass them on",
    )
    parser.add_argument("--all-figures", action="store_true", help="keep also what no page shows, to look at it")
    given = parser.parse_args()
    try:
        _keep_or_unpack(parser, given)
    except EntropickError as error:
        parser.error(str(error))


def _keep_or_unpack(parser: argparse.ArgumentParser, given: argparse.Namespace) -> None:
    if given.unpack:
        if not (given.study / LEDGERS).is_file() or given.out.exists():
            parser.error(f"expected a folder with {LEDGERS}, and one to make, got {given.study} and {given.out}.")
        unpack(given.study, given.out)
        return
    is_kept = (given.study / LEDGERS).is_file()
    if (given.out.exists() and not given.out.is_dir()) or (
        given.out.resolve() == given.study.resolve() and not is_kept
    ):
        parser.error(f"expected a folder other than the study's to keep it in, got {given.out}.")
    with opened(given.study) as folder:
        table = read_table(folder)
        if waiting := table.study.unfinished:
            parser.error(
                f"expected a finished study; of {given.study} {len(waiting)} runs are missing, first {waiting[0]}."
            )
        given.out.mkdir(parents=True, exist_ok=True)
        pack(folder, given.out)
        figures = report.write_figures(folder, given.out / "figures", formats=("svg",))
    if given.without_pictures:
        left_out = ", ".join(leave_out_pictures(figures)) or "no figure, for none shows images"
        sys.stdout.write(f"left out: {left_out}\n")
    if not given.all_figures:
        n_left_out = leave_out_unshown(figures, given.out.name)
        sys.stdout.write(f"{n_left_out} figures that no page shows are drawn from the ledgers, and were left out\n")
    pq.write_table(table.rows, given.out / NUMBERS, compression="zstd")
    (given.out / TABLES).write_text(tabled(table))


def leave_out_unshown(figures: Iterable[Path], study: str) -> int:
    """Remove the figures that follow from the ledgers and are shown nowhere, and return how many."""
    wanted = shown(study)
    unshown = [figure for figure in figures if figure.is_file() and figure.name not in wanted]
    unshown = [figure for figure in unshown if b"data:image" not in figure.read_bytes()]
    for figure in unshown:
        figure.unlink()
    return len(unshown)


def shown(study: str) -> set[str]:
    """The names of the figures of a study that the pages of the docs link to."""
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    link = re.compile(rf"results/{re.escape(study)}/figures/([\w.+-]+)")
    return {name for page in pages for name in link.findall(page.read_text(encoding="utf-8"))}


def leave_out_pictures(figures: Iterable[Path]) -> list[str]:
    """Remove the figures that hold images, and return their names."""
    shown = [figure for figure in figures if b"data:image" in figure.read_bytes()]
    for figure in shown:
        figure.unlink()
    return [figure.name for figure in shown]


def pack(study: Path, out: Path) -> None:
    """Write `study.json`, and all lines of the run directories of a study as one table."""
    names = sorted(path for name in KEPT for path in study.rglob(f"arms/**/{name}"))
    lines = [
        (path.relative_to(study).as_posix(), number, line)
        for path in names
        for number, line in enumerate(_on_any_machine(path).splitlines(keepends=True))
    ]
    kinds = {"file": pa.string(), "line": pa.int32(), "text": pa.string()}
    columns = zip(*lines, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds.values(), strict=True)]
    table = pa.Table.from_arrays(arrays, list(kinds))
    pq.write_table(table, out / LEDGERS, compression="zstd", compression_level=19)
    if study != out:
        (out / STUDY).write_text(_on_any_machine(study / STUDY), encoding="utf-8")


def _on_any_machine(path: Path) -> str:
    """The text of a file, in which folders that the environment names go by their names."""
    text = path.read_text(encoding="utf-8")
    for name in _PLACES:
        if folder := os.environ.get(name):
            text = text.replace(folder.rstrip("/"), f"${{{name}}}")
    if found := re.search(r'"(?:path|reference|model)": "(/[^"]*)', text):
        raise SystemExit(
            f"{path}: expected no folder of this machine, got {found[1]}. Set {' or '.join(_PLACES)} to the folder "
            "that it lies in."
        )
    return text


def unpack(kept: Path, folder: Path) -> None:
    """Make a study directory, without images, of what was kept."""
    texts: dict[str, list[str]] = {}
    try:
        for row in pq.read_table(kept / LEDGERS).to_pylist():
            texts.setdefault(row["file"], []).append(row["text"])
        study = (kept / STUDY).read_bytes()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise RunDamaged(
            f"{kept}: expected {LEDGERS} and {STUDY} as they were kept, but they do not read ({error}). Restore them, "
            "or keep the study again."
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STUDY).write_bytes(study)
    for name, parts in texts.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise SystemExit(f"{kept / LEDGERS}: expected files of the study alone, got {name!r}.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(parts), encoding="utf-8")


@contextlib.contextmanager
def opened(study: Path) -> Iterator[Path]:
    """A study directory: the given one, or, for as long as it is looked at, what was kept, unpacked."""
    if not (study / LEDGERS).is_file():
        yield study
        return
    with tempfile.TemporaryDirectory() as place:
        unpack(study, Path(place) / study.name)
        yield Path(place) / study.name


def tabled(table: Table) -> str:
    """All tables as the text of a file."""
    return "\n\n".join(tables(table)) + "\n"


def tables(table: Table) -> Iterator[str]:
    """The last iteration, what differs from the controls, how measures are related, and what it all took; Markdown."""
    spaces = list(dict.fromkeys(words.split_key(key)[1] for key in compared_in(table)))
    for one, space in itertools.product(table.by_size(), spaces):
        where = (f", {one.size:,} images" if one.size else "") + (f", {space}" if len(spaces) > 1 else "")
        keys = [key for key in compared_in(one) if words.split_key(key)[1] == space]
        yield f"**Last iteration{where}** (mean over seeds, in brackets half the width of its 95 % interval)"
        yield "\n".join(_last(one, keys))
        if found := list(_differences(one, keys)):
            yield f"**Beside the controls{where}** (+ better, \N{MINUS SIGN} worse, 0 not clear at 95 %, over seeds)"
            yield "\n".join(found)
    for one in table.by_size():
        if rows := list(_classes(one)):
            where = f", {one.size:,} images" if one.size else ""
            yield f"**Classes in the last iteration{where}** (mean over seeds, in brackets half of its 95 % interval)"
            yield "\n".join(rows)
    yield from _relations(table)
    yield "\n".join(_costs(table))


def _last(table: Table, keys: list[str]) -> Iterator[str]:
    yield _row(["arm", *words.short_names(keys), "real share"])
    yield _row(["---", *["---:"] * (len(keys) + 1)])
    real = [table.real(key) for key in keys]
    yield _row(["*real data*", *(words.number(one.mean, 3) if one else "" for one in real), ""])
    for arm in table.study.arms:
        if arm.last is not None:
            found = [table.of_run(arm, run, arm.last) for run in arm.runs]
            shares = [table.of_run(arm, run, arm.last, "shares").get("0") for run in arm.runs]
            cells = [_over_seeds([values.get(key) for values in found]) for key in keys]
            yield _row([arm.name, *cells, _over_seeds(shares)])


def _over_seeds(values: list[float | None]) -> str:
    there = [value for value in values if value is not None]
    if not there:
        return ""
    found = mean_difference(there)
    half = "" if found.high is None else f" ({words.number(found.high - found.estimate, 2)})"
    return f"{words.number(found.estimate, 3)}{half}"


def _classes(table: Table) -> Iterator[str]:
    """What became of the classes, where a study counted them: how many there are, and how far they are spread."""
    arms = [arm for arm in table.study.arms if arm.last is not None]
    known = {key for arm in arms for run in arm.runs for key in table.of_run(arm, run, arm.last or 0, PART)}
    columns = {key: name for start, name in _OF_CLASSES.items() for key in sorted(known) if key.startswith(start)}
    if columns:
        yield _row(["arm", *columns.values()])
        yield _row(["---", *["---:"] * len(columns)])
        for arm in arms:
            found = [table.of_run(arm, run, arm.last or 0, PART) for run in arm.runs]
            yield _row([arm.name, *(_over_seeds([values.get(key) for values in found]) for key in columns)])


def _differences(table: Table, keys: list[str]) -> Iterator[str]:
    found = comparisons(table)
    if not found:
        return
    places = [compared_in(table).index(key) for key in keys]
    yield _row(["arm", "beside", *words.short_names(keys)])
    yield _row(["---", "---", *["---:"] * len(keys)])
    for one in found:
        cells = [_judged(one.differences[place], one.verdicts[place]) for place in places]
        yield _row([one.arm.name, _control(one.control), *cells])


def _control(arm: ArmRecord) -> str:
    return CONTROLS[0] if arm.method == CONTROLS[0] else arm.method


def _judged(difference: Interval | None, verdict: int) -> str:
    if difference is None:
        return ""
    sign = {1: "+", -1: "\N{MINUS SIGN}", 0: "0"}[verdict]
    half = "" if difference.high is None else f" ± {words.number(difference.high - difference.estimate, 2)}"
    return f"{sign} ({words.number(difference.estimate, 2)}{half})"


def _relations(table: Table) -> Iterator[str]:
    study, look = table.study, Look(table.study)
    lines = []
    for name, log in (("knn_entropy", False), ("total_variance", False), ("total_variance", True)):
        rows = points(table, look, f"{name}/{table.space}")
        label = ("log " if log else "") + words.in_sentence(words.words(name).label)
        parts = [
            ("all", rows),
            *((f"{size:,} images", [r for r in rows if r["size"] == str(size)]) for size in study.sizes),
        ]
        parts += [(arm.name, [row for row in rows if row["arm"] == arm.name]) for arm in study.arms]
        for what, chosen in parts:
            if found := correlation_of(chosen, log=log):
                lines.append(_row([label, what, described(found), str(found.n)]))
    if lines:
        yield "**Pearson's r with the logarithm of the generalization score** (95 % interval: a jackknife over seeds)"
        yield "\n".join([_row(["measure", "over", "r", "points"]), _row(["---", "---", "---:", "---:"]), *lines])


def _costs(table: Table) -> Iterator[str]:
    yield _row(["arm", "runs", "gradient steps", "images sampled", "seconds behind its results", "computed for it"])
    yield _row(["---", *["---:"] * 5])
    for cost in table.costs():
        counts = [str(cost.n_runs), f"{cost.steps:,}", f"{cost.images:,}"]
        yield _row([cost.arm.name, *counts, f"{cost.total_seconds:,.0f}", f"{cost.own_seconds:,.0f}"])


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
