"""Single values of a study file: their types, the variables in them, and what is said of a wrong one."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Sequence
from typing import Any

from entropick.errors import ConfigError

# ${NAME}, or ${NAME:-what stands there without it}, as in a shell.
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")

Table = dict[str, Any]


def parse_value(text: str) -> Any:
    """A value from the command line: TOML where it is TOML, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
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
                f"{where}: {text!r} wants the environment variable {name}, which is not set. "
                f"Set it, for instance by `export {name}=...`."
            )
        return found

    return _VARIABLE.sub(value, text)


def check_known(key: str, known: Sequence[str], where: str, *, noun: str = "") -> None:
    """Raise ConfigError, with the known names and the closest one, if `key` is none of them."""
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known_names = ", ".join(known) or "none"
        raise ConfigError(f"{where}: there is no {noun}{key!r}; known are {known_names}.{hint}")


def expect(value: Any, kind: type, where: str) -> Any:
    """`value` if it is of this kind, else a ConfigError."""
    if not isinstance(value, kind):
        names: dict[Any, str] = {dict: "a table", list: "a list", str: "text"}
        raise ConfigError(f"{where}: expected {names[kind]}, got {value!r}.")
    return value


def conform(value: Any, hint: Any, where: str) -> Any:
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
