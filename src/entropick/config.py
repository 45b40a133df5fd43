"""Study files: TOML in, components out. The one place where a name becomes an object."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import importlib
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any

from entropick.arrays import check_count
from entropick.component import Component
from entropick.errors import ConfigError
from entropick.loop import Loop
from entropick.study import Study

Table = dict[str, Any]

# Third parties add to these through entry points of the group "entropick.<section>s" (or "entropick.features").
_BUILT_IN: dict[str, dict[str, str]] = {
    "dataset": {
        "digits": "entropick.datasets:Digits",
        "array-file": "entropick.datasets:ArrayFile",
        "image-folder": "entropick.datasets:ImageFolder",
    },
    "paradigm": {
        "replace": "entropick.paradigms:Replace",
        "accumulate": "entropick.paradigms:Accumulate",
    },
    "selector": {
        "random": "entropick.selectors.random:Random",
        "greedy": "entropick.selectors.greedy:Greedy",
        "threshold-decay": "entropick.selectors.threshold_decay:ThresholdDecay",
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
_STUDY_KEYS = ("name", "title", "description", "seeds", "threads", "checkpoint_seconds", "n_images", "loop", "arms")
_LOOP_NUMBERS = ("n_iterations", "n_generated", "metrics")
_LOOP_KEYS = (*_BUILT_IN, "evaluation", *_LOOP_NUMBERS, "pool_factor")
_NO_SELECTOR = "none"


def kinds(section: str) -> dict[str, str]:
    """The names that a section of a study file can use, with the ``module:Class`` behind each."""
    group = f"entropick.{section.removesuffix('s')}s"
    added = {point.name: point.value for point in entry_points(group=group)}
    # What the package itself calls by a name stays what is meant by it.
    return {**added, **_BUILT_IN[section]}


def presets() -> dict[str, str]:
    """The studies that come with the package: name -> title."""
    folder = files("entropick") / "presets"
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    return {name.removesuffix(".toml"): tomllib.loads((folder / name).read_text())["title"] for name in names}


def load_study(source: str, overrides: Iterable[tuple[str, Any]] = (), *, arms: Sequence[str] = ()) -> Study:
    """Read a preset by name or a study file by path.

    Parameters
    ----------
    source
        A preset's name, or the path of a ``.toml`` file.
    overrides
        (dotted key, value) pairs that replace what the file says, for instance ``("loop.generator.steps", 500)``.
    arms
        Names of the arms to keep; empty keeps all.

    Raises
    ------
    ConfigError
        The preset or file is unknown or not TOML; a key, kind or arm is unknown; a value has the wrong type.
    """
    table = _read(source)
    of_loops = []
    for key, value in overrides:
        if key.startswith("loop."):
            # Last, so that an arm's own settings do not hide what was asked for on the command line.
            of_loops.append((key.removeprefix("loop."), value))
        else:
            _override(table, _split_key(key, table), value, key)
    study = _build_study(table, of_loops, source)
    if unknown := [name for name in arms if name not in study.arms]:
        raise ConfigError(f"arms: there is no {unknown[0]!r} in {source!r}; it has {', '.join(study.arms)}.")
    return dataclasses.replace(study, arms={name: study.arms[name] for name in arms}) if arms else study


def build(section: str, value: Any, *, where: str) -> Any:
    """Make the component that a study file describes: a kind's name, or a table with ``kind`` and parameters."""
    table = {"kind": value} if isinstance(value, str) else value
    if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
        raise ConfigError(f'{where}: expected a kind\'s name or a table with kind = "...", got {value!r}.')
    cls = _component_class(section, table["kind"], where)
    table = {**_SHORT.get(section, {}).get(table["kind"], {}), **table}
    params = {name: value for name, value in table.items() if name != "kind"}
    hints = typing.get_type_hints(cls)
    for name, given in params.items():
        _check_known(name, cls.parameter_names(), f"{where} (kind {table['kind']!r})")
        params[name] = _conform(given, hints[name], f"{where}.{name}")
    required = [f.name for f in dataclasses.fields(cls) if _is_required(f) and f.name not in params]
    if required:
        sizes = " (or n_images at the top of the file, which sizes everything)" if "n_samples" in required else ""
        raise ConfigError(f"{where}: kind {table['kind']!r} needs {', '.join(required)}{sizes}.")
    return cls(**params)


