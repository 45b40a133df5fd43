"""``entropick run``: a study from a preset or a file, started or gone on with."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from entropick.arrays import check_count
from entropick.cli.display import Display, LivePage, Logged, print_summary, study_log
from entropick.cli.flags import (
    Ended,
    Failed,
    OutputFlags,
    assignments,
    check_directory,
    default_directory,
    parse_budget,
    says,
)
from entropick.cli.terminal import print_columns
from entropick.config import load_study
from entropick.errors import ConfigError, StudyFailed, counted, shown
from entropick.loop.loop import goes_on_without
from entropick.loop.plan import ArmPlan, plan_study
from entropick.loop.study import Study, n_gpus
from entropick.processes.hardware import usable_cores
from entropick.processes.ranks import Ranks
from entropick.run import STUDY, History, find_runs

_STUDYS = "the study's"
# Flag -> the key of a study file that it stands for.
_FLAGS = {
    "images": "n_images",
    "seeds": "seeds",
    "sizes": "sizes",
    "threads": "threads",
    "checkpoint_seconds": "checkpoint_seconds",
    "iterations": "loop.n_iterations",
    "data": "loop.dataset.path",
    "steps": "loop.generator.steps",
    "probe_steps": "loop.probe_steps",
    "width": "loop.generator.width",
    "sampling_steps": "loop.generator.sampling_steps",
    "device": "loop.generator.device",
}


@dataclass(kw_only=True)
class Run(OutputFlags):
    """Run a study, or go on with it.

    The same command resumes, and leaves a finished study alone. A second process
    on the same directory ends at once. Killed at any point, nothing that was
    finished is lost.
    """

    study: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[STUDY]")] = "digits"
    """A preset's name, or the path of a study file (.toml)."""
    out: Annotated[Path | None, says("runs/NAME")] = None
    """The study's directory."""
    budget: Annotated[str | None, says("none", metavar="TIME")] = None
    """Stop cleanly at the next checkpoint after this time (90s, 10m, 1h30m) with exit code 75."""
    workers: Annotated[int | None, says("cores / threads, or GPUs")] = None
    """How many arms are computed at once, each in a process of its own; does not change results."""
    arms: Annotated[tuple[str, ...] | None, says("all", metavar="ARM ...")] = None
    """Only these arms of the study."""
    seeds: Annotated[tuple[int, ...] | None, says(_STUDYS, metavar="INT ...")] = None
    """Run every arm once with each of these seeds."""
    sizes: Annotated[tuple[int, ...] | None, says(_STUDYS, metavar="INT ...")] = None
    """Run every arm at each of these numbers of real images; all else scales."""
    iterations: Annotated[int | None, says(_STUDYS)] = None
    """How many times each loop trains and generates."""
    images: Annotated[int | None, says(_STUDYS)] = None
    """Real images that the loop starts from; selections and generations scale with it."""
    data: Annotated[str | None, says(_STUDYS, metavar="PATH")] = None
    """Path of the dataset, for kinds that have one."""
    steps: Annotated[int | None, says(_STUDYS)] = None
    """Gradient steps of each training."""
    probe_steps: Annotated[tuple[int, ...] | None, says("none", metavar="INT ...")] = None
    """Sample and measure the model after these steps of each training, too."""
    width: Annotated[int | None, says(_STUDYS)] = None
    """Width of the network."""
    sampling_steps: Annotated[int | None, says(_STUDYS)] = None
    """Denoising steps of the sampler."""
    device: Annotated[str | None, says(_STUDYS, metavar="DEVICE")] = None
    """Where the generator runs: auto, cpu, cuda."""
    threads: Annotated[int | None, says(_STUDYS)] = None
    """Processor threads per arm. Another number changes last digits, so a study that has begun keeps its own."""
    checkpoint_seconds: Annotated[float | None, says(_STUDYS)] = None
    """Seconds between checkpoints, from which a training or sample that was interrupted goes on."""
    reuse: Annotated[tuple[Path, ...] | None, says("none", metavar="DIR ...")] = None
    """Directories of other studies on this machine: what they computed of the same inputs is linked, not repeated."""
    log: tyro.conf.UseAppendAction[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME[:DIR]", help_behavior_hint="(may be repeated)")]
    ] = ()
    """Log to a tracker as well: tensorboard, trackio or wandb, where it keeps its files or in DIR."""
    plan: bool = False
    """Print what the study will do and what it will cost, and end."""
    open: bool = False
    """Open the page in the browser at the end; only from a terminal on a display."""
    set: tyro.conf.UseAppendAction[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE", help_behavior_hint="(may be repeated)")]
    ] = ()
    """Any other key of the study file, for instance loop.generator.ema=0.99."""

    def execute(self, ranks: Ranks) -> Ended:
        """Run the study, shared by the processes of `ranks`, and write its report."""
        started = time.monotonic()
        budget_seconds = None if self.budget is None else parse_budget(self.budget)
        for flag in ("arms", "seeds", "sizes", "probe_steps", "reuse"):
            if getattr(self, flag) == ():
                raise ConfigError(f"--{flag.replace('_', '-')}: expected at least one value after it, got none.")
        study = load_study(self.study, self._overrides(), arms=self.arms or ())
        study.check()
        self._check_images(study)
        out = self.out or default_directory(study.name)
        check_directory(out, flag="--out")
        console = self.console()
        study = _as_begun(study, out, console)
        workers = self._n_workers(study, ranks)
        # Only for someone at a terminal, and once: measuring what a plan tells takes a moment.
        if self.plan or (console.is_terminal and not self.quiet and not (out / STUDY).exists()):
            plans = plan_study(study)
            _print_plan(plans, console)
            if self.plan:
                at_once = _at_once(study, workers, ranks)
                console.print(f"{counted(len(study.arm_runs()), 'run')}, {at_once}.", highlight=False)
                return Ended({"study": study.name, "plan": [dataclasses.asdict(plan) for plan in plans]})
        console.print(f"study {study.name!r}: {_size(study)}, {_at_once(study, workers, ranks)}, in {out}")
        log = study_log(out, self.log, study.name)
        try:
            with Display(study, console) as display, log:
                computed = study.run(
                    out,
                    workers=workers,
                    budget_seconds=budget_seconds,
                    observer=Logged(log, LivePage(out, display)),
                    reuse=self.reuse or (),
                    ranks=ranks,
                )
        except StudyFailed as error:
            raise _with_page(error, study, out) from error
        summary = self._finish(out, computed, console)
        for line in log.where():
            console.print(line)
        seconds = time.monotonic() - started
        console.print(f"{seconds:.1f} s")
        # The last line, so that it is found.
        console.print(f"page: {summary['page']}")
        if self.open and console.is_terminal and _has_display():
            webbrowser.open(Path(summary["page"]).resolve().as_uri())
        return Ended({"study": study.name, "out": str(out), **summary, "seconds": round(seconds, 1)})

    def _check_images(self, study: Study) -> None:
        """Refuse a number of images that an arm overrules by one of its own."""
        for name, loop in study.arms.items():
            own = getattr(loop.dataset, "n_images", None)
            if self.images is not None and own != self.images:
                raise ConfigError(
                    f"--images: expected arms without dataset.n_images of their own, but arm {shown(name)} has {own}. "
                    f"Give --set arms.{name}.dataset.n_images={self.images} and what goes with it, or leave it out."
                )

    def _n_workers(self, study: Study, ranks: Ranks) -> int:
        if self.workers is not None:
            return check_count(self.workers, name="--workers")
        if ranks.size > 1:
            return 1
        return max(1, min(len(study.arm_runs()), n_gpus(study) or usable_cores() // study.threads))

    def _finish(self, out: Path, computed: int, console: Console) -> dict[str, Any]:
        page = out / "report.html"
        if not computed:
            console.print(f"{out} is complete already; nothing was computed.", soft_wrap=True)
        # What draws the page takes seconds to import: not for a page that is up to date.
        if computed or not _is_up_to_date(page, out):
            from entropick import report

            page = report.write_page(out)
        last = print_summary(out, console)
        return {"stages_computed": computed, "page": str(page), **last}

    def _overrides(self) -> list[tuple[str, Any]]:
        given = [(key, getattr(self, flag)) for flag, key in _FLAGS.items() if getattr(self, flag) is not None]
        of_flags = [(key, list(value) if isinstance(value, tuple) else value) for key, value in given]
        return of_flags + assignments(self.set, example="loop.generator.ema=0.99")


def _with_page(error: StudyFailed, study: Study, out: Path) -> Failed:
    """The error of some arms, and the page of what the others have done."""
    from entropick import report

    summary = {"study": study.name, "out": str(out)}
    try:
        page = report.write_page(out)
    except Exception:  # which would hide what has failed before
        return Failed(str(error), summary)
    return Failed(f"{error}\nWhat is done is on the page: {page}", {**summary, "page": str(page)})


def _has_display() -> bool:
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _as_begun(study: Study, out: Path, console: Console) -> Study:
    """The study with the measures that it began with in `out`; it is said which newer ones are left out."""
    begun = study.as_begun(out)
    newer = {name for arm, loop in study.arms.items() for name in {*loop.metrics} - {*begun.arms[arm].metrics}}
    if newer:
        console.print(
            f"{goes_on_without(out, newer)} another --out and --reuse {out}, which trains nothing again.",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    return begun


def _is_up_to_date(page: Path, out: Path) -> bool:
    """Whether the page was written from the ledgers as they are now: it shows the seal of each.

    What else it tells, such as a title, is in the study's own file, which is written only where it changes.
    """
    text = page.read_text(encoding="utf-8", errors="replace") if page.is_file() else ""
    is_older = bool(text) and page.stat().st_mtime_ns < (out / STUDY).stat().st_mtime_ns
    # A copy may have other times, which is no reason to write on a disk that is read-only.
    if is_older and os.access(out, os.W_OK):
        return False
    return bool(text) and all(History(run).seal in text for run in find_runs(out))


def _at_once(study: Study, workers: int, ranks: Ranks) -> str:
    """How many runs are computed side by side, and by what, in words."""
    by_team = f", each by {ranks.size} processes" if ranks.size > 1 else ""
    gpus = min(n_gpus(study), workers)
    shared = f", which {'share it' if gpus == 1 else 'share them'}" if workers > gpus else ""
    on_gpus = f" on {gpus} GPU{'s' if gpus > 1 else ''}{shared}" if gpus and not by_team else ""
    return f"{workers} at a time{by_team}{on_gpus}"


def _size(study: Study) -> str:
    n_iterations = max(loop.n_iterations for loop in study.arms.values())
    counts = [(len(study.arms), "arm"), (len(study.sizes), "size"), (len(study.seeds), "seed")]
    counts += [(n_iterations, "iteration")]
    return " x ".join(counted(count, noun) for count, noun in counts if count)


def _print_plan(plans: Sequence[ArmPlan], console: Console) -> None:
    """One line per arm, over all its iterations and seeds, of which a few steps were measured."""
    lines = [
        [
            plan.arm,
            f"{plan.n_training:,}",
            f"{plan.n_generated:,}",
            "-" if plan.n_steps is None else _span(f"{plan.least_steps:,}", f"{plan.n_steps:,}"),
            "-" if plan.flops is None else f"{plan.flops / 1e15:,.3g}",
            "-" if plan.seconds is None else _span(_duration(plan.least_seconds or 0.0), _duration(plan.seconds)),
            f"{plan.n_bytes / 1e6:,.0f} MB",
        ]
        for plan in plans
    ]
    print_columns([["plan", "training set", "generated", "steps", "PFLOP", "time", "disk"], *lines], console)
    console.print(
        "The training set of the last iteration; all else over all iterations, sizes and seeds; operations at most. "
        "Time: a few steps measured now, on one arm at a time; what arms share is computed once, so the whole takes "
        "less.",
        soft_wrap=True,
        highlight=False,
    )


def _span(least: str, most: str) -> str:
    """Both ends, where a rule chooses between them (`steps = "auto"`)."""
    return most if least == most else f"{least} to {most}"


def _duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> _duration(42.4), _duration(5400), _duration(200_000)
    ('42 s', '90 min', '2.3 d')
    """
    for size, name in ((86_400, "d"), (3_600, "h")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
