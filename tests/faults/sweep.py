"""The sweep: commands on disks that fail or lose power, in processes that die, and on files that lie.

After each fault the same command is repeated undisturbed, and must come to what an undisturbed one came to. ``make
faults`` runs it; ``python tests/faults/sweep.py --help`` says how much of it can be had in less time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import pickle
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from errno import EINTR, errorcode
from pathlib import Path
from typing import Any

import mutated
import power
from disk import ERRORS, Disk, Fault
from mutated import KINDS, Workbench
from scenarios import SCENARIOS, Ended, Scenario, contents, copied, execute, fresh  # first: it limits threads

from entropick.cli import main as command_line

NAMES = [*SCENARIOS, *KINDS]
CLASSES = (
    "one call fails",
    "all calls fail from one on",
    "a write is cut short",
    "killed before a call",
    "killed within a call",
    "power cut",
)


@dataclass(frozen=True)
class Try:
    """One disturbance of one scenario: a fault, or a power cut after so many calls that leaves what `variant` says."""

    scenario: str
    kind: str
    fault: Fault | None = None
    cut: int = 0
    variant: str = ""

    def __str__(self) -> str:
        if self.fault is None:
            return f"{self.scenario}: {self.kind} after {self.cut} calls, {self.variant}"
        error = "" if self.fault.number is None else f", {errorcode[self.fault.number]}"
        return f"{self.scenario}: {self.kind}, call {self.fault.at}{error}"


class Bench:
    """A scenario, warmed up: its inputs, what an undisturbed command makes of them, and the calls that it makes."""

    def __init__(self, name: str, place: Path) -> None:
        self.name, self.scenario, self._place = name, SCENARIOS[name], place
        self._original = fresh(self.scenario, place / "original")
        # In this process, so that all forks have imported what they need.
        with _working_in(copied(self._original, place / "case")), contextlib.redirect_stdout(io.StringIO()):
            assert command_line(list(self.scenario.command)) == 0
        case = copied(self._original, place / "case")
        disk = Disk(case)
        ended = self._execute(lambda: _keep_log(disk, place / "log"))
        assert ended.code == 0, ended
        self.undisturbed = contents(case, with_times=self.scenario.with_times)
        self.n_calls, self._log = pickle.loads((place / "log").read_bytes())
        self._root = disk.root

    def tries(self) -> list[Try]:
        """All of them, in an order in which every n-th is a fair sample."""
        calls = range(self.n_calls)
        writes = [number for number, call in enumerate(self._log) if call.operation == "write"]
        once = [Fault(at, number) for at in calls for number in ERRORS]
        # A call that is interrupted can be repeated: no disk interrupts all of them.
        lasting = [Fault(at, number, lasts=True) for at in calls for number in ERRORS if number != EINTR]
        short = [Fault(at, number, halfway=True) for at in writes for number in ERRORS]
        faults = (
            once,
            lasting,
            short,
            [Fault(at, None) for at in calls],
            [Fault(at, None, halfway=True) for at in calls],
        )
        found = [Try(self.name, kind, fault) for kind, of in zip(CLASSES, faults, strict=False) for fault in of]
        changes = [at for at, call in enumerate(self._log, 1) if call.operation != "open"]
        variants = ("least", "names", *(f"toss {number}" for number in range(3)))
        found += [Try(self.name, CLASSES[-1], cut=at, variant=variant) for at in changes for variant in variants]
        random.Random(0).shuffle(found)
        return found

    def reason(self, attempt: Try) -> str:
        """Why it failed, or "" if it held."""
        if attempt.fault is None:
            self._cut(attempt)
            return self._repeated()
        case = copied(self._original, self._place / "case")
        ended = self._execute(lambda: Disk(case, attempt.fault).install())
        if reason := ended.unfit(killed=attempt.fault.number is None):
            return reason
        if ended.code == 0:
            return self._difference("exit code 0, but ")
        return self._repeated()

    def _cut(self, attempt: Try) -> None:
        replay = power.Replay(self._original, self._root)
        replay.do(self._log[: attempt.cut])
        left = {"least": power.least, "names": power.names_without_content}.get(attempt.variant)
        rng = random.Random(str(attempt))
        shutil.rmtree(self._place / "case")
        power.lay_out(left(replay) if left else power.anything(replay, rng), self._place / "case")

    def _repeated(self) -> str:
        again = self._execute(lambda: None)
        if again.code != 0:
            return f"the repeat ended with {again.code}: {again.last}"
        return self._difference("repeated, but ")

    def _execute(self, prepare: Callable[[], Any]) -> Ended:
        scenario: Scenario = self.scenario
        return execute(scenario.command, self._place / "case", n_processes=scenario.n_processes, prepare=prepare)

    def _difference(self, words: str) -> str:
        found = contents(self._place / "case", with_times=self.scenario.with_times)
        names = [name for name in {**found, **self.undisturbed} if found.get(name) != self.undisturbed.get(name)]
        return f"{words}{', '.join(names)} are not what an undisturbed command leaves" if names else ""


def _keep_log(disk: Disk, path: Path) -> None:
    """Install the disk, and have its log written when the process ends."""
    leave = os._exit
    disk.install()

    def left(code: int) -> None:
        path.write_bytes(pickle.dumps((disk.n_calls, disk.log)))
        leave(code)

    os._exit = left  # type: ignore[assignment]


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def sweep(
    names: list[str], every: int, say: Callable[[str], None], seconds: float = float("inf")
) -> tuple[Counter[Any], list[str]]:
    """Every so-manieth try of these scenarios; (scenario, kind, held) -> how many, and the failed ones in words."""
    counts: Counter[Any] = Counter()
    failed = []
    started = time.monotonic()
    shares = list(itertools.accumulate(SCENARIOS[name].share if name in SCENARIOS else 1 for name in names))
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
        for name, share in zip(names, shares, strict=True):
            bench = (Bench if name in SCENARIOS else Workbench)(name, Path(place) / name)
            until = started + seconds * share / shares[-1]
            for attempt in bench.tries()[::every]:
                if time.monotonic() > until:
                    break
                reason = bench.reason(attempt)
                counts[name, attempt.kind, not reason] += 1
                if reason:
                    failed.append(f"{attempt}: {reason}")
                    say(failed[-1])
    return counts, failed


def table(counts: Counter[Any]) -> str:
    """The counts as a table in Markdown."""
    lines = ["| Disturbed | Fault class | Tries | Held | Failed |", "|---|---|---:|---:|---:|"]
    for name, kind in itertools.product(NAMES, (*CLASSES, *mutated.CLASSES)):
        held, failed = (counts[name, kind, is_held] for is_held in (True, False))
        if held + failed:
            lines.append(f"| {name} | {kind} | {held + failed} | {held} | {failed} |")
    held, failed = (sum(n for (_, _, of), n in counts.items() if of is is_held) for is_held in (True, False))
    return "\n".join([*lines, f"| all | | {held + failed} | {held} | {failed} |"])


def main() -> int:
    """Sweep, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth try of a fixed shuffled order")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time, shared by scenarios")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these scenarios")
    parser.add_argument("--table", type=Path, help="write the table into this file, too")
    given = parser.parse_args()
    counts, failed = sweep(given.only, given.every, lambda line: print(line, flush=True), 60 * given.minutes)
    print(table(counts))
    if given.table:
        given.table.write_text(table(counts) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
