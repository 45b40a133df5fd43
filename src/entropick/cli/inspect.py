"""``entropick status``, ``verify``, ``report`` and ``export``: what is in a run or study directory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from entropick.arrays import check_choice
from entropick.cli.display import study_log
from entropick.cli.flags import Ended, OutputFlags, check_directory, says
from entropick.cli.terminal import print_columns
from entropick.config import build
from entropick.errors import ConfigError, counted, shown
from entropick.run import (
    LEDGER,
    STUDY,
    Entry,
    History,
    Place,
    find_runs,
    is_locked,
    places,
    read_config,
    read_study_file,
    repair_run,
    verify,
)

Folder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]


@dataclass(kw_only=True)
class Status(OutputFlags):
    """Show how far each arm, size and seed of a study is, or a single run, selection or score."""

    folder: Folder
    """A folder of entropick run, select or score."""
    runs: bool = False
    """One line per run, with its last stage, instead of a grid."""
    costs: bool = False
    """What each arm cost: gradient steps, images sampled, seconds."""

    def execute(self) -> Ended:
        """Print what was asked for."""
        console = self.console()
        if self.costs:
            print_columns(_cost_lines(self.folder), console)
        elif self.runs or not (self.folder / STUDY).exists():
            print_columns(_run_lines(self.folder), console)
        else:
            lines, summary = _grid(self.folder)
            print_columns(lines, console)
            console.print(summary)
        return Ended({"folder": str(self.folder), "runs": _run_states(self.folder)})


@dataclass(kw_only=True)
class Verify(OutputFlags):
    """Hash every file and check every ledger line and seal again; damage is named.

    Exit code 2 where there is damage.
    """

    folder: Folder
    """A folder of entropick run, select or score."""
    repair: bool = False
    """Restore what has a sealed copy, and cut each damaged ledger before its first damage;
    the command that made the folder, repeated, then computes the rest anew."""

    def execute(self) -> Ended:
        """Print what was found."""
        console = self.console()
        found = verify(self.folder)
        damaged = [verification for verification in found if verification.damages]
        for verification in damaged:
            for damage in verification.damages:
                console.print(damage)
            if self.repair:
                repair_run(verification)
                if verification.is_run:
                    console.print(
                        f"{verification.folder}: kept {counted(verification.n_intact, 'intact ledger line')}."
                    )
        for verification in found:
            if verification.unfinished:
                console.print(f"{verification.folder}: {verification.unfinished}")
        n_files, n_entries = sum(v.n_files for v in found), sum(v.n_entries for v in found)
        verdict = _verdict(sum(len(of.damages) for of in damaged), repaired=self.repair)
        counts = {"run": sum(v.is_run for v in found), "ledger line": n_entries, "file": n_files}
        console.print(f"{', '.join(counted(n, noun) for noun, n in counts.items())}: {verdict}")
        summary = {
            "folder": str(self.folder),
            "verdict": verdict,
            "damages": [damage for verification in damaged for damage in verification.damages],
            "unfinished": {str(of.folder): of.unfinished for of in found if of.unfinished},
            "ledger_lines": n_entries,
            "files": n_files,
        }
        return Ended(summary, 0 if not damaged or self.repair else 2)


@dataclass(kw_only=True)
class Report(OutputFlags):
    """Write the page, and the figures as files, of a run or study directory."""

    folders: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="DIR ...", help_behavior_hint="(at least one)")
    ]
    """Run or study directories, finished or not; of several, each has its own page."""
    figures: Annotated[Path | None, says("no such files", metavar="DIR")] = None
    """A directory for the figures as single files; of several studies, a folder in it for each."""
    out: Annotated[Path | None, says("the study's directory", metavar="DIR")] = None
    """A directory for the page; of several studies, a folder in it for each."""
    table: Annotated[Path | None, says("no table", metavar="FILE")] = None
    """A .csv or .parquet file for all numbers, a row each; of several studies, with a column that says which."""
    format: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FORMAT ...")] = ("svg", "pdf")
    """Formats of the figures: svg, pdf, png."""
    log: tyro.conf.UseAppendAction[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME[:DIR]", help_behavior_hint="(may be repeated)")]
    ] = ()
    """Log to a tracker what it has not: tensorboard, trackio or wandb, where it keeps its files or in DIR."""

    def execute(self) -> Ended:
        """Write and say where."""
        from entropick import report
        from entropick.page.words import different
        from entropick.report.page import FORMATS
        from entropick.report.table import TABLES

        for name in self.format:
            check_choice(name, FORMATS, name="--format")
        if self.figures is not None:
            check_directory(self.figures, flag="--figures")
        if self.out is not None:
            check_directory(self.out, flag="--out")
        if self.table is not None and self.table.suffix not in TABLES:
            raise ConfigError(
                f"--table: expected a file that ends in {' or '.join(TABLES)}, got {shown(str(self.table))}."
            )
        if not self.folders:
            raise ConfigError("expected at least one run or study directory.")
        for folder in self.folders:
            find_runs(folder)
            if (folder / LEDGER).is_file() and "stages" in read_config(folder):
                raise ConfigError(
                    f"{folder}: expected runs of loops, but it holds a selection or a score. See what is in it."
                )
        logs = [study_log(folder, self.log, _title(folder)) for folder in self.folders]
        console, pages, figures = self.console(), list[str](), list[str]()
        # Studies of equal names do not overwrite each other's files.
        names = [""] if len(self.folders) == 1 else different([folder.resolve().name for folder in self.folders])
        for folder, log, below in zip(self.folders, logs, names, strict=True):
            path = None if self.out is None else self.out / below / "report.html"
            pages.append(str(report.write_page(folder, path)))
            console.print(f"page: {pages[-1]}")
            with log:
                log.catch_up()
            for line in log.where():
                console.print(line)
            if self.figures is not None:
                out = self.figures / below
                written = report.write_figures(folder, out, formats=self.format)
                figures += map(str, written)
                console.print(f"{len(written)} figure files in {out}")
        told: dict[str, Any] = {"pages": pages, "figures": figures}
        if self.table is not None:
            n_rows = report.write_table(self.folders, self.table)
            console.print(f"{counted(n_rows, 'row')} in {self.table}")
            told |= {"table": str(self.table)}
        return Ended(told)


@dataclass(kw_only=True)
class Export(OutputFlags):
    """Write a trained U-Net as a folder that Diffusers loads.

    DDPMPipeline.from_pretrained reads the folder. A model card lies beside it.
    """

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """A run directory, such as runs/NAME/arms/ARM/seed-0."""
    iteration: int
    """Which iteration's model."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The folder to write; new or empty."""

    def execute(self) -> Ended:
        """Write and say where."""
        check_directory(self.out, flag="--out")
        history = History(self.run)
        train = history.find(self.iteration, "train")
        if train is None:
            raise ConfigError(f"--iteration: {self.run} has no trained model of iteration {self.iteration}.")
        generator = build("generator", history.config["generator"], where="generator")
        from entropick.generators import DDPM, save_pipeline

        if not isinstance(generator, DDPM):
            raise ConfigError(f"{self.run}: expected a run with generator 'ddpm', got {shown(generator.kind)}.")
        generator.set_params(device="cpu")
        weights, state = (history.load(self.iteration, f"model.{suffix}") for suffix in ("safetensors", "json"))
        model = generator.restore(weights, state)
        save_pipeline(model, self.out, title=f"Iteration {self.iteration}", facts=_facts(history, train))
        self.console().print(f"pipeline: {self.out}")
        return Ended({"pipeline": str(self.out)})


