"""`entropick.select`: what ``entropick select`` does, from Python, with files or with what is in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from entropick import notebook
from entropick.api.folder import call, with_rows_in_files
from entropick.api.parts import engine_of, guard_of, selector_table, space_of
from entropick.arrays import Integers, check_choice, check_count, check_flag
from entropick.component import check_known
from entropick.config import component_class
from entropick.datasets.listing import expanded
from entropick.errors import InputError, shown
from entropick.page.words import length_unit
from entropick.run.files import read_content
from entropick.selection import Choice
from entropick.selection.output import MANIFEST, PAGE, SHEET, Files
from entropick.selectors.base import Guard, Selector
from entropick.sources import Say, Source, source_number, sources_of, texts

# Rows of the table that a notebook shows.
_SHOWN = 10
# Points of a curve that a notebook draws.
_DRAWN = 400


@dataclass(frozen=True)
class Selected:
    """What was chosen.

    Attributes
    ----------
    summary
        All that the choice tells, as in ``selection.json``: entropy, covering radius and smallest distance of the
        choice and of a random one of the same size, counts by source and class, what was skipped and why.
    table
        The manifest, a column each: rank, source, path, row, distance and more; ``pandas.DataFrame(selected.table)``.
    sizes
        Rows of each source, by its name, in order.
    contact_sheet
        A PNG of the first 100; None where there are no pictures.
    page
        The page (HTML) of the selection, see `write_page`.
    folder
        Where all of it was written; None for what was only kept in memory.
    """

    summary: Mapping[str, Any] = field(repr=False)
    table: Mapping[str, Sequence[Any]] = field(repr=False)
    sizes: Mapping[str, int]
    contact_sheet: bytes | None = field(default=None, repr=False)
    page: str = field(default="", repr=False)
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.table["row"])

    @property
    def indices(self) -> Integers:
        """The chosen rows in order of choice, those that were given first, counted through all sources: of one array,
        its rows."""
        starts = dict(zip(self.sizes, np.cumsum([0, *self.sizes.values()]).tolist(), strict=False))
        of = zip(self.table["source"], self.table["row"], strict=True)
        return np.array([starts[name] + row for name, row in of], np.int64)

    @property
    def rows(self) -> dict[str, Integers]:
        """Of each source, its chosen rows in order of choice."""
        names, rows = np.array(self.table["source"], object), np.array(self.table["row"], np.int64)
        return {name: rows[names == name] for name in self.sizes}

    @property
    def paths(self) -> list[str]:
        """The file of each chosen row; of an array, where that is."""
        return list(self.table["path"])

    def write_page(self, path: str | os.PathLike[str]) -> Path:
        """Write the page into a file of its own, and return where."""
        file = expanded(path)
        file.write_text(self.page, encoding="utf-8")
        return file

    def _repr_html_(self) -> str:
        measures = {"entropy (nats)": "knn_entropy", "covering radius": "covering_radius"}
        measures["smallest distance"] = "min_distance"
        told = [
            [label, *(self.summary[of].get(key) for of in ("selection", "control"))] for label, key in measures.items()
        ]
        counts = self.summary["sources"]
        columns = list(next(iter(counts.values()), {}))
        by_source = [[name, *(of[column] for column in columns)] for name, of in counts.items()]
        distances = np.asarray(self.table["distance"], float)
        drawn = np.unique(np.linspace(0, len(distances) - 1, min(len(distances), _DRAWN)).astype(int))
        curve = [(float(rank), float(distances[rank])) for rank in drawn]
        shown = [name for name in ("rank", "source", "path", "row", "distance") if name in self.table]
        first = [[self.table[name][rank] for name in shown] for rank in range(min(len(self), _SHOWN))]
        rest = f"… and {len(self) - _SHOWN:,} more rows in .table" if len(self) > _SHOWN else ""
        sheet, unit = self.contact_sheet, length_unit(self.summary["config"]["features"])
        return notebook.block(
            f"{len(self):,} of {sum(self.sizes.values()):,} rows chosen",
            notebook.table(["", "selection", "random"], told),
            notebook.table(["source", *(column.replace("_", " ") for column in columns)], by_source),
            notebook.lines({"distance": curve}, x="rank (number)", y=f"distance to the nearest earlier pick ({unit})"),
            "" if sheet is None else notebook.picture(sheet, "the first of the chosen images"),
            notebook.table(shown, first),
            notebook.paragraph(rest) if rest else "",
        )


@with_rows_in_files
def select(
    sources: Any,
    n: int,
    *,
    method: str | Selector = "greedy",
    features: Any = None,
    guard: str | Guard | None = None,
    trusted: str | None = None,
    approximate: float | None = None,
    quotas: Mapping[str, float] | None = None,
    balance: bool = False,
    given: Sequence[str] = (),
    labels: Any = None,
    columns: Sequence[str] = (),
    resize: int | None = None,
    bit_depth: int | None = None,
    normalize: bool = False,
    skip_bad: bool = False,
    seed: int = 0,
    device: str = "auto",
    engine: str | None = None,
    workers: int | None = None,
    files: Files = "none",
    out: str | os.PathLike[str] | None = None,
    work: str | os.PathLike[str] | None = None,
    budget_seconds: float | None = None,
    say: Say = lambda line: None,
    **parameters: Any,
) -> Selected:
    """Choose `n` diverse rows of images or embeddings, and say what the choice tells beside a random one.

    Parameters
    ----------
    sources
        What to choose from: one thing, or a mapping of names to things, each a path, an array, a tensor, a frame, a
        list of Pillow images or a Hugging Face data set; see `entropick.sources.sources_of`.
    n
        How many to choose.
    method
        A selector's name, such as "greedy", "threshold-decay", "density-greedy", "gist", "latent-space-filter",
        "random", or a selector of your own.
    features
        How images are compared: a name ("pixels", "dinov2"), a table with ``kind``, a `Features`, or embeddings, one of
        each image: the path of a file, a folder or pattern of shards, an array, a tensor, or a frame, whose rows are
        joined by a column of names. None compares pixels, or the embeddings that the sources are.
    guard
        The name of a source to trust, so that what is extremely far from it is set aside first; or a `Guard`.
    trusted
        The source that "density-greedy" and "gist" want rows to be like, and that "latent-space-filter" learns from;
        None: the first.
    approximate
        Between 0 and 1: "greedy" from a core-set of the pool, with a certificate of what that may cost, in
        ``summary["certificate"]``; see `entropick.selectors.ApproximateGreedy`. None is exact.
    quotas
        Name of a source -> its least share.
    balance
        All classes get equally many places, as far as they have rows.
    given
        Names of sources whose rows are picked already: `n` more are chosen, far from them too.
    labels, columns
        See `entropick.sources.sources_of`.
    resize
        Compare images at this height and width.
    bit_depth
        How many bits the values of 16-bit grey images have; they are scaled to 8. None refuses such images.
    normalize
        Bring features to length 1, for those that are meant to be compared by their cosines.
    skip_bad
        Go on without images that cannot be used; they are in ``summary["skipped"]``.
    seed
        What every random number depends on.
    device
        Where distances are computed: "auto", "cpu", "cuda".
    engine, workers
        Workers that read and compare, for "greedy" (`approximate` too), "threshold-decay" and "density-greedy":
        "processes[:N]" or "ray[:ADDRESS]", and how many there are; None is this process alone. The rows chosen are the
        same. What starts processes has to be below ``if __name__ == "__main__":`` in a script.
    files
        "link" or "copy" the chosen image files into ``out/selected``. Links are hard ones where that is possible: an
        edit there edits the original.
    out
        A folder for all that the command writes; the same call goes on or reads what is there. None writes nothing:
        results are in memory, and whatever was needed on the way was in a temporary folder that is gone.
    work
        Where features and checkpoints are kept, for several calls; None: in `out`.
    budget_seconds
        Stop after this time, at the next checkpoint, with BudgetSpent.
    say
        Called with each line that is worth telling, for instance ``print``.
    **parameters
        Any other parameter of the selector, for instance ``decay=0.9``.

    Raises
    ------
    InputError
        For what cannot be used; the message says what to do.
    RunChanged
        `out` holds another selection.
    BudgetSpent, RunLocked, StorageError
        See `entropick.sources.FilesCommand.run`.

    Examples
    --------
    >>> import numpy as np
    >>> points = np.array([[0.0], [0.1], [5.0], [9.0]])
    >>> sorted(select(points, 3, initial=[0]).indices.tolist())
    [0, 2, 3]
    """
    columns = texts(columns, name="columns")
    seed = check_count(seed, name="seed", minimum=0)
    files = cast(Files, check_choice(files, get_args(Files), name="files"))
    if not isinstance(quotas, Mapping | None):
        raise InputError(f"quotas: expected a mapping of names of sources to shares, got {shown(quotas)}.")
    opened = sources_of(sources, labels=labels, columns=columns, bit_depth=bit_depth)
    choice = Choice(
        sources=opened,
        selector=_selector(opened, method, n, seed, device, trusted, approximate, parameters),
        space=space_of(features, opened, columns=columns, resize=resize, normalize=normalize),
        guard=guard_of(opened, guard),
        quotas=dict(quotas or {}),
        balance=check_flag(balance, name="balance"),
        given=texts(given, name="given"),
        files=files,
        engine=engine_of(engine, workers),
        skip_bad=check_flag(skip_bad, name="skip_bad"),
        seed=seed,
    )
    if files in ("link", "copy") and out is None:
        raise InputError(f"files: expected a folder in out= to {files} them into, got none.")

    def read(folder: Path, summary: dict[str, Any]) -> Selected:
        sheet = folder / SHEET
        return Selected(
            summary,
            _told({name: _listed(column) for name, column in read_content(folder / MANIFEST).items()}, opened),
            {source.name: len(source) for source in opened},
            sheet.read_bytes() if sheet.is_file() else None,
            (folder / PAGE).read_text(encoding="utf-8"),
            None if out is None else folder,
        )

    return call(choice, read, out=out, work=work, budget_seconds=budget_seconds, say=say)


def _selector(
    sources: Sequence[Source],
    method: str | Selector,
    n: int,
    seed: int,
    device: str,
    trusted: str | None,
    approximate: float | None,
    parameters: Mapping[str, Any],
) -> Selector:
    if isinstance(random := parameters.get("random_state"), np.random.Generator):
        raise InputError(
            f"random_state: expected a whole number, by which the choice can be told and repeated, got {shown(random)}."
        )
    if "n_samples" in parameters:
        raise InputError(f"n_samples: expected n alone, got {n} and {shown(parameters['n_samples'])}. Leave it out.")
    if isinstance(method, Selector):
        if approximate is not None:
            raise InputError(
                "approximate: expected the method 'greedy', got a Selector. Give ApproximateGreedy(eps=...)."
            )
        given: dict[str, Any] = {"n_samples": n, **parameters}
        if trusted is not None:
            given["trusted"] = source_number(sources, trusted, role="trusted")
        if getattr(method, "random_state", 0) is None:
            given = {"random_state": seed, **given}
        return replace(method).set_params(**given)
    if not isinstance(method, str):
        raise InputError(f"method: expected a selector's name or a Selector, got {shown(method)}.")
    table = selector_table(sources, method, n, seed=seed, device=device, trusted=trusted, approximate=approximate)
    cls = component_class("selector", table.pop("kind"), "method")
    for name in (*table, *parameters):
        check_known(name, cls.parameter_names(), f"method {shown(method)}", noun="parameter ")
    made: Selector = cls(**{**table, **parameters})
    return made


def _told(table: dict[str, list[Any]], sources: Sequence[Source]) -> dict[str, list[Any]]:
    """The manifest, without places on the disk for what is in memory."""
    in_memory = {source.name: str(source.path) for source in sources if source.in_memory}
    if in_memory:
        table["path"] = [in_memory.get(of, path) for of, path in zip(table["source"], table["path"], strict=True)]
        table.pop("base", None)
    return table


def _listed(column: Any) -> list[Any]:
    return list(column.tolist() if hasattr(column, "tolist") else column)
