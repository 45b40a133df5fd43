"""A choice from files into files: sources in, an output folder with the manifest and all that the choice tells out."""

from __future__ import annotations

import dataclasses
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from entropick import features
from entropick.arrays import Features, Integers
from entropick.errors import DuplicateWarning, InputError
from entropick.processes import usable_device
from entropick.run.files import (
    fingerprint,
    hash_file,
    write_json,
)
from entropick.run.folder import check_config
from entropick.run.work_folder import Pace, StageWork
from entropick.selection.appraisal import appraise
from entropick.selection.output import CHOSEN, Files, Output, Rows, remove_written
from entropick.selectors.base import Rule, Selector
from entropick.selectors.guards import OutlierGuard
from entropick.selectors.quotas import BALANCED
from entropick.sources import (
    Candidates,
    Source,
    Survey,
    begun,
    check_encoder,
    check_files,
    check_output,
    check_problems,
    check_rows,
    extract,
    finished,
    given,
    read_embeddings,
    readable,
    skipped,
    source_number,
    survey,
)
from entropick.sources.cost import selection_forecast
from entropick.work import Work

RESULT = "selection.json"
_CACHE = "features"
_CHECKPOINTS = ".work"
# Between checkpoints of a choice.
_SECONDS = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Choice:
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
    skip_bad
        Go on without unreadable images, and record them.
    seed
        What the random control depends on.
    """

    sources: Sequence[Source]
    selector: Selector
    encoder: features.Features | None = None
    embeddings: Path | None = None
    guard: OutlierGuard | None = None
    quotas: Mapping[str, float] = field(default_factory=dict)
    balance: bool = False
    files: Files = "none"
    skip_bad: bool = False
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for what is known to be wrong before anything is read."""
        are_images = self.sources[0].kind != "embeddings"
        if not are_images and (self.encoder or self.embeddings):
            raise InputError("features: expected none, because the sources are embeddings already.")
        if are_images and not (self.encoder or self.embeddings):
            raise InputError("features: expected a name or a file of embeddings, because the sources are images.")
        self._check_classes()
        self._rule().check()
        if self.guard is not None:
            self.guard.check()
        # Not only when features, which may have taken hours, are there.
        usable_device(self.selector.get_params().get("device", "cpu"))
        if self.encoder is not None:
            check_encoder(self.encoder)
        self._check_trusted()
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

    def run(self, out: Path, *, work: Work | None = None, say: Say = lambda line: None) -> dict[str, Any]:
        """Choose, and write all into `out`; the same call goes on where it was interrupted. Returns ``selection.json``.

        Raises
        ------
        InputError
            For unusable sources or parameters; all unreadable images are named.
        RunChanged
            `out` holds another choice; the message is a diff.
        RunLocked, StorageError
            `out` is in use, or cannot be written.
        """
        work = work or Work()
        self.check()
        check_output(out, self.sources, {"sources", "selector", "guard"}, of="selection")
        X = self._embedded()
        hashes = [source.content_hash(work) for source in self.sources]
        config = self.describe(hashes)
        check_config(out, config, done=RESULT)
        if (result := _finished(out)) is not None:
            say(f"chosen before: {out} is complete.")
            return result
        found = survey(self.sources, one_size=self.encoder is not None, work=work)
        check_files(self.sources, found, skip_bad=self.skip_bad, work=work)
        self._foretell(found, X, say)
        with begun(out, config, done=RESULT):
            if (result := _finished(out)) is not None:
                return result
            remove_written(out)
            candidates = self._candidates(hashes, found, X, out / _CACHE, work)
            check_problems(self.sources, candidates.problems, skip_bad=self.skip_bad)
            checkpoints = StageWork(out / _CHECKPOINTS / fingerprint(config)[:16], Pace(_SECONDS), work.progress)
            result = self._choose(candidates, config, out, checkpoints, say)
            shutil.rmtree(out / _CHECKPOINTS, ignore_errors=True)
            return result

    def describe(self, hashes: Sequence[str]) -> dict[str, Any]:
        """The choice as plain data: equal for equal results."""
        space: Any = "embeddings" if self.encoder is None else self.encoder.identity()
        if self.embeddings is not None:
            space = {"file": readable(str(self.embeddings)), "content": hash_file(self.embeddings).sha256}
        pairs = zip(self.sources, hashes, strict=True)
        named = {source.name: {"path": readable(str(source.path)), "content": content} for source, content in pairs}
        return {
            "sources": named,
            # Numbers of sources and of rows follow it.
            "order": list(named),
            "features": space,
            "selector": self._rule().describe(),
            "guard": None if self.guard is None else self.guard.describe(),
            "balance": self.balance,
            "files": self.files,
            "skip_bad": self.skip_bad,
            "seed": self.seed,
        }

    def _number(self, name: str, role: str) -> int:
        return source_number(self.sources, name, role=role)

    def _rule(self) -> Selector:
        minimum = {self._number(name, "quota"): share for name, share in self.quotas.items()}
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

    def _classes(self, candidates: Candidates) -> list[str]:
        of_sources = [source.classes or () for source in self.sources]
        places = zip(candidates.source.tolist(), candidates.row.tolist(), strict=True)
        return [of_sources[number][row] for number, row in places]

    def _foretell(self, found: Survey, X: Features | None, say: Say) -> None:
        n = sum(map(len, self.sources)) - sum(map(len, found.problems))
        if self.encoder is not None:
            assert found.shape is not None
            width = self.encoder.width(found.shape)
        else:
            embedded = self.sources[0].array if X is None else X
            assert embedded is not None
            width = embedded.shape[1]
        wanted = self.selector.n_samples
        trusted = sum(len(self.sources[number]) for _, numbers in self._trusting() for number in numbers)
        cost = selection_forecast(n, width, wanted, method=self.selector.kind, n_trusted=trusted)
        for rule, numbers in self._trusting():
            say(f"{rule.kind} trusts {', '.join(self.sources[number].name for number in numbers)}.")
        say(
            f"{self.selector.kind}: {wanted:,} of {n:,} rows with {width:,} features. Forecast once they are "
            f"there: {_duration(cost.seconds)}, {cost.bytes / 2**30:.1f} GiB of memory."
        )

    def _trusting(self) -> Iterator[tuple[Rule, tuple[int, ...]]]:
        """What compares all rows with those of some sources, and the numbers of these."""
        if self.guard is not None:
            yield self.guard, self.guard.trusts
        if self.selector.trusts:
            yield self.selector, self.selector.trusts

    def _check_trusted(self, kept: Integers | None = None) -> None:
        """There are enough trusted rows: of all candidates, or of those that a guard kept, given by their sources."""
        for rule, numbers in self._trusting():
            if unknown := [number for number in numbers if not 0 <= number < len(self.sources)]:
                raise InputError(
                    f"trusted: expected numbers of {len(self.sources)} sources from 0 on, got {unknown[0]}."
                )
            names = ", ".join(self.sources[number].name for number in numbers)
            found = sum(map(len, (self.sources[number] for number in numbers)))
            left = found if kept is None else np.count_nonzero(np.isin(kept, numbers))
            if left <= (k := rule.least_trusted - 1):
                where = "" if kept is None else f" after the guard has set {found - left} aside or they were skipped"
                raise InputError(
                    f"{rule.kind}: expected more than k = {k} rows of the trusted source {names}, got {left}{where}. "
                    "Trust another source."
                )

    def _embedded(self) -> Features | None:
        """The file of embeddings, if there is one."""
        if self.embeddings is None:
            return None
        X = read_embeddings(self.embeddings)
        check_rows(self.sources, X)
        return X

    def _candidates(
        self, hashes: Sequence[str], found: Survey, X: Features | None, cache: Path, work: Work
    ) -> Candidates:
        if self.encoder is not None:
            return extract(self.sources, hashes, self.encoder, found, cache, work)
        return given(self.sources, X, found.problems)

    def _choose(
        self, candidates: Candidates, config: dict[str, Any], out: Path, work: Work, say: Say
    ) -> dict[str, Any]:
        kept, aside, guarding = np.arange(len(candidates)), None, None
        if self.guard is not None:
            guard = dataclasses.replace(self.guard).fit(candidates.X, candidates.source, work=work.part("guard"))
            kept, guarding = guard.kept_, guard.summary()
            aside = Rows(guard.set_aside_, guard.distances_[guard.set_aside_])
            say(f"guard: {len(aside.rows):,} rows are set aside, {len(kept):,} kept.")
        X = candidates.X if len(kept) == len(candidates) else candidates.X[kept]
        self._check_trusted(candidates.source[kept])
        classes = self._classes(candidates) if self.balance else None
        rule = self._rule()
        if rule.n_samples > len(X):
            raise InputError(f"n: expected at most the {len(X)} rows that are usable and kept, got {rule.n_samples}.")
        with warnings.catch_warnings():
            # The result says how many are distinct.
            warnings.simplefilter("ignore", DuplicateWarning)
            rule.fit(X, (candidates.source if classes is None else _codes(classes))[kept], work=work)
        say("measuring the choice beside a random one")
        told = appraise(rule, X, control_seed=self.seed).summary()
        chosen = Rows(kept[rule.indices_], rule.distances_)
        say(f"writing {out}")
        output = Output(out, self.sources, candidates, classes)
        written = output.write(chosen, aside, files=self.files, work=work)
        result = {
            **told,
            "n_distinct": rule.n_distinct_,
            "guard": guarding,
            "sources": output.counts(chosen, aside),
            "classes": output.class_counts(chosen),
            "skipped": skipped(self.sources, candidates.problems),
            "config": config,
            "files": {path.name: dataclasses.asdict(hash_file(path)) for path in written},
        }
        # Last: what makes the choice complete.
        write_json(out / RESULT, result)
        return result


def _finished(out: Path) -> dict[str, Any] | None:
    """What is in a complete output folder; None if something is missing or not as it was written."""
    result = finished(out / RESULT)
    placed = result is not None and (result["config"]["files"] == "none" or (out / CHOSEN).is_dir())
    return result if placed else None


def _codes(classes: Sequence[str]) -> Integers:
    codes: Integers = np.unique(np.array(classes), return_inverse=True)[1].astype(np.int64)
    return codes


def _duration(seconds: float) -> str:
    return "under a second" if seconds < 1 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
