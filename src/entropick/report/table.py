"""The ledgers of a study as one long table, a row per number; everything that is drawn or said is read off it."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropick.errors import InputError, counted, shown
from entropick.page.words import in_order, split_key
from entropick.report.derived import Derived, derive
from entropick.report.study import STAGES, ArmRecord, RunRecord, StudyRecord, read_study
from entropick.run.files import write_content

if TYPE_CHECKING:
    import pyarrow as pa


# What the stages are called that look into a training: "probe-500" after 500 steps.
PROBE = "probe-"
# What a file of all numbers may end in.
TABLES = (".csv", ".parquet")


@dataclass(frozen=True)
class Spread:
    """One number over seeds: its mean and range, and how many seeds have it."""

    mean: float
    low: float
    high: float
    n_seeds: int


@dataclass(frozen=True)
class Cost:
    """What an arm took, over all its iterations, sizes and seeds.

    Arms share results, so there are two sums. What an arm's results *took* counts every stage behind them, whoever
    computed it: that is what arms must be compared at. What was computed *for it* counts the work done in its runs.

    Attributes
    ----------
    n_runs
        Its runs, begun or finished.
    steps, images
        Gradient steps of all trainings, and images sampled, whoever computed them.
    seconds
        By stage of the loop, whoever computed it.
    own_seconds
        Of all that was computed in its own runs, the real data's stages too.
    n_shared
        Stages that were taken from another arm, or from another study.
    """

    arm: ArmRecord
    n_runs: int
    steps: int
    images: int
    seconds: dict[str, float]
    own_seconds: float
    n_shared: int

    @property
    def total_seconds(self) -> float:
        """All stages of the loop."""
        return sum(self.seconds.values())


@dataclass(frozen=True)
class Table:
    """The numbers of a study, and the study that they are of.

    Attributes
    ----------
    study
        Its arms in order with their settings, its sizes and seeds, its runs.
    rows
        A row per number: ``arm``, ``family``, ``method``, ``size``, ``seed`` (null where the study has none),
        ``iteration`` (0 is the real data), ``part``, ``space``, ``measure`` and ``value`` (null where it is missing or
        not finite), in the order of the study. `part` says what kind of number it is:

        ``metrics``    what was measured; ``space`` is the feature space
        ``probe-500``  the same of the model as it was after 500 steps of its training, and so for every probe
        ``shares``     the share of a source in the training set; ``measure`` is the source's number, 0 the real data
        ``garbage``    the share of planted garbage in the ``training`` set and in the ``pool``
        ``selection``  what the selector says of itself
        ``classes``    what became of each class, see `entropick.loop.classes`
        ``stages``     what the stages say beside that: ``pool``, ``selected``, ``n_training``, ``copying_ratio``, ...
        ``seconds``    of a stage, computed in this run; ``took``: computed anywhere; ``shared``: 1 if elsewhere
    derived
        What of the metrics was computed for the table because ledgers of an earlier version lack it, and why not more.
    """

    study: StudyRecord
    rows: pa.Table
    derived: Derived = field(default_factory=Derived)

    @property
    def size(self) -> int | None:
        """The size where the table is of a single one, else None."""
        return self.study.sizes[0] if len(self.study.sizes) == 1 else None

    def by_size(self) -> list[Table]:
        """A table per size, the largest first; this one where the study has no sizes."""
        import pyarrow.compute as pc

        studies = self.study.by_size() if self.study.sizes else []
        of = [(study, self.rows.filter(pc.field("size") == study.sizes[0])) for study in studies]
        return [Table(study, rows, self.derived) for study, rows in of] or [self]

    @cached_property
    def measures(self) -> list[str]:
        """The keys ("recall/pixels") of all that was measured, in the order of the page: those of the first feature
        space that the study is evaluated in before those of the others."""
        measured = (found for (*_, part), found in self._of_runs.items() if part == "metrics")
        spaces = (run.values(0, "baseline").get("spread", {}).get("feature_space") for _, run in self.study.runs())
        return in_order({key for found in measured for key in found}, next(filter(None, spaces), ""))

    @cached_property
    def space(self) -> str:
        """The feature space that the overview is about; empty before anything is measured."""
        return next((split_key(key)[1] for key in self.measures), "")

    def of_run(self, arm: ArmRecord, run: RunRecord, iteration: int, part: str = "metrics") -> dict[str, float | None]:
        """The numbers of one run at an iteration by their keys."""
        return self._of_runs.get((arm.name, run.size, run.seed, iteration, part), {})

    def over_seeds(self, arm: ArmRecord, iteration: int, key: str, part: str = "metrics") -> Spread | None:
        """A number of an arm at an iteration (0: what real data scores); None where no seed has it."""
        return self._spreads.get((arm.name, iteration, part), {}).get(key)

    def real(self, key: str) -> Spread | None:
        """What real data scores, over seeds; None if nobody asked or if arms of one seed have different real data."""
        return self._real.get(key)

    def shares(self, arm: ArmRecord, iteration: int) -> dict[int, float]:
        """Mean share of each source iteration in the training set, over the seeds that have selected it."""
        return self._shares.get((arm.name, iteration), {})

    def real_share(self, arm: ArmRecord, iteration: int) -> float | None:
        """Mean share of real images in the training set; None before it is selected."""
        return self.shares(arm, iteration).get(0)

    def selection(self, arm: ArmRecord, iteration: int) -> dict[str, Spread]:
        """What the selection of an iteration says of itself: sizes of pool and training set, the selector's numbers."""
        sizes = {name: self.over_seeds(arm, iteration, name, "stages") for name in ("pool", "selected")}
        found = {name: spread for name, spread in sizes.items() if spread}
        return {**found, **self._spreads.get((arm.name, iteration, "selection"), {})}

    def training_sizes(self) -> list[int]:
        """The different sizes of training sets that were measured."""
        found = {of.get("n_training") for (*_, n, part), of in self._of_runs.items() if n > 0 and part == "stages"}
        return sorted(int(size) for size in found if size is not None)

    def costs(self) -> list[Cost]:
        """The cost of every arm that has begun, in the study's order."""
        found = self.rows.group_by(["arm", "part", "measure"], use_threads=False).aggregate([("value", "sum")])
        sums: dict[tuple[str, str], dict[str, float]] = {}
        stages = STAGES if "probe" not in self._timed else (*STAGES, "probe")
        for row in found.to_pylist():
            sums.setdefault((row["arm"], row["part"]), {})[row["measure"]] = row["value_sum"] or 0.0
        return [
            Cost(
                arm=arm,
                n_runs=len(arm.runs),
                steps=int(sums.get((arm.name, "stages"), {}).get("n_steps", 0)),
                images=int(sums.get((arm.name, "stages"), {}).get("n_sampled", 0)),
                seconds={stage: sums.get((arm.name, "took"), {}).get(stage, 0.0) for stage in stages},
                own_seconds=sum(sums.get((arm.name, "seconds"), {}).values()),
                n_shared=int(sum(sums.get((arm.name, "shared"), {}).values())),
            )
            for arm in self.study.arms
            if arm.runs
        ]

    @cached_property
    def _timed(self) -> set[str]:
        """The stages that took time."""
        import pyarrow.compute as pc

        return set(self.rows.filter(pc.field("part") == "took")["measure"].to_pylist())

    @cached_property
    def _of_runs(self) -> dict[tuple[str, int | None, int | None, int, str], dict[str, float | None]]:
        found: dict[tuple[str, int | None, int | None, int, str], dict[str, float | None]] = {}
        for row in self.rows.to_pylist():
            at = (row["arm"], row["size"], row["seed"], row["iteration"], row["part"])
            found.setdefault(at, {})[_key(row)] = row["value"]
        return found

    @cached_property
    def _spreads(self) -> dict[tuple[str, int, str], dict[str, Spread]]:
        found: dict[tuple[str, int, str], dict[str, Spread]] = {}
        for row, spread in _spreads(self.rows, ["arm", "iteration", "part", "measure", "space"], "value"):
            found.setdefault((row["arm"], row["iteration"], row["part"]), {})[_key(row)] = spread
        return found

    @cached_property
    def _real(self) -> dict[str, Spread]:
        import pyarrow.compute as pc

        measured = self.rows.filter((pc.field("iteration") == 0) & (pc.field("part") == "metrics"))
        by_seed = measured.group_by(["measure", "space", "seed"], use_threads=False)
        by_seed = by_seed.aggregate([("value", "min"), ("value", "max")])
        differ = {_key(row) for row in by_seed.to_pylist() if row["value_min"] != row["value_max"]}
        found = {_key(row): spread for row, spread in _spreads(by_seed, ["measure", "space"], "value_min")}
        return {key: spread for key, spread in found.items() if key not in differ}

    @cached_property
    def _shares(self) -> dict[tuple[str, int], dict[int, float]]:
        import pyarrow.compute as pc

        rows = self.rows.filter(pc.field("part") == "shares")
        grouped = rows.group_by(["arm", "iteration", "measure"], use_threads=False)
        found: dict[tuple[str, int], dict[int, tuple[float, int]]] = {}
        for row in grouped.aggregate([("value", "sum"), ("value", "count")]).to_pylist():
            of = found.setdefault((row["arm"], row["iteration"]), {})
            of[int(row["measure"])] = row["value_sum"], row["value_count"]
        # Every run that has selected has a share of source 0; a source that a run does not name has none of it.
        return {at: {source: of[source][0] / of[0][1] for source in sorted(of)} for at, of in found.items()}


