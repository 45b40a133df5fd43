"""Recompute the numbers of docs/results.md from results/, and fail on every difference.

    python experiments/check_results.py

Three things are compared. `tables.md` of every study with the tables that its ledgers give now. Every row of a table
in the page, where the table's head is that of a study's tables, with those. And every number in the text that says
where it comes from, by a comment right behind it that no reader sees::

    precision falls to 0.873<!-- = digits-quality; usual+greedy; last; precision/pixels --> ...

which is study; arm; iteration (or "last"); measure: the mean over seeds, as many digits of it as are written, a
percentage where a % stands behind the number. ``score_over_spread/pixels`` is the score over the root of the training
set's variance. Instead of an iteration ``r`` gives Pearson's r of the measure, or of ``log`` of it, with the logarithm
of the score (of an arm, or of ``all``), ``cost`` the minutes that were computed for an arm, or for ``all``, ``onset``
the ``steps`` at which models begin to copy (a geometric mean over seeds) or the ``slope`` of that over sizes
(`experiments/onset.py`), and ``set`` a setting by its path in the config. Further words: ``size 512``,
``seed 0``, ``since 1`` (divided by the same of that iteration), ``beside ARM`` (less the same of that arm), ``below
ARM`` (how much less it is than that), ``over ARM`` (divided by it; behind ``beside`` by what ARM has beside the same),
``take half`` (``low``, ``high``: of the 95 % interval over seeds), ``part shares`` (another part of the long table).

A number that no study of ours gives says that as well: ``<!-- paper -->``, or ``<!-- by hand: how -->``. What has no
comment at all is counted, and the tests hold that count.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from entropick.errors import EntropickError
from entropick.report import read_table
from entropick.report.figure import Look
from entropick.report.intervals import Interval, mean_difference
from entropick.report.relations import correlation_of, points
from entropick.report.study import ArmRecord, RunRecord
from entropick.report.table import Table

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "results.md", ROOT / "results"
_MARKED = re.compile(r"(?P<number>[\u2212-]?\d[\d,]*(?:\.\d+)?)(?P<percent> ?%)?<!-- =(?P<source>[^>]*?)-->")
_ELSEWHERE = re.compile(r"(?P<number>\d[\d,]*(?:\.\d+)?)(?: ?%)?<!-- (?:paper|by hand: [^>]+) -->")
# "2N", "14x14", "1/n" and dates are names.
_NUMBER = re.compile(r"(?<![\w/])(?<!\d[.,])\d[\d,]*(?:\.\d+)?(?![\w/])")
_NOT_TEXT = re.compile(r"^```.*?^```|`[^`\n]*`|\]\([^)\s]*\)|<!--.*?-->|\b\d{4}-\d\d-\d\d\b", re.DOTALL | re.MULTILINE)
_WORDS = ("size", "seed", "since", "beside", "below", "over", "take", "part")
# What can be asked for beside the numbers of iterations takes these words alone.
_WORDS_OF = {"r": ("size", "take"), "cost": (), "onset": ("size", "take")}
_SCORE, _VARIANCE, _SCORE_OVER_SPREAD = "generalization_score", "total_variance", "score_over_spread"


@dataclass(frozen=True)
class Source:
    """Where a number comes from; see the module."""

    study: str
    arm: str
    iteration: str
    measure: str
    more: Mapping[str, str]

    @classmethod
    def of(cls, text: str) -> Source:
        """Read a comment; ValueError says what is wrong with it."""
        study, arm, iteration, measure, *further = (part.strip() for part in [*text.split(";"), "", "", ""])
        more = {word: value for word, _, value in (part.partition(" ") for part in further if part)}
        words = _WORDS_OF.get(iteration, _WORDS)
        wrong = [word for word, value in more.items() if word not in words or not value]
        if not measure or wrong:
            came = repr(wrong[0]) if measure else "too few parts"
            known = ", ".join(words) or "nothing more"
            raise ValueError(
                f"expected study; arm; iteration; measure, then any of {known}, each with a value, got {came}"
            )
        if iteration not in _WORDS_OF and iteration not in ("last", "set") and not iteration.isdecimal():
            raise ValueError(
                f"expected a number, last, set, {', '.join(_WORDS_OF)} as the iteration, got {iteration!r}"
            )
        return cls(study, arm, iteration, measure, more)

    def value(self, tables: Mapping[str, Table]) -> float:
        """The number, recomputed; ValueError where there is no such study, arm or value."""
        if self.study not in tables:
            raise ValueError(f"there is no study {self.study!r} in {RESULTS.name}/")
        table = tables[self.study]
        if self.iteration == "cost":
            if self.measure != "minutes" or self.arm not in ("all", *(arm.name for arm in table.study.arms)):
                raise ValueError(f"study {self.study!r} has no cost in {self.measure!r} of {self.arm!r}")
            return sum(cost.own_seconds for cost in table.costs() if self.arm in ("all", cost.arm.name)) / 60
        if self.iteration in ("r", "onset"):
            return self._taken(self._correlation(table) if self.iteration == "r" else self._onset(table))
        found = self._taken(self._beside(table, self.arm))
        if (under := self.more.get("over")) is None:
            return found
        if not (base := self._beside(table, under).estimate):
            raise ValueError(f"study {self.study!r} has a {self.measure!r} of 0 for {under!r}, over which nothing is")
        return found / base

    def _beside(self, table: Table, arm: str) -> Interval:
        own = self._by_run(table, arm)
        sign = -1 if "below" in self.more else 1
        control = self.more.get("beside", self.more.get("below"))
        other = self._by_run(table, control) if control else dict.fromkeys(own, 0.0)
        return mean_difference([sign * (value - other[run]) for run, value in own.items() if run in other])

    def _taken(self, found: Interval) -> float:
        if (end := self.more.get("take")) is None:
            return found.estimate
        if found.low is None or found.high is None:
            raise ValueError(f"study {self.study!r} has too few seeds for an interval")
        ends = {"low": found.low, "high": found.high, "half": found.high - found.estimate}
        if end not in ends:
            raise ValueError(f"expected take {', '.join(ends)}, got {end!r}")
        return ends[end]

    def _correlation(self, table: Table) -> Interval:
        name = self.measure.removeprefix("log ")
        rows = points(table, Look(table.study), name)
        of_arm = [row for row in rows if self.arm in ("all", row["arm"])]
        chosen = [row for row in of_arm if self.more.get("size", row["size"]) == row["size"]]
        if (found := correlation_of(chosen, log=name != self.measure)) is None:
            raise ValueError(f"study {self.study!r} has no r of {name!r} over {self.arm!r}")
        return found

    def _onset(self, table: Table) -> Interval:
        onset = _script("onset")
        size = self.more.get("size")
        own = [one for one in onset.onsets(table) if one.arm == self.arm and size in (None, str(one.size))]
        steps = [one.steps for one in own if one.steps is not None]
        if self.measure == "steps" and steps:
            return Interval(math.exp(sum(map(math.log, steps)) / len(steps)), None, None, len(steps))
        if self.measure == "slope" and (found := onset.slope(own)) is not None:
            return Interval(*found, len(steps))
        raise ValueError(f"study {self.study!r} has no {self.measure!r} of an onset of {self.arm!r}")

    def _by_run(self, table: Table, name: str) -> dict[tuple[int | None, int | None], float]:
        arm = next((arm for arm in table.study.arms if arm.name == name), None)
        if arm is None:
            raise ValueError(f"study {self.study!r} has no arm {name!r}")
        values = dict(self._values(table, arm))
        if not values:
            raise ValueError(f"study {self.study!r} has no {self.measure!r} of {name!r} at iteration {self.iteration}")
        return values

    def _values(self, table: Table, arm: ArmRecord) -> Iterator[tuple[tuple[int | None, int | None], float]]:
        for run in arm.runs:
            if self.more.get("size", str(run.size)) == str(run.size) and self.more.get("seed", str(run.seed)) == str(
                run.seed
            ):
                if self.iteration == "set":
                    value = _setting(arm, self.measure)
                else:
                    n = max(run.measured, default=0) if self.iteration == "last" else int(self.iteration)
                    value = self._of_run(table, arm, run, n)
                    if value is not None and (first := self.more.get("since")) is not None:
                        base = self._of_run(table, arm, run, int(first))
                        value = value / base if base else None
                if value is not None:
                    yield (run.size, run.seed), value

    def _of_run(self, table: Table, arm: ArmRecord, run: RunRecord, n: int) -> float | None:
        found = table.of_run(arm, run, n, self.more.get("part", "metrics"))
        name, _, space = self.measure.partition("/")
        if name == _SCORE_OVER_SPREAD:
            score, variance = found.get(f"{_SCORE}/{space}"), found.get(f"{_VARIANCE}/{space}")
            return score / math.sqrt(variance) if score is not None and variance else None
        return found.get(self.measure)


def _setting(arm: ArmRecord, path: str) -> float | None:
    found: object = arm.config
    for word in path.split("."):
        found = found.get(word) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def main() -> int:
    """Print what differs; 1 if anything does."""
    try:
        with_tables = list(kept())
    except EntropickError as error:
        sys.stdout.write(f"{error}\n")
        return 1
    found = [*stale_tables(with_tables), *differences(PAGE.read_text(encoding="utf-8"), with_tables)]
    sys.stdout.write("".join(f"{line}\n" for line in [*found, told(PAGE.read_text(encoding="utf-8"), with_tables)]))
    return int(bool(found))


Kept = list[tuple[str, Table, str, str]]


def kept(results: Path = RESULTS) -> Iterator[tuple[str, Table, str, str]]:
    """Of every study that was kept: its name, its numbers, its tables as they follow now, and as they were written."""
    script = _script("results")
    for folder in sorted(path.parent for path in results.glob(f"*/{script.LEDGERS}")):
        with script.opened(folder) as study:
            table = read_table(study)
        tables = folder / script.TABLES
        yield folder.name, table, script.tabled(table), tables.read_text(encoding="utf-8") if tables.is_file() else ""


def stale_tables(studies: Kept) -> Iterator[str]:
    """Studies whose tables are not what their ledgers give."""
    for name, _, now, written in studies:
        pairs = zip(now.splitlines(), written.splitlines(), strict=False)
        first = next((f": {was!r} is now {line!r}" for line, was in pairs if line != was), "")
        if now != written:
            yield f"results/{name}/tables.md differs from its ledgers{first}. Keep the study again (results.py)."


def differences(page: str, studies: Kept) -> Iterator[str]:
    """Rows of tables and marked numbers of the page that are not what the ledgers give."""
    rows = {line for _, _, now, _ in studies for line in now.splitlines()}
    heads = {above for _, _, now, _ in studies for above in _heads(now)}
    head = ""
    for number, line in enumerate(page.splitlines(), start=1):
        head = "" if not line.startswith("|") else head or line
        if head in heads and line not in rows:
            yield f"docs/results.md:{number}: no study has this row: {line}"
    rest = _ELSEWHERE.sub("", _MARKED.sub("", page))
    for number, line in enumerate(rest.splitlines(), start=1):
        if "<!--" in line or "-->" in line:
            yield f"docs/results.md:{number}: a comment stands behind no number, or is not closed once: {line[:200]}"
    tables = {name: table for name, table, _, _ in studies}
    for match in _MARKED.finditer(page):
        where = f"docs/results.md:{page.count(chr(10), 0, match.start()) + 1}"
        try:
            value = Source.of(match["source"]).value(tables) * (100 if match["percent"] else 1)
        except ValueError as error:
            yield f"{where}: {match['number']}: {error}"
            continue
        digits = len(match["number"].partition(".")[2])
        written = float(match["number"].replace(",", "").replace("\u2212", "-"))
        # Not a number is not what is written.
        if not abs(value - written) <= 0.5 * 10**-digits * (1 + 1e-9):
            yield f"{where}: {match['number']} is {value:.{digits + 2}f} in the ledgers ({match['source'].strip()})"


def told(page: str, studies: Kept) -> str:
    """How many numbers of the page say where they come from."""
    return (
        f"{len(_MARKED.findall(page))} marked numbers were recomputed; {len(_ELSEWHERE.findall(page))} say that they "
        f"are from elsewhere, and {len(unmarked(page, studies))} say nothing (rows of the studies' tables apart)."
    )


def unmarked(page: str, studies: Kept) -> list[str]:
    """Lines with a number that does not say where it is from, one line per number; code and addresses apart."""
    heads = {above for _, _, now, _ in studies for above in _heads(now)}
    page = _ELSEWHERE.sub("", _MARKED.sub("", page))
    text = _NOT_TEXT.sub(lambda found: "\n" * found[0].count("\n"), page)
    kept, head = [], ""
    for line in text.splitlines():
        head = "" if not line.startswith("|") else head or line
        kept += [] if head in heads else [line] * len(_NUMBER.findall(line))
    return kept


def _heads(text: str) -> set[str]:
    lines = text.splitlines()
    return {above for above, line in itertools.pairwise(lines) if line.startswith("| ---")}


@functools.cache
def _script(name: str) -> ModuleType:
    """Another script of this folder."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
