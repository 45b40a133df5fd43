"""``entropick score``: does a generator make new images, or does it copy its training set?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from entropick import scoring
from entropick.api.parts import engine_of, is_path, spaces_of
from entropick.cli.flags import Ended, FilesFlags, all_of, says
from entropick.cli.terminal import print_columns
from entropick.config import parse_value
from entropick.errors import InputError, shown
from entropick.page.words import condition_in_words
from entropick.sources import open_sources

EXIT_FAILED = 1


@dataclass(kw_only=True)
class Score(FilesFlags):
    """Check whether a generator makes new images or copies its training set.

    Writes score.json, score.html and tables of nearest images into DIR. The
    same command resumes. Exit code 1 if a condition of --fail-if holds.
    """

    # Text, for a Path has one slash where an address has two.
    training: Annotated[str, tyro.conf.arg(metavar="PATH")]
    """What the generator was trained on: images (folder, .tar, .npy, .npz, parquet) or embeddings (.npy, .parquet)."""
    generated: Annotated[str, tyro.conf.arg(metavar="PATH")]
    """The images that it made."""
    reference: Annotated[str | None, says("no baseline", metavar="PATH")] = None
    """Held-out real images that it was not trained on; without them most measures are left out."""
    features: tyro.conf.UseAppendAction[
        Annotated[
            tuple[tuple[str, ...], ...],
            says("pixels, or the sources if they are embeddings", metavar="NAME|PATH ..."),
        ]
    ] = ()
    """How images are compared: pixels, dinov2, inception, encoder or classifier;
    or embeddings of training, generated and reference, in this order (.npy, .parquet, or a folder)."""
    metrics: tyro.conf.UseAppendAction[
        Annotated[tuple[tuple[str, ...], ...], says("all whose images are there", metavar="NAME ...")]
    ] = ()
    """Names of the measures to compute."""
    fail_if: tyro.conf.UseAppendAction[
        Annotated[tuple[tuple[str, ...], ...], says("nothing", metavar="CONDITION ...")]
    ] = ()
    """When to end with exit code 1, for instance "generalization_score_ratio<0.8"; /SPACE after the name narrows it."""
    allow_same: bool = False
    """Accept the same images as, for instance, training and generated, which is else refused as a slip."""
    interval: bool = False
    """Add a 95 % interval to each value, from halves of the sets; takes about twenty times as long."""

    def execute(self) -> Ended:
        """Measure, and say what came out."""
        result, console = self.run(self._score)
        _print_result(result, self.out, console)
        verdicts = {of.space: {"level": of.level, "headline": of.headline} for of in scoring.judge(result)}
        # The tables of nearest images are files.
        told = {name: of for name, of in result.items() if name != "spaces"}
        page = str(self.out / scoring.PAGE)
        return Ended(
            {"out": str(self.out), "page": page, "verdicts": verdicts, **told}, _exit_code(result["conditions"])
        )

    def _score(self) -> scoring.Score:
        conditions = tuple(scoring.Condition.parse(text) for text in all_of(self.fail_if, flag="--fail-if"))
        roles = {"training": self.training, "generated": self.generated, "reference": self.reference}
        sources = open_sources(
            [f"{role}={path}" for role, path in roles.items() if path is not None],
            columns=self.columns,
            bit_depth=self.bit_depth,
        )
        metrics = tuple(all_of(self.metrics, flag="--metrics"))
        # A table with parameters is TOML, a path of embeddings is not.
        features = [text if is_path(text) else parse_value(text) for text in all_of(self.features, flag="--features")]
        return scoring.Score(
            sources=sources,
            spaces=spaces_of(
                features or None,
                sources,
                columns=self.columns,
                resize=self.resize,
                normalize=self.normalize,
                where="--features",
            ),
            metrics=metrics or None,
            conditions=conditions,
            allow_same=self.allow_same,
            skip_bad=self.skip_bad,
            with_intervals=self.interval,
            engine=engine_of(self.engine, self.workers, prefix="--"),
            seed=self.seed,
        )


def _print_result(result: dict[str, Any], out: Path, console: Console) -> None:
    for space in result["spaces"]:
        names = [name for name, _, of in (key.partition("/") for key in result["values"]) if of == space]
        meanings = {name: scoring.meaning(result, name, space) for name in names}
        width = max(map(len, meanings.values()))
        heading, lines = [space, "value"], [[name, _number(result["values"][f"{name}/{space}"])] for name in names]
        if result["intervals"]:
            heading.append("95 % interval")
            lines = [[*line, _interval(result["intervals"][f"{line[0]}/{space}"])] for line in lines]
        lines = [[*line, meanings[line[0]].ljust(width)] for line in lines]
        print_columns([[*heading, "meaning".ljust(width)], *lines], console)
    for verdict in scoring.judge(result):
        console.print(f"{verdict.space}: {verdict.headline}", soft_wrap=True)
    for condition in result["conditions"]:
        console.print(": ".join(condition_in_words(condition)), soft_wrap=True)
    console.print(f"page: {out / scoring.PAGE}")


def _exit_code(conditions: Sequence[dict[str, Any]]) -> int:
    if any(condition["holds"] for condition in conditions):
        return EXIT_FAILED
    if open_ones := [condition["condition"] for condition in conditions if condition["holds"] is None]:
        raise InputError(
            f"fail-if: {shown(open_ones[0])} cannot be decided, because its value is not a finite number. Look at the "
            "page, and mend the images or leave the condition out."
        )
    return 0


def _interval(found: Sequence[float] | None) -> str:
    return "-" if found is None else f"{_number(found[0])} to {_number(found[1])}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:,.4g}"
