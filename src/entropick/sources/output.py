"""What goes from files into files: commands whose folder is a run directory, and the tables and pictures in it."""

from __future__ import annotations

import csv
import io
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, ClassVar

from entropick.datasets.listing import is_pattern, words_of
from entropick.datasets.remote import RemotePath
from entropick.errors import InputError, StorageError
from entropick.page.document import data_uri
from entropick.run.directory import Run
from entropick.run.files import read_json, storage_errors
from entropick.run.folder import check_config, locked
from entropick.run.history import repair_run, verify_run
from entropick.run.ledger import LEDGER, Entry, Ledger
from entropick.run.seal import CONFIG, Seal
from entropick.run.work_folder import Pace
from entropick.sources.candidates import Contents
from entropick.sources.source import Source, readable
from entropick.sources.space import Space
from entropick.sources.survey import Survey, check_files
from entropick.work import Work

# Up to this side, pictures are enlarged in a page with their pixels as squares, and stored without loss.
_SMALL = 64

Say = Callable[[str], None]
# Between checkpoints.
_SECONDS = 20.0
# Names of files in folders of commands that a pattern for embeddings may find.
_WRITTEN = ("manifest.parquet", "picks.parquet", "duplicates.parquet", "000000000.npy")


@dataclass(frozen=True, kw_only=True)
class FilesCommand(ABC):
    """A command that goes from sources into a folder of its own, such as `Choice` and `Score`.

    The folder is a run directory. What is in it follows from the sources alone, so what is missing or damaged is made
    again. A subclass says what it makes (`product`, "selection"), in which file the `result` is, by which `marks`, keys
    of ``config.json``, it knows its own folders, and what the methods below say.
    """

    product: ClassVar[str]
    result: ClassVar[str]
    marks: ClassVar[tuple[str, ...]]

    sources: Sequence[Source]
    skip_bad: bool = False
    seed: int = 0

    @property
    @abstractmethod
    def compared(self) -> Sequence[Space]:
        """The spaces in which sources are compared."""

    @abstractmethod
    def check(self) -> None:
        """Raise InputError for what is known to be wrong before anything is read."""

    @abstractmethod
    def describe(self, contents: Contents) -> dict[str, Any]:
        """The command as plain data, equal for equal results, "stages" among it; InputError for unusable contents."""

    @abstractmethod
    def foretell(self, contents: Contents, found: Survey, say: Say) -> None:
        """Say what it will take; InputError if too little is usable."""

    @abstractmethod
    def stages(
        self, run: Run, contents: Contents, config: dict[str, Any], found: Survey | None, work: Work, say: Say
    ) -> Entry:
        """Pass all stages; the entry of the last one, which has the `result`. `found` is None if all were finished."""

    def run(
        self,
        out: Path,
        *,
        work: Work | None = None,
        say: Say = lambda line: None,
        budget_seconds: float | None = None,
        shared: Path | None = None,
    ) -> dict[str, Any]:
        """Write all into `out`, and return what the result file holds; the same call goes on where it was interrupted.

        Parameters
        ----------
        out
            The output folder.
        work, say
            Where progress, and what is worth a line, are told.
        budget_seconds
            After this time the next checkpoint ends the call.
        shared
            Where features and checkpoints are kept, for several commands; None for ``work`` in `out`.

        Raises
        ------
        InputError
            For unusable sources or parameters; all unreadable images are named.
        RunChanged
            `out` holds another result; the message is a diff.
        BudgetSpent
            The budget ended, and all so far is kept.
        RunLocked, StorageError
            `out` is in use, or cannot be written.
        """
        work, started = work or Work(), time.monotonic()
        self.check()
        self._check_folder(out)
        contents, found = Contents.of(self.sources, self.compared, work), None
        config = self.describe(contents)
        if self._holds(out, config):
            say(f"{out} is complete already; nothing was computed.")
        else:
            for note in contents.notes():
                say(note)
            found = contents.survey(work)
            _tell(self.sources, self.compared, found, say)
            check_files(self.sources, found, skip_bad=self.skip_bad, work=work)
            self.foretell(contents, found, say)
        self._clear_the_way(out, config, say)
        with Run.open(
            out,
            config,
            shared=shared,
            pace=Pace(_SECONDS, None if budget_seconds is None else started + budget_seconds),
            # That a stage has ended is no progress of anything.
            observer=lambda event: (
                work.progress(event.done, event.total, event.note or event.stage)
                if event.status == "running" and (event.note or event.total)
                else None
            ),
            by_iteration=False,
        ) as run:
            result: dict[str, Any] = run.load(self.stages(run, contents, config, found, work, say), self.result)
            return result

    def _check_folder(self, out: Path) -> None:
        """Refuse a folder in one of the sources, of something else, or of an older entropick."""
        # What is written into a source would be one of its images the next time. realpath minds no loop of links,
        # which is refused where the folder is made.
        real = Path(os.path.realpath(out))
        for name, folder in self._folders_read():
            if Path(os.path.realpath(folder)) in (real, *real.parents):
                raise InputError(
                    f"out: expected a folder outside of what is read, but {readable(str(out))} is in {name} "
                    f"({readable(str(folder))}), whose content would change by it. Give another --out (out=)."
                )
        with storage_errors(out):
            if not out.is_dir() or not any(path.name[0] != "." for path in out.iterdir()):
                return
            config = read_json(out / CONFIG) if (out / CONFIG).is_file() else None
        if not isinstance(config, dict) or not set(self.marks) <= config.keys():
            raise InputError(
                f"out: expected a new folder or one of an earlier {self.product}, but {out} holds other files."
            )
        if (out / self.result).exists() and not (out / LEDGER).exists():
            raise InputError(
                f"out: {out} holds a {self.product} of an entropick that kept no {LEDGER}; its files are as good "
                "as they were, but nothing can be added to them. Give another --out (out=)."
            )

    def _folders_read(self) -> Iterator[tuple[str, Path]]:
        """The folders of this machine that are looked through for images and embeddings, and for what."""
        read = [(source.name, source.path) for source in self.sources if not source.in_memory]
        read += [("features", space.file) for space in self.compared if space.file is not None]
        for name, path in read:
            folder = path
            if is_pattern(path) and "**" in path.parts and any(fnmatch(of, path.name) for of in _WRITTEN):
                folder = Path(*path.parts[: path.parts.index("**")])
            if not isinstance(path, RemotePath) and folder.is_dir():
                yield name, folder

    def _holds(self, out: Path, config: Mapping[str, Any]) -> bool:
        """Whether all stages are finished and whole; RunChanged, with a diff, for a result of another config."""
        check_config(out, config, done=self.result)
        if not (out / LEDGER).exists() or verify_run(out).damages:
            return False
        return set(config["stages"]) <= {entry.stage for entry in Ledger(out)}

    def _clear_the_way(self, out: Path, config: Mapping[str, Any], say: Say) -> None:
        """Cut what is damaged off the ledger; where there is no result yet, another config begins anew."""
        # Again: another process may have finished here while this one looked at its images.
        check_config(out, config, done=self.result)
        if not (out / LEDGER).exists():
            return
        if not (out / self.result).exists() and read_json(out / CONFIG) != config:
            say(f"{out} holds a part of a {self.product} with other settings: it goes, and this one begins anew.")
            with locked(out):
                Seal(out).promise_ledger(0)
                (out / LEDGER).unlink()
        elif (found := verify_run(out)).damages:
            repair_run(found)