def _title(folder: Path) -> str:
    """What a study is called, or a run by its folder."""
    return str(read_study_file(folder)["name"] if (folder / STUDY).is_file() else folder.resolve().name)


def _run_states(folder: Path) -> list[dict[str, Any]]:
    """Each run as plain data: where it is, how far, and in which state."""
    planned = {folder / place.path: place._asdict() for place in _places(folder)}
    found = find_runs(folder) if any(folder.rglob(LEDGER)) else []
    states = []
    for path in dict.fromkeys([*planned, *found]):
        done, state = _state(path)
        states.append({**planned.get(path, {}), "path": str(path), "done": done, "state": state})
    return states


def _verdict(n_damaged: int, *, repaired: bool) -> str:
    if not n_damaged:
        return "all as written"
    return f"{n_damaged} repaired, repeat the command that made the folder" if repaired else f"{n_damaged} damaged"


def _run_lines(folder: Path) -> list[list[str]]:
    """One line per run, those that have not begun last."""
    planned = [folder / place.path for place in _places(folder)]
    waiting = [path for path in planned if not (path / LEDGER).is_file()]
    runs = [] if waiting and not any(folder.rglob(LEDGER)) else find_runs(folder)
    lines = [_run_line(path, path.relative_to(folder)) for path in runs]
    lines += [[str(path.relative_to(folder)), "0", "waiting", "-", "-"] for path in waiting]
    return [["run", "done", "state", "last stage", "at (UTC)"], *lines]


