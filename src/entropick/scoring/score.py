"""A score from files into files: sets in, values, nearest training images and the page out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entropick import __version__
from entropick.arrays import check_count
from entropick.errors import InputError, counted, shown
from entropick.metrics.suite import MEASURES, check_measures
from entropick.page import words
from entropick.processes.actors import share_of_memory
from entropick.processes.dealing import dealing
from entropick.processes.engine import Engine
from entropick.run.directory import Outcome, Run
from entropick.run.files import readable_json
from entropick.run.inputs import Given, Inputs
from entropick.run.ledger import Entry
from entropick.scoring.measuring import (
    N_SPLITS,
    check_differing,
    check_rows,
    check_two_sets,
    measure_space,
    nearest_table,
    rows_hash,
    shown_pairs,
)
from entropick.scoring.verdict import Condition
from entropick.sources import (
    Contents,
    FilesCommand,
    Say,
    Space,
    Survey,
    check_problems,
    converted,
    csv_text,
    passed_over,
    readable_columns,
    skipped,
)
from entropick.sources.cost import Forecast, check_affordable, check_searchers, score_forecast
from entropick.work import Work

PAGE = "score.html"
_JUDGE = "judge"
# While workers need them, rows that are in no file yet.
_ROWS = "rows"
# Nearest pairs that the page shows, over all spaces.
_N_SHOWN = 48


@dataclass(frozen=True, kw_only=True)
class Score(FilesCommand):
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
    engine
        Who reads images and looks for neighbours, see `entropick.processes.engine.Engine`; None is this process. The
        values are the same, so another one may go on where this one was interrupted.
    seed
        What random numbers depend on.
    """

    product, result = "score", "score.json"
    marks = ("sources", "spaces", "metrics")

    spaces: Sequence[Space]
    metrics: Sequence[str] | None = None
    conditions: Sequence[Condition] = ()
    allow_same: bool = False
    with_intervals: bool = False
    engine: Engine | None = None

    @property
    def compared(self) -> Sequence[Space]:
        """The spaces."""
        return self.spaces

    @property
    def measured(self) -> tuple[str, ...]:
        """The measures that are computed, in the order of `MEASURES`."""
        asked = set(self.metrics or ())
        if self.metrics is None:
            # Only here are records looked at that nobody asked for by name.
            asked = {name for name in MEASURES if set(MEASURES[name].roles) <= self._roles}
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
            raise InputError(f"features: expected spaces of different names, got {shown(twice[0])} more than once.")
        check_count(self.seed, name="seed", minimum=0)
        if self.engine is not None:
            self.engine.check()
        check_measures(self.metrics or ())
        for condition in self.conditions:
            condition.check(names)
        for name in self.measured:
            missing = [role for role in MEASURES[name].roles if role not in self._roles]
            if "reference" in missing:
                raise InputError(
                    f"metrics: {name} needs the role reference: give held-out real images as --reference (reference=)."
                )
            if missing:
                raise InputError(
                    f"metrics: {name} needs the role {missing[0]}, which a score of files does not have, only a loop. "
                    "Leave it out."
                )
        if not self.measured:
            raise InputError(f"metrics: expected at least one of {', '.join(MEASURES)}.")

    def describe(self, contents: Contents) -> dict[str, Any]:
        """The score as plain data: equal for equal values. Conditions judge values and are no part of it; a measure
        that only they name is."""
        if not self.allow_same:
            check_two_sets(self.sources, contents.hashes)
        return {
            "stages": [*(_stage(space) for space in self.spaces), _JUDGE],
            "sources": contents.described(),
            "spaces": {space.name: space.identity() for space in contents.spaces},
            "metrics": list(self.measured),
            "allow_same": self.allow_same,
            "skip_bad": self.skip_bad,
            "intervals": self.with_intervals,
            "seed": self.seed,
        }

    def stages(
        self, run: Run, contents: Contents, config: dict[str, Any], found: Survey | None, work: Work, say: Say
    ) -> Entry:
        """Measure in each space, then judge."""
        names = ("metrics", "allow_same", "skip_bad", "intervals", "seed")
        # The page shows fewer pairs of each space where there are several.
        settings = {"contents": contents, "n_shown": max(8, _N_SHOWN // len(self.spaces))}
        settings |= {name: config[name] for name in names}

        def compute(given: Given, work: Work) -> Outcome:
            with dealing(work, self.engine, run.folder / "work" / _ROWS) as dealt:
                return _measure(given, dealt, found=found, cache=run.work / "features", say=say)

        measured = [
            run.stage(0, _stage(space), Inputs(settings={**settings, "space": space}), compute)
            for space in contents.spaces
        ]
        judged = {
            "contents": contents,
            "config": config,
            "measured": [entry.values for entry in measured],
            "conditions": [condition.text for condition in self.conditions],
            "left_out": list(self.left_out),
            "version": __version__,
        }
        # Conditions judge values and change none: others than before judge the same values again.
        return run.stage(0, _JUDGE, Inputs(settings=judged), _judge, may_change=True)

    @property
    def _roles(self) -> set[str]:
        return {source.name for source in self.sources}

    def foretell(self, contents: Contents, found: Survey, say: Say) -> None:
        """Say what is left out, how much is compared, and what that will take; InputError for too few rows."""
        if self.left_out:
            say(f"left out without --reference (reference=), held-out real images: {', '.join(self.left_out)}.")
        sizes = {s.name: len(s) - len(of) for s, of in zip(self.sources, found.problems, strict=True)}
        check_rows(sizes, self.measured, halves=self.with_intervals)
        widths = {space.name: space.width(self.sources, found.shape) for space in contents.spaces}
        n_splits = N_SPLITS if self.with_intervals else 0
        costs = [
            score_forecast(
                sizes,
                widths[space.name],
                self.measured,
                n_splits=n_splits,
                in_memory=contents.bytes_in_memory(space),
            )
            for space in contents.spaces
        ]
        listed = ", ".join(f"{n:,} {name}" for name, n in sizes.items())
        spaces = ", ".join(f"{name} with {width:,} features" for name, width in widths.items())
        alone = " for this machine alone" if self.engine is not None and self.engine.address else ""
        cost = Forecast(sum(cost.seconds for cost in costs), max(cost.bytes for cost in costs))
        say(
            f"{listed}; {spaces}. Forecast once the features are there: {words.duration(cost.seconds)}{alone}, "
            f"{cost.bytes / 2**30:.1f} GiB of memory."
        )
        if self.engine is not None:
            unshared = [name for name in self.measured if not MEASURES[name].searches]
            rest = f"; this process alone computes {', '.join(unshared)}" if unshared else ""
            workers = self.engine.foreseen
            told = "" if workers is None else f"{workers:,} "
            say(f"{self.engine.name}: {told}workers read images and look for neighbours{rest}.")
            if workers is not None and not self.engine.address:
                check_searchers(share_of_memory(workers), workers, max(sizes.values()))
        # How fast a cluster is, is not known here.
        check_affordable(replace(cost, seconds=0.0) if alone else cost)


def _stage(space: Space) -> str:
    return f"measure {space.name}"


def _measure(given: Given, work: Work, *, found: Survey | None, cache: Path, say: Say) -> Outcome:
    """The stage of one space: its values, and which training image is nearest to each generated one."""
    assert found is not None, "only a score that is not finished is measured"
    sources, space, work = given["contents"].sources, given["space"], given["contents"].watched(work)
    candidates = given["contents"].apart(space, found, cache, work, say)
    for name, of in candidates.items():
        check_differing(name, of.X, space.name)
    problems_of = [of.problems[0] for of in candidates.values()]
    check_problems(sources, problems_of, skip_bad=given["skip_bad"])
    sizes = {name: len(of) for name, of in candidates.items()}
    check_rows(sizes, given["metrics"], halves=given["intervals"])
    matrices = {name: of.X for name, of in candidates.items()}
    if not given["allow_same"]:
        # Files renamed, put into an array or another order have other hashes.
        check_two_sets(sources, [rows_hash(X) for X in matrices.values()])
    say(f"measuring in {space.name}")
    seed = given["seed"] if given["intervals"] else None
    measured = measure_space(matrices, given["metrics"], space.name, seed, work, allow_same=given["allow_same"])
    if measured.n_shared and not given["allow_same"]:
        say(f"reference: {counted(measured.n_shared, 'image')} in the training set as well, left out.")
    given["contents"].check_unchanged_rows()
    table = nearest_table(measured, sources, candidates)
    name = f"nearest-{words.slug(space.name)}.csv"
    pairs = shown_pairs(table, given["n_shown"])
    shown = readable_columns({column: [rows[pair] for pair in pairs] for column, rows in table.items()})
    values = {
        "values": measured.values,
        "intervals": measured.intervals,
        "space": {space.name: {**measured.summary(), "used": sizes, "nearest_file": name, "nearest": shown}},
        "skipped": skipped(sources, problems_of),
        "passed_over": passed_over(sources, found),
        "converted": converted(sources, found),
    }
    return Outcome({name: csv_text(table)}, values)


def _judge(given: Given, work: Work) -> Outcome:
    """The last stage: all spaces together in ``score.json``, and the page."""
    from entropick.scoring.page import render_score

    measured, sources = given["measured"], given["contents"].sources
    # An image that one space cannot use may be used in others, which say how many they have used.
    gone = {(bad["source"], bad["row"]): bad for of in measured for bad in of["skipped"]}
    n_gone = Counter(source for source, _ in gone)
    keys = [f"{name}/{space}" for of in measured for space in of["space"] for name in given["config"]["metrics"]]
    found, intervals, spaces = (
        {key: value for of in measured for key, value in of[part].items()} for part in ("values", "intervals", "space")
    )
    result = {
        "version": given["version"],
        "values": {key: found[key] for key in keys},
        "intervals": {key: intervals[key] for key in keys if key in intervals},
        "spaces": spaces,
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
        # An older release counted no frames.
        "passed_over": measured[0].get("passed_over", passed_over(sources, Survey(None, ()))),
        "converted": measured[0].get("converted", {}),
        "config": given["config"],
    }
    conditions = [Condition.parse(text) for text in given["conditions"]]
    result["conditions"] = [of.judge(result["values"], list(result["spaces"])) for of in conditions]
    return Outcome({Score.result: readable_json(result), PAGE: render_score(result, sources)})
