"""What shells and scripts are given: summaries as JSON, silence, completion, progress where there is no terminal."""

from __future__ import annotations

import io
import json
import shutil
import subprocess

import numpy as np
import pytest
from command_names import COMMANDS
from rich.console import Console

from entropick import __version__
from entropick.cli import Command, terminal
from entropick.cli.completion import all_words
from entropick.cli.terminal import Bar, Pace


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """Three sets of embeddings, of which the second has copies of the first."""
    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).normal(size=(90, 3)).astype(np.float32)
    for name, rows in (("training", X[:30]), ("generated", X[20:60]), ("reference", X[60:])):
        np.save(f"{name}.npy", rows)
    return tmp_path


def summary(ended):
    """The one line on stdout."""
    (line,) = ended.out.splitlines()
    return json.loads(line)


def test_every_command_has_a_summary(cli, sets, study_file, finished):
    told = summary(cli("run", study_file, "--out", "run", "--workers", "1", "--iterations", "1", "--json"))
    assert told["command"] == "run" and told["exit_code"] == 0 and told["stages_computed"] > 0
    assert told["arms"]["replace"]["iteration"] == 1 and told["arms"]["replace"]["values"].keys() == told["real"].keys()
    told = summary(cli("select", "real=training.npy", "--n", "5", "--out", "s", "--json"))
    assert told["n_samples"] == 5 and told["sources"]["real"]["chosen"] == 5 and told["out"] == "s"
    roles = [part for role in ("training", "generated", "reference") for part in (f"--{role}", f"{role}.npy")]
    ended = cli("score", *roles, "--fail-if", "near_copy_rate>0.1", "--out", "c", "--json")
    told = summary(ended)
    assert ended.code == told["exit_code"] == 1 and told["conditions"][0]["holds"] is True
    assert told["verdicts"]["embeddings"]["level"] == "some" and "page:" in ended.err
    told = summary(cli("status", finished, "--json"))
    assert {(run["arm"], run["state"]) for run in told["runs"]} == {
        ("replace", "done"),
        ("accumulate+threshold-decay", "done"),
    }
    assert summary(cli("verify", finished, "--json"))["damages"] == []
    told = summary(cli("report", finished, "--figures", "figures", "--format", "svg", "--json"))
    assert len(told["pages"]) == 1 and len(told["figures"]) > 3
    assert summary(cli("completion", "fish", "--json"))["script"] == cli("completion", "fish", "--quiet").out


def test_every_command_takes_the_flags_of_scripts():
    for command, of in all_words(Command).items():
        assert {"--json", "--quiet"} <= {flag.name for flag in of.flags}, command


def test_the_version_has_a_summary_and_is_told_of(cli):
    assert summary(cli("--version", "--json"))["version"] == __version__
    assert cli("--quiet", "--version").out == f"entropick {__version__}\n"
    assert "entropick --version" in cli("--help").out


def test_mistakes_and_damage_have_a_summary_too(cli, sets, finished):
    ended = cli("select", "real=nowhere.npy", "--n", "5", "--out", "s", "--json")
    assert ended.code == 2 and summary(ended)["error"] in ended.err and "nowhere.npy" in ended.err
    ended = cli("select", "--nonsense", "--json")
    assert ended.code == 2 and summary(ended)["exit_code"] == 2 and "nonsense" in ended.err
    (finished / "arms" / "replace" / "seed-0" / "iteration-000" / "real.npy").write_bytes(b"")
    ended = cli("verify", finished, "--json")
    assert ended.code == summary(ended)["exit_code"] == 2 and "real.npy" in summary(ended)["damages"][0]


def test_quiet_leaves_the_exit_code(cli, sets, finished):
    assert cli("select", "real=training.npy", "--n", "5", "--out", "s", "--quiet") == (0, "", "")
    assert cli("verify", finished, "--quiet") == (0, "", "")
    told = summary(cli("verify", finished, "--quiet", "--json"))
    assert told["verdict"] == "all as written"
    ended = cli("select", "real=nowhere.npy", "--n", "5", "--out", "t", "--quiet")
    assert ended.code == 2 and "nowhere.npy" in ended.err


def test_no_colour_where_none_is_wanted(monkeypatch):
    # rich honours NO_COLOR; that no style of ours goes around it is what is tested.
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    terminal.print_columns([["name", "n"], ["a", "1"]], console)
    with Bar(console) as bar:
        bar.progress(1, 2, "features")
    codes = {code for part in console.file.getvalue().split("\x1b[")[1:] for code in part.split("m")[0].split(";")}
    assert not codes & {str(number) for number in (*range(30, 38), *range(40, 48), *range(90, 98), 38, 48)}


