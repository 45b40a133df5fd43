"""``entropick status``, ``verify`` and ``report``: what is in a run or study directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from entropick.arrays import check_choice
from entropick.run import History, find_runs, is_locked, repair_run, verify_run


@dataclass
class Status:
    """Show how far each arm and seed of a run or study is."""

    folder: tyro.conf.Positional[Path]
    """A run or study directory."""

    def execute(self) -> int:
        """Print one line per run."""
        runs = find_runs(self.folder)
        table = Table("run", "iterations", "last stage", "finished at", "state")
        for path in runs:
            history = History(path)
            entries = history.entries
            last = entries[-1] if entries else None
            table.add_row(
                str(path.relative_to(self.folder)) if path != self.folder else path.name,
                f"{history.n_iterations_done}/{history.config['n_iterations']}",
                f"{last.iteration} {last.stage}" if last else "-",
                str(last.timing.get("finished", "-")) if last else "-",
                "done" if history.is_finished else "running" if is_locked(path) else "unfinished",
            )
        Console().print(table)
        return 0


@dataclass
class Verify:
    """Hash every file again and check every ledger line; exit code 2 names what is damaged."""

    folder: tyro.conf.Positional[Path]
    """A run or study directory."""
    repair: bool = False
    """Cut each damaged ledger before its first damage; the run command then computes the rest anew."""

    def execute(self) -> int:
        """Print what was found."""
        console = Console(soft_wrap=True, highlight=False, markup=False)
        found = [verify_run(path) for path in find_runs(self.folder)]
        damaged = [verification for verification in found if verification.damages]
        for verification in damaged:
            for damage in verification.damages:
                console.print(damage)
            if self.repair:
                repair_run(verification)
                console.print(f"{verification.folder}: kept {verification.n_intact} intact ledger lines.")
        n_files, n_entries = sum(v.n_files for v in found), sum(v.n_entries for v in found)
        console.print(f"{len(found)} runs, {n_entries} ledger lines, {n_files} files: {_verdict(len(damaged))}")
        return 0 if not damaged or self.repair else 2


@dataclass
class Report:
    """Write the page, and the figures as files, of a run or study directory."""

    folder: tyro.conf.Positional[Path]
    """A run or study directory, finished or not."""
    figures: Path | None = None
    """A directory for the figures as single files."""
    format: tuple[str, ...] = ("svg", "pdf")
    """Their formats: svg, pdf, png."""

    def execute(self) -> int:
        """Write and say where."""
        for name in self.format:
            check_choice(name, ("svg", "pdf", "png"), name="--format")
        find_runs(self.folder)
        from entropick import report

        console = Console(soft_wrap=True, highlight=False, markup=False)
        console.print(f"page: {report.write_page(self.folder)}")
        if self.figures is not None:
            written = report.write_figures(self.folder, self.figures, formats=self.format)
            console.print(f"{len(written)} figure files in {self.figures}")
        return 0


def _verdict(n_damaged: int) -> str:
    return "all as written" if not n_damaged else f"{n_damaged} runs are damaged"
