"""Studies from TOML: files of one's own, and the presets that come with the package."""

from __future__ import annotations

import copy
import dataclasses
import tomllib
import typing
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from entropick.arrays import check_count
from entropick.component import Component, check_known
from entropick.config.components import (
    BUILT_IN,
    MAY_BE_NONE,
    NONE,
    Table,
    build,
    component_class,
    conform,
    expect,
)
from entropick.errors import ConfigError, cut, shown
from entropick.loop.loop import Loop
from entropick.loop.study import Study
from entropick.paradigms import Accumulate

_SETTINGS = ("title", "description", "seeds", "sizes", "threads", "checkpoint_seconds")
_STUDY_KEYS = ("name", *_SETTINGS, "n_images", "loop", "arms")
_EXTENDS = "extends"
# A chain of files that build on each other, before it is taken for a circle.
_MOST_EXTENDED = 10
_LOOP_NUMBERS = (
    *("n_iterations", "n_generated", "garbage_share", "probe_steps", "metrics"),
    *("trusted_classes", "by_class"),
)
_LOOP_KEYS = (*BUILT_IN, "evaluation", *_LOOP_NUMBERS, "pool_factor")


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
    table = _read_whole(source)
    of_loops = []
    for key, value in overrides:
        if key.startswith("loop."):
            # Last, so that an arm's own settings do not hide what was asked for on the command line.
            of_loops.append((key.removeprefix("loop."), value))
        else:
            _override(table, _split_key(key, table), value, key)
    study = _build_study(table, of_loops, source, chosen=arms)
    if unknown := [name for name in arms if name not in study.arms]:
        raise ConfigError(
            f"arms: there is no {shown(unknown[0])} in {shown(source)}; it has {cut(', '.join(study.arms))}."
        )
    return dataclasses.replace(study, arms={name: study.arms[name] for name in arms}) if arms else study


def _read_whole(source: str) -> Table:
    """A study file over the one that it extends, which lies beside it or is a preset.

    Settings and ``[loop]`` are taken over and changed; name, title, description and, where it has some, arms are its
    own.
    """
    table = _read(source)
    own, place = {"name": Path(source).stem, "title": "", "description": ""}, source
    for _ in range(_MOST_EXTENDED):
        if _EXTENDS not in table:
            return table
        base = expect(table.pop(_EXTENDS), str, f"{place}: {_EXTENDS}")
        place = str(Path(place).parent / base) if base.endswith(".toml") else base
        under = _read(place, extended_by=source)
        loop = _merge(expect(under.get("loop", {}), dict, "loop"), expect(table.get("loop", {}), dict, "loop"))
        table = {**under, **own, **table, "loop": loop}
    raise ConfigError(f"{source}: expected at most {_MOST_EXTENDED} files that extend each other. Is there a circle?")


