"""The folder that a command works in which goes from files into files: a run directory, with tables and pictures."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropick.errors import InputError
from entropick.run.directory import Run
from entropick.run.files import read_json, storage_errors
from entropick.run.folder import CONFIG, check_config, locked
from entropick.run.history import repair_run, verify_run
from entropick.run.ledger import LEDGER, Ledger
from entropick.run.work_folder import Pace
from entropick.sources.source import Source, readable
from entropick.work import Work

# Between checkpoints.
_SECONDS = 20.0


@dataclass(frozen=True)
class OutputFolder:
    """The folder `out` of a command that makes a `product`, such as "selection", from `sources`.

    It is a run directory. What is in it follows from the sources alone, so what is missing or damaged is made again.

    Attributes
    ----------
    result
        The file without which nothing is finished: before it is there, another config may begin anew.
    config_keys
        Keys of the ``config.json`` by which the command knows its own folder.
    """

    out: Path
    sources: Sequence[Source]
    product: str
    result: str
    config_keys: Collection[str]

    def check(self) -> None:
        """Raise InputError for a folder in one of the sources, of something else, or of an older entropick."""
        # What is written into a source would be one of its images the next time. realpath minds no loop of links,
        # which is refused where the folder is made.
        real = Path(os.path.realpath(self.out))
        for source in self.sources:
            if source.kind == "folder" and Path(os.path.realpath(source.path)) in (real, *real.parents):
                raise InputError(
                    f"out: expected a folder outside of the sources, but {readable(str(self.out))} is in {source.name} "
                    f"({readable(str(source.path))}), whose images would change by it. Give another --out."
                )
        with storage_errors(self.out):
            if not self.out.is_dir() or not any(path.name[0] != "." for path in self.out.iterdir()):
                return
            config = read_json(self.out / CONFIG) if (self.out / CONFIG).is_file() else None
        if not isinstance(config, dict) or not set(self.config_keys) <= config.keys():
            raise InputError(
                f"out: expected a new folder or one of an earlier {self.product}, but {self.out} holds other files."
            )
        if (self.out / self.result).exists() and not (self.out / LEDGER).exists():
            raise InputError(
                f"out: {self.out} holds a {self.product} of an entropick that kept no {LEDGER}; its files are as good "
                "as they were, but nothing can be added to them. Give another --out."
            )

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether all stages of `config` are finished and whole; RunChanged, with a diff, for another one's result."""
        check_config(self.out, config, done=self.result)
        if not (self.out / LEDGER).exists() or verify_run(self.out).damages:
            return False
        return set(config["stages"]) <= {entry.stage for entry in Ledger(self.out)}

    @contextlib.contextmanager
    def opened(
        self, config: Mapping[str, Any], *, work: Work, deadline: float | None = None, shared: Path | None = None
    ) -> Iterator[Run]:
        """The run directory, with its lock, free of what is damaged; `shared` is another place for what is kept.

        `deadline` is a ``time.time()`` after which the next checkpoint raises BudgetSpent.
        """
        # Again: another process may have finished here while this one looked at its images.
        check_config(self.out, config, done=self.result)
        if (self.out / LEDGER).exists():
            if not (self.out / self.result).exists() and read_json(self.out / CONFIG) != config:
                with locked(self.out):
                    (self.out / LEDGER).unlink()
            elif (found := verify_run(self.out)).damages:
                repair_run(found)
        with Run.open(
            self.out,
            config,
            shared=shared,
            pace=Pace(_SECONDS, deadline),
            observer=lambda event: work.progress(event.done, event.total, event.note or event.stage),
            by_iteration=False,
        ) as run:
            yield run


def readable_columns(table: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The table with texts that can be written anywhere, see `readable`."""
    return {
        name: [readable(value) if isinstance(value, str) else value for value in column]
        for name, column in table.items()
    }


def csv_text(table: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length as CSV; file names keep their bytes, whatever those are, as surrogates."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()


def fitted(picture: Any, side: int) -> Any:
    """A Pillow image whose longer side is `side`; enlarged pixels stay squares, reduced ones are averaged."""
    from PIL import Image

    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)


def encoded(picture: Any, file_format: str, **options: Any) -> bytes:
    """A Pillow image as the bytes of a file."""
    stream = io.BytesIO()
    picture.save(stream, file_format, optimize=True, **options)
    return stream.getvalue()
