"""What a stage depends on: declared beforehand, hashed into its key, and all that can be reached while it is computed.

A key that is typed by hand beside a function that loads what it likes is right until somebody changes one of the two.
Here there is one list: `Inputs` makes the key, and `Given` opens what stands in it and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from entropick.errors import RunDamaged, UndeclaredInput
from entropick.run.files import fingerprint
from entropick.run.ledger import Entry

# The version of the numbers: part of every key, so that results of another version are not linked as if they were
# those of this one. Raise it when a stage of the same inputs gives other results; the golden tests remind.
NUMERICS = 1


@runtime_checkable
class Identified(Protocol):
    """What says in plain data all that decides about what it computes, such as every component."""

    def identity(self) -> dict[str, Any]:
        """JSON-able; equal for equal results."""


@dataclass(frozen=True)
class Content:
    """Something that is known by its content and not by where it lies: equal content shares a stage, however it came.

    Attributes
    ----------
    sha256
        What it must hash to (hexadecimal).
    load
        How to come by it.
    hash
        How to hash what was loaded.
    """

    sha256: str
    load: Callable[[], Any]
    hash: Callable[[Any], str]


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that the result of a stage is a function of, besides its iteration and its name.

    Attributes
    ----------
    settings
        Plain data fit for JSON, and what has an `identity`; lists and mappings of both.
    files
        Files of earlier stages: their entry and their name in it. Their sha256 goes into the key.
    content
        What is known by its content.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, tuple[Entry, str]] = field(default_factory=dict)
    content: Mapping[str, Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [*self.settings, *self.files, *self.content]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"inputs: expected different names, got {', '.join(twice)} more than once.")

    def key(self, iteration: int, stage: str) -> str:
        """The fingerprint by which a result of these inputs is known."""
        return fingerprint(
            {
                "numerics": NUMERICS,
                "iteration": iteration,
                "stage": stage,
                "settings": _plain(self.settings),
                "files": {name: self.sha256(name) for name in self.files},
                "content": {name: self.sha256(name) for name in self.content},
            }
        )

    def sha256(self, name: str) -> str:
        """The hash that a declared file or content must have; KeyError for anything else."""
        if name in self.content:
            return self.content[name].sha256
        entry, file = self.files[name]
        return entry.files[entry.path(file)].sha256


class Given:
    """What a stage can reach: its declared inputs. Anything else is an `UndeclaredInput` error.

    ``given["seed"]`` is a setting, ``given.load("images")`` a file or content, ``"labels" in given`` whether there is
    an input of that name.
    """

    def __init__(self, iteration: int, stage: str, inputs: Inputs, load: Callable[[Entry, str], Any]) -> None:
        self.iteration = iteration
        self.stage = stage
        self._inputs = inputs
        self._load = load

    def __getitem__(self, name: str) -> Any:
        """The setting of that name."""
        if name not in self._inputs.settings:
            raise self._undeclared("a setting", name, self._inputs.settings)
        return self._inputs.settings[name]

    def __contains__(self, name: str) -> bool:
        inputs = self._inputs
        return name in inputs.settings or name in inputs.files or name in inputs.content

    def load(self, name: str) -> Any:
        """What a declared file holds, or declared content, which is hashed again.

        Raises
        ------
        RunDamaged
            It is not what was declared.
        """
        self._check(name)
        if name in self._inputs.files:
            return self._load(*self._inputs.files[name])
        content = self._inputs.content[name]
        loaded = content.load()
        if (came := content.hash(loaded)) != content.sha256:
            raise RunDamaged(
                f"iteration {self.iteration}, stage {self.stage!r}: expected {name} with sha256 "
                f"{content.sha256[:12]}…, but what was loaded has {came[:12]}…. `entropick verify` names everything "
                "damaged."
            )
        return loaded

    def sha256(self, name: str) -> str:
        """The hash (hexadecimal) of a declared file or content."""
        self._check(name)
        return self._inputs.sha256(name)

    def _check(self, name: str) -> None:
        if name not in self._inputs.files and name not in self._inputs.content:
            raise self._undeclared("an input", name, {**self._inputs.files, **self._inputs.content})

    def _undeclared(self, kind: str, name: str, declared: Mapping[str, Any]) -> UndeclaredInput:
        return UndeclaredInput(
            f"iteration {self.iteration}, stage {self.stage!r}: expected {kind} that was declared "
            f"({', '.join(sorted(declared)) or 'none was'}), but {name!r} was asked for. "
            "Add it to the Inputs of the stage: what is not declared is not part of its key."
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Identified):
        return value.identity()
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
