"""A score from files into files: sets in, values, nearest training images and the page out."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropick import __version__
from entropick.arrays import Features, check_count
from entropick.errors import InputError
from entropick.metrics.suite import MEASURES, check_measures
from entropick.page import words
from entropick.run.files import FileRecord, write_atomic, write_json
from entropick.run.folder import check_config, locked
from entropick.scoring.measuring import N_SPLITS, check_rows, measure_space, nearest_table
from entropick.scoring.space import Space, rows_hash
from entropick.scoring.verdict import Condition
from entropick.sources import (
    Source,
    Survey,
    begun,
    check_encoder,
    check_files,
    check_output,
    check_problems,
    finished,
    readable,
    readable_columns,
    skipped,
    survey,
    write_csv,
)
from entropick.sources.cost import score_forecast
from entropick.work import Work

RESULT, PAGE = "score.json", "score.html"
_CACHE = "features"
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
        are_images = self.sources[0].kind != "embeddings"
        if not are_images and any(space.encoder or space.file for space in self.spaces):
            raise InputError("features: expected none, because the sources are embeddings already.")
        if are_images and not all(space.encoder or space.file for space in self.spaces):
            raise InputError("features: expected names or files of embeddings, because the sources are images.")
        names = [space.name for space in self.spaces]
        files = [words.slug(name) for name in names]
        if twice := [name for name in names if files.count(words.slug(name)) > 1]:
            raise InputError(f"features: expected spaces of different names, got {twice[0]!r} more than once.")
        for encoder in (space.encoder for space in self.spaces if space.encoder):
            check_encoder(encoder)
        check_count(self.seed, name="seed", minimum=0)
        check_measures(self.metrics or ())
        for condition in self.conditions:
            condition.check(names)
        for name in self.measured:
            self._check_roles(name)
        if not self.measured:
            raise InputError(f"metrics: expected at least one of {', '.join(MEASURES)}.")

    def run(self, out: Path, *, work: Work | None = None, say: Say = lambda line: None) -> dict[str, Any]:
        """Measure, and write all into `out`; the same call goes on where it was interrupted. Returns ``score.json``.

        Raises
        ------
        InputError
            For unusable sources or parameters; all unreadable images are named.
        RunChanged
            `out` holds another score; the message is a diff.
        RunLocked, StorageError
            `out` is in use, or cannot be written.
        """
        work = work or Work()
        self.check()
        check_output(out, self.sources, {"sources", "spaces", "metrics"}, of="score")
        embedded = {space.name: space.embedded(self.sources) for space in self.spaces}
        hashes = self._hashes(work)
        config = self.describe(hashes)
        check_config(out, config, done=RESULT)
        told = finished(out / RESULT)
        if told is not None:
            say(f"scored before: {out} is complete.")
            return self._judged(told, out)
        found = survey(self.sources, one_size=any(space.encoder for space in self.spaces), work=work)
        check_files(self.sources, found, skip_bad=self.skip_bad, work=work)
        self._foretell(found, embedded, say)
        with begun(out, config, done=RESULT):
            return self._measure(config, hashes, found, embedded, out, work, say)

    def describe(self, hashes: Mapping[str, str]) -> dict[str, Any]:
        """The score as plain data: equal for equal values. Conditions judge values and are no part of it."""
        return {
            "sources": {s.name: {"path": readable(str(s.path)), "content": hashes[s.name]} for s in self.sources},
            "spaces": {space.name: space.describe() for space in self.spaces},
            "metrics": list(self.measured),
            "allow_same": self.allow_same,
            "skip_bad": self.skip_bad,
            "intervals": self.with_intervals,
            "seed": self.seed,
        }

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

    def _hashes(self, work: Work) -> dict[str, str]:
        """The content of each source, by its name; InputError if it is twice the same."""
        hashes = {source.name: source.content_hash(work) for source in self.sources}
        self._check_two_sets(hashes)
        return hashes

    def _check_two_sets(self, contents: Mapping[str, Any]) -> None:
        """Refuse `contents` of two sources, by their names, that are equal."""
        for a, b in itertools.combinations(self.sources, 2):
            if contents[a.name] == contents[b.name] and not self.allow_same:
                raise InputError(
                    f"{a.name} and {b.name}: expected two sets, but {readable(str(a.path))} and "
                    f"{readable(str(b.path))} have the same content, so the score would say nothing. Give another "
                    f"--{b.name}, or --allow-same if this is meant."
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

    def _measure(
        self,
        config: dict[str, Any],
        hashes: Mapping[str, str],
        found: Survey,
        embedded: Embedded,
        out: Path,
        work: Work,
        say: Say,
    ) -> dict[str, Any]:
        values: dict[str, float | None] = {}
        intervals: dict[str, tuple[float, float] | None] = {}
        spaces: dict[str, dict[str, Any]] = {}
        problems: list[dict[int, str]] = [{} for _ in self.sources]
        files: dict[str, FileRecord] = {}
        for space in self.spaces:
            candidates = space.candidates(self.sources, embedded[space.name], hashes, found, out / _CACHE, work)
            for known, of in zip(problems, candidates.values(), strict=True):
                known.update(of.problems[0])
            check_problems(self.sources, problems, skip_bad=self.skip_bad)
            check_rows({name: len(of) for name, of in candidates.items()}, self.measured, halves=self.with_intervals)
            matrices = {name: of.X for name, of in candidates.items()}
            # Files renamed, put into an array or another order have other hashes.
            self._check_two_sets({name: rows_hash(X) for name, X in matrices.items()})
            say(f"measuring in {space.name}")
            seed = self.seed if self.with_intervals else None
            told = measure_space(matrices, self.measured, space.name, seed, work, allow_same=self.allow_same)
            if told.n_shared and not self.allow_same:
                say(f"reference: {told.n_shared:,} images are in the training set as well and are left out.")
            values |= told.values
            intervals |= told.intervals
            table = nearest_table(told, self.sources, candidates)
            name = f"nearest-{words.slug(space.name)}.csv"
            files[name] = write_csv(out / name, table)
            n_shown = max(8, _N_SHOWN // len(self.spaces))
            shown = readable_columns({name: column[:n_shown] for name, column in table.items()})
            spaces[space.name] = {**told.summary(), "nearest_file": name, "nearest": shown}
        result = {
            "version": __version__,
            "values": values,
            "intervals": intervals,
            "spaces": spaces,
            "sizes": self._sizes(problems),
            "left_out": list(self.left_out),
            "skipped": skipped(self.sources, problems),
            "config": config,
            "files": {name: dataclasses.asdict(record) for name, record in files.items()},
        }
        return self._finish(result, out)

    def _sizes(self, problems: Sequence[dict[int, str]]) -> dict[str, dict[str, int]]:
        return {
            source.name: {"files_or_rows": len(source), "skipped": len(bad), "used": len(source) - len(bad)}
            for source, bad in zip(self.sources, problems, strict=True)
        }

    def _judged(self, told: dict[str, Any], out: Path) -> dict[str, Any]:
        """A finished score under the conditions of now, which may be others than before."""
        if told["conditions"] == self._outcomes(told):
            return told
        with locked(out):
            return self._finish(told, out)

    def _outcomes(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        spaces = [space.name for space in self.spaces]
        return [condition.judge(told["values"], spaces) for condition in self.conditions]

    def _finish(self, told: dict[str, Any], out: Path) -> dict[str, Any]:
        from entropick.scoring.page import render_score

        result = {**told, "conditions": self._outcomes(told)}
        html = render_score(result, self.sources).encode()
        record = write_atomic(out / PAGE, lambda stream: stream.write(html))
        result["files"] = {**told["files"], PAGE: dataclasses.asdict(record)}
        # Last: what makes the score complete.
        write_json(out / RESULT, result)
        return result