def _tell(sources: Sequence[Source], spaces: Sequence[Space], found: Survey, say: Say) -> None:
    """What folders hold beside one picture in each file."""
    for source in sources:
        if source.passed_over:
            say(f"{source.name}: passed over {readable(words_of(source.passed_over))}.")
    sides = {space.name: space.side(found) for space in spaces}
    for name, side in sides.items() if len(set(sides.values())) > 1 else [("", found.side)]:
        if side is not None:
            where = f" in {name}" if name else ""
            cut = "shorter side so long, then the centre (--resize N, resize=N)"
            say(f"images are compared{where} at {side} x {side}: {cut}.")
    for source, n_deep in zip(sources, found.n_deep, strict=False):
        if n_deep:
            scaled = "the upper 8 are"
            if source.bit_depth is not None:
                scaled = f"grey is scaled from 0..{2**source.bit_depth - 1:,} to 0..255, of colour {scaled}"
            say(f"{source.name}: {n_deep:,} of {len(source):,} files have over 8 bits a channel; {scaled} compared.")
    for source, n_frames in zip(sources, found.n_frames, strict=False):
        if n_frames:
            say(
                f"{source.name}: {len(n_frames):,} of {len(source):,} files have several frames or pages "
                f"({sum(n_frames.values()):,} in all); the first of each is used."
            )


def readable_columns(table: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """The table with texts that can be written anywhere, see `readable`."""
    return {
        name: [readable(value) if isinstance(value, str) else value for value in column]
        for name, column in table.items()
    }


def csv_text(table: Mapping[str, Sequence[Any]]) -> str:
    """Columns of equal length as CSV; file names keep their bytes, whatever those are, as surrogates."""
    text = _Lines(newline="")
    # Not every Python quotes an end of a line that it does not write itself, and a name may hold either.
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()


class _Lines(io.StringIO):
    """Text whose lines, written one at a time, end in a line feed alone."""

    def write(self, line: str) -> int:
        return super().write(line.removesuffix("\r\n") + "\n")


def fitted(picture: Any, side: int) -> Any:
    """A Pillow image whose longer side is `side`; enlarged pixels stay squares, reduced ones are averaged."""
    from PIL import Image

    scale = side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)


@dataclass(frozen=True)
class Picture:
    """One picture in a page: its short name, its path, its data; `uri` is None where it cannot be read, or is none."""

    name: str
    path: str
    uri: str | None
    is_small: bool


def picture(source: Source, row: int, path: str, *, side: int = 160) -> Picture:
    """A row of a source for a page: larger ones reduced to `side`, small ones without loss, to be shown enlarged."""
    name = f"row {row:,}"
    if source.kind == "folder":
        # The end of a long name says more than its beginning; the path has all of it.
        *folders, file = source.files[row].relative_to(source.path).parts
        name = readable(f"…/{file}" if folders else file)
    if source.kind == "embeddings":
        return Picture(name, path, None, False)
    try:
        shown = source.picture(row, side=side)
    except StorageError:
        raise
    except Exception:
        # A file that has gone since: the numbers stand without it.
        return Picture(name, path, None, False)
    if max(shown.size) > side:
        shown = fitted(shown, side)
    if max(shown.size) <= _SMALL:
        return Picture(name, path, data_uri("png", encoded(shown, "PNG")), True)
    return Picture(name, path, data_uri("jpeg", encoded(shown, "JPEG", quality=85)), False)


def encoded(picture: Any, file_format: str, **options: Any) -> bytes:
    """A Pillow image as the bytes of a file."""
    stream = io.BytesIO()
    picture.save(stream, file_format, optimize=True, **options)
    return stream.getvalue()
