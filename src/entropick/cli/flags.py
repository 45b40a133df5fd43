"""What the commands' flags have in common."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.constructors import PrimitiveConstructorSpec, PrimitiveTypeInfo

from entropick.cli.terminal import Bar, Terminal
from entropick.config import parse_value
from entropick.config.components import in_words
from entropick.datasets.listing import expanded
from entropick.errors import ConfigError, EntropickError, cut, shown
from entropick.processes.hardware import limited_memory
from entropick.run.folder import working_in
from entropick.sources import FilesCommand
from entropick.sources.cost import WORKING_BYTES
from entropick.sources.scratch import spilled_into

_BYTES = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([KMGT]?)")
_BUDGET = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def assignments(texts: Sequence[str], *, example: str) -> list[tuple[str, Any]]:
    """The (key, value) pairs of a flag ``--set KEY=VALUE``; values are TOML where they can be, else text."""
    pairs = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set: expected KEY=VALUE, for instance {example}, got {shown(text)}.")
        pairs.append((key.strip(), parse_value(value.strip())))
    return pairs


def says(default: str, *, metavar: str | None = None) -> Any:
    """A flag whose help says what happens without it, where the field itself only holds None."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


def numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    """A rule for tyro: how a flag with a number, or with several whole ones, is read, and what is said of others."""
    is_union = typing.get_origin(info.type) in (typing.Union, types.UnionType)
    kinds = [of for of in (typing.get_args(info.type) if is_union else (info.type,)) if of is not type(None)]
    several = kinds == [tuple[int, ...]]
    one: Any = int if several else next(iter(kinds), None)
    if len(kinds) > 1 or one not in (int, float):
        return None

    def read(texts: list[str]) -> Any:
        found = []
        for text in texts:
            try:
                found.append(one(text))
            except ValueError:
                raise ValueError(f"expected {in_words(one, several=several)}, got {shown(text)}.") from None
        return tuple(found) if several else found[0]

    return PrimitiveConstructorSpec(
        nargs="*" if several else 1,
        metavar=one.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda value: value is None or isinstance(value, tuple if several else one),
        str_from_instance=lambda value: list(map(str, value)) if isinstance(value, tuple) else [str(value)],
    )


def default_directory(name: str) -> Path:
    """The directory of a study that was given none; ConfigError for a name that would lead elsewhere."""
    if name in ("", "..") or Path(name).name != name:
        raise ConfigError(
            f"name: expected a name that a directory can have, got {shown(name)}. Change it, or give --out."
        )
    return Path("runs") / name


def check_directory(path: Path, *, flag: str) -> None:
    """Raise ConfigError if `path` is no directory and cannot become one, because there is a file in its place."""
    try:
        if "\0" in str(path):
            raise ValueError("no name has a null byte")
        existing = next(place for place in (path, *path.absolute().parents) if place.exists())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{flag}: expected a usable path, got {cut(path)} ({reason}). Give another path.") from None
    if not existing.is_dir():
        raise ConfigError(f"{flag}: expected a directory, but {existing} is a file. Give another path.")


def all_of(given: Sequence[Sequence[str]], *, flag: str) -> list[str]:
    """What was given to a flag that may be repeated; ConfigError if it was given without a value."""
    if not all(given):
        raise ConfigError(f"{flag}: expected at least one value after it, got none. Give one, or leave the flag out.")
    return [text for texts in given for text in texts]


def parse_bytes(text: str) -> int:
    """Bytes of a size such as 3G or 512M, in powers of 1,024.

    >>> parse_bytes("3G"), parse_bytes("512M")
    (3221225472, 536870912)
    """
    match = _BYTES.fullmatch(text.strip())
    if not match or not (size := int(float(match[1]) * 1024 ** (" KMGT".index(match[2] or " ")))):
        raise ConfigError(f"--memory: expected a size such as 3G or 512M, got {shown(text)}.")
    if size < WORKING_BYTES:
        raise ConfigError(
            f"--memory: expected at least {WORKING_BYTES >> 20}M, which Python and torch take by themselves, got "
            f"{shown(text)}. Give more, with a unit (K, M, G, T), or leave the flag out."
        )
    return size