def read_table(folder: Path) -> Table:
    """Read the ledgers of a study directory or a single run directory, once.

    Raises
    ------
    RunError
        It is neither.
    RunDamaged
        A ledger line is not what was written.
    """
    return tabulate(read_study(folder))


def tabulate(study: StudyRecord) -> Table:
    """The numbers of a study that has been read."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    names = {"arm": text, "family": text, "method": text, "size": number, "seed": number, "iteration": number}
    names |= {"part": text, "space": text, "measure": text, "value": pa.float64()}
    derived = derive(study)
    rows = [
        (arm.name, arm.family, arm.method, run.size, run.seed, *rest)
        for place, (arm, run) in enumerate(study.runs())
        for iteration in sorted({entry.iteration for entry in run.entries})
        for rest in _numbers(run, iteration, derived.values.get(place, {}).get(iteration, {}))
    ]
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, names.values(), strict=True)]
    return Table(study, pa.Table.from_arrays(arrays, list(names)), derived)


def summary_table(study_folder: Path) -> list[dict[str, Any]]:
    """One row per arm, size and seed: where it is and what it measured last.

    Columns are `arm`, `size` (None where the study has none), `seed`, `iteration` (the last one measured, None before
    the first), `finished`, the metrics by key, `share_real`, and the selector's own numbers as ``selection/<name>``. A
    number that is missing or not finite is None; all rows have the same columns.
    """
    table = read_table(study_folder)
    rows: list[dict[str, Any]] = []
    for arm, run in table.study.runs():
        row: dict[str, Any] = {"arm": arm.name, "size": run.size, "seed": run.seed, "finished": run.is_finished}
        if run.measured:
            last = run.measured[-1]
            selection = table.of_run(arm, run, last, "selection")
            row |= {"iteration": last, **table.of_run(arm, run, last)}
            row["share_real"] = table.of_run(arm, run, last, "shares").get("0")
            row |= {f"selection/{name}": value for name, value in selection.items()}
        rows.append(row)
    fixed = ["arm", "size", "seed", "iteration", "finished", *table.measures, "share_real"]
    extra = sorted({name for row in rows for name in row if name.startswith("selection/")})
    return [{name: row.get(name) for name in [*fixed, *extra]} for row in rows]


def write_table(folders: Sequence[str | Path], path: str | Path) -> int:
    """Write all numbers of studies or runs, a row each, as one file, and return how many rows there are.

    The columns are those of `Table.rows`; where there are several folders, the column `study` before them says which
    one, as it was given.

    Parameters
    ----------
    folders
        Study directories or single run directories, at least one.
    path
        A file that ends in ``.csv``, where what is missing is empty, or in ``.parquet``.

    Raises
    ------
    InputError
        The file would be of another kind, or there is no folder.
    RunError
        A folder is neither of a study nor of a run.
    StorageError
        The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if not folders or (suffix := Path(path).suffix) not in TABLES:
        raise InputError(
            f"expected at least one folder, and a file that ends in {' or '.join(TABLES)}, got "
            f"{counted(len(folders), 'folder')} and {shown(str(path))}."
        )
    tables = [read_table(Path(folder)).rows for folder in folders]
    if len(folders) > 1:
        named = zip(folders, tables, strict=True)
        tables = [
            rows.add_column(0, "study", pa.array([str(folder)] * len(rows), pa.string())) for folder, rows in named
        ]
    together, content = pa.concat_tables(tables), io.BytesIO()
    (pyarrow.csv.write_csv if suffix == ".csv" else pyarrow.parquet.write_table)(together, content)
    write_content(Path(path), content.getvalue())
    return len(together)


