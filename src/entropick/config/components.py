"""The one place where a name becomes an object, and a value of a study file what a parameter is annotated with."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from typing import Any

from entropick.component import Component, Registry, check_known
from entropick.errors import ConfigError, cut, shown

Table = dict[str, Any]

# Third parties add to these through entry points of the group "entropick.<section>s" (or "entropick.features").
BUILT_IN: dict[str, dict[str, str]] = {
    "dataset": {
        "digits": "entropick.datasets:Digits",
        "array-file": "entropick.datasets:ArrayFile",
        "image-folder": "entropick.datasets:ImageFolder",
    },
    "paradigm": {
        "replace": "entropick.paradigms:Replace",
        "accumulate": "entropick.paradigms:Accumulate",
        "fresh-data": "entropick.paradigms:FreshData",
        "fixed-real-share": "entropick.paradigms:FixedRealShare",
    },
    "selector": {
        "random": "entropick.selectors.random:Random",
        "greedy": "entropick.selectors.greedy:Greedy",
        "approximate-greedy": "entropick.selectors.approximate:ApproximateGreedy",
        "threshold-decay": "entropick.selectors.threshold_decay:ThresholdDecay",
        "density-greedy": "entropick.selectors.density_greedy:DensityGreedy",
        "gist": "entropick.selectors.gist:Gist",
        "latent-space-filter": "entropick.selectors.ranked:LatentSpaceFilter",
        "denoising-loss": "entropick.selectors.ranked:DenoisingLoss",
    },
    "guard": {
        "outlier-guard": "entropick.selectors.guards:OutlierGuard",
    },
    "features": {
        "pixels": "entropick.features.pixels:Pixels",
        "dinov2": "entropick.features.encoder:DINOv2",
        "inception": "entropick.features.inception:Inception",
        "encoder": "entropick.features.encoder:Encoder",
        "classifier": "entropick.features.classifier:Classifier",
    },
    "generator": {
        "ddpm": "entropick.generators.ddpm:DDPM",
        "kde": "entropick.generators.kde:KDE",
    },
}
# Short names of kinds with a parameter.
_SHORT: dict[str, dict[str, Table]] = {
    "features": {f"dinov2-{size}": {"kind": "dinov2", "size": size} for size in ("small", "base", "large", "giant")},
}
# A loop can do without these.
MAY_BE_NONE = ("selector", "guard")
NONE = "none"

# ${NAME}, or ${NAME:-what stands there without it}, as in a shell.
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def kinds(section: str) -> dict[str, str]:
    """The names that a section of a study file can use, with the ``module:Class`` behind each."""
    return _registry(section).names()


def is_known(section: str, name: str) -> bool:
    """Whether a name stands for a kind, or for one with parameters."""
    return name in kinds(section) or name in _SHORT.get(section, {})


def _registry(section: str) -> Registry:
    return Registry(f"entropick.{section.removesuffix('s')}s", BUILT_IN[section])


def build(section: str, value: Any, *, where: str) -> Any:
    """Make the component that a study file describes: a kind's name, or a table with ``kind`` and parameters."""
    table = {"kind": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
        raise ConfigError(f'{where}: expected a kind\'s name or a table with kind = "...", got {shown(value)}.')
    if section in MAY_BE_NONE and table["kind"] == NONE and len(table) > 1:
        given = ", ".join(shown(name) for name in table if name != "kind")
        raise ConfigError(
            f'{where}: expected a kind that has {given}, but the {section} is "none". Give a kind beside it, such as '
            f'kind = "{next(iter(BUILT_IN[section]))}".'
        )
    table = {**_SHORT.get(section, {}).get(table["kind"], {}), **table}
    cls = component_class(section, table["kind"], where)
    params = {name: value for name, value in table.items() if name != "kind"}
    hints = typing.get_type_hints(cls)
    for name, given in params.items():
        check_known(name, cls.parameter_names(), f"{where} (kind {shown(table['kind'])})")
        given = expanded(given, f"{where}.{name}") if isinstance(given, str) else given
        params[name] = conform(given, hints[name], f"{where}.{name}")
    unset = [f for f in dataclasses.fields(cls) if f.init and f.name not in params]
    if required := [f.name for f in unset if f.default is f.default_factory is dataclasses.MISSING]:
        sizes = " (or n_images at the top of the file, which sizes everything)" if "n_samples" in required else ""
        raise ConfigError(f"{where}: kind {shown(table['kind'])} needs {', '.join(required)}{sizes}.")
    return cls(**params)


def component_class(section: str, kind: str, where: str) -> Any:
    """The class behind a kind; ConfigError if there is no such kind, or its package is broken."""
    known, short = kinds(section), _SHORT.get(section, {})
    check_known(kind, (*known, *short), where, noun="kind ")
    kind = short.get(kind, {}).get("kind", kind)
    try:
        found = _registry(section).load(kind)
    except ConfigError as error:
        raise ConfigError(f"{where}: kind {error}") from error
    if not (isinstance(found, type) and issubclass(found, Component)):
        raise ConfigError(
            f"{where}: kind {kind!r} stands for {known[kind]}, expected a class of component there, got "
            f"{shown(found)}. Mend or remove the package that brings it."
        )
    return found


def parse_value(text: str) -> Any:
    """A value from the command line: TOML where it is TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):  # no TOML, or a number of more digits than Python reads
        return text


def expanded(text: str, where: str) -> str:
    """`text` with environment variables put in: ``${NAME}``, or ``${NAME:-default}``.

    >>> expanded("${NO_SUCH_VARIABLE:-here}/a.npz", "path")
    'here/a.npz'
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            raise ConfigError(
                f"{where}: {shown(text)} wants the environment variable {cut(name)}, which is not set. "
                f"Set it, for instance by `export {cut(name)}=...`."
            )
        return found

    return _VARIABLE.sub(value, text)


def expect(value: Any, kind: type, where: str) -> Any:
    """`value` if it is of this kind, else a ConfigError."""
    if not isinstance(value, kind):
        raise ConfigError(f"{where}: expected {in_words(kind)}, got {shown(value)}.")
    return value


def conform(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type that a parameter is annotated with, or a ConfigError."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        matched, converted = _match(value, option)
        if matched:
            return converted
    raise ConfigError(f"{where}: expected {in_words(hint)}, got {shown(value)}.")


def _match(value: Any, option: Any) -> tuple[bool, Any]:
    origin = typing.get_origin(option) or option
    if option is float and isinstance(value, int) and not isinstance(value, bool):
        return True, float(value)
    if origin is tuple and isinstance(value, list):
        inner = typing.get_args(option)[0]
        matches = [_match(item, inner) for item in value]
        return all(matched for matched, _ in matches), tuple(item for _, item in matches)
    if origin is typing.Literal:
        return value in typing.get_args(option), value
    if origin in (int, float, str, bool, type(None), list, dict):
        return type(value) is origin, value
    # A type that TOML has no notion of: the component's own check decides.
    return origin not in (tuple, type(None)), value


# Types as their users know them: one value, and several in a list.
_WORDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "values true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    list: ("a list", "lists"),
    dict: ("a table", "tables"),
}


def in_words(hint: Any, *, several: bool = False) -> str:
    """What a parameter is annotated with, as a user is told of it.

    >>> in_words(int | typing.Literal["auto"] | None), in_words(tuple[str, ...])
    ('a whole number or "auto"', 'a list of texts')
    """
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return " or ".join(in_words(of, several=several) for of in inner if of is not type(None))
    if kind is typing.Literal:
        return " or ".join(f'"{of}"' if isinstance(of, str) else str(of) for of in inner)
    if kind is tuple:
        return f"{'lists' if several else 'a list'} of {in_words(inner[0], several=True)}"
    return _WORDS[kind][several] if kind in _WORDS else getattr(kind, "__name__", str(kind))
