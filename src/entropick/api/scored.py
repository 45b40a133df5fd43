"""`entropick.score`: what ``entropick score`` does, from Python, with files or with what is in memory."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from entropick import notebook
from entropick.api.folder import call, with_rows_in_files
from entropick.api.parts import engine_of, spaces_of
from entropick.arrays import check_count, check_flag
from entropick.datasets.listing import expanded
from entropick.errors import InputError
from entropick.page.words import DASH, condition_in_words, length_unit, number
from entropick.scoring import PAGE, Condition, Score, Verdict, judge, meaning
from entropick.sources import Say, sources_of, texts


@dataclass(frozen=True)
class Scored:
    """What a score found.

    Attributes
    ----------
    summary
        All of it, as in ``score.json``.
    values, intervals
        ``name/space`` -> value, None where it is not finite, and low and high where they were asked for.
    verdicts
        The judgement in each space, the most alarming first.
    nearest
        Of each space, every generated image with its nearest training image, nearest pair first, a column each:
        distance, near_copy, row, path, training_row, training_path.
    page
        The page (HTML) with the nearest pairs, see `write_page`.
    folder
        Where all of it was written; None for what was only kept in memory.
    """

    summary: Mapping[str, Any] = field(repr=False)
    verdicts: tuple[Verdict, ...] = field(repr=False)
    nearest: Mapping[str, Mapping[str, Sequence[Any]]] = field(repr=False)
    page: str = field(repr=False)
    folder: Path | None = None

    @property
    def values(self) -> dict[str, float | None]:
        """Every value, by ``name/space``."""
        return dict(self.summary["values"])

    @property
    def intervals(self) -> dict[str, tuple[float, float] | None]:
        """95 % intervals of the values, as far as they were asked for."""
        return {key: None if of is None else (of[0], of[1]) for key, of in self.summary["intervals"].items()}

    @property
    def failed(self) -> bool | None:
        """Whether a condition of `fail_if` holds; None where that cannot be decided, False without conditions."""
        holds = [condition["holds"] for condition in self.summary["conditions"]]
        return True if True in holds else None if None in holds else False

    def write_page(self, path: str | os.PathLike[str]) -> Path:
        """Write the page into a file of its own, and return where."""
        file = expanded(path)
        file.write_text(self.page, encoding="utf-8")
        return file

    def __repr__(self) -> str:
        return f"Scored({'; '.join(f'{verdict.space}: {verdict.headline}' for verdict in self.verdicts)})"

    def _repr_html_(self) -> str:
        parts = []
        for verdict in self.verdicts:
            names = [key.partition("/")[0] for key in self.values if key.partition("/")[2] == verdict.space]
            rows = [[name, *self._cells(name, verdict.space)] for name in names]
            heading = ["measure", "value", *(["95 % interval"] if self.intervals else []), "meaning"]
            parts += [
                notebook.paragraph(f"{verdict.space}: {verdict.headline}"),
                notebook.table(heading, rows),
                self._histogram(verdict.space),
            ]
        for condition in self.summary["conditions"]:
            parts.append(notebook.paragraph(": ".join(condition_in_words(condition))))
        sizes = ", ".join(f"{of['used']:,} {role}" for role, of in self.summary["sizes"].items())
        return notebook.block(f"Score of {sizes} images or rows", *parts)

    def _cells(self, name: str, space: str) -> list[str]:
        key = f"{name}/{space}"
        interval = [_interval(self.intervals.get(key))] if self.intervals else []
        return [number(self.values[key]), *interval, meaning(self.summary, name, space)]

    def _histogram(self, space: str) -> str:
        """How far generated images, and fresh real ones, are from their nearest training image."""
        found = self.summary["spaces"][space]["histogram"]
        middles = [(low + high) / 2 for low, high in zip(found["edges"], found["edges"][1:], strict=False)]
        sets = {name: list(zip(middles, of, strict=True)) for name, of in found.items() if name != "edges"}
        unit = length_unit(self.summary["config"]["spaces"][space])
        return notebook.lines(sets, x=f"distance to the nearest training image ({unit})", y="images (share)")


@with_rows_in_files
def score(
    *,
    training: Any,
    generated: Any,
    reference: Any = None,
    features: Any = None,
    metrics: Sequence[str] | None = None,
    fail_if: Sequence[str] = (),
    allow_same: bool = False,
    interval: bool = False,
    columns: Sequence[str] = (),
    resize: int | None = None,
    bit_depth: int | None = None,
    normalize: bool = False,
    skip_bad: bool = False,
    seed: int = 0,
    engine: str | None = None,
    workers: int | None = None,
    out: str | os.PathLike[str] | None = None,
    work: str | os.PathLike[str] | None = None,
    budget_seconds: float | None = None,
    say: Say = lambda line: None,
) -> Scored:
    """Check whether a generator makes new images or copies its training set.

    Parameters
    ----------
    training, generated, reference
        What the generator was trained on, what it made, and held-out real images (None: most measures are left out);
        each a path, an array, a tensor, a frame, a list of Pillow images or a Hugging Face data set, see
        `entropick.sources.sources_of`.
    features
        How images are compared, see `entropick.select`, or a list of several ways; embeddings are of training,
        generated and reference, in this order. None compares pixels, or the embeddings that are given.
    metrics
        Names of measures, see `entropick.metrics.MEASURES`; None for all whose sets are there.
    fail_if
        Conditions such as ``"generalization_score_ratio<0.8"``; whether one holds is `Scored.failed`.
    allow_same
        Accept the same content on two sides.
    interval
        Add a 95 % interval to each value, from halves of the sets; takes about twenty times as long.
    engine, workers
        Who reads images and looks for neighbours, as in `entropick.select`; the values are the same.
    columns, resize, bit_depth, normalize, skip_bad, seed, out, work, budget_seconds, say
        As in `entropick.select`; without `out` nothing is written, and the page is `Scored.page`.

    Raises
    ------
    InputError
        For what cannot be used; the message says what to do.
    RunChanged
        `out` holds another score.
    BudgetSpent, RunLocked, StorageError
        See `entropick.sources.FilesCommand.run`.

    Examples
    --------
    >>> import numpy as np
    >>> real = np.random.default_rng(0).normal(size=(60, 3))
    >>> found = score(training=real[:40], generated=real[:20], reference=real[40:])
    >>> found.values["near_copy_rate/embeddings"], found.verdicts[0].level
    (1.0, 'copies')
    """
    for role, of in {"training": training, "generated": generated}.items():
        if of is None:
            raise InputError(f"{role}: expected images or embeddings, got None.")
    columns = texts(columns, name="columns")
    roles = {"training": training, "generated": generated, "reference": reference}
    there = {role: of for role, of in roles.items() if of is not None}
    opened = sources_of(there, columns=columns, bit_depth=bit_depth)
    command = Score(
        sources=opened,
        spaces=spaces_of(features, opened, columns=columns, resize=resize, normalize=normalize),
        metrics=None if metrics is None else texts(metrics, name="metrics"),
        conditions=tuple(Condition.parse(text) for text in texts(fail_if, name="fail_if")),
        allow_same=check_flag(allow_same, name="allow_same"),
        skip_bad=check_flag(skip_bad, name="skip_bad"),
        with_intervals=check_flag(interval, name="interval"),
        engine=engine_of(engine, workers),
        seed=check_count(seed, name="seed", minimum=0),
    )

    def read(folder: Path, summary: dict[str, Any]) -> Scored:
        nearest = {space: _columns(folder / of["nearest_file"]) for space, of in summary["spaces"].items()}
        page = (folder / PAGE).read_text(encoding="utf-8")
        return Scored(summary, tuple(judge(summary)), nearest, page, None if out is None else folder)

    return call(command, read, out=out, work=work, budget_seconds=budget_seconds, say=say)


# Columns of whole numbers in the table of nearest images; distances are fractions, the others text.
_WHOLE = ("rank", "near_copy", "row", "training_row")


def _columns(path: Path) -> dict[str, list[Any]]:
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        heading, *rows = csv.reader(stream)
    kinds = [int if name in _WHOLE else float if name == "distance" else str for name in heading]
    cells = [[kind(row[place]) for row in rows] for place, kind in enumerate(kinds)]
    return dict(zip(heading, cells, strict=True))


def _interval(found: Sequence[float] | None) -> str:
    return DASH if found is None else f"{number(found[0])} to {number(found[1])}"
