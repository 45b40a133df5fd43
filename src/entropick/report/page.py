"""One self-contained page, and the same figures as files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropick.errors import InputError, RunError
from entropick.page import words
from entropick.page.document import render
from entropick.report import content, summary
from entropick.report.cost import costs
from entropick.report.record import STAGES, StudyRecord, read_study
from entropick.run import write_atomic

if TYPE_CHECKING:
    from entropick.report.figures import Figure

FORMATS = ("svg", "pdf", "png")


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
    study = read_study(study_folder)
    path = Path(study_folder) / "report.html" if path is None else Path(path)
    html = render_page(study).encode()
    write_atomic(path, lambda stream: stream.write(html))
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
        raise InputError(f"formats: expected some of {', '.join(FORMATS)}, got {list(formats)!r}.")
    from entropick.page.drawing import FILE_INK
    from entropick.report.drawings import all_figures

    figures = [figure for figure in all_figures(read_study(study_folder)) if figure.panels]
    if not figures:
        raise RunError(
            f"{study_folder}: nothing has been measured yet, so there is no figure to write. Run it further."
        )
    paths = []
    for figure in figures:
        spec = figure.file_spec(FILE_INK)
        for name in formats:
            drawn = _draw(spec, name)
            paths.append(Path(out) / f"{figure.name}.{name}")
            write_atomic(paths[-1], functools.partial(_write, drawn))
    return paths


def render_page(study: StudyRecord) -> str:
    """The page as HTML."""
    from entropick.page.drawing import PAGE_INK
    from entropick.report.drawings import study_figures
    from entropick.report.findings import findings
    from entropick.report.look import Look
    from entropick.report.pictures import study_pictures

    figures = [_Drawn.of(figure, PAGE_INK) for figure in study_figures(study, for_file=False)]
    specs = _numbered(figures)
    look = Look(study)
    return render(
        "entropick.report",
        specs=specs,
        study=study,
        look=look,
        unfinished=summary.unfinished(study),
        setting=content.setting(study),
        findings=findings(study),
        space=content.first_space(study),
        sized=[content.of_size(sized) for sized in study.by_size()],
        figures=figures,
        measures=list({drawn.figure.measure: drawn.figure for drawn in figures if drawn.figure.measure}.values()),
        name_of=lambda measure: words.words(measure).label,
        pictures=study_pictures(study),
        selections=content.selections(study.by_size()[0]),
        settings=content.settings(study),
        costs=costs(study),
        stages=STAGES,
        environments=content.environments(study),
        damaged=[
            str(run.folder.relative_to(study.folder.parent) / path) for _, run in study.runs() for path in run.damaged
        ],
        last_result=content.last_result(study),
    )


@dataclass
class _Drawn:
    """A figure on the page: a specification per panel, and from which number on they stand in the page's list."""

    figure: Figure
    specs: list[dict[str, Any]]
    start: int = 0

    @classmethod
    def of(cls, figure: Figure, ink: str) -> _Drawn:
        return cls(figure, [figure.panel_spec(panel, ink) for panel in figure.panels])


def _numbered(figures: list[_Drawn]) -> list[dict[str, Any]]:
    specs: list[dict[str, Any]] = []
    for drawn in figures:
        drawn.start = len(specs)
        specs += drawn.specs
    return specs


def _draw(spec: dict[str, Any], name: str) -> bytes:
    import vl_convert

    draw: dict[str, Callable[[], str | bytes]] = {
        "svg": lambda: vl_convert.vegalite_to_svg(spec),
        "pdf": lambda: vl_convert.vegalite_to_pdf(spec),
        "png": lambda: vl_convert.vegalite_to_png(spec, scale=2),
    }
    drawn = draw[name]()
    return drawn.encode() if isinstance(drawn, str) else drawn


def _write(data: bytes, stream: Any) -> None:
    stream.write(data)
