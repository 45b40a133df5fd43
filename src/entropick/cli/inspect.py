"""``entropick status``, ``verify`` and ``report``: what is in a run or study directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entropick.arrays import check_choice
from entropick.cli.display import print_columns
from entropick.cli.flags import check_directory, says
from entropick.cli.overview import cost_lines, grid, run_lines
from entropick.cli.terminal import Terminal
from entropick.errors import ConfigError
from entropick.run import STUDY, find_runs, repair_run, verify_run

Folder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]


@dataclass
class Status:
    """Show how far each arm, size and seed of a run or study is."""

    folder: Folder
    """A run or study directory."""
    runs: bool = False
    """One line per run, with its last stage, instead of a grid."""
    costs: bool = False
    """What each arm cost: gradient steps, images sampled, seconds."""

    def execute(self) -> int:
        """Print what was asked for."""
        console = Terminal()
        if self.costs:
            print_columns(cost_lines(self.folder), console)
        elif self.runs or not (self.folder / STUDY).exists():
            print_columns(run_lines(self.folder), console)
        else:
            lines, summary = grid(self.folder)
            print_columns(lines, console)
            console.print(summary, highlight=False)
        return 0


@dataclass
class Verify:
    """Hash every file and check every ledger line again; damage is named.

    Exit code 2 where there is damage.
    """

    folder: Folder
    """A run or study directory."""
    repair: bool = False
    """Cut each damaged ledger before its first damage; the run command then computes the rest anew."""

    def execute(self) -> int:
        """Print what was found."""
        console = Terminal(soft_wrap=True, highlight=False, markup=False)
        found = [verify_run(path) for path in find_runs(self.folder)]
        damaged = [verification for verification in found if verification.damages]
        for verification in damaged:
            for damage in verification.damages:
                console.print(damage)
            if self.repair:
                repair_run(verification)
                console.print(f"{verification.folder}: kept {verification.n_intact} intact ledger lines.")
        n_files, n_entries = sum(v.n_files for v in found), sum(v.n_entries for v in found)
        verdict = _verdict(len(damaged), repaired=self.repair)
        console.print(f"{len(found)} runs, {n_entries} ledger lines, {n_files} files: {verdict}")
        return 0 if not damaged or self.repair else 2


@dataclass
class Report:
    """Write the page, and the figures as files, of a run or study directory."""

    folders: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="DIR ...", help_behavior_hint="(at least one)")
    ]
    """Run or study directories, finished or not; of several, each has its own page."""
    figures: Annotated[Path | None, says("no such files", metavar="DIR")] = None
    """A directory for the figures as single files; of several studies, a folder in it for each."""
    format: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FORMAT ...")] = ("svg", "pdf")
    """Their formats: svg, pdf, png."""

    def execute(self) -> int:
        """Write and say where."""
        for name in self.format:
            check_choice(name, ("svg", "pdf", "png"), name="--format")
        if self.figures is not None:
            check_directory(self.figures, flag="--figures")
        if not self.folders:
            raise ConfigError("expected at least one run or study directory.")
        for folder in self.folders:
            find_runs(folder)
        from entropick import report

        console = Terminal(soft_wrap=True, highlight=False, markup=False)
        for folder in self.folders:
            console.print(f"page: {report.write_page(folder)}")
            if self.figures is not None:
                out = self.figures if len(self.folders) == 1 else self.figures / folder.resolve().name
                written = report.write_figures(folder, out, formats=self.format)
                console.print(f"{len(written)} figure files in {out}")
        return 0


def _verdict(n_damaged: int, *, repaired: bool) -> str:
    if not n_damaged:
        return "all as written"
    return f"{n_damaged} repaired, repeat the run command" if repaired else f"{n_damaged} damaged"
