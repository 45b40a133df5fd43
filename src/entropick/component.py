"""What selectors, generators, features, paradigms and datasets have in common: they are their configuration.

A `Registry` is the names by which study files and commands know them, and whatever else can be added by name. What
a component needs of other packages, and not everyone has, it gets from `require`.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, ClassVar, Self

from entropick.errors import ConfigError, InputError, MissingDependency, shown


class Component:
    """A keyword-only dataclass of plain parameters, until it is fitted; fitted state ends in ``_``.

    A subclass is decorated with ``@dataclass(kw_only=True)``, names its `kind` (the word that stands for it in a study
    file) and overrides `check` where a parameter can be wrong. The constructor only stores.
    ``sklearn.base.clone`` works on every component.
    """

    kind: ClassVar[str] = ""

    @classmethod
    def parameter_names(cls) -> tuple[str, ...]:
        """The names that the constructor takes, in order."""
        return tuple(f.name for f in dataclasses.fields(cls) if f.init)  # type: ignore[arg-type]

    @property
    def called(self) -> str:
        """What messages call it: its kind, or its class where that has no kind of its own."""
        return shown(vars(type(self)).get("kind") or type(self).__name__)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name, as stored (`deep` is there for scikit-learn; components do not nest)."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name and return self; an unknown name is an InputError."""
        known = self.parameter_names()
        for name in params:
            if name not in known:
                raise InputError(f"{type(self).__name__} has no parameter {shown(name)}; it has {', '.join(known)}.")
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def check(self) -> None:
        """Raise InputError if a parameter is unusable; looks at parameters only, never at data."""

    def describe(self) -> dict[str, Any]:
        """The component as plain data, ``{"kind": ..., parameter: value, ...}``, fit for JSON and TOML."""
        name = self.kind or f"{type(self).__module__}:{type(self).__qualname__}"
        return {"kind": name, **{key: _plain(value) for key, value in self.get_params().items()}}

    def identity(self) -> dict[str, Any]:
        """All that decides about what it computes, besides its data: what results are kept and shared by.

        The parameters, and where there is more, such as weights, a hash of it.
        """
        return self.describe()


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "__fspath__"):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


@dataclasses.dataclass(frozen=True)
class Registry:
    """Names that stand for objects: the package's own, and those that installed packages add by entry points.

    Attributes
    ----------
    group
        The entry-point group that third parties add to, for instance ``entropick.selectors``.
    built_in
        Name -> ``module:attribute``. What the package itself calls by a name stays what is meant by it.
    """

    group: str
    built_in: Mapping[str, str]

    def names(self) -> dict[str, str]:
        """All names, the package's own last, with the ``module:attribute`` behind each; nothing is imported."""
        return {**{point.name: point.value for point in entry_points(group=self.group)}, **self.built_in}

    def load(self, name: str) -> Any:
        """The object behind a name; ConfigError if it cannot be imported, KeyError if there is no such name."""
        # What is built in is found without a look at all that is installed.
        target = self.built_in.get(name) or self.names()[name]
        module, _, attribute = target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (Exception, SystemExit) as error:  # whatever code of others does when it is imported
            reason = str(error) if isinstance(error, ImportError | AttributeError) else repr(error)
            raise ConfigError(
                f"{shown(name)} stands for {target}, which cannot be imported ({reason}). "
                "Mend or remove the package that brings it."
            ) from error


def check_known(key: str, known: Sequence[str], where: str, *, noun: str = "") -> None:
    """Raise ConfigError, with the known names and the closest one, if `key` is none of them."""
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {shown(close[0])}?" if close else ""
        known_names = ", ".join(known) or "none"
        raise ConfigError(f"{where}: there is no {noun}{shown(key)}; known are {known_names}.{hint}")


def require(package: str, *, wanted_by: str, extra: str = "") -> ModuleType:
    """Import a package, or a module of one, that only some need.

    Raises
    ------
    MissingDependency
        It is not installed, or does not fit the others; the message says what mends it.
    """
    try:
        return importlib.import_module(package)
    except Exception as error:
        name = package.partition(".")[0]
        came = f"it cannot be imported ({error})" if importlib.util.find_spec(name) else "it is not installed"
        advice = f"In a checkout of entropick run: pip install '.{f'[{extra}]' if extra else ''}'"
        if "torchvision" in str(error):
            advice = "Install the torchvision that was built for the installed torch, or remove it if nothing needs it."
        raise MissingDependency(f"{wanted_by}: expected the package {name}, but {came}. {advice}") from error
