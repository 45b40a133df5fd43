"""The one place where a name becomes an object."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from entropick.component import Registry
from entropick.config.values import Table, check_known, conform, expanded
from entropick.errors import ConfigError

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
        "threshold-decay": "entropick.selectors.threshold_decay:ThresholdDecay",
        "density-greedy": "entropick.selectors.density_greedy:DensityGreedy",
    },
    "guard": {
        "outlier-guard": "entropick.selectors.guards:OutlierGuard",
    },
    "features": {
        "pixels": "entropick.features.pixels:Pixels",
        "dinov2": "entropick.features.dinov2:DINOv2",
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


def kinds(section: str) -> dict[str, str]:
    """The names that a section of a study file can use, with the ``module:Class`` behind each."""
    return _registry(section).names()


def _registry(section: str) -> Registry:
    return Registry(f"entropick.{section.removesuffix('s')}s", BUILT_IN[section])


def build(section: str, value: Any, *, where: str) -> Any:
    """Make the component that a study file describes: a kind's name, or a table with ``kind`` and parameters."""
    table = {"kind": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
        raise ConfigError(f'{where}: expected a kind\'s name or a table with kind = "...", got {value!r}.')
    table = {**_SHORT.get(section, {}).get(table["kind"], {}), **table}
    cls = component_class(section, table["kind"], where)
    params = {name: value for name, value in table.items() if name != "kind"}
    hints = typing.get_type_hints(cls)
    for name, given in params.items():
        check_known(name, cls.parameter_names(), f"{where} (kind {table['kind']!r})")
        given = expanded(given, f"{where}.{name}") if isinstance(given, str) else given
        params[name] = conform(given, hints[name], f"{where}.{name}")
    required = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in params]
    if required:
        sizes = " (or n_images at the top of the file, which sizes everything)" if "n_samples" in required else ""
        raise ConfigError(f"{where}: kind {table['kind']!r} needs {', '.join(required)}{sizes}.")
    return cls(**params)


def component_class(section: str, kind: str, where: str) -> Any:
    """The class behind a kind; ConfigError if there is no such kind, or its package is broken."""
    known, short = kinds(section), _SHORT.get(section, {})
    check_known(kind, (*known, *short), where, noun="kind ")
    kind = short.get(kind, {}).get("kind", kind)
    try:
        return _registry(section).load(kind)
    except ConfigError as error:
        raise ConfigError(f"{where}: kind {error}") from error


def _is_required(f: dataclasses.Field[Any]) -> bool:
    return f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