def finite(value: Any) -> float | None:
    """`value` as a float, or None where it is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _numbers(
    run: RunRecord, iteration: int, derived: Mapping[str, float | None]
) -> Iterator[tuple[int, str, str, str, float | None]]:
    """All numbers of an iteration, of the ledger and `derived`, as (iteration, part, space, measure, value)."""

    def of(part: str, numbers: Mapping[str, Any]) -> Iterator[tuple[int, str, str, str, float | None]]:
        for key, value in numbers.items():
            measure, space = split_key(str(key))
            yield iteration, part, space, measure, finite(value)

    select, train, sample = (run.values(iteration, stage) for stage in ("select", "train", "sample"))
    measured = run.values(iteration, "measure" if iteration else "baseline")
    yield from of("metrics", {**measured.get("metrics", {}), **derived})
    probes = [entry for entry in run.entries if entry.iteration == iteration and entry.stage.startswith(PROBE)]
    for entry in probes:
        yield from of(entry.stage, entry.values.get("metrics", {}))
    if shares := select.get("shares"):
        sources = {int(source): share for source, share in shares.items() if finite(share) is not None}
        yield from of("shares", {str(source): share for source, share in sorted({0: 0.0, **sources}.items())})
    if select.get("n_garbage") is not None:
        yield from of("garbage", _garbage(run, select))
    yield from of("selection", select.get("selection") or {})
    yield from of("classes", measured.get("classes", {}))
    copying = {f"copying_ratio/{space}": ratio for space, ratio in measured.get("copying_ratio", {}).items()}
    of_stages = {"pool": select.get("n_pool"), "selected": select.get("n_selected")}
    # What a training took, and, where held-out images chose, the steps of the weights that were kept.
    chosen = train.get("n_steps") if "n_steps_taken" in train else None
    of_stages |= {"n_steps": train.get("n_steps_taken", train.get("n_steps")), "n_steps_chosen": chosen}
    sampled = [sample.get("n_images"), *(entry.values.get("n_generated") for entry in probes)]
    of_stages |= {"n_sampled": sum(filter(None, sampled)) or None}
    of_stages |= {"n_training": measured.get("n_training"), **copying}
    yield from of("stages", {name: value for name, value in of_stages.items() if value is not None})
    for entry in (entry for entry in run.entries if entry.iteration == iteration):
        stage = PROBE.rstrip("-") if entry.stage.startswith(PROBE) else entry.stage
        shared = "shared_from" in entry.timing
        seconds = entry.timing.get("seconds")
        yield from of("seconds", {stage: seconds})
        yield from of("took", {stage: entry.timing.get("took") if shared else seconds})
        yield from of("shared", {stage: int(shared)})


def _garbage(run: RunRecord, select: Mapping[str, Any]) -> dict[str, float | None]:
    """The share of planted garbage in a training set, and in its pool: rows of a generation that it did not emit."""
    n_pool, shares = select.get("n_pool") or 0, select.get("pool_shares") or {}
    emitted = {source: run.values(int(source), "sample").get("n_images") for source in shares if int(source)}
    known = n_pool and all(emitted.values())
    planted = sum(round(shares[source] * n_pool) - (n or 0) for source, n in emitted.items())
    n_selected = select.get("n_selected") or 0
    training = select["n_garbage"] / n_selected if n_selected else None
    return {"training": training, "pool": planted / n_pool if known else None}


def _key(row: Mapping[str, Any]) -> str:
    return f"{row['measure']}/{row['space']}" if row["space"] else str(row["measure"])


def _spreads(rows: pa.Table, by: list[str], of: str) -> Iterator[tuple[dict[str, Any], Spread]]:
    """Mean, range and count of the column `of` in each group that has a value."""
    found = rows.group_by(by, use_threads=False).aggregate([(of, name) for name in ("mean", "min", "max", "count")])
    for row in found.to_pylist():
        if row[f"{of}_count"]:
            yield row, Spread(row[f"{of}_mean"], row[f"{of}_min"], row[f"{of}_max"], row[f"{of}_count"])
