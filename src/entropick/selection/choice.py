"""A choice from files into files: sources in, an output folder with the manifest and all that the choice tells out."""

from __future__ import annotations

import dataclasses
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from entropick import features
from entropick.arrays import Features, Integers
from entropick.errors import DuplicateWarning, InputError
from entropick.neighbors import Floats
from entropick.run.directory import CONFIG, check_config
from entropick.run.files import (
    hash_file,
    remove_partial,
    storage_errors,
    write_content,
    write_json,
)
from entropick.run.lock import locked
from entropick.selection.appraisal import appraise
from entropick.selection.forecast import forecast
from entropick.selection.sheet import N_PICTURES, write_sheet
from entropick.selectors.base import Selector
from entropick.selectors.guards import OutlierGuard
from entropick.sources import (
    Candidates,
    Source,
    Survey,
    check_output,
    check_problems,
    check_rows,
    extract,
    finished,
    given,
    read_embeddings,
    skipped,
    survey,
    write_csv,
)
from entropick.work import Work

RESULT = "selection.json"
_CACHE = "features"
_CHOSEN, _UNFINISHED = "selected", "selected.unfinished"
_COLUMNS = ("rank", "source", "path", "row", "distance")

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
        The name of the source that is trusted; None sets nothing aside.
    quotas
        Name of a source -> its least share of the choice.
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
    guard: str | None = None
    quotas: Mapping[str, float] = field(default_factory=dict)
    files: Literal["none", "link", "copy"] = "none"
    skip_bad: bool = False
    seed: int = 0

    def check(self) -> None:
        """Raise InputError for what is known to be wrong before anything is read."""
        are_images = self.sources[0].kind != "embeddings"
        if not are_images and (self.encoder or self.embeddings):
            raise InputError("features: expected none, because the sources are embeddings already.")
        if are_images and not (self.encoder or self.embeddings):
            raise InputError("features: expected a name or a file of embeddings, because the sources are images.")
        self._rule().check()
        if self.guard is not None:
            self._number(self.guard, "guard")
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
        check_output(out, {"sources", "selector", "guard"}, of="selection")
        X = self._embedded()
        hashes = [self._hash(source, work) for source in self.sources]
        config = self.describe(hashes)
        check_config(out, config, done=RESULT)
        if (result := _finished(out)) is not None:
            say(f"chosen before: {out} is complete.")
            return result
        found = survey(self.sources, one_size=self.encoder is not None, work=work)
        check_problems(self.sources, found.problems, skip_bad=self.skip_bad)
        self._foretell(found, X, say)
        with locked(out):
            remove_partial(out)
            write_json(out / CONFIG, config)
            candidates = self._candidates(hashes, found, X, out / _CACHE, work)
            check_problems(self.sources, candidates.problems, skip_bad=self.skip_bad)
            return self._choose(candidates, config, out, work, say)

    def describe(self, hashes: Sequence[str]) -> dict[str, Any]:
        """The choice as plain data: equal for equal results."""
        space: Any = "embeddings" if self.encoder is None else self.encoder.describe()
        if self.embeddings is not None:
            space = {"file": str(self.embeddings), "content": hash_file(self.embeddings).sha256}
        named = {s.name: {"path": str(s.path), "content": h} for s, h in zip(self.sources, hashes, strict=True)}
        return {
            "sources": named,
            "features": space,
            "selector": self._rule().describe(),
            "guard": None if self.guard is None else self._guard(self.guard).describe(),
            "files": self.files,
            "skip_bad": self.skip_bad,
            "seed": self.seed,
        }

    def _number(self, name: str, role: str) -> int:
        names = [source.name for source in self.sources]
        if name not in names:
            raise InputError(f"{role}: expected the name of a source ({', '.join(names)}), got {name!r}.")
        return names.index(name)

    def _rule(self) -> Selector:
        minimum = {self._number(name, "quota"): share for name, share in self.quotas.items()}
        return dataclasses.replace(self.selector, minimum=minimum or None)

    def _guard(self, name: str) -> OutlierGuard:
        return OutlierGuard(trusted=self._number(name, "guard"))

    def _hash(self, source: Source, work: Work) -> str:
        return source.content_hash(lambda done, total: work.progress(done, total, f"reading {source.name}"))

    def _foretell(self, found: Survey, X: Features | None, say: Say) -> None:
        n = sum(map(len, self.sources)) - sum(map(len, found.problems))
        if self.encoder is not None:
            assert found.shape is not None
            width = self.encoder.extract(np.zeros((1, *found.shape), np.uint8)).shape[1]
        else:
            embedded = self.sources[0].array if X is None else X
            assert embedded is not None
            width = embedded.shape[1]
        trusted = 0 if self.guard is None else len(self.sources[self._number(self.guard, "guard")])
        wanted = self.selector.n_samples
        cost = forecast(n, width, wanted, method=self.selector.kind, n_trusted=trusted)
        say(
            f"{self.selector.kind}: {wanted:,} of {n:,} rows with {width:,} features. Forecast once they are "
            f"there: {_duration(cost.seconds)}, {cost.bytes / 2**30:.1f} GiB of memory."
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
        kept, aside, guarding = np.arange(len(candidates)), _Rows.none(), None
        if self.guard is not None:
            guard = self._guard(self.guard).fit(candidates.X, candidates.source, work=work)
            kept, guarding = guard.kept_, guard.summary()
            aside = _Rows(guard.set_aside_, guard.distances_[guard.set_aside_])
            say(f"guard: {len(aside.rows):,} rows are set aside, {len(kept):,} kept.")
        X = candidates.X if len(kept) == len(candidates) else candidates.X[kept]
        rule = self._rule()
        if rule.n_samples > len(X):
            raise InputError(f"n: expected at most the {len(X)} rows that are usable and kept, got {rule.n_samples}.")
        with warnings.catch_warnings():
            # The result says how many are distinct.
            warnings.simplefilter("ignore", DuplicateWarning)
            rule.fit(X, candidates.source[kept], work=work)
        say("measuring the choice beside a random one")
        told = appraise(rule, X, control_seed=self.seed).summary()
        chosen = _Rows(kept[rule.indices_], rule.distances_)
        say(f"writing {out}")
        written = self._write(candidates, chosen, aside, out, work)
        result = {
            **told,
            "n_distinct": rule.n_distinct_,
            "guard": guarding,
            "sources": self._counts(candidates, chosen, aside),
            "skipped": skipped(self.sources, candidates.problems),
            "config": config,
            "files": {path.name: dataclasses.asdict(hash_file(path)) for path in written},
        }
        # Last: what makes the choice complete.
        write_json(out / RESULT, result)
        return result

    def _counts(self, candidates: Candidates, chosen: _Rows, aside: _Rows) -> dict[str, dict[str, int]]:
        def of(rows: Integers) -> list[int]:
            counts: list[int] = np.bincount(candidates.source[rows], minlength=len(self.sources)).tolist()
            return counts

        columns = {
            "files_or_rows": [len(source) for source in self.sources],
            "skipped": [len(bad) for bad in candidates.problems],
            "set_aside": of(aside.rows),
            "chosen": of(chosen.rows),
        }
        names = [source.name for source in self.sources]
        return {name: {key: values[i] for key, values in columns.items()} for i, name in enumerate(names)}

    def _write(self, candidates: Candidates, chosen: _Rows, aside: _Rows, out: Path, work: Work) -> list[Path]:
        table = self._table(candidates, chosen)
        write_content(out / "manifest.parquet", table)
        write_csv(out / "manifest.csv", table)
        written = [out / "manifest.parquet", out / "manifest.csv"]
        if self.guard is not None:
            write_csv(out / "set-aside.csv", self._table(candidates, aside))
            written.append(out / "set-aside.csv")
        if self.sources[0].kind != "embeddings":
            for name, shown in (("contact-sheet.png", chosen), ("set-aside.png", aside)):
                if len(shown.rows):
                    write_sheet(out / name, self._pictures(candidates, shown.rows[:N_PICTURES]))
                    written.append(out / name)
        if self.files != "none":
            self._place_files(self._pictures(candidates, chosen.rows), out, work)
        return written

    def _table(self, candidates: Candidates, shown: _Rows) -> dict[str, list[Any]]:
        places = self._pictures(candidates, shown.rows)
        values = (
            list(range(len(places))),
            [source.name for source, _ in places],
            [source.place(row) for source, row in places],
            [row for _, row in places],
            shown.distances.tolist(),
        )
        return dict(zip(_COLUMNS, values, strict=True))

    def _pictures(self, candidates: Candidates, rows: Integers) -> list[tuple[Source, int]]:
        numbers, places = candidates.source[rows].tolist(), candidates.row[rows].tolist()
        return [(self.sources[number], row) for number, row in zip(numbers, places, strict=True)]

    def _place_files(self, chosen: Sequence[tuple[Source, int]], out: Path, work: Work) -> None:
        """Build the folder of chosen files aside and rename it when it is whole."""
        aside = out / _UNFINISHED
        with storage_errors(out / _CHOSEN):
            for old in (aside, out / _CHOSEN):
                if old.exists():
                    shutil.rmtree(old)
            try:
                for done, (source, row) in enumerate(chosen, start=1):
                    file = source.files[row]
                    _place(file, aside / source.name / file.relative_to(source.path), link=self.files == "link")
                    work.progress(done, len(chosen), f"{self.files} files")
                aside.rename(out / _CHOSEN)
            except BaseException:
                shutil.rmtree(aside, ignore_errors=True)
                raise


@dataclass(frozen=True)
class _Rows:
    """Rows of the candidates, in order, and a distance of each."""

    rows: Integers
    distances: Floats

    @classmethod
    def none(cls) -> _Rows:
        return cls(np.empty(0, np.int64), np.empty(0))


def _finished(out: Path) -> dict[str, Any] | None:
    """What is in a complete output folder; None if something is missing or not as it was written."""
    result = finished(out / RESULT)
    placed = result is not None and (result["config"]["files"] == "none" or (out / _CHOSEN).is_dir())
    return result if placed else None


def _place(file: Path, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(file.resolve(), target)
            return
        except OSError:
            # Another file system, or one without links.
            pass
    shutil.copyfile(file, target)


def _duration(seconds: float) -> str:
    return "under a second" if seconds < 1 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
