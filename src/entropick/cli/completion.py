"""``entropick completion``: what a shell has to know to complete commands, flags and their values."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from entropick.cli.flags import Ended, OutputFlags

_FILES, _FOLDERS = "files", "folders"
# Flags whose values are folders; other paths are files.
_OF_FOLDERS = ("--out", "--work", "--reuse", "--figures")


@dataclass(frozen=True)
class Values:
    """What may stand in a place: some words, and paths of `_FILES` or `_FOLDERS`; neither where it can be anything."""

    words: tuple[str, ...] = ()
    paths: str = ""


@dataclass(frozen=True)
class Flag:
    """A flag: its help, and its values; None where it takes none."""

    name: str
    summary: str
    values: Values | None


@dataclass(frozen=True)
class Words:
    """A command: its help, its flags, and what stands after it without a flag."""

    summary: str
    flags: tuple[Flag, ...]
    values: Values


@dataclass(kw_only=True)
class Completion(OutputFlags):
    """Print the completion of a shell.

    bash: entropick completion bash > ~/.local/share/bash-completion/completions/entropick.
    zsh: entropick completion zsh > a folder of $fpath, as _entropick.
    fish: entropick completion fish > ~/.config/fish/completions/entropick.fish.
    """

    shell: Annotated[tyro.conf.Positional[Literal["bash", "zsh", "fish"]], tyro.conf.arg(metavar="SHELL")]
    """bash, zsh or fish."""

    def execute(self, commands: Any) -> Ended:
        """Print the script, which is no message that --quiet leaves out; with --json it is in the summary.

        `commands` is the union of all of them, as tyro is given it.
        """
        script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[self.shell](all_words(commands))
        if not self.json:
            print(script, end="")
        return Ended({"shell": self.shell, "script": script})


def all_words(commands: Any) -> dict[str, Words]:
    """What the command line consists of: each command by its name."""
    known, found = _values(), {}
    for annotated in typing.get_args(commands):
        command, subcommand = typing.get_args(annotated)[:2]
        hints = typing.get_type_hints(command, include_extras=True)
        flags, after = [], Values()
        for field in dataclasses.fields(command):
            hint, name = hints[field.name], f"--{field.name.replace('_', '-')}"
            is_positional = any("positional" in str(mark).lower() for mark in getattr(hint, "__metadata__", ()))
            if is_positional:
                is_path = "pathlib" in str(hint)
                after = known.get(field.name, Values(paths=_FOLDERS if is_path else _FILES))
                continue
            is_path = any(mark in str(hint) for mark in ("pathlib", "metavar='PATH'"))
            usual = Values(paths=_FOLDERS if name in _OF_FOLDERS else _FILES if is_path else "")
            summary = _help(command, field.name)
            flags.append(Flag(name, summary, None if hint is bool else known.get(name, usual)))
        flags.append(Flag("--help", "Show the help and end.", None))
        summary = (inspect.getdoc(command) or "").partition("\n")[0]
        found[str(subcommand.name)] = Words(summary, tuple(flags), after)
    return found


def _values() -> dict[str, Values]:
    """What is known of flags, and of what stands without one by its field; of installed packages as of now."""
    from entropick import tracking
    from entropick.config import kinds, presets
    from entropick.metrics import suite
    from entropick.report.page import FORMATS

    return {
        "study": Values(tuple(presets()), _FILES),
        "shell": Values(("bash", "zsh", "fish")),
        "--method": Values(tuple(kinds("selector"))),
        "--features": Values(tuple(kinds("features")), _FILES),
        "--metrics": Values(tuple(suite.REGISTRY.names())),
        "--log": Values(tuple(tracking.REGISTRY.names())),
        "--format": Values(FORMATS),
        "--device": Values(("auto", "cpu", "cuda")),
    }


def _help(command: type, field: str) -> str:
    """The first sentence below a field of a command, as its source has it."""
    for cls in command.__mro__:
        lines = inspect.getsource(cls).splitlines() if dataclasses.is_dataclass(cls) else []
        starts = [number for number, line in enumerate(lines) if line.startswith(f"    {field}:")]
        for line in lines[starts[0] + 1 :] if starts else []:
            if line.startswith('    """'):
                return line.strip().strip('"').partition("; ")[0].partition(". ")[0].rstrip(".") + "."
    return ""


