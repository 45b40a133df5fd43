"""What the command line changes in a study file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entropick.config.components import BUILT_IN, NONE, component_class
from entropick.config.values import Table, check_known, expect
from entropick.errors import ConfigError


def split_key(key: str, table: Table) -> list[str]:
    """A dotted key as its parts; the name of an arm, which may hold dots, is one part and must exist."""
    if not key.startswith("arms."):
        return key.split(".")
    arms = expect(table.get("arms", {}), dict, "arms")
    rest = key.removeprefix("arms.")
    for arm in sorted(arms, key=len, reverse=True):
        if rest.startswith(f"{arm}."):
            return ["arms", arm, *rest.removeprefix(f"{arm}.").split(".")]
    raise ConfigError(f"{key}: expected arms.NAME.KEY with the name of an arm; there are {', '.join(arms)}.")


def override(table: Table, parts: Sequence[str], value: Any, key: str) -> None:
    """Set what `parts` lead to in `table`; a component's bare name on the way becomes a table."""
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


def override_loops(loops: dict[str, Table], key: str, value: Any) -> None:
    """Change all arms; a parameter of a component changes where the arm's kind has it, which must be somewhere."""
    section, _, parameter = key.partition(".")
    if section not in BUILT_IN or parameter in ("", "kind"):
        for table in loops.values():
            override(table, key.split("."), value, f"loop.{key}")
        return
    known: dict[str, None] = {}
    for arm, table in loops.items():
        given = table.get(section, NONE)
        kind = given.get("kind") if isinstance(given, dict) else given
        if kind in (NONE, None):
            continue
        names = component_class(section, kind, f"arm {arm!r}: {section}").parameter_names()
        known.update(dict.fromkeys(names))
        if parameter in names:
            override(table, [section, parameter], value, f"loop.{key}")
    check_known(parameter, tuple(known), f"loop.{section}")