def parse_value(text: str) -> Any:
    """A value from the command line: TOML where it is TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _read(source: str) -> Table:
    preset = files("entropick") / "presets" / f"{source}.toml"
    if not source.endswith(".toml"):
        if source not in presets():
            known = ", ".join(presets())
            raise ConfigError(f"there is no preset {source!r}; known are {known}. A study file's name ends in .toml.")
        return tomllib.loads(preset.read_text())
    path = Path(source)
    if not path.is_file():
        raise ConfigError(f"{source}: expected a study file, but there is none. Presets are {', '.join(presets())}.")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{source}: expected a readable study file, but {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{source} is not TOML: {error}.") from error


def _split_key(key: str, table: Table) -> list[str]:
    """A dotted key as its parts; the name of an arm, which may hold dots, is one part and must exist."""
    if not key.startswith("arms."):
        return key.split(".")
    arms = _expect(table.get("arms", {}), dict, "arms")
    rest = key.removeprefix("arms.")
    for arm in sorted(arms, key=len, reverse=True):
        if rest.startswith(f"{arm}."):
            return ["arms", arm, *rest.removeprefix(f"{arm}.").split(".")]
    raise ConfigError(f"{key}: expected arms.NAME.KEY with the name of an arm; there are {', '.join(arms)}.")


def _override(table: Table, parts: Sequence[str], value: Any, key: str) -> None:
    if not all(parts):
        raise ConfigError(f"{key}: expected names between the dots.")
    *parents, last = parts
    for parent in parents:
        inner = table.setdefault(parent, {})
        if isinstance(inner, str):
            inner = table[parent] = {"kind": inner}
        if not isinstance(inner, dict):
            raise ConfigError(f"{key}: {parent!r} is a single value, not a table.")
        table = inner
    table[last] = value


def _override_loops(loops: dict[str, Table], key: str, value: Any) -> None:
    """Change all arms; a parameter of a component changes where the arm's kind has it, which must be somewhere."""
    section, _, parameter = key.partition(".")
    if section not in _BUILT_IN or parameter in ("", "kind"):
        for table in loops.values():
            _override(table, key.split("."), value, f"loop.{key}")
        return
    known: dict[str, None] = {}
    for arm, table in loops.items():
        given = table.get(section, _NO_SELECTOR)
        kind = given.get("kind") if isinstance(given, dict) else given
        if kind in (_NO_SELECTOR, None):
            continue
        names = _component_class(section, kind, f"arm {arm!r}: {section}").parameter_names()
        known.update(dict.fromkeys(names))
        if parameter in names:
            _override(table, [section, parameter], value, f"loop.{key}")
    _check_known(parameter, tuple(known), f"loop.{section}")


def _build_study(table: Table, of_loops: Sequence[tuple[str, Any]], source: str) -> Study:
    for key in table:
        _check_known(key, _STUDY_KEYS, source)
    shared = _expect(table.get("loop", {}), dict, "loop")
    arms = _expect(table.get("arms", {}), dict, "arms")
    n_images = table.get("n_images")
    if n_images is not None:
        check_count(n_images, name="n_images")
    tables = {name: _merge(shared, _expect(arm, dict, f"arms.{name}")) for name, arm in arms.items()}
    for key, value in of_loops:
        _override_loops(tables, key, value)
    loops = {name: _build_loop(loop, n_images, name) for name, loop in tables.items()}
    hints = typing.get_type_hints(Study)
    settings = {key: _conform(table[key], hints[key], key) for key in _STUDY_KEYS[1:6] if key in table}
    for seed in settings.get("seeds", ()):
        check_count(seed, name="seeds", minimum=0)
    name = _expect(table.get("name", Path(source).stem), str, "name")
    return Study(name=name, arms=loops, **settings)