def _bash(commands: dict[str, Words]) -> str:
    of_flags, of_commands = [], []
    for name, command in commands.items():
        for flag in command.flags:
            if flag.values is not None:
                of_flags.append(f'        "{name} {flag.name}") {_bash_reply(flag.values)}; return ;;')
        flags = shlex.quote(" ".join(flag.name for flag in command.flags))
        of_commands.append(
            f'        {name}) if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W {flags} -- "$cur")); '
            f"else {_bash_reply(command.values)}; fi ;;"
        )
    names = shlex.quote(" ".join([*commands, *(f"--{name}" for name in _BARE)]))
    return "\n".join(
        [
            "# entropick completion bash",
            "_entropick() {",
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}",
            "    local IFS=$'\\n '",
            "    COMPREPLY=()",
            f'    if [[ $COMP_CWORD -eq 1 ]]; then COMPREPLY=($(compgen -W {names} -- "$cur")); return; fi',
            '    case "$command $prev" in',
            *of_flags,
            "    esac",
            "    case $command in",
            *of_commands,
            "    esac",
            "}",
            "complete -F _entropick entropick",
            "",
        ]
    )


def _bash_reply(values: Values) -> str:
    parts = []
    if values.words:
        parts.append(f'COMPREPLY=($(compgen -W {shlex.quote(" ".join(values.words))} -- "$cur"))')
    if values.paths:
        kind = "-d" if values.paths == _FOLDERS else "-f"
        parts.append("compopt -o filenames 2>/dev/null")
        parts.append(f'while IFS= read -r one; do COMPREPLY+=("$one"); done < <(compgen {kind} -- "$cur")')
    return "; ".join(parts) or ":"


def _zsh(commands: dict[str, Words]) -> str:
    described = [_quoted(f"{name}:{command.summary}") for name, command in commands.items()]
    bare = [_quoted(f"--{name}:{words}") for name, words in _BARE.items()]
    lines = []
    for name, command in commands.items():
        specs = []
        for flag in command.flags:
            words = re.sub(r"([\[\]:])", r"\\\1", flag.summary)
            value = "" if flag.values is None else f":value:{_zsh_action(flag.values)}"
            specs.append(_quoted(f"*{flag.name}[{words}]{value}"))
        specs.append(_quoted(f"*:argument:{_zsh_action(command.values)}"))
        lines += [f"        {name})", "            _arguments \\", *(f"                {spec} \\" for spec in specs)]
        lines[-1] = lines[-1].removesuffix(" \\")
        lines.append("            ;;")
    return "\n".join(
        [
            "#compdef entropick",
            "# entropick completion zsh",
            "_entropick() {",
            "    local -a commands flags",
            f"    commands=({' '.join(described)})",
            f"    flags=({' '.join(bare)})",
            "    if (( CURRENT == 2 )); then",
            "        if [[ $PREFIX == -* ]]; then _describe flag flags; else _describe command commands; fi",
            "        return",
            "    fi",
            "    local command=$words[2]",
            "    shift words; (( CURRENT-- ))",
            "    case $command in",
            *lines,
            "    esac",
            "}",
            'if [[ $funcstack[1] == _entropick ]]; then _entropick "$@"; else compdef _entropick entropick; fi',
            "",
        ]
    )


def _zsh_action(values: Values) -> str:
    words = f"compadd -- {' '.join(values.words)}" if values.words else ""
    paths = {_FILES: "_files", _FOLDERS: "_files -/"}.get(values.paths, "")
    both = "; ".join(part for part in (words, paths) if part)
    return f"{{{both}}}" if both else " "


def _fish(commands: dict[str, Words]) -> str:
    first = "complete -c entropick -n __fish_use_subcommand"
    lines = ["# entropick completion fish", "complete -c entropick -f"]
    lines += [f"{first} -l {name} -d {_quoted(words)}" for name, words in _BARE.items()]
    lines += [f"{first} -a {name} -d {_quoted(command.summary)}" for name, command in commands.items()]
    for name, command in commands.items():
        seen = f"complete -c entropick -n '__fish_seen_subcommand_from {name}'"
        for flag in command.flags:
            # -x: a value that is no file; with -r alone files are offered beside the words.
            needs = "" if flag.values is None else " -r" if flag.values.paths == _FILES else " -x"
            value = "" if flag.values is None else f"{needs}{_fish_values(flag.values)}"
            lines.append(f"{seen} -l {flag.name.removeprefix('--')}{value} -d {_quoted(flag.summary)}")
        lines.append(f"{seen}{_fish_values(command.values)}")
    return "\n".join([*lines, ""])


_BARE = {"version": "Print the version and end.", "help": "Show the help and end."}


def _fish_values(values: Values) -> str:
    words = [*values.words, *(["(__fish_complete_directories)"] if values.paths == _FOLDERS else [])]
    files = " -F" if values.paths == _FILES else ""
    return files + (f' -a "{" ".join(words)}"' if words else "")


def _quoted(text: str) -> str:
    """Text in single quotes, for all three shells: none of them reads anything in these but the quote itself."""
    return "'" + text.replace("'", "\u2019") + "'"