def parse_budget(text: str) -> float:
    """Seconds of a duration such as 90s, 10m or 1h30m.

    >>> parse_budget("1h30m"), parse_budget("90")
    (5400.0, 90.0)
    """
    match = _BUDGET.fullmatch(text.strip())
    if not match or not any(match.groups()):
        raise ConfigError(f"--budget: expected a duration such as 90s, 10m or 1h30m, got {shown(text)}.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and a summary as plain data."""

    summary: dict[str, Any]
    code: int = 0


class Failed(EntropickError):
    """A command that has failed in part: what is to be told of the rest, as plain data."""

    def __init__(self, reason: str, summary: dict[str, Any]) -> None:
        super().__init__(reason)
        self.summary = summary


@dataclass(kw_only=True)
class OutputFlags:
    """What all commands have in common."""

    quiet: bool = False
    """Print nothing but warnings and errors; the exit code tells how it ended."""
    json: bool = False
    """Print a summary as one line of JSON on stdout; everything else goes to stderr."""

    def __post_init__(self) -> None:
        # Shells leave the ~ of --out=~/chosen as it is.
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Path):
                setattr(self, field.name, expanded(value))
            elif isinstance(value, tuple) and value and all(isinstance(one, Path) for one in value):
                setattr(self, field.name, tuple(map(expanded, value)))

    def console(self) -> Terminal:
        """Where the command prints."""
        return Terminal(stderr=self.json, quiet=self.quiet, soft_wrap=True, highlight=False, markup=False)


@dataclass(kw_only=True)
class FilesFlags(OutputFlags):
    """What `select` and `score` have in common: both go from files into a folder of their own."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """The output folder."""
    skip_bad: bool = False
    """Go on without images or rows that cannot be used, and record them."""
    columns: tyro.conf.UseAppendAction[
        Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME|PATTERN", help_behavior_hint="(may be repeated)")]
    ] = ()
    """Columns of parquet files that are features, for instance 'f*'; else all but names, indices, whole numbers."""
    resize: Annotated[int | None, says("none, or 32 for pixels of many sizes", metavar="N")] = None
    """Compare images at N x N: the shorter side becomes N, then the centre is cut out."""
    bit_depth: Annotated[int | None, says("refuse such images", metavar="BITS")] = None
    """Bits that the values of 16-bit grey images have (16, or for instance 12): scaled to 8, alike in all."""
    normalize: bool = False
    """Bring features to length 1, for embeddings that are meant to be compared by their cosines."""
    seed: int = 0
    """What every random number depends on."""
    budget: Annotated[str | None, says("none", metavar="TIME")] = None
    """Stop cleanly at the next checkpoint after this time (90s, 10m, 1h30m) with exit code 75."""
    work: Annotated[Path | None, says("DIR/work", metavar="DIR")] = None
    """Where features and checkpoints are kept; commands that are given the same one share them."""
    engine: Annotated[str | None, says("this process", metavar="processes[:N]|ray[:ADDRESS]")] = None
    """Workers that read and compare, processes of this machine or on Ray: what comes out is the same."""
    workers: Annotated[int | None, says("one per core, of a Ray cluster per node or GPU", metavar="N")] = None
    """How many workers the engine has."""
    memory: Annotated[str | None, says("what there is", metavar="SIZE")] = None
    """How much of this machine's memory may be used, such as 3G, at least 384M; what needs more is refused."""

    def run(self, made: Callable[[], FilesCommand]) -> tuple[dict[str, Any], Console]:
        """Check the folders, make the command and run it; its result, and where to print that."""
        check_directory(self.out, flag="--out")
        budget_seconds = None if self.budget is None else parse_budget(self.budget)
        limit = None if self.memory is None else parse_bytes(self.memory)
        if self.work is not None:
            check_directory(self.work, flag="--work")
        with limited_memory(limit), working_in(self.out), spilled_into(self.out / ".rows"):
            return self._run(made(), budget_seconds)

    def _run(self, command: FilesCommand, budget_seconds: float | None) -> tuple[dict[str, Any], Console]:
        console = self.console()
        with Bar(console) as bar:
            result = command.run(self.out, work=bar, say=console.print, budget_seconds=budget_seconds, shared=self.work)
        return result, console
