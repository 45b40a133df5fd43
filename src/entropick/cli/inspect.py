"""``entropick status``, ``verify`` and ``report``: what is in a run or study directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from entropick.arrays import check_choice
from entropick.cli.display import print_columns
from entropick.cli.flags import check_directory, says
from entropick.cli.terminal import Terminal
from entropick.run import LEDGER, History, find_runs, is_locked, repair_run, verify_run
from entropick.study import planned_runs

Folder = Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="DIR")]


@dataclass
class Status:
    """Show how far each arm and seed of a run or study is."""

    folder: Folder
    """A run or study directory."""

    def execute(self) -> int:
        """Print one line per run."""
        waiting = [path for path in planned_runs(self.folder) if not (path / LEDGER).is_file()]
        runs = [] if waiting and not any(self.folder.rglob(LEDGER)) else find_runs(self.folder)
        lines = [_status(path, path.relative_to(self.folder)) for path in runs]
        lines += [[str(path.relative_to(self.folder)), "0", "waiting", "-", "-"] for path in waiting]
        print_columns([["run", "done", "state", "last stage", "at (UTC)"], *lines], Terminal())
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

    folder: Folder
    """A run or study directory, finished or not."""
    figures: Annotated[Path | None, says("no such files", metavar="DIR")] = None
    """A directory for the figures as single files."""
    format: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FORMAT ...")] = ("svg", "pdf")
    """Their formats: svg, pdf, png."""

    def execute(self) -> int:
        """Write and say where."""
        for name in self.format:
            check_choice(name, ("svg", "pdf", "png"), name="--format")
        if self.figures is not None:
            check_directory(self.figures, flag="--figures")
        find_runs(self.folder)
        from entropick import report

        console = Terminal(soft_wrap=True, highlight=False, markup=False)
        console.print(f"page: {report.write_page(self.folder)}")
        if self.figures is not None:
            written = report.write_figures(self.folder, self.figures, formats=self.format)
            console.print(f"{len(written)} figure files in {self.figures}")
        return 0


def _status(path: Path, name: Path) -> list[str]:
    history = History(path)
    last = history.entries[-1] if history.entries else None
    return [
        str(name) if name.parts else path.resolve().name,
        f"{history.n_iterations_done}/{history.config['n_iterations']}",
        "done" if history.is_finished else "running" if is_locked(path) else "stopped",
        f"{last.iteration} {last.stage}" if last else "-",
        # Month, day, hour and minute of an ISO time, which the ledger has in UTC.
        str(last.timing.get("finished", "-"))[5:16].replace("T", " ") if last else "-",
    ]


def _verdict(n_damaged: int, *, repaired: bool) -> str:
    if not n_damaged:
        return "all as written"
    return f"{n_damaged} repaired, repeat the run command" if repaired else f"{n_damaged} damaged"
