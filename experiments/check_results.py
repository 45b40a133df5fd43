"""Recompute the numbers of docs/results.md from results/, and fail on every difference.

    python experiments/check_results.py

Three things are compared. `tables.md` of every study with the tables that its ledgers give now. Every row of a table
in the page, where the table's head is that of a study's tables, with those. And every number in the text that says
where it comes from, by a comment right behind it that no reader sees::

    precision falls to 0.873<!-- = digits-quality; usual+greedy; last; precision/pixels --> ...

which is study; arm; iteration (or "last"); measure: the mean over seeds, as many digits of it as are written, a
percentage where a % stands behind the number. Further words: ``size 512``, ``seed 0``, ``beside ARM`` (less the same of
that arm), ``over ARM`` (divided by it), ``part shares`` (another part of the long table). How many numbers of the text
have no such comment is told.
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from entropick.report import read_table
from entropick.report.study import ArmRecord
from entropick.report.table import Table

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "results.md", ROOT / "results"
_MARKED = re.compile(r"(?P<number>[\u2212-]?\d[\d,]*(?:\.\d+)?)(?P<percent> ?%)?<!-- =(?P<source>[^>]*?)-->")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_WORDS = ("size", "seed", "beside", "over", "part")


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
        study, arm, iteration, measure, *further = (part.strip() for part in [*text.split(";"), "", "", ""][:9])
        more = dict(part.split(" ", 1) for part in further if " " in part)
        if not measure or (unknown := sorted(set(more) - set(_WORDS))):
            wrong = f"{unknown[0]!r}" if measure else "too few parts"
            raise ValueError(f"expected study; arm; iteration; measure, then any of {', '.join(_WORDS)}, got {wrong}")
        return cls(study, arm, iteration, measure, more)

    def value(self, tables: Mapping[str, Table]) -> float:
        """The number, recomputed; ValueError where there is no such study, arm or value."""
        if self.study not in tables:
            raise ValueError(f"there is no study {self.study!r} in {RESULTS.name}/")
        own = self._mean(tables[self.study], self.arm)
        if "beside" in self.more:
            return own - self._mean(tables[self.study], self.more["beside"])
        return own / self._mean(tables[self.study], self.more["over"]) if "over" in self.more else own

    def _mean(self, table: Table, name: str) -> float:
        arm = next((arm for arm in table.study.arms if arm.name == name), None)
        if arm is None:
            raise ValueError(f"study {self.study!r} has no arm {name!r}")
        values = list(self._values(table, arm))
        if not values:
            raise ValueError(f"study {self.study!r} has no {self.measure!r} of {name!r} at iteration {self.iteration}")
        return sum(values) / len(values)

    def _values(self, table: Table, arm: ArmRecord) -> Iterator[float]:
        for run in arm.runs:
            if self.more.get("size", str(run.size)) == str(run.size) and self.more.get("seed", str(run.seed)) == str(
                run.seed
            ):
                n = max(run.measured, default=0) if self.iteration == "last" else int(self.iteration)
                value = table.of_run(arm, run, n, self.more.get("part", "metrics")).get(self.measure)
                if value is not None:
                    yield value


def main() -> int:
    """Print what differs; 1 if anything does."""
    with_tables = list(kept())
    found = [*stale_tables(with_tables), *differences(PAGE.read_text(encoding="utf-8"), with_tables)]
    sys.stdout.write("".join(f"{line}\n" for line in [*found, told(PAGE.read_text(encoding="utf-8"))]))
    return int(bool(found))


Kept = list[tuple[str, Table, str, str]]


def kept(results: Path = RESULTS) -> Iterator[tuple[str, Table, str, str]]:
    """Of every study that was kept: its name, its numbers, its tables as they follow now, and as they were written."""
    script = _script()
    for folder in sorted(path.parent for path in results.glob(f"*/{script.LEDGERS}")):
        with script.opened(folder) as study:
            table = read_table(study)
        yield folder.name, table, script.tabled(table), (folder / script.TABLES).read_text(encoding="utf-8")


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
        if abs(value - written) > 0.5 * 10**-digits * (1 + 1e-9):
            yield f"{where}: {match['number']} is {value:.{digits + 2}f} in the ledgers ({match['source'].strip()})"


def told(page: str) -> str:
    """How many numbers of the text, tables apart, say where they come from."""
    text = "\n".join(line for line in page.splitlines() if not line.startswith("|"))
    marked = len(_MARKED.findall(page))
    plain = len(_NUMBER.findall(re.sub(r"<!--.*?-->", "", text)))
    return f"{marked} marked numbers were recomputed; the text outside of tables has {plain} numbers in all."


def _heads(text: str) -> set[str]:
    lines = text.splitlines()
    return {above for above, line in itertools.pairwise(lines) if line.startswith("| ---")}


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", Path(__file__).with_name("results.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    sys.exit(main())
