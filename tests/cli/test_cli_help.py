import inspect
import re
from pathlib import Path

import pytest
from command_names import COMMANDS
from fresh_python import run_python

from entropick import __version__, select
from entropick.config import component_class
from entropick.config.components import BUILT_IN
from entropick.selection import Choice

HEAVY = ("torch", "diffusers", "sklearn", "scipy", "altair", "vl_convert", "pyarrow", "PIL", "jinja2")


def test_the_command_line_imports_nothing_heavy():
    found = run_python("-c", "import sys, entropick.cli; print(*sys.modules)").stdout.split()
    assert not set(HEAVY) & set(found)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"]])
def test_help_and_version_of_the_command(arguments):
    done = run_python("-X", "importtime", "-m", "entropick", *arguments)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "entropick.cli" in imported and not set(HEAVY) & imported
    assert done.stdout.startswith(f"entropick {__version__}" if "--version" in arguments else "usage: entropick")


def test_help_lists_the_commands(cli):
    ended = cli("--help")
    assert ended.code == 0 and not ended.err
    assert all(f"• {command}" in ended.out or f"* {command}" in ended.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_reads_well(cli, command):
    ended = cli(command, "--help")
    assert ended.code == 0 and not ended.err
    assert "None" not in ended.out and "{" not in ended.out and "(default: )" not in ended.out
    flags = re.split("arguments|options", ended.out, maxsplit=1)[1]
    assert flags and max(map(len, flags.splitlines())) <= 80


FLAGS = {
    "--out": "PATH",
    "--budget": "TIME",
    "--workers": "INT",
    "--arms": "ARM ...",
    "--seeds": "INT ...",
    "--sizes": "INT ...",
    "--iterations": "INT",
    "--images": "INT",
    "--data": "PATH",
    "--steps": "INT",
    "--probe-steps": "INT ...",
    "--width": "INT",
    "--sampling-steps": "INT",
    "--device": "DEVICE",
    "--threads": "INT",
    "--checkpoint-seconds": "FLOAT",
    "--reuse": "DIR ...",
    "--log": "NAME[:DIR]",
    "--set": "KEY=VALUE",
}


def test_run_lists_its_typed_flags(cli):
    words = " ".join(re.sub("[│╭╮╰╯─|]", " ", cli("run", "--help").out).split())
    for flag, metavar in FLAGS.items():
        assert f"{flag} {metavar} " in words
    assert "(default: digits)" in words and "(default: runs/NAME)" in words and "(default: the study's)" in words
    assert set(re.findall(r"--[a-z][a-z-]+", words)) == {*FLAGS, "--plan", "--open", "--quiet", "--json", "--help"}


def test_interrupted_while_the_command_line_is_read(cli, monkeypatch):
    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr("tyro.cli", interrupted)
    ended = cli("select", "a=b")
    assert ended.code == 130 and "interrupted" in ended.err


def test_which_methods_take_an_engine_is_told_alike_everywhere(cli):
    """In the help, from Python, in the docs and where others are refused."""
    taking = {name for name in BUILT_IN["selector"] if component_class("selector", name, "test").asks_shards}
    # The method greedy with --approximate.
    assert "approximate-greedy" in taking
    docs = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    told = {
        "help": cli("select", "--help").out.split("--engine ")[-1].partition("--")[0],
        "docstring": str(select.__doc__).partition("    engine, workers")[2].partition("    files\n")[0],
        "docs": docs.partition("From Python it is")[2].partition("\n\n")[0].partition(" refuse")[0],
        "refusal": inspect.getsource(Choice.check).partition("expected a rule that asks workers")[2].partition(")")[0],
    }
    for place, text in told.items():
        found = {name for name in BUILT_IN["selector"] if re.search(rf"(?<![\w-]){name}(?![\w-])", text)}
        assert found | {"approximate-greedy"} == taking, place