def _build_loop(table: Table, n_images: int | None, arm: str) -> Loop:
    where = f"arm {arm!r}"
    for key in table:
        _check_known(key, _LOOP_KEYS, where)
    if n_images is not None:
        _fill_in(table, n_images, where)
    elif "pool_factor" in table:
        raise ConfigError(f"{where}: pool_factor multiplies the study's n_images, which is not given. Give n_images.")
    parts: Table = {}
    for section in _BUILT_IN:
        if section in table and table[section] != _NO_SELECTOR:
            parts[section] = build(section, table[section], where=f"{where}: {section}")
    evaluation = _expect(table.get("evaluation", []), list, f"{where}: evaluation")
    parts["evaluation"] = tuple(build("features", item, where=f"{where}: evaluation") for item in evaluation)
    hints = typing.get_type_hints(Loop, localns={"Generator": Component})
    numbers = {key: _conform(table[key], hints[key], f"{where}: {key}") for key in _LOOP_NUMBERS if key in table}
    if missing := [section for section in ("dataset", "generator") if section not in parts]:
        raise ConfigError(f"{where}: needs a {missing[0]}. Give it under [loop] or [arms.{arm}].")
    return Loop(**parts, **numbers)


def _fill_in(table: Table, n_images: int, where: str) -> None:
    """``n_images`` of the study sizes the real data, the selections and, times ``pool_factor``, what is generated."""
    factor = check_count(table.pop("pool_factor", 1), name=f"{where}: pool_factor")
    table.setdefault("n_generated", factor * n_images)
    for section, name in (("dataset", "n_images"), ("selector", "n_samples")):
        value = table.get(section)
        if value is not None and value != _NO_SELECTOR:
            inner = {"kind": value} if isinstance(value, str) else dict(_expect(value, dict, f"{where}: {section}"))
            table[section] = {name: n_images, **inner}


def _merge(shared: Table, arm: Table) -> Table:
    """An arm's settings over the shared ones; a component's table without a kind changes single parameters."""
    merged = copy.deepcopy(shared)
    for key, value in copy.deepcopy(arm).items():
        old = merged.get(key)
        if isinstance(value, dict) and "kind" not in value and isinstance(old, str | dict):
            merged[key] = {**({"kind": old} if isinstance(old, str) else old), **value}
        else:
            merged[key] = value
    return merged


def _component_class(section: str, kind: str, where: str) -> Any:
    known, short = kinds(section), _SHORT.get(section, {})
    _check_known(kind, (*known, *short), where, noun="kind ")
    kind = short.get(kind, {}).get("kind", kind)
    module, _, name = known[kind].partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{where}: kind {kind!r} stands for {known[kind]}, which cannot be imported ({error}). "
            "Mend or remove the package that brings it."
        ) from error


def _check_known(key: str, known: Sequence[str], where: str, *, noun: str = "") -> None:
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known_names = ", ".join(known) or "none"
        raise ConfigError(f"{where}: there is no {noun}{key!r}; known are {known_names}.{hint}")


def _is_required(f: dataclasses.Field[Any]) -> bool:
    return f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _expect(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        names: dict[Any, str] = {dict: "a table", list: "a list", str: "text"}
        raise ConfigError(f"{where}: expected {names[kind]}, got {value!r}.")
    return value


def _conform(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type that a parameter is annotated with, or a ConfigError."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    for option in options:
        matched, converted = _match(value, option)
        if matched:
            return converted
    raise ConfigError(f"{where}: expected {_name(hint)}, got {value!r}.")


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


def _name(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