def _read(source: str, *, extended_by: str = "") -> Table:
    wanted = f", which {cut(extended_by)} extends," if extended_by else ""
    preset = files("entropick") / "presets" / f"{source}.toml"
    if not source.endswith(".toml"):
        if source not in presets():
            known = ", ".join(presets())
            raise ConfigError(
                f"there is no preset {shown(source)}{wanted.removesuffix(',')}; known are {known}. A study file's name "
                "ends in .toml."
            )
        return tomllib.loads(preset.read_text())
    path = Path(source)
    if not path.is_file():
        raise ConfigError(
            f"{cut(source)}: expected a study file{wanted or ','} but there is none. "
            + ("Copy it there, too." if wanted else f"Presets are {', '.join(presets())}.")
        )
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{cut(source)}: expected a readable study file, but {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # no TOML, no text, or a number of more digits than Python reads
        raise ConfigError(f"{source} is not TOML: {error}.") from error


def _build_study(table: Table, of_loops: Sequence[tuple[str, Any]], source: str, *, chosen: Sequence[str]) -> Study:
    """The study, whose `chosen` arms, or all where none is, are changed by `of_loops`."""
    for key in table:
        check_known(key, (*_STUDY_KEYS, _EXTENDS), source)
    if _EXTENDS in table:  # what a file extends is put under it before
        raise ConfigError(f"{_EXTENDS}: expected in a study file, got it as an override. Write it into the file.")
    shared = expect(table.get("loop", {}), dict, "loop")
    arms = expect(table.get("arms", {}), dict, "arms")
    settings = _settings(table)
    n_images = table.get("n_images", max(settings.get("sizes") or (), default=None))
    if n_images is not None:
        check_count(n_images, name="n_images")
    tables = {name: _merge(shared, expect(arm, dict, f"arms.{name}")) for name, arm in arms.items()}
    changed = {f"arm {shown(name)}": loop for name, loop in tables.items() if name in chosen or not chosen}
    for key, value in of_loops if changed else ():
        set_parameter(changed, key, value, prefix="loop.")
    loops = {name: _build_loop(loop, n_images, name) for name, loop in tables.items()}
    name = expect(table.get("name", Path(source).stem), str, "name")
    return Study(name=name, arms=loops, **settings)


def _settings(table: Table) -> Table:
    hints = typing.get_type_hints(Study)
    settings = {key: conform(table[key], hints[key], key) for key in _SETTINGS if key in table}
    for name, minimum in (("seeds", 0), ("sizes", 1)):
        for number in settings.get(name, ()):
            check_count(number, name=name, minimum=minimum)
    return settings


def _build_loop(table: Table, n_images: int | None, arm: str) -> Loop:
    where = f"arm {shown(arm)}"
    for key in table:
        check_known(key, _LOOP_KEYS, where)
    if n_images is not None:
        _fill_in(table, n_images, where)
    elif "pool_factor" in table:
        raise ConfigError(
            f"{where}: pool_factor multiplies the study's n_images, which is not given. Give n_images or sizes."
        )
    parts: Table = {}
    for section in BUILT_IN:
        if section in table and not _is_none(section, table[section]):
            parts[section] = build(section, table[section], where=f"{where}: {section}")
    evaluation = expect(table.get("evaluation", []), list, f"{where}: evaluation")
    parts["evaluation"] = tuple(build("features", item, where=f"{where}: evaluation") for item in evaluation)
    hints = typing.get_type_hints(Loop, localns={"Generator": Component})
    numbers = {key: conform(table[key], hints[key], f"{where}: {key}") for key in _LOOP_NUMBERS if key in table}
    if missing := [section for section in ("dataset", "generator") if section not in parts]:
        raise ConfigError(f"{where}: needs a {missing[0]}. Give it under [loop] or [arms.{arm}].")
    named = arm.partition("+")[0]
    if "paradigm" not in parts and named in BUILT_IN["paradigm"] and named != Accumulate.kind:
        raise ConfigError(
            f"{where}: is named after a paradigm, but none is given, so its pool would {Accumulate.kind}. Give "
            f'paradigm = "{named}" under [loop] or [arms."{arm}"], or another name.'
        )
    return Loop(**parts, **numbers)


def _fill_in(table: Table, n_images: int, where: str) -> None:
    """``n_images`` of the study sizes the real data, the selections and, times ``pool_factor``, what is generated."""
    factor = check_count(table.pop("pool_factor", 1), name=f"{where}: pool_factor")
    if factor > 1 and "n_generated" in table:
        raise ConfigError(
            f"{where}: expected pool_factor or n_generated, got {factor} and {shown(table['n_generated'])}. Leave one "
            "out."
        )
    table.setdefault("n_generated", factor * n_images)
    for section, name in (("dataset", "n_images"), ("selector", "n_samples")):
        value = table.get(section)
        if value is not None and not _is_none(section, value):
            inner = {"kind": value} if isinstance(value, str) else dict(expect(value, dict, f"{where}: {section}"))
            table[section] = {name: n_images, **inner}


def _is_none(section: str, value: Any) -> bool:
    """Whether a loop is to do without a section, as a word or as a table of its kind alone."""
    return section in MAY_BE_NONE and value in (NONE, {"kind": NONE})


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


def _split_key(key: str, table: Table) -> list[str]:
    """A dotted key as its parts; the name of an arm, which may hold dots, is one part and must exist."""
    if not key.startswith("arms."):
        return key.split(".")
    arms = expect(table.get("arms", {}), dict, "arms")
    rest = key.removeprefix("arms.")
    for arm in sorted(arms, key=len, reverse=True):
        if rest.startswith(f"{arm}."):
            return ["arms", arm, *rest.removeprefix(f"{arm}.").split(".")]
    raise ConfigError(f"{cut(key)}: expected arms.NAME.KEY with the name of an arm; there are {cut(', '.join(arms))}.")


def _override(table: Table, parts: Sequence[str], value: Any, key: str) -> None:
    """Set what `parts` lead to in `table`; a component's bare name on the way becomes a table."""
    if not all(parts):
        raise ConfigError(f"{cut(key)}: expected names between the dots.")
    *parents, last = parts
    for parent in parents:
        inner = table.setdefault(parent, {})
        if isinstance(inner, str):
            inner = table[parent] = {"kind": inner}
        if not isinstance(inner, dict):
            raise ConfigError(f"{cut(key)}: {shown(parent)} is a single value, not a table.")
        table = inner
    table[last] = value


def set_parameter(tables: dict[str, Table], key: str, value: Any, *, prefix: str = "") -> None:
    """Set ``section.parameter`` in all of `tables`, which messages call by their names.

    A parameter of a component changes where the kind has it, which must be so in one of them.
    """
    section, _, parameter = key.partition(".")
    if section not in BUILT_IN or parameter in ("", "kind"):
        for table in tables.values():
            _override(table, key.split("."), value, f"{prefix}{cut(key)}")
        return
    known: dict[str, None] = {}
    found = {name: table.get(section) for name, table in tables.items()}
    kinds: dict[str, Any] = {name: of.get("kind") if isinstance(of, dict) else of for name, of in found.items()}
    kinds = {name: kind for name, kind in kinds.items() if kind not in (NONE, None)}
    if not kinds:
        raise ConfigError(
            f"{prefix}{cut(key)}: there is no {section} of which it is a parameter. Give one in the study file."
        )
    for name, kind in kinds.items():
        table = tables[name]
        names = component_class(section, kind, f"{name}: {section}").parameter_names()
        known.update(dict.fromkeys(names))
        if parameter in names:
            _override(table, [section, parameter], value, f"{prefix}{cut(key)}")
    check_known(parameter, tuple(known), f"{prefix}{section}")
