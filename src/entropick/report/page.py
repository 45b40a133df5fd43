"""One self-contained page, and the same figures as files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from entropick.errors import InputError, RunError
from entropick.page.document import render
from entropick.report import content, summary
from entropick.report.record import StudyRecord, read_study
from entropick.run import write_atomic

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
    from entropick.page.drawing import FILE_INK, WIDTH
    from entropick.report.figures import study_figures

    figures = study_figures(read_study(study_folder), legend=True)
    if not figures:
        raise RunError(
            f"{study_folder}: nothing has been measured yet, so there is no figure to write. Run it further."
        )
    paths = []
    for figure in figures:
        spec = figure.spec(FILE_INK, WIDTH, with_title=True)
        for name in formats:
            drawn = _draw(spec, name)
            paths.append(Path(out) / f"{figure.name}.{name}")
            write_atomic(paths[-1], functools.partial(_write, drawn))
    return paths


def render_page(study: StudyRecord) -> str:
    """The page as HTML."""
    from entropick.page.drawing import PAGE_INK
    from entropick.report.figures import arm_style, study_figures
    from entropick.report.pictures import study_pictures

    figures = study_figures(study, legend=False)
    real_pictures, pictures = study_pictures(study)
    return render(
        "entropick.report",
        specs=[figure.spec(PAGE_INK, "container", with_title=False) for figure in figures],
        study=study,
        styles={arm.name: arm_style(index) for index, arm in enumerate(study.arms)},
        unfinished=summary.unfinished(study),
        setting=content.setting(study),
        space=content.first_space(study),
        stories=[(arm.name, content.story(study, arm)) for arm in study.arms],
        final=content.final_table(study),
        arm_figures=[(index, figure) for index, figure in enumerate(figures) if figure.arm is None],
        share_figures=[(index, figure) for index, figure in enumerate(figures) if figure.arm is not None],
        real_pictures=real_pictures,
        pictures=pictures,
        selections=content.selections(study),
        settings=content.settings(study),
        costs=[(arm.name, summary.seconds_by_stage(arm), summary.n_shared(arm)) for arm in study.arms if arm.runs],
        stages=content.stages(study),
        environments=content.environments(study),
        damaged=[f"{run.folder.name}/{path}" for _, run in study.runs() for path in run.damaged],
        last_result=content.last_result(study),
    )


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
