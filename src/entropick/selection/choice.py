"""A choice from files into files: sources in, an output folder with the manifest and all that the choice tells out."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from entropick import features
from entropick.arrays import Integers
from entropick.errors import DuplicateWarning, InputError
from entropick.page.words import duration
from entropick.processes import usable_device
from entropick.run.directory import Outcome, Run
from entropick.run.files import readable_json
from entropick.run.inputs import Given, Inputs
from entropick.run.ledger import Entry
from entropick.selection.appraisal import appraise
from entropick.selection.output import MANIFEST, Files, Output, Rows, place_files, remove_written
from entropick.selectors.base import Guard, Rule, Selector
from entropick.selectors.quotas import BALANCED
from entropick.sources import (
    Candidates,
    Contents,
    FilesCommand,
    Say,
    Source,
    Space,
    Survey,
    check_problems,
    passed_over,
    skipped,
    source_number,
)
from entropick.sources.cost import check_affordable, selection_forecast
from entropick.work import Work

_STAGE = "select"


@dataclass(frozen=True, kw_only=True)
class Choice(FilesCommand):
    """What to choose, from what, and how.

    Attributes
    ----------
    sources
        Where candidates come from, see `entropick.sources.open_sources`.
    selector
        The rule; its `minimum` is made from `quotas`.
    encoder
        How images become features; None if there are embeddings.
    embeddings
        A ``.npy`` or ``.parquet`` file with one row per image, sources in order; None if there is an encoder or the
        sources themselves are embeddings.
    guard
        Sets rows aside beforehand; what it trusts are numbers of sources. None sets nothing aside.
    quotas
        Name of a source -> its least share of the choice.
    balance
        Whether all classes get equally many places, as far as they have rows.
    files
        Whether the chosen image files are to be linked or copied into the output folder.
    columns
        Columns of a parquet file in `embeddings` that are features; none leaves out what cannot be one.
    resize
        To which height and width images are brought before they are compared, see `entropick.sources.Space`.
    skip_bad
        Go on without unreadable images, and record them.
    seed
        What the random control depends on.
    """

    product, done, result = "selection", "chosen", "selection.json"
    marks = ("sources", "selector", "guard")

    selector: Selector
    encoder: features.Features | None = None
    embeddings: Path | None = None
    guard: Guard | None = None
    quotas: Mapping[str, float] = field(default_factory=dict)
    balance: bool = False
    files: Files = "none"
    columns: tuple[str, ...] = ()
    resize: int | None = None

    @property
    def compared(self) -> tuple[Space]:
        """The one space that the selector sees."""
        return (
            Space("features", encoder=self.encoder, file=self.embeddings, columns=self.columns, resize=self.resize),
        )

    def check(self) -> None:
        """Raise InputError for what is known to be wrong before anything is read."""
        self.compared[0].check(self.sources)
        self._check_classes()
        self._rule().check()
        if self.guard is not None:
            self.guard.check()
        # Not only when features, which may have taken hours, are there.
        usable_device(self.selector.get_params().get("device", "cpu"))
        _check_trusted(self.sources, self._rules())
        if self.files != "none" and (others := [s.name for s in self.sources if s.kind != "folder"]):
            raise InputError(
                f"{self.files}: expected folders of image files, but {others[0]!r} is one file; the manifest names its "
                "chosen rows."
            )
        n = sum(map(len, self.sources))
        if self.selector.n_samples > n:
            raise InputError(
                f"n: expected at most {n}, as many as there are candidates, got {self.selector.n_samples}."
            )

    def describe(self, contents: Contents) -> dict[str, Any]:
        """The choice as plain data: equal for equal results."""
        named = contents.described()
        return {
            "stages": [_STAGE],
            "sources": named,
            # Numbers of sources and of rows follow it.
            "order": list(named),
            "features": contents.spaces[0].identity(),
            "selector": self._rule().describe(),
            "guard": None if self.guard is None else self.guard.describe(),
            "balance": self.balance,
            "files": self.files,
            "skip_bad": self.skip_bad,
            "seed": self.seed,
        }

    def stages(
        self, run: Run, contents: Contents, config: dict[str, Any], found: Survey | None, work: Work, say: Say
    ) -> Entry:
        """The one stage; chosen files that have gone since are placed again."""
        if run.ledger.find(0, _STAGE) is None:
            remove_written(run.folder)
        guard = None if self.guard is None else dataclasses.replace(self.guard)
        settings = {"contents": contents, "space": contents.spaces[0], "rule": self._rule(), "guard": guard}
        compute = partial(_choose, found=found, cache=run.work / "features", out=run.folder, say=say)
        entry = run.stage(0, _STAGE, Inputs(settings={**settings, "config": config}), compute)
        if self.files != "none":
            place_files(run.folder, self.sources, run.load(entry, MANIFEST), link=self.files == "link", work=work)
        return entry

    def _rule(self) -> Selector:
        minimum = {source_number(self.sources, name, role="quota"): share for name, share in self.quotas.items()}
        return dataclasses.replace(self.selector, minimum=BALANCED if self.balance else minimum or None)

    def _check_classes(self) -> None:
        if self.balance and self.selector.trusts:
            raise InputError(
                f"balance: expected a rule that needs no trusted source, got {self.selector.kind}, which sees the "
                "classes as its sources then."
            )
        if self.balance and self.quotas:
            raise InputError("balance: expected a balance of classes or quotas of sources, got both.")
        unknown = [source for source in self.sources if source.classes is None]
        if self.balance and unknown:
            raise InputError(
                f"balance: expected the class of every row, but {unknown[0].name} ({unknown[0].path}) has none. "
                "Classes are the folders below a folder, the array 'labels' of an .npz file, the column 'label' of a "
                "parquet file."
            )

    def _rules(self) -> list[Rule]:
        """What decides about rows, in order."""
        return [self.selector] if self.guard is None else [self.guard, self.selector]

    def foretell(self, contents: Contents, found: Survey, say: Say) -> None:
        """Say which sources are trusted, how much there is to choose from, and what that will take."""
        n = sum(map(len, self.sources)) - sum(map(len, found.problems))
        width = contents.spaces[0].width(self.sources, found.shape)
        wanted, trusted = self.selector.n_samples, 0
        for rule in self._rules():
            if numbers := rule.trusts:
                trusted += sum(len(self.sources[number]) for number in numbers)
                say(f"{rule.kind} trusts {', '.join(self.sources[number].name for number in numbers)}.")
        cost = selection_forecast(n, width, wanted, method=self.selector.kind, n_trusted=trusted)
        say(
            f"{self.selector.kind}: {wanted:,} of {n:,} rows with {width:,} features. Forecast once they are "
            f"there: {duration(cost.seconds)}, {cost.bytes / 2**30:.1f} GiB of memory."
        )
        check_affordable(cost)


def _choose(given: Given, work: Work, *, found: Survey | None, cache: Path, out: Path, say: Say) -> Outcome:
    """The stage: candidates, the guard, the choice, and what it tells; chosen files are placed last."""
    assert found is not None, "only a choice that is not finished is made"
    contents, config, guard, rule = (given[name] for name in ("contents", "config", "guard", "rule"))
    sources = contents.sources
    candidates = contents.candidates(given["space"], found, cache, work)
    check_problems(sources, candidates.problems, skip_bad=config["skip_bad"])
    kept, aside, guarding = np.arange(len(candidates)), None, None
    if guard is not None:
        guard.fit(candidates.X, candidates.source, work=work.part("guard"))
        kept, guarding = guard.kept_, guard.summary()
        aside = Rows(guard.set_aside_, guard.distances_[guard.set_aside_])
        say(f"guard: {len(aside.rows):,} rows are set aside, {len(kept):,} kept.")
    X = candidates.X if len(kept) == len(candidates) else candidates.X[kept]
    _check_trusted(sources, [rule] if guard is None else [guard, rule], candidates.source[kept])
    classes = _classes(sources, candidates) if config["balance"] else None
    groups = candidates.source if classes is None else np.unique(np.array(classes), return_inverse=True)[1]
    if rule.n_samples > len(X):
        raise InputError(f"n: expected at most the {len(X)} rows that are usable and kept, got {rule.n_samples}.")
    with warnings.catch_warnings():
        # The result says how many are distinct.
        warnings.simplefilter("ignore", DuplicateWarning)
        rule.fit(X, groups[kept].astype(np.int64), work=work)
    say("measuring the choice beside a random one")
    appraisal = appraise(rule, X, control_seed=config["seed"]).summary()
    chosen = Rows(kept[rule.indices_], rule.distances_)
    output = Output(sources, candidates, classes)
    values = {
        **appraisal,
        "n_distinct": rule.n_distinct_,
        "guard": guarding,
        "sources": output.counts(chosen, aside),
        "classes": output.class_counts(chosen),
        "skipped": skipped(sources, candidates.problems),
        "passed_over": passed_over(sources),
    }
    say(f"writing {out}")
    files = output.files(chosen, aside)
    if config["files"] != "none":
        place_files(out, sources, files[MANIFEST], link=config["files"] == "link", work=work)
    return Outcome({**files, Choice.result: readable_json({**values, "config": config})}, values)


def _classes(sources: Sequence[Source], candidates: Candidates) -> list[str]:
    of_sources = [source.classes or () for source in sources]
    places = zip(candidates.source.tolist(), candidates.row.tolist(), strict=True)
    return [of_sources[number][row] for number, row in places]


def _check_trusted(sources: Sequence[Source], rules: Sequence[Rule], kept: Integers | None = None) -> None:
    """There are enough trusted rows: of all candidates, or of those that a guard kept, given by their sources."""
    for rule in rules:
        numbers = rule.trusts
        if unknown := [number for number in numbers if not 0 <= number < len(sources)]:
            raise InputError(f"trusted: expected numbers of {len(sources)} sources from 0 on, got {unknown[0]}.")
        names = ", ".join(sources[number].name for number in numbers)
        found = sum(len(sources[number]) for number in numbers)
        left = found if kept is None else np.count_nonzero(np.isin(kept, numbers))
        if numbers and left <= (k := rule.least_trusted - 1):
            where = "" if kept is None else f" after the guard has set {found - left} aside or they were skipped"
            raise InputError(
                f"{rule.kind}: expected more than k = {k} rows of the trusted source {names}, got {left}{where}. "
                "Trust another source."
            )
