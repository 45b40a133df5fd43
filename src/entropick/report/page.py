"""One self-contained page, its tables, and the same figures as files."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropick.errors import InputError, RunError, shown
from entropick.page import words
from entropick.page.document import FILE_INK, PAGE_INK, render
from entropick.report.study import STAGES, ArmRecord, StudyRecord
from entropick.report.table import Spread, Table, read_table
from entropick.run import flatten
from entropick.run.files import write_content

if TYPE_CHECKING:
    from entropick.report.figure import Figure

FORMATS = ("svg", "pdf", "png")
# Settings that the table of last iterations shows where the arms that have them differ in them.
_IN_TABLE = re.compile(r"guidance|conditional|garbage_share$")


def write_page(study_folder: Path, path: Path | None = None) -> Path:
    """Write the report of a study or a run as one HTML file that needs no network, and return where it lies.

    Equal ledgers give equal pages. A study that is still running gives a page of what is there so far.

    Parameters
    ----------
    study_folder
        A study directory or a single run directory.
    path
        Where to write; ``report.html`` in the study directory by default.

    Raises
    ------
    RunError
        There is no study and no run in `study_folder`, or a ledger in it is damaged.
    StorageError
        The file cannot be written.
    """
    html = render_page(read_table(study_folder)).encode()
    path = Path(study_folder) / "report.html" if path is None else Path(path)
    write_content(path, html)
    return path


def write_figures(study_folder: Path, out: Path, formats: Sequence[str] = ("svg", "pdf")) -> list[Path]:
    """Write the figures of the page as files into `out`, on white, and return their paths.

    Raises
    ------
    InputError
        A format is not one of svg, pdf, png.
    RunError
        There is no study and no run in `study_folder`, or nothing in it has been measured yet.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise InputError(f"formats: expected some of {', '.join(FORMATS)}, got {shown(list(formats))}.")
    from entropick.report.figure import Look, draw

    table = read_table(study_folder)
    figures = [figure for figure in draw(table, Look(table.study, for_file=True)) if figure.panels]
    if not figures:
        raise RunError(
            f"{study_folder}: nothing has been measured yet, so there is no figure to write. Run it further."
        )
    paths = []
    for figure in figures:
        spec = figure.file_spec(FILE_INK)
        for name in formats:
            paths.append(Path(out) / f"{figure.name}.{name}")
            write_content(paths[-1], _converted(spec, name))
    return paths


def render_page(table: Table) -> str:
    """The page as HTML."""
    from entropick.report.figure import Look, draw
    from entropick.report.findings import courses, findings, setting, stories
    from entropick.report.images import strips, study_pictures
    from entropick.report.intervals import compared_in, comparisons
    from entropick.report.outcome import outcome, state

    study, look = table.study, Look(table.study)
    specs: list[dict[str, Any]] = []
    figures: list[tuple[Figure, int]] = []
    for figure in draw(table, look):
        figures.append((figure, len(specs)))
        specs += [figure.panel_spec(panel, PAGE_INK) for panel in figure.panels]
    by_size = table.by_size()
    at_top = courses(by_size[0])
    # Pictures first: loading them finds what is damaged.
    pictures = study_pictures(study)
    came = outcome(table)
    shown = by_size[0].study.arms[:1] if came is None else [arm for arm in (came.collapsed, came.rescued) if arm]
    finished = [str(e.timing.get("finished", "")) for _, run in study.runs() for e in run.entries]
    return render(
        "entropick.report",
        specs=specs,
        study=study,
        look=look,
        outcome=came,
        strips=[(strip, {n: state(by_size[0], strip.arm, n) for n, _ in strip.cells}) for strip in strips(shown)],
        setting=setting(table),
        findings=findings(table),
        space=table.space,
        sized=[
            {
                "size": sized.size,
                "final": final_table(sized),
                "compared": comparisons(sized),
                "measures": words.short_names(compared_in(sized)),
                "stories": stories(sized, at_top if sized is by_size[0] else ()),
            }
            for sized in by_size
        ],
        figures=figures,
        measures=list({figure.measure: figure for figure, _ in figures if figure.measure}.values()),
        name_of=lambda measure: words.words(measure).label,
        pictures=pictures,
        selections=[
            (arm, arm.last, numbers)
            for arm in by_size[0].study.arms
            if arm.last and (numbers := by_size[0].selection(arm, arm.last))
        ],
        settings=_settings(study),
        costs=table.costs(),
        stages=list(next((cost.seconds for cost in table.costs()), STAGES)),
        environments=_environments(study),
        damaged=[
            str(run.folder.relative_to(study.folder.parent) / path) for _, run in study.runs() for path in run.damaged
        ],
        # Not when the page was made, so that equal ledgers give equal pages.
        last_result=max(finished, default="").replace("T", " ").replace("+00:00", " UTC"),
    )


@dataclass(frozen=True)
class FinalTable:
    """Means over seeds at each arm's last iteration, and what real data scores; `settings` are those worth a column."""

    settings: list[str]
    titles: list[str]
    real: list[Spread | None]
    rows: list[FinalRow]


@dataclass(frozen=True)
class FinalRow:
    """An arm at its last iteration: settings, size of its training set, metrics in order, share of real images."""

    arm: ArmRecord
    settings: list[str]
    n_training: Spread | None
    metrics: list[Spread | None]
    real_share: float | None


def final_table(table: Table) -> FinalTable:
    """The table of last iterations; of a study at one size."""
    keys = [key for key in table.measures if words.words(key).is_main or not words.words(key).meaning]
    ends = [(arm, arm.last) for arm in table.study.arms if arm.last is not None]
    keys = [key for key in keys if any(table.over_seeds(arm, last, key) for arm, last in ends)]
    shown = [
        (name, values)
        for name, values, _ in _settings(table.study)
        if _IN_TABLE.search(name) and len({*values} - {words.DASH}) > 1
    ]
    rows = [
        FinalRow(
            arm,
            [values[place] for _, values in shown],
            table.over_seeds(arm, arm.last, "n_training", "stages"),
            [table.over_seeds(arm, arm.last, key) for key in keys],
            table.real_share(arm, arm.last),
        )
        for place, arm in enumerate(table.study.arms)
        if arm.last is not None
    ]
    settings = [name.rpartition(".")[2] for name, _ in shown]
    return FinalTable(settings, words.short_names(keys), [table.real(key) for key in keys], rows)


def _settings(study: StudyRecord) -> list[tuple[str, list[str], bool]]:
    """Rows of (setting, its value in each arm, whether the arms differ), those that differ first."""
    configs = [flatten(arm.config) for arm in study.arms]
    rows = []
    for name in dict.fromkeys(name for config in configs for name in config if name):
        values = [_shown(config[name]) if name in config else words.DASH for config in configs]
        rows.append((name, values, len(set(values)) > 1))
    return sorted(rows, key=lambda row: not row[2])


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _environments(study: StudyRecord) -> list[tuple[dict[str, Any], list[str]]]:
    """The different environments, flat, and the runs that were made in each."""
    found: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for arm, run in study.runs():
        for environment in run.environments:
            key = json.dumps(environment, sort_keys=True)
            found.setdefault(key, (flatten(environment), []))[1].append(f"{arm.name}, seed {run.seed}")
    return list(found.values())


def _converted(spec: dict[str, Any], name: str) -> bytes:
    import vl_convert

    if name == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=2))
    return vl_convert.vegalite_to_svg(spec).encode() if name == "svg" else bytes(vl_convert.vegalite_to_pdf(spec))
