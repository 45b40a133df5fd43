"""A score from files into files: sets in, values, nearest training images and the page out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from entropick import __version__
from entropick.arrays import Features, check_count
from entropick.errors import InputError
from entropick.metrics.suite import MEASURES, check_measures
from entropick.page import words
from entropick.run.directory import Outcome
from entropick.run.files import readable_json
from entropick.run.inputs import Given, Inputs
from entropick.scoring.measuring import (
    N_SPLITS,
    check_differing,
    check_rows,
    check_two_sets,
    measure_space,
    nearest_table,
    rows_hash,
)
from entropick.scoring.verdict import Condition
from entropick.sources import (
    Contents,
    OutputFolder,
    Source,
    Space,
    Survey,
    check_files,
    check_problems,
    csv_text,
    readable_columns,
    skipped,
    survey,
)
from entropick.sources.cost import score_forecast
from entropick.work import Work

RESULT, PAGE = "score.json", "score.html"
_JUDGE = "judge"
# Nearest pairs that the page shows, over all spaces.
_N_SHOWN = 48

Say = Callable[[str], None]
Embedded = Mapping[str, Features | None]


@dataclass(frozen=True, kw_only=True)
class Score:
    """What to compare, where, and by what.

    Attributes
    ----------
    sources
        Named by their roles, in this order: training, generated and, if there is one, reference; see
        `entropick.sources.open_sources`.
    spaces
        In which spaces; their names differ.
    metrics
        Names of measures, see `entropick.metrics.MEASURES`; None for all whose sets are there.
    conditions
        When the score counts as failed. What they name is measured as well.
    allow_same
        Accept the same content for two roles.
    skip_bad
        Go on without unreadable images, and record them.
    with_intervals
        Measure halves of the sets as well, for an interval of each value; see `entropick.metrics.interval`.
    seed
        What random numbers depend on.
    """

    sources: Sequence[Source]
    spaces: Sequence[Space]
    metrics: Sequence[str] | None = None
    conditions: Sequence[Condition] = ()
    allow_same: bool = False
    skip_bad: bool = False
    with_intervals: bool = False
    seed: int = 0

    @property
    def measured(self) -> tuple[str, ...]:
        """The measures that are computed, in the order of `MEASURES`."""
        asked = set(self._possible() if self.metrics is None else self.metrics)
        asked |= {condition.metric for condition in self.conditions}
        return tuple(name for name in MEASURES if name in asked)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Measures that were not asked for by name and need a reference that is not there."""
        if self.metrics is not None:
            return ()
        return tuple(
            n for n in MEASURES if n not in self.measured and set(MEASURES[n].roles) - self._roles == {"reference"}
        )

    def check(self) -> None:
        """Raise InputError for what is known to be wrong before anything is read."""
        for space in self.spaces:
            space.check(self.sources)
        names = [space.name for space in self.spaces]
        files = [words.slug(name) for name in names]
        if twice := [name for name in names if files.count(words.slug(name)) > 1]:
            raise InputError(f"features: expected spaces of different names, got {twice[0]!r} more than once.")
        check_count(self.seed, name="seed", minimum=0)
        check_measures(self.metrics or ())
        for condition in self.conditions:
            condition.check(names)
        for name in self.measured:
            self._check_roles(name)
        if not self.measured:
            raise InputError(f"metrics: expected at least one of {', '.join(MEASURES)}.")

    def run(
        self,
        out: Path,
        *,
        work: Work | None = None,
        say: Say = lambda line: None,
        budget_seconds: float | None = None,
        shared: Path | None = None,
    ) -> dict[str, Any]:
        """Measure, and write all into `out`; the same call goes on where it was interrupted. Returns ``score.json``.

        Parameters
        ----------
        out
            The output folder, a run directory: a stage "measure SPACE" for each space, then "judge".
        work, say
            Where progress and what is worth a line are told.
        budget_seconds
            After this time the next moment at which all is kept ends the call.
        shared
            Where features are kept, for several commands; None for ``work`` in `out`.

        Raises
        ------
        InputError
            For unusable sources or parameters; all unreadable images are named.
        RunChanged
            `out` holds another score; the message is a diff.
        BudgetSpent
            The budget ended between two parts of the work.
        RunLocked, StorageError
            `out` is in use, or cannot be written.
        """
        work, deadline = work or Work(), None if budget_seconds is None else time.time() + budget_seconds
        self.check()
        folder = OutputFolder(out, self.sources, "score", RESULT, ("sources", "spaces", "metrics"))
        folder.check()
        embedded = {space.name: space.embedded(self.sources) for space in self.spaces}
        contents = Contents.of(self.sources, work)
        if not self.allow_same:
            check_two_sets(self.sources, contents.hashes)
        config = self.describe(contents)
        if folder.holds(config):
            found = None
            say(f"scored before: {out} is complete.")
        else:
            found = survey(self.sources, one_size=any(space.encoder for space in self.spaces), work=work)
            check_files(self.sources, found, skip_bad=self.skip_bad, work=work)
            self._foretell(found, embedded, say)
        with folder.opened(config, work=work, deadline=deadline, shared=shared) as run:
            compute = partial(_measure, found=found, cache=run.work / "features", say=say)
            measured = [
                run.stage(0, _stage(space), self._inputs(contents, config, space), compute) for space in self.spaces
            ]
            told = Inputs(
                settings={
                    "contents": contents,
                    "config": config,
                    "measured": [entry.values for entry in measured],
                    "conditions": [condition.text for condition in self.conditions],
                    "left_out": list(self.left_out),
                    "version": __version__,
                }
            )
            # Conditions judge values and change none: others than before judge the same values again.
            judged = run.stage(0, _JUDGE, told, _judge, may_change=True)
            result: dict[str, Any] = run.load(judged, RESULT)
            return result

    def describe(self, contents: Contents) -> dict[str, Any]:
        """The score as plain data: equal for equal values. Conditions judge values and are no part of it."""
        return {
            "stages": [*(_stage(space) for space in self.spaces), _JUDGE],
            "sources": contents.described(),
            "spaces": {space.name: space.identity() for space in self.spaces},
            "metrics": list(self.measured),
            "allow_same": self.allow_same,
            "skip_bad": self.skip_bad,
            "intervals": self.with_intervals,
            "seed": self.seed,
        }

    def _inputs(self, contents: Contents, config: dict[str, Any], space: Space) -> Inputs:
        names = ("metrics", "allow_same", "skip_bad", "intervals", "seed")
        # The page shows fewer pairs of each space where there are several.
        n_shown = max(8, _N_SHOWN // len(self.spaces))
        return Inputs(
            settings={
                "contents": contents,
                "space": space,
                "n_shown": n_shown,
                **{name: config[name] for name in names},
            }
        )

    @property
    def _roles(self) -> set[str]:
        return {source.name for source in self.sources}

    def _possible(self) -> tuple[str, ...]:
        return tuple(name for name in MEASURES if set(MEASURES[name].roles) <= self._roles)

    def _check_roles(self, name: str) -> None:
        missing = [role for role in MEASURES[name].roles if role not in self._roles]
        if "reference" in missing:
            raise InputError(f"metrics: {name} needs the role reference: give held-out real images with --reference.")
        if missing:
            raise InputError(
                f"metrics: {name} needs the role {missing[0]}, which a score of files does not have, only a loop. "
                "Leave it out."
            )

    def _foretell(self, found: Survey, embedded: Embedded, say: Say) -> None:
        if self.left_out:
            say(f"left out without --reference (held-out real images): {', '.join(self.left_out)}.")
        sizes = {s.name: len(s) - len(of) for s, of in zip(self.sources, found.problems, strict=True)}
        check_rows(sizes, self.measured, halves=self.with_intervals)
        widths = {space.name: space.width(self.sources, embedded[space.name], found.shape) for space in self.spaces}
        n_splits = N_SPLITS if self.with_intervals else 0
        costs = [score_forecast(sizes, width, self.measured, n_splits=n_splits) for width in widths.values()]
        listed = ", ".join(f"{n:,} {name}" for name, n in sizes.items())
        spaces = ", ".join(f"{name} with {width:,} features" for name, width in widths.items())
        say(
            f"{listed}; {spaces}. Forecast once the features are there: "
            f"{words.duration(sum(cost.seconds for cost in costs))}, "
            f"{max(cost.bytes for cost in costs) / 2**30:.1f} GiB of memory."
        )


def _stage(space: Space) -> str:
    return f"measure {space.name}"


def _measure(given: Given, work: Work, *, found: Survey | None, cache: Path, say: Say) -> Outcome:
    """The stage of one space: its values, and which training image is nearest to each generated one."""
    assert found is not None, "only a score that is not finished is measured"
    sources, hashes, space = given["contents"].sources, given["contents"].hashes, given["space"]
    embedded, start, candidates = space.embedded(sources), 0, {}
    for source, content, problems in zip(sources, hashes, found.problems, strict=True):
        rows = None if embedded is None else embedded[start : start + len(source)]
        alone = Survey(found.shape, (problems,))
        of = space.candidates([source], rows, [content], alone, cache, work)
        check_differing(source.name, of.X, space.name)
        candidates[source.name] = of
        start += len(source)
    problems_of = [of.problems[0] for of in candidates.values()]
    check_problems(sources, problems_of, skip_bad=given["skip_bad"])
    check_rows({name: len(of) for name, of in candidates.items()}, given["metrics"], halves=given["intervals"])
    matrices = {name: of.X for name, of in candidates.items()}
    if not given["allow_same"]:
        # Files renamed, put into an array or another order have other hashes.
        check_two_sets(sources, [rows_hash(X) for X in matrices.values()])
    say(f"measuring in {space.name}")
    seed = given["seed"] if given["intervals"] else None
    told = measure_space(matrices, given["metrics"], space.name, seed, work, allow_same=given["allow_same"])
    if told.n_shared and not given["allow_same"]:
        say(f"reference: {told.n_shared:,} images are in the training set as well and are left out.")
    table = nearest_table(told, sources, candidates)
    name = f"nearest-{words.slug(space.name)}.csv"
    shown = readable_columns({column: rows[: given["n_shown"]] for column, rows in table.items()})
    values = {
        "values": told.values,
        "intervals": told.intervals,
        "space": {space.name: {**told.summary(), "nearest_file": name, "nearest": shown}},
        "skipped": skipped(sources, problems_of),
    }
    return Outcome({name: csv_text(table)}, values)


def _judge(given: Given, work: Work) -> Outcome:
    """The last stage: all spaces together in ``score.json``, and the page."""
    from entropick.scoring.page import render_score

    measured, sources = given["measured"], given["contents"].sources
    # An image that one space cannot use is skipped in all.
    gone = {(bad["source"], bad["row"]): bad for of in measured for bad in of["skipped"]}
    n_gone = Counter(source for source, _ in gone)
    keys = [f"{name}/{space}" for of in measured for space in of["space"] for name in given["config"]["metrics"]]
    found, intervals = (
        {key: value for of in measured for key, value in of[part].items()} for part in ("values", "intervals")
    )
    result = {
        "version": given["version"],
        "values": {key: found[key] for key in keys},
        "intervals": {key: intervals[key] for key in keys if key in intervals},
        "spaces": {key: value for of in measured for key, value in of["space"].items()},
        "sizes": {
            source.name: {
                "files_or_rows": len(source),
                "skipped": n_gone[source.name],
                "used": len(source) - n_gone[source.name],
            }
            for source in sources
        },
        "left_out": given["left_out"],
        "skipped": [bad for source in sources for (name, _), bad in sorted(gone.items()) if name == source.name],
        "config": given["config"],
    }
    conditions = [Condition.parse(text) for text in given["conditions"]]
    result["conditions"] = [of.judge(result["values"], list(result["spaces"])) for of in conditions]
    return Outcome({RESULT: readable_json(result), PAGE: render_score(result, sources)})
