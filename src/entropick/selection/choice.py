"""A choice from files into files: sources in, an output folder with the manifest and all that the choice tells out."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from entropick.arrays import Features, check_count, check_real
from entropick.errors import InputError, counted, shown
from entropick.page.words import duration
from entropick.processes import usable_device
from entropick.processes.actors import share_of_memory
from entropick.processes.dealing import dealing
from entropick.processes.engine import Engine
from entropick.run.directory import Outcome, Run
from entropick.run.inputs import Given, Inputs
from entropick.run.ledger import Entry
from entropick.selection import output
from entropick.selection.stages import LEFT, QUOTA, check_owed, check_rows_of_rule, check_trusted, choose, present
from entropick.selectors.approximate import ApproximateGreedy
from entropick.selectors.base import Guard, Rule, Selector
from entropick.selectors.quotas import BALANCED, ROUNDING
from entropick.selectors.workers import dealt
from entropick.sources import Contents, FilesCommand, Say, Space, Survey, nothing_usable, source_number
from entropick.sources.cost import (
    Forecast,
    check_affordable,
    check_workers,
    core_set_seconds,
    kept_in_files,
    round_bytes,
    selection_forecast,
    worker_bytes,
    workers_seconds,
)
from entropick.sources.scratch import scratch_file
from entropick.work import Work

# The stages: what is chosen and measured, and all that is written for people and other programs.
_SELECT, _PRESENT = "select", "present"
# While workers need it, rows that are in no file yet.
_POOL, _ROWS = "pool.rows", "rows"
# Seconds from which a faster way is worth a line.
_LONG = 3600.0


@dataclass(frozen=True, kw_only=True)
class Choice(FilesCommand):
    """What to choose, from what, and how.

    Attributes
    ----------
    sources
        Where candidates come from, see `entropick.sources.open_sources`.
    selector
        The rule; its `minimum` is made from `quotas`.
    space
        In which space, see `entropick.sources.Space`; as it is, as the embeddings that the sources are.
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
    engine
        Who looks at the rows, see `entropick.processes.engine.Engine`; None is this process. The rows chosen are the
        same, so another one may go on where this one was interrupted.
    skip_bad
        Go on without unreadable images, and record them.
    seed
        What the random control depends on.
    """

    product, result = "selection", "selection.json"
    marks = ("sources", "selector", "guard")

    selector: Selector
    space: Space = field(default_factory=lambda: Space("embeddings"))
    guard: Guard | None = None
    quotas: Mapping[str, float] = field(default_factory=dict)
    balance: bool = False
    given: tuple[str, ...] = ()
    files: output.Files = "none"
    engine: Engine | None = None

    @property
    def compared(self) -> tuple[Space]:
        """The one space that the selector sees."""
        return (self.space,)

    def check(self) -> None:
        """Raise InputError for what is known to be wrong before anything is read."""
        self.space.check(self.sources)
        # By the names that these have for a user, before the rule tells of them by its own.
        check_count(self.selector.n_samples, name="n")
        check_count(self.seed, name="seed", minimum=0)
        if self.selector.minimum is not None:
            raise InputError(
                f"minimum: expected none, got {shown(self.selector.minimum)}. Give shares of sources by their names "
                "(quotas=, --quota), or let all classes have equally many places (balance=True, --balance)."
            )
        self._check_quotas()
        self._check_given()
        self._check_classes()
        self._rule().check()
        if self.guard is not None:
            self.guard.check()
        # Not only when features, which may have taken hours, are there.
        usable_device(self.selector.get_params().get("device", "cpu"))
        if "losses" in self.selector.asks:
            raise InputError(
                f"method: {self.selector.kind} asks the last model of a loop how well it knows each row, and here is "
                "none. Use it in a study (entropick run), or in Python: fit(X, losses=...)."
            )
        if self.engine is not None:
            if not self.selector.asks_shards:
                raise InputError(
                    "engine: expected a rule that asks workers (greedy, density-greedy, threshold-decay), got "
                    f"{self.selector.kind}. Leave the engine out."
                )
            self.engine.check()
        check_trusted(self.sources, self._rules())
        try:
            output.check_placeable([source for source in self.sources if source.name not in self.given], self.files)
        except ValueError as error:
            raise InputError(f"files={self.files!r} (--{self.files}): expected {error}") from None
        n = sum(len(source) for source in self.sources if source.name not in self.given)
        if self.selector.n_samples > n:
            raise InputError(
                f"n: expected at most {n}, as many as there are candidates, got {self.selector.n_samples}."
            )
        check_owed(self.sources, self._rule(), [len(source) for source in self.sources])
        check_rows_of_rule(self.sources, self.selector)

    def describe(self, contents: Contents) -> dict[str, Any]:
        """The choice as plain data: equal for equal results."""
        named = contents.described()
        return {
            "stages": [_SELECT, _PRESENT],
            "sources": named,
            # Numbers of sources and of rows follow it.
            "order": list(named),
            "features": contents.spaces[0].identity(),
            "selector": self._known_rule().describe(),
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
        settings = {"contents": contents, "space": contents.spaces[0], "rule": self._known_rule(), "guard": guard}
        settings |= {name: config[name] for name in ("given", "balance", "skip_bad", "seed")}
        pool = partial(self._pool, folder=run.folder / "work", say=say)

        def compute(given: Given, work: Work) -> Outcome:
            with dealing(work, self.engine, run.folder / "work" / _ROWS) as dealt:
                cache, device = run.work / "features", self.selector.get_params().get("device")
                return choose(given, dealt, found=found, cache=cache, say=say, pool=pool, device=device)

        chosen = run.stage(0, _SELECT, Inputs(settings=settings), compute)
        shown = {"contents": contents, "config": config, "bases": output.bases(self.sources)}
        inputs = Inputs(settings=shown, files={name: (chosen, file) for name, file in LEFT.items()})
        return run.stage(
            0, _PRESENT, inputs, partial(present, out=run.folder, result=self.result, say=say), may_change=True
        )

    @contextlib.contextmanager
    def _pool(self, X: Features, *, folder: Path, say: Say) -> Iterator[Any]:
        """The rows to choose from, with the workers that look at them, who have shown how fast they are together."""
        if self.engine is None:
            yield X
            return
        scratch = scratch_file(".rows") or folder / _POOL
        with dealt(X, self.engine, scratch, device=self.selector.get_params().get("device", "cpu")) as rows:
            n, sizes = self.selector.n_samples, [len(part.numbers) for part in rows.parts]
            speeds, memory = zip(*rows.carrier.call("condition"), strict=True)
            check_workers(memory, sizes, X.shape[1], n)
            seconds = workers_seconds(speeds, sizes, n)
            at_most = "at most " if isinstance(self.selector, ApproximateGreedy) else ""
            say(f"{counted(len(sizes), 'worker')}, measured side by side: {at_most}{duration(seconds)} for the choice.")
            if not at_most:
                check_affordable(Forecast(seconds, 0))
            yield rows

    def _rule(self) -> Selector:
        minimum = {source_number(self.sources, name, role=QUOTA): share for name, share in self.quotas.items()}
        return dataclasses.replace(self.selector, minimum=BALANCED if self.balance else minimum or None)

    def _known_rule(self) -> Selector:
        """The rule as results are known by it: rows are the same wherever distances are computed."""
        rule = self._rule()
        return dataclasses.replace(rule).set_params(device="auto") if "device" in rule.get_params() else rule

    def _check_quotas(self) -> None:
        for name, share in self.quotas.items():
            source_number(self.sources, name, role=QUOTA)
            if check_real(share, name=f"{QUOTA} of {name}", minimum=0.0) > 1:
                raise InputError(f"{QUOTA} of {name}: expected a share from 0 to 1, got {share}.")
        if (total := sum(self.quotas.values())) > 1 + ROUNDING:
            raise InputError(f"{QUOTA}: expected shares that add up to at most 1, got {total:g}. Lower them.")

    def _check_given(self) -> None:
        for name in self.given:
            source_number(self.sources, name, role="given")
        if twice := [name for name in self.given if self.given.count(name) > 1]:
            raise InputError(f"given: expected every source once, got {shown(twice[0])} more than once.")
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
            loose = [file for file in unknown[0].files if isinstance(file, Path) and file.parent == unknown[0].path]
            of_rows = f"lacks that of {counted(len(loose), 'row')} ({loose[0].name})" if loose else "has none"
            raise InputError(
                f"balance: expected the class of every row, but {unknown[0].name} ({unknown[0].path}) {of_rows}. "
                "Classes are the folders below a folder, what its metadata.csv or metadata.jsonl or the .json or .cls "
                "files in a .tar say, the array 'labels' of an .npz file, the column 'label' of a parquet file, a "
                "frame or a data set; or give them (labels=)."
            )

    def _rules(self) -> list[Rule]:
        """What decides about rows, in order."""
        return [self.selector] if self.guard is None else [self.guard, self.selector]

    def foretell(self, contents: Contents, found: Survey, say: Say) -> None:
        """Say which sources are trusted, how much there is to choose from, and what that will take."""
        usable = {s.name: len(s) - len(bad) for s, bad in zip(self.sources, found.problems, strict=True)}
        n_given = sum(usable[name] for name in self.given)
        n = sum(usable.values()) - n_given
        if not n + n_given:
            raise nothing_usable(self.sources, found.problems)
        if self.selector.n_samples > n:
            raise InputError(
                f"n: expected at most the {n} rows that are usable, got {self.selector.n_samples}. Lower it, or mend "
                "the others."
            )
        check_owed(self.sources, self._rule(), list(usable.values()))
        width = contents.spaces[0].width(self.sources, found.shape)
        wanted, trusted = self.selector.n_samples, 0
        for rule in self._rules():
            if numbers := rule.trusts:
                trusted += sum(len(self.sources[number]) for number in numbers)
                say(f"{rule.kind} trusts {', '.join(self.sources[number].name for number in numbers)}.")
        if self.given:
            say(f"given: {counted(n_given, 'row')} of {', '.join(self.given)}, picked already.")
        method = self.selector.kind
        cost = selection_forecast(n + n_given, width, wanted + n_given, method=method, n_trusted=trusted)
        if (held := contents.bytes_in_memory(contents.spaces[0])) is not None:
            cost = kept_in_files(cost, n + n_given, width)
            cost = dataclasses.replace(cost, bytes=cost.bytes + held)
        is_approximate = isinstance(self.selector, ApproximateGreedy)
        alone = " for this machine alone" if self.engine is not None and self.engine.address else ""
        say(
            f"{method}: {wanted:,} of {n:,} rows with {width:,} features. Forecast once they are there: "
            f"{'at most ' if is_approximate else ''}{duration(cost.seconds)}{alone}, "
            f"{cost.bytes / 2**30:.1f} GiB of memory."
        )
        if self.engine is not None:
            self._foretell_workers(n + n_given, width, wanted + n_given, say)
        if is_approximate:
            # The rest is known once it is known how many rows are near others.
            cost = dataclasses.replace(cost, seconds=core_set_seconds(n + n_given, width, wanted + n_given))
        elif method == "greedy" and cost.seconds > _LONG:
            least = duration(core_set_seconds(n + n_given, width, wanted + n_given))
            say(
                "Where many rows are near copies of others, --approximate EPS (approximate=EPS) takes a part of it, "
                f"{least} or more: a covering radius of at most 2 + EPS times the smallest, where greedy's is 2 times."
            )
        # How fast a cluster is, is not known here.
        check_affordable(dataclasses.replace(cost, seconds=0.0) if alone else cost)

    def _foretell_workers(self, n: int, width: int, wanted: int, say: Say) -> None:
        """Say what each worker will do, and refuse what one of this machine cannot hold; how fast they are is measured
        when they are there."""
        engine = self.engine
        assert engine is not None
        workers = engine.foreseen
        told = f"{2.0 * n * wanted * width:.2g} operations at most, {round_bytes(width) / 1e6:.1f} MB a round at most"
        if workers is None:
            say(f"engine: {told}.")
            return
        largest = -(-n // min(workers, n))
        if not engine.address:
            n_workers = min(workers, n)
            check_workers([share_of_memory(workers)] * n_workers, [largest] * n_workers, width, wanted)
        say(
            f"engine: {counted(workers, 'worker')} with up to {counted(largest, 'row')}, {told}, "
            f"{worker_bytes(largest, width, wanted) / 2**30:.1f} GiB of memory for each at least."
        )