def test_help_has_no_colour_either(cli, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("entropick.cli.terminal._Steady.isatty", lambda self: True, raising=False)
    assert "\x1b[" in cli("select", "--help").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in cli("select", "--help").out


class _Clock:
    """A clock that is set."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


def test_a_line_every_ten_seconds_where_there_is_no_terminal(monkeypatch):
    clock, console = _Clock(monkeypatch), Console(file=io.StringIO(), width=200)
    with Bar(console) as bar:
        for done in range(0, 61):
            bar.progress(done, 120, "features of real")
            clock.now += 0.5
    assert console.file.getvalue().splitlines() == [
        "features of real: 20 of 120, 2/s, 50 s left",
        "features of real: 40 of 120, 2/s, 40 s left",
        "features of real: 60 of 120, 2/s, 30 s left",
    ]


def test_many_short_things_are_told_like_a_long_one(monkeypatch):
    clock, pace, lines = _Clock(monkeypatch), Pace(), 0
    for number in range(24):
        for done in range(2):
            lines += pace.counts(f"thing {number}", done)
            clock.now += 0.5
    assert lines == 2


def test_rates_are_of_one_thing_alone(monkeypatch):
    clock, pace = _Clock(monkeypatch), Pace()
    pace.counts("a", 0)
    assert pace.rate(5) == "" and pace.told(5, 10) == "5 of 10"
    clock.now += 10
    pace.counts("a", 50)
    assert pace.told(50, 100) == "50 of 100, 5/s, 10 s left" and pace.told(50, 0) == "50, 5/s"
    pace.counts("b", 400)  # kept from an earlier run
    clock.now += 10
    pace.counts("b", 500)
    assert pace.told(500, 600) == "500 of 600, 10/s, 10 s left"


# -- completion --------------------------------------------------------------------------------------------------------


def test_completion_knows_all_commands_and_flags(cli):
    words = all_words(Command)
    assert tuple(words) == COMMANDS
    for command, of in words.items():
        text = cli(command, "--help").out
        assert all(flag.name in text for flag in of.flags), command
        assert all(flag.summary for flag in of.flags) and of.summary
    assert {flag.name: flag.values for flag in words["run"].flags}["--quiet"] is None
    assert "greedy" in {flag.name: flag for flag in words["select"].flags}["--method"].values.words


@pytest.fixture
def script(cli, tmp_path):
    """The script of a shell, as a file."""

    def script(shell):
        if shutil.which(shell) is None:
            pytest.skip(f"no {shell}")
        path = tmp_path / f"entropick.{shell}"
        path.write_text(cli("completion", shell).out)
        return path

    return script


def said(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, **options)
    assert done.stderr == ""
    return done.stdout.split("\n")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["sel"], {"select"}),
        (["select", "--meth"], {"--method"}),
        (["select", "--method", "gr"], {"greedy"}),
        (["run", "smo"], {"smoke"}),
        (["run", "smoke", "--log", "t"], {"tensorboard", "trackio"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
        (["status", "a f"], {"a folder"}),
        (["score", "--training", "a f"], {"a folder", "a file.npy"}),
        (["run", "--steps", ""], {""}),
    ],
)
def test_bash_completes(script, tmp_path, words, found):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file.npy").touch()
    code = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _entropick; printf "%s\\n" "${COMPREPLY[@]}"'
    lines = said("bash", "-c", code, "-", str(script("bash")), "entropick", *words, cwd=tmp_path)
    assert set(lines[:-1]) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("entropick sel", {"select"}),
        ("entropick --v", {"--version"}),
        ("entropick select --method gr", {"greedy"}),
        ("entropick run --qui", {"--quiet"}),
        (  # and no file
            "entropick select --method ",
            {
                "approximate-greedy",
                "density-greedy",
                "greedy",
                "random",
                "threshold-decay",
                "gist",
                "latent-space-filter",
                "denoising-loss",
            },
        ),
        ("entropick run --out ", {"a folder/"}),
        ("entropick run --steps ", set()),
        ("entropick score --training a", {"a file.npy", "a folder/"}),
    ],
)
def test_fish_completes(script, tmp_path, line, found):
    here = tmp_path / "here"
    (here / "a folder").mkdir(parents=True)
    (here / "a file.npy").touch()
    code = f"source {script('fish')}; complete -C '{line}'"
    lines = said("fish", "--no-config", "-c", code, cwd=here, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert {text.partition("\t")[0].replace("\\", "") for text in lines[:-1]} == found


def test_zsh_can_read_it(script):
    assert said("zsh", "-n", str(script("zsh"))) == [""]
    assert "--version:" in script("zsh").read_text()
