"""The two stages of a selection: `choose` computes what is chosen and what that tells, `present` writes it for people.

What the first leaves to the second are files of the run, so that the second alone is repeated where sources have moved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features, Floats, Integers, some_rows
from entropick.errors import DuplicateWarning, InputError, counted
from entropick.random_stream import RandomStream
from entropick.run.directory import Outcome
from entropick.run.files import readable_json
from entropick.run.inputs import Given
from entropick.selection import output
from entropick.selection.appraisal import appraise, random_control
from entropick.selection.duplicates import find_duplicates
from entropick.selection.overview import overview
from entropick.selectors.base import Rule, Selector
from entropick.selectors.quotas import even_shares, owed_rows, rows_of_share
from entropick.sources import (
    Candidates,
    Say,
    Source,
    Survey,
    check_problems,
    converted,
    passed_over,
    readable,
    skipped,
)
from entropick.work import Work

QUOTA = "quotas (--quota)"
"""What messages about quotas begin with."""
# What `choose` leaves to `present`.
LEFT = {
    "picks": "select/picks.parquet",
    "found": "select/found.json",
    "overview": "select/overview.json",
    "duplicates": "select/duplicates.parquet",
}


def check_owed(sources: Sequence[Source], rule: Selector, sizes: Sequence[int]) -> None:
    """Refuse a quota of more rows than a source has, whose rows `sizes` count, by the names that users know."""
    shares, n = rule.minimum if isinstance(rule.minimum, Mapping) else {}, rule.n_samples
    for number, share in shares.items():
        name, n_rows = sources[number].name, sizes[number]
        left = "" if n_rows == len(sources[number]) else " that are usable and kept"
        if (least := rows_of_share(share, n)) > n_rows:
            raise InputError(
                f"{QUOTA}: {name}={share:g} of {n:,} asks for {least:,} rows, but {name} has {n_rows:,}{left}. Lower "
                "the share, or --n (n=)."
            )


def choose(
    given: Given,
    work: Work,
    *,
    found: Survey | None,
    cache: Path,
    say: Say,
    pool: Callable[[Features], contextlib.AbstractContextManager[Any]],
    device: str | None,
) -> Outcome:
    """The stage that chooses: candidates, the guard, the choice, and what it tells; on a `device`, if the rule has one,
    which does not decide about any of it."""
    assert found is not None, "only a choice that is not finished is made"
    contents, guard, rule = (given[name] for name in ("contents", "guard", "rule"))
    sources, work = contents.sources, contents.watched(work)
    rule = rule if device is None else dataclasses.replace(rule).set_params(device=device)
    candidates = contents.candidates(given["space"], found, cache, work, say).in_blocks()
    check_problems(sources, candidates.problems, skip_bad=given["skip_bad"])
    n, names = len(candidates), [source.name for source in sources]
    is_given = np.isin(candidates.source, [names.index(name) for name in given["given"]])
    initial = _initial(sources, candidates, rule)
    aside, guarding = np.empty(0, np.int64), None
    if guard is not None:
        guard.fit(candidates.X, candidates.source, work=work.part("guard"))
        # What is picked already is nobody's to set aside.
        is_picked = is_given.copy()
        is_picked[initial] = True
        aside = guard.set_aside_[~is_picked[guard.set_aside_]]
        guarding = {**guard.summary(), "n_set_aside": len(aside), "n_kept": n - len(aside)}
        say(f"guard: {counted(len(aside), 'row')} set aside, {n - len(aside):,} kept.")
    kept = np.setdiff1d(np.arange(n), aside)
    X = candidates.X if len(kept) == n else some_rows(candidates.X, kept)
    check_trusted(sources, [rule] if guard is None else [guard, rule], candidates.source[kept])
    if rule.n_samples > (n_free := len(kept) - np.count_nonzero(is_given)):
        raise InputError(f"n: expected at most the {n_free} rows that are usable and kept, got {rule.n_samples}.")
    check_owed(sources, rule, np.bincount(candidates.source[kept], minlength=len(sources)).tolist())
    groups = _classes(sources, candidates, is_given)[0] if given["balance"] else candidates.source
    rule = _of_rows(rule, sources, candidates, kept, np.searchsorted(kept, initial))
    rule = _after(rule, np.flatnonzero(is_given[kept]), groups[kept])
    with warnings.catch_warnings():
        # The result says how many are distinct.
        warnings.simplefilter("ignore", DuplicateWarning)
        # Processors and memory are for the workers of the pool.
        with work.resting(), pool(X) as rows:
            rule.fit(rows, groups[kept], work=work, **_labels(sources, candidates, kept, rule))
            say("measuring the choice beside a random one")
            control = random_control(rule, rows, seed=given["seed"])
    appraisal = appraise(rule, X, control_seed=given["seed"], control=control, work=work.part("appraisal")).summary()
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
        "unlike_trusted": _unlike([rule] if guard is None else [guard, rule]),
        "duplicates": repeats.summary(),
        "sources": _counts(sources, candidates, fates, with_given=bool(given["given"])),
        "classes": _class_counts(sources, candidates, is_given, fates) if given["balance"] else None,
        "skipped": skipped(sources, candidates.problems),
        "passed_over": passed_over(sources, found),
        "converted": converted(sources, found),
    }
    contents.check_unchanged_rows()
    distances = [rule.distances_, *([] if guard is None else [guard.distances_[aside]])]
    files = {
        LEFT["picks"]: _table(candidates, np.concatenate([chosen, aside]), np.concatenate(distances))
        | {"fate": ["given"] * n_given + ["chosen"] * (len(chosen) - n_given) + ["set aside"] * len(aside)},
        LEFT["found"]: readable_json(values),
        LEFT["overview"]: overview(candidates, fates, rule, control, seed, work.part("overview")),
        LEFT["duplicates"]: _table(candidates, repeats.rows, repeats.distances)
        | {"group": repeats.groups, "keep": repeats.keeps},
    }
    return Outcome(files, values)


def _unlike(rules: Sequence[Rule]) -> dict[str, float] | None:
    """By the kind of each rule that has judged that, the share of rows that are unlike what it trusts; None if none."""
    return {rule.kind: rule.unlike_share_ for rule in rules if hasattr(rule, "unlike_share_")} or None


def _table(candidates: Candidates, rows: Integers, distances: Floats) -> dict[str, Any]:
    """Where some of the candidates are, and a distance of each, as columns."""
    return {"source": candidates.source[rows], "row": candidates.row[rows], "distance": distances}


def present(given: Given, work: Work, *, out: Path, result: str, say: Say) -> Outcome:
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
    free = [source for source in sources if source.name not in config["given"]]
    files |= output.lists(chosen, free, placed=config["files"] != "none")
    repeats = [
        output.Repeat(output.Row(sources[source], row, 0, distance), group, keep)
        for source, row, distance, group, keep in zip(*_columns(given.load("duplicates")), strict=True)
    ]
    files[output.DUPLICATES] = output.duplicates_table(repeats)
    told = {**given.load("found"), "bases": given["bases"], "config": config}
    files[result] = readable_json(told)
    files[output.PAGE] = render_selection(told, given.load("overview"), picked, aside, repeats, sources, work)
    if config["files"] != "none":
        known = {source.name: of for source, of in zip(sources, given["contents"].images, strict=True)}
        files |= output.place_files(out, chosen, known, link=config["files"] == "link", work=work)
    return Outcome(files)


def _columns(table: Mapping[str, Any]) -> list[list[Any]]:
    return [column.tolist() for column in table.values()]


def check_rows_of_rule(sources: Sequence[Source], rule: Selector) -> None:
    """Refuse rows that are picked already and that no source has, and values of more or fewer rows than there are."""
    n, rows = sum(map(len, sources)), _rows_of(rule)
    if len(odd := rows[(rows < 0) | (rows >= n)]):
        raise InputError(f"initial: expected rows from 0 to {n - 1}, counted through all sources, got {odd[0]}.")
    for name, values in _by_row(rule).items():
        if len(values) != n:
            raise InputError(
                f"{name}: expected a number for each of the {n} rows of all sources, in their order, got {len(values)}."
            )


def _initial(sources: Sequence[Source], candidates: Candidates, rule: Selector) -> Integers:
    """The places among the candidates of the rows that are picked already; InputError for one that is none of them."""
    rows = _rows_of(rule)
    if not len(rows):
        return rows
    numbers = candidates.numbers(sources)
    is_there = np.isin(rows, numbers)
    if not is_there.all():
        row = int(rows[~is_there][0])
        raise InputError(f"initial: expected rows that can be used, but row {row} was skipped. Leave it out.")
    return np.searchsorted(numbers, rows).astype(np.int64)


def _rows_of(rule: Selector) -> Integers:
    """The rows that a rule begins with."""
    return np.asarray([] if rule.initial is None else rule.initial, np.int64)


def _of_rows(
    rule: Selector, sources: Sequence[Source], candidates: Candidates, kept: Integers, initial: Integers
) -> Selector:
    """The rule for the candidates that are `kept`: what it was told of all rows is told of these, and `initial` are the
    places of those that are picked already."""
    by_row = _by_row(rule)
    numbers = candidates.numbers(sources)[kept] if by_row else kept
    changed: dict[str, Any] = {name: np.asarray(values)[numbers] for name, values in by_row.items()}
    if len(initial):
        changed["initial"] = initial
    return dataclasses.replace(rule, **changed) if changed else rule


def _by_row(rule: Selector) -> dict[str, Any]:
    """The parameters of a rule that have a value for each row."""
    params = rule.get_params()
    return {
        name: params[name] for name in rule.by_row if params[name] is not None and not isinstance(params[name], str)
    }


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
    free = np.flatnonzero(~is_given)
    found, names = candidates.class_numbers(sources, free)
    numbers = np.full(len(candidates), len(names), np.int64)
    numbers[free] = found
    return numbers, names


def _labels(sources: Sequence[Source], candidates: Candidates, kept: Integers, rule: Selector) -> dict[str, Integers]:
    """The class of each row that is kept, -1 where it has none, for a rule that asks for them."""
    if "labels" not in rule.asks:
        return {}
    return {"labels": candidates.class_numbers(sources, kept)[0]}


def _class_counts(
    sources: Sequence[Source], candidates: Candidates, is_given: NDArray[np.bool_], fates: Mapping[str, Integers]
) -> dict[str, dict[str, int]]:
    """Of each class, how many candidates it has, and how many of them were set aside and chosen."""
    numbers, names = _classes(sources, candidates, is_given)
    rows = {"candidates": numbers, "set_aside": numbers[fates["set aside"]], "chosen": numbers[fates["chosen"]]}
    columns = {key: np.bincount(of, minlength=len(names)).tolist() for key, of in rows.items()}
    return {readable(name): {key: of[number] for key, of in columns.items()} for number, name in enumerate(names)}


def check_trusted(sources: Sequence[Source], rules: Sequence[Rule], kept: Integers | None = None) -> None:
    """Raise InputError for too few trusted rows: of all candidates, or of those a guard `kept`, by their sources."""
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