def _grid(folder: Path) -> tuple[list[list[str]], str]:
    """A line per arm and size, a column per seed; and how many runs are in which state."""
    states = {place: _state(folder / place.path) for place in _places(folder)}
    seeds = list(dict.fromkeys(place.seed for place in states))
    rows = list(dict.fromkeys((place.arm, place.size) for place in states))
    has_sizes = any(size is not None for _, size in rows)
    lines = [["arm", *(["size"] if has_sizes else []), *(f"seed {seed}" for seed in seeds)]]
    for arm, size in rows:
        cells = [" ".join(states[Place(arm, size, seed)]) for seed in seeds]
        lines.append([arm, *([str(size)] if has_sizes else []), *cells])
    counts = Counter(state for _, state in states.values())
    return lines, f"{counted(len(states), 'run')}: {', '.join(f'{count} {state}' for state, count in counts.items())}"


def _cost_lines(folder: Path) -> list[list[str]]:
    """A line per arm: what its results took, and what of it was computed for it."""
    from entropick.page.words import duration
    from entropick.report import read_table
    from entropick.report.study import STAGES

    costs = read_table(folder).costs()
    stages = list(next((cost.seconds for cost in costs), STAGES))
    head = ["arm", "runs", "steps", "images", *stages, "all", "own work", "shared"]
    lines = [
        [
            *(cost.arm.name, str(cost.n_runs), f"{cost.steps:,}", f"{cost.images:,}"),
            *(duration(cost.seconds[stage]) for stage in stages),
            *(duration(cost.total_seconds), duration(cost.own_seconds), str(cost.n_shared)),
        ]
        for cost in costs
    ]
    return [head, *lines]


def _places(folder: Path) -> list[Place]:
    return places(read_study_file(folder)) if (folder / STUDY).exists() else []


def _state(path: Path) -> tuple[str, str]:
    """How much of a run is done, and what it is doing."""
    if not (path / LEDGER).is_file():
        return "0", "waiting"
    history = History(path)
    state = "done" if history.is_finished else "running" if is_locked(path) else "stopped"
    planned = "" if history.n_planned is None else f"/{history.n_planned}"
    return f"{history.n_done}{planned}", state


def _run_line(path: Path, name: Path) -> list[str]:
    history = History(path)
    last = history.entries[-1] if history.entries else None
    return [
        str(name) if name.parts else path.resolve().name,
        *_state(path),
        (last.stage if history.n_iterations is None else f"{last.iteration} {last.stage}") if last else "-",
        # Month, day, hour and minute of an ISO time, which the ledger has in UTC.
        str(last.timing.get("finished", "-"))[5:16].replace("T", " ") if last else "-",
    ]


def _facts(history: History, train: Entry) -> dict[str, Any]:
    """What the ledger knows of the model."""
    select, measure = (history.find(train.iteration, stage) for stage in ("select", "measure"))
    return {
        "iteration of the loop": train.iteration,
        "training images": train.values["n_images"],
        "share of real images": select.values["shares"].get("0", 0.0) if select else "unknown",
        "seed": history.config["seed"],
        **{name.replace("_", " "): value for name, value in train.values.items() if name != "n_images"},
        "ledger seal": train.check,
        **(measure.values["metrics"] if measure else {}),
    }
