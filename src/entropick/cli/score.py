"""``entropick score``: does a generator make new images, or does it copy its training set?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from entropick import scoring
from entropick.cli.flags import all_of, check_directory, parse_budget, says
from entropick.cli.terminal import Bar, Terminal, print_columns
from entropick.config import build, parse_value
from entropick.errors import InputError
from entropick.sources import EMBEDDING_FILES, Source, open_sources, readable

EXIT_FAILED = 1


@dataclass
class Score:
    """Check whether a generator makes new images or copies its training set.

    Writes score.json, score.html and tables of nearest images into DIR. The
    same command resumes. Exit code 1 if a condition of --fail-if holds.
    """

    training: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """The images that the generator was trained on: a folder, .npy or .npz images, .npy or .parquet embeddings."""
    generated: Annotated[Path, tyro.conf.arg(metavar="PATH")]
    """The images that it made."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The output folder."""
    reference: Annotated[Path | None, says("no baseline", metavar="PATH")] = None
    """Held-out real images that it was not trained on; without them most measures are left out."""
    features: tyro.conf.UseAppendAction[
        Annotated[
            tuple[tuple[str, ...], ...],
            says("pixels, or the sources if they are embeddings", metavar="NAME|FILE ..."),
        ]
    ] = ()
    """How images are compared; a .npy or .parquet FILE has an embedding of each: training, generated, reference."""
    metrics: tyro.conf.UseAppendAction[
        Annotated[tuple[tuple[str, ...], ...], says("all whose images are there", metavar="NAME ...")]
    ] = ()
    """What is measured."""
    fail_if: tyro.conf.UseAppendAction[
        Annotated[tuple[tuple[str, ...], ...], says("nothing", metavar="CONDITION ...")]
    ] = ()
    """When to end with exit code 1, for instance "generalization_score_ratio<0.8"; /SPACE after the name narrows it."""
    allow_same: bool = False
    """Accept the same content on two sides."""
    skip_bad: bool = False
    """Go on without images that cannot be used, and record them."""
    interval: bool = False
    """Add a 95 % interval to each value, from halves of the sets; takes about twenty times as long."""
    seed: int = 0
    """What every random number depends on."""

    budget: Annotated[str | None, says("none", metavar="TIME")] = None
    """Stop cleanly at the next checkpoint after this time (90s, 10m, 1h30m) with exit code 75."""
    work: Annotated[Path | None, says("DIR/work", metavar="DIR")] = None
    """Where features and checkpoints are kept; commands that are given the same one share them."""

    def execute(self) -> int:
        """Measure, and say what came out."""
        check_directory(self.out, flag="--out")
        budget_seconds = None if self.budget is None else parse_budget(self.budget)
        if self.work is not None:
            check_directory(self.work, flag="--work")
        score = self._score()
        console = Terminal(soft_wrap=True, highlight=False, markup=False)
        with Bar(console) as bar:
            told = score.run(self.out, work=bar, say=console.print, budget_seconds=budget_seconds, shared=self.work)
        _print_result(told, self.out, console)
        return _exit_code(told["conditions"])

    def _score(self) -> scoring.Score:
        conditions = tuple(scoring.Condition.parse(text) for text in all_of(self.fail_if, flag="--fail-if"))
        roles = {"training": self.training, "generated": self.generated, "reference": self.reference}
        sources = open_sources([f"{role}={path}" for role, path in roles.items() if path is not None])
        metrics = tuple(all_of(self.metrics, flag="--metrics"))
        return scoring.Score(
            sources=sources,
            spaces=_spaces(all_of(self.features, flag="--features"), sources),
            metrics=metrics or None,
            conditions=conditions,
            allow_same=self.allow_same,
            skip_bad=self.skip_bad,
            with_intervals=self.interval,
            seed=self.seed,
        )


def _spaces(given: Sequence[str], sources: Sequence[Source]) -> list[scoring.Space]:
    if not given and sources[0].kind == "embeddings":
        return [scoring.Space("embeddings")]
    return [_space(text) for text in given or ["pixels"]]


def _space(text: str) -> scoring.Space:
    if text.endswith(EMBEDDING_FILES):
        return scoring.Space(readable(Path(text).stem), file=Path(text))
    encoder = build("features", parse_value(text), where="--features")
    return scoring.Space(encoder.name, encoder=encoder)


def _print_result(told: dict[str, Any], out: Path, console: Console) -> None:
    for space in told["spaces"]:
        names = [name for name, _, of in (key.partition("/") for key in told["values"]) if of == space]
        said = {name: scoring.meaning(told, name, space) for name in names}
        width = max(map(len, said.values()))
        heading, lines = [space, "value"], [[name, _number(told["values"][f"{name}/{space}"])] for name in names]
        if told["intervals"]:
            heading.append("95 % interval")
            lines = [[*line, _interval(told["intervals"][f"{line[0]}/{space}"])] for line in lines]
        lines = [[*line, said[line[0]].ljust(width)] for line in lines]
        print_columns([[*heading, "meaning".ljust(width)], *lines], console)
    for verdict in scoring.judge(told):
        console.print(f"{verdict.space}: {verdict.headline}", soft_wrap=True)
    for condition in told["conditions"]:
        found = ", ".join(f"{key} {_number(value)}" for key, value in condition["found"].items())
        word = {True: "failed", False: "passed", None: "undecided"}[condition["holds"]]
        console.print(f"{word}: fails if {condition['condition']}; found {found}")
    console.print(f"page: {out / scoring.PAGE}")


def _exit_code(conditions: Sequence[dict[str, Any]]) -> int:
    if any(condition["holds"] for condition in conditions):
        return EXIT_FAILED
    if open_ones := [condition["condition"] for condition in conditions if condition["holds"] is None]:
        raise InputError(
            f"fail-if: {open_ones[0]!r} cannot be decided, because its value is not a finite number. Look at the "
            "page, and mend the images or leave the condition out."
        )
    return 0


def _interval(found: Sequence[float] | None) -> str:
    return "-" if found is None else f"{_number(found[0])} to {_number(found[1])}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:,.4g}"
