"""A choice from files into files: sources in, an output folder with the manifest and all that the choice tells out."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick import features
from entropick.arrays import Features, Floats, Integers
from entropick.errors import DuplicateWarning, InputError
from entropick.page.words import duration
from entropick.processes import usable_device
from entropick.processes.engine import Engine
from entropick.random_stream import RandomStream
from entropick.run.directory import Outcome, Run
from entropick.run.files import readable_json
from entropick.run.inputs import Given, Inputs
from entropick.run.ledger import Entry
from entropick.selection import output
from entropick.selection.appraisal import appraise, random_control
from entropick.selection.duplicates import find_duplicates
from entropick.selection.overview import overview
from entropick.selectors.base import Guard, Rule, Selector
from entropick.selectors.quotas import BALANCED, even_shares, owed_rows
from entropick.selectors.workers import dealt
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
    readable,
    skipped,
    source_number,
)
from entropick.sources.cost import check_affordable, selection_forecast
from entropick.work import Work

# The stages: what is chosen and measured, and all that is written for people and other programs.
_SELECT, _PRESENT = "select", "present"
# What the first leaves to the second.
_PICKS, _FOUND, _OVERVIEW = "select/picks.parquet", "select/found.json", "select/overview.json"
_DUPLICATES = "select/duplicates.parquet"
# While workers need it, rows that are in no file yet.
_POOL = "pool.rows"


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
    given
        Names of sources whose rows are picked already: the others are chosen to lie far from them too. They come before
        the `n_samples` of the selector and count neither for these nor for shares and classes; no guard sets them
        aside. The rows are those of the selector's `initial`.
    files
        Whether the chosen image files are to be linked or copied into the output folder.
    columns
        Columns of a parquet file in `embeddings` that are features; none leaves out what cannot be one.
    resize
        To which height and width images are brought before they are compared, see `entropick.sources.Space`.
    normalize
        Whether features are brought to length 1, for those that are meant to be compared by their cosines.
    engine
        Who looks at the rows, see `entropick.processes.engine.Engine`; None is this process. The rows chosen are the
        same, so another one may go on where this one was interrupted.
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
    given: tuple[str, ...] = ()
    files: output.Files = "none"
    columns: tuple[str, ...] = ()
    resize: int | None = None
    normalize: bool = False
    engine: Engine | None = None

    @property
    def compared(self) -> tuple[Space]:
        """The one space that the selector sees."""
        return (
            Space(
                "features",
                encoder=self.encoder,
                file=self.embeddings,
                columns=self.columns,
                resize=self.resize,
                normalize=self.normalize,
            ),
        )

    def check(self) -> None:
        """Raise InputError for what is known to be wrong before anything is read."""
        self.compared[0].check(self.sources)
        self._check_given()
        self._check_classes()
        self._rule().check()
        if self.guard is not None:
            self.guard.check()
        # Not only when features, which may have taken hours, are there.
        usable_device(self.selector.get_params().get("device", "cpu"))
        if self.engine is not None:
            if not self.selector.asks_shards:
                raise InputError(
                    f"engine: expected a rule that asks workers (greedy, density-greedy), got {self.selector.kind}. "
                    "Leave the engine out."
                )
            self.engine.check()
        _check_trusted(self.sources, self._rules())
        try:
            output.check_placeable([source for source in self.sources if source.name not in self.given], self.files)
        except ValueError as error:
            raise InputError(f"{self.files}: expected {error}") from None
        n = sum(len(source) for source in self.sources if source.name not in self.given)
        if self.selector.n_samples > n:
            raise InputError(
                f"n: expected at most {n}, as many as there are candidates, got {self.selector.n_samples}."
            )

    def describe(self, contents: Contents) -> dict[str, Any]:
        """The choice as plain data: equal for equal results."""
        named = contents.described()
        return {
            "stages": [_SELECT, _PRESENT],
            "sources": named,
            # Numbers of sources and of rows follow it.
            "order": list(named),
            "features": contents.spaces[0].identity(),
            "selector": self._rule().describe(),
            "guard": None if self.guard is None else self.guard.describe(),
            "balance": self.balance,
            "given": list(self.given),
            "files": self.files,
            "skip_bad": self.skip_bad,
            "seed": self.seed,
        }

    def stages(
        self, run: Run, contents: Contents, config: dict[str, Any], found: Survey | None, work: Work, say: Say
    ) -> Entry:
        """Choose, then write it down; where sources lie elsewhere than before, the latter is done again."""
        if run.ledger.find(0, _SELECT) is None:
            output.remove_written(run.folder)
        guard = None if self.guard is None else dataclasses.replace(self.guard)
        settings = {"contents": contents, "space": contents.spaces[0], "rule": self._rule(), "guard": guard}
        settings |= {name: config[name] for name in ("given", "balance", "skip_bad", "seed")}
        pool = partial(self._pool, scratch=run.folder / "work" / _POOL)
        compute = partial(_choose, found=found, cache=run.work / "features", say=say, pool=pool)
        chosen = run.stage(0, _SELECT, Inputs(settings=settings), compute)
        shown = {"contents": contents, "config": config, "bases": output.bases(self.sources)}
        names = {"picks": _PICKS, "found": _FOUND, "overview": _OVERVIEW, "duplicates": _DUPLICATES}
        inputs = Inputs(settings=shown, files={name: (chosen, file) for name, file in names.items()})
        return run.stage(0, _PRESENT, inputs, partial(_present, out=run.folder, say=say), may_change=True)

    def _rule(self) -> Selector:
        minimum = {source_number(self.sources, name, role="quota"): share for name, share in self.quotas.items()}
        return dataclasses.replace(self.selector, minimum=BALANCED if self.balance else minimum or None)

    def _pool(self, X: Features, *, scratch: Path) -> contextlib.AbstractContextManager[Any]:
        """The rows to choose from, with the workers that look at them."""
        if self.engine is None:
            return contextlib.nullcontext(X)
        return dealt(X, self.engine, scratch, device=self.selector.get_params().get("device", "cpu"))

    def _check_given(self) -> None:
        for name in self.given:
            source_number(self.sources, name, role="given")
        if self.given and len(self.selector.get_params()["initial"] or ()):
            raise InputError("given: expected sources whose rows are picked already, or initial of the selector.")
        if both := sorted({*self.given} & {*self.quotas}):
            raise InputError(
                f"given: expected no quota of {both[0]}, whose rows are picked already and count for no share."
            )
        if self.given:
            # Here already: not every rule takes rows that are picked.
            dataclasses.replace(self.selector, n_samples=self.selector.n_samples + 1, initial=[0]).check()

    def _check_classes(self) -> None:
        if self.balance and self.selector.trusts:
            raise InputError(
                f"balance: expected a rule that needs no trusted source, got {self.selector.kind}, which sees the "
                "classes as its sources then."
            )
        if self.balance and self.quotas:
            raise InputError("balance: expected a balance of classes or quotas of sources, got both.")
        unknown = [source for source in self.sources if source.classes is None and source.name not in self.given]
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
        usable = {s.name: len(s) - len(bad) for s, bad in zip(self.sources, found.problems, strict=True)}
        n_given = sum(usable[name] for name in self.given)
        n = sum(usable.values()) - n_given
        width = contents.spaces[0].width(self.sources, found.shape)
        wanted, trusted = self.selector.n_samples, 0
        for rule in self._rules():
            if numbers := rule.trusts:
                trusted += sum(len(self.sources[number]) for number in numbers)
                say(f"{rule.kind} trusts {', '.join(self.sources[number].name for number in numbers)}.")
        if self.given:
            say(f"given: {n_given:,} rows of {', '.join(self.given)} are picked already.")
        method = self.selector.kind
        cost = selection_forecast(n + n_given, width, wanted + n_given, method=method, n_trusted=trusted)
        say(
            f"{self.selector.kind}: {wanted:,} of {n:,} rows with {width:,} features. Forecast once they are "
            f"there: {duration(cost.seconds)}, {cost.bytes / 2**30:.1f} GiB of memory."
        )
        check_affordable(cost)


def _choose(
    given: Given,
    work: Work,
    *,
    found: Survey | None,
    cache: Path,
    say: Say,
    pool: Callable[[Features], contextlib.AbstractContextManager[Any]],
) -> Outcome:
    """The stage that chooses: candidates, the guard, the choice, and what it tells."""
    assert found is not None, "only a choice that is not finished is made"
    contents, guard, rule = (given[name] for name in ("contents", "guard", "rule"))
    sources = contents.sources
    candidates = contents.candidates(given["space"], found, cache, work)
    check_problems(sources, candidates.problems, skip_bad=given["skip_bad"])
    n, names = len(candidates), [source.name for source in sources]
    is_given = np.isin(candidates.source, [names.index(name) for name in given["given"]])
    aside, guarding = np.empty(0, np.int64), None
    if guard is not None:
        guard.fit(candidates.X, candidates.source, work=work.part("guard"))
        aside = guard.set_aside_[~is_given[guard.set_aside_]]
        guarding = {**guard.summary(), "n_set_aside": len(aside), "n_kept": n - len(aside)}
        say(f"guard: {len(aside):,} rows are set aside, {n - len(aside):,} kept.")
    kept = np.setdiff1d(np.arange(n), aside)
    X = candidates.X if len(kept) == n else candidates.X[kept]
    _check_trusted(sources, [rule] if guard is None else [guard, rule], candidates.source[kept])
    if rule.n_samples > (n_free := len(kept) - np.count_nonzero(is_given)):
        raise InputError(f"n: expected at most the {n_free} rows that are usable and kept, got {rule.n_samples}.")
    groups = _classes(sources, candidates, is_given)[0] if given["balance"] else candidates.source
    rule = _after(rule, np.flatnonzero(is_given[kept]), groups[kept])
    with warnings.catch_warnings():
        # The result says how many are distinct.
        warnings.simplefilter("ignore", DuplicateWarning)
        with pool(X) as rows:
            rule.fit(rows, groups[kept], work=work)
    say("measuring the choice beside a random one")
    control = random_control(rule, X, seed=given["seed"])
    appraisal = appraise(rule, X, control_seed=given["seed"], control=control).summary()
    n_given, seed = int(np.count_nonzero(is_given)), given["seed"]
    chosen = kept[rule.indices_]
    fates = {"given": chosen[:n_given], "set aside": aside, "chosen": chosen[n_given:]}
    say("looking for duplicates in the pool")
    repeats = find_duplicates(candidates.X, chosen, RandomStream(seed, stage="duplicates").rng(), work.part("repeats"))
    values = {
        **appraisal,
        "n_distinct": rule.n_distinct_,
        "n_given": n_given,
        "guard": guarding,
        "duplicates": repeats.summary(),
        "sources": _counts(sources, candidates, fates, with_given=bool(given["given"])),
        "classes": _class_counts(sources, candidates, is_given, fates["chosen"]) if given["balance"] else None,
        "skipped": skipped(sources, candidates.problems),
        "passed_over": passed_over(sources),
    }
    distances = [rule.distances_, *([] if guard is None else [guard.distances_[aside]])]
    files = {
        _PICKS: _table(candidates, np.concatenate([chosen, aside]), np.concatenate(distances))
        | {"fate": ["given"] * n_given + ["chosen"] * (len(chosen) - n_given) + ["set aside"] * len(aside)},
        _FOUND: readable_json(values),
        _OVERVIEW: overview(candidates, fates, rule, control, seed, work.part("overview")),
        _DUPLICATES: _table(candidates, repeats.rows, repeats.distances)
        | {"group": repeats.groups, "keep": repeats.keeps},
    }
    return Outcome(files, values)


def _table(candidates: Candidates, rows: Integers, distances: Floats) -> dict[str, Any]:
    """Where some of the candidates are, and a distance of each, as columns."""
    return {"source": candidates.source[rows], "row": candidates.row[rows], "distance": distances}


def _present(given: Given, work: Work, *, out: Path, say: Say) -> Outcome:
    """The stage that writes what was chosen for people and other programs; chosen files are placed last."""
    from entropick.selection.page import render_selection

    sources, config = given["contents"].sources, given["config"]
    ranks: Counter[bool] = Counter()
    picked: list[output.Row] = []
    aside: list[output.Row] = []
    for source, row, distance, fate in zip(*_columns(given.load("picks")), strict=True):
        is_aside = fate == "set aside"
        of = output.Row(sources[source], row, ranks[is_aside], distance, fate == "given")
        (aside if is_aside else picked).append(of)
        ranks[is_aside] += 1
    chosen = [row for row in picked if not row.is_given]
    guarded = None if config["guard"] is None else aside
    say(f"writing {out}")
    files = output.manifests(picked, guarded, sources)
    if sources[0].kind != "embeddings":
        files |= output.sheets(chosen, guarded)
    files |= output.lists(chosen, placed=config["files"] != "none")
    repeats = [
        output.Repeat(output.Row(sources[source], row, 0, distance), group, keep)
        for source, row, distance, group, keep in zip(*_columns(given.load("duplicates")), strict=True)
    ]
    files[output.DUPLICATES] = output.duplicates_table(repeats)
    result = {**given.load("found"), "bases": given["bases"], "config": config}
    files[Choice.result] = readable_json(result)
    files[output.PAGE] = render_selection(result, given.load("overview"), picked, aside, repeats, sources, work)
    if config["files"] != "none":
        files |= output.place_files(out, chosen, link=config["files"] == "link", work=work)
    return Outcome(files)


def _columns(table: Mapping[str, Any]) -> list[list[Any]]:
    return [column.tolist() for column in table.values()]


def _after(rule: Selector, first: Integers, groups: Integers) -> Selector:
    """The rule that goes on from the positions `first`, which count for no share; itself if there are none."""
    if not len(first):
        return rule
    n, n_all, minimum = rule.n_samples, rule.n_samples + len(first), rule.minimum
    if isinstance(minimum, str):
        free = np.ones(len(groups), bool)
        free[first] = False
        values, sizes = np.unique(groups[free], return_counts=True)
        owed = dict(zip(values.tolist(), even_shares(sizes, n).tolist(), strict=True))
    else:
        owed = owed_rows(minimum or {}, groups, n)
    # Whole rows of n as shares of more.
    shares = {number: rows / n_all for number, rows in owed.items()}
    return dataclasses.replace(rule, n_samples=n_all, initial=first, minimum=shares or None)


def _counts(
    sources: Sequence[Source], candidates: Candidates, fates: Mapping[str, Integers], *, with_given: bool
) -> dict[str, dict[str, int]]:
    """Of each source, how many rows it has and what became of them."""
    columns = {"files_or_rows": [len(source) for source in sources], "skipped": list(map(len, candidates.problems))}
    for fate, rows in fates.items():
        if fate != "given" or with_given:
            columns[fate.replace(" ", "_")] = np.bincount(candidates.source[rows], minlength=len(sources)).tolist()
    return {source.name: {key: of[i] for key, of in columns.items()} for i, source in enumerate(sources)}


def _classes(
    sources: Sequence[Source], candidates: Candidates, is_given: NDArray[np.bool_]
) -> tuple[Integers, list[str]]:
    """The number of each candidate's class, and what the classes are called; what is given is of no class."""
    of_sources = [source.classes or () for source in sources]
    places = zip(candidates.source.tolist(), candidates.row.tolist(), is_given.tolist(), strict=True)
    classes = [None if known else of_sources[number][row] for number, row, known in places]
    names = sorted({name for name in classes if name is not None})
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([len(names) if name is None else numbers[name] for name in classes], np.int64), names


def _class_counts(
    sources: Sequence[Source], candidates: Candidates, is_given: NDArray[np.bool_], chosen: Integers
) -> dict[str, dict[str, int]]:
    """Of each class, how many candidates it has and how many were chosen."""
    numbers, names = _classes(sources, candidates, is_given)
    n_candidates, n_chosen = (np.bincount(of, minlength=len(names)).tolist() for of in (numbers, numbers[chosen]))
    return {
        readable(name): {"candidates": n_candidates[number], "chosen": n_chosen[number]}
        for number, name in enumerate(names)
    }


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
