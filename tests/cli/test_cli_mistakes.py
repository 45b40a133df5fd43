"""A user's mistake: exit code 2, one clear message on stderr, no traceback, nothing written."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from command_names import COMMANDS
from fresh_python import run_python
from PIL import Image


@pytest.fixture
def place(tmp_path, monkeypatch, study_file):
    """A directory to err in: a study file, a regular file, an empty directory."""
    (tmp_path / "file").write_text("not a directory")
    (tmp_path / "empty").mkdir()
    (tmp_path / "alone.toml").write_text('extends = "gone.toml"')
    (tmp_path / "misspelled.toml").write_text('extend = "digits"')
    folder = 'n_images = 9\n[loop]\ngenerator = "kde"\n[loop.dataset]\nkind = "image-folder"\npath = "images"\n'
    (tmp_path / "folder.toml").write_text(f'{folder}reference = "gone"\n[arms.one]\n')
    (tmp_path / "images").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "images" / "0.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def everything_in(folder):
    return sorted(str(path) for path in Path(folder).rglob("*"))


# Arguments, and what stderr must say.
MISTAKES = {
    "run digit": "there is no preset 'digit'; known are copies, digits, paper-cifar10, paper-ffhq, paper-mnist, smoke",
    "run empty": "there is no preset 'empty'",
    "run gone.toml": "gone.toml: expected a study file, but there is none",
    "run alone.toml": "expected a study file, which alone.toml extends, but there is none. Copy it there",
    "run misspelled.toml": "there is no 'extend'; known are name, ",
    "run misspelled.toml --quiet": "Did you mean 'extends'?",
    "run tiny.toml --out x --set extends=smoke": "extends: expected in a study file, got it as an override.",
    "run tiny.toml --out x --set loop.guard.k=3": "guard.k: there is no guard of which it is a",
    "run paper-mnist --plan": "Give --data PATH (path=PATH).",
    "run paper-mnist --plan --data a.npy --set loop.dataset.reference=b.npy": "a.npy: expected a file of images",
    "run folder.toml --out x": "Give --set loop.dataset.reference=PATH (reference=PATH).",
    "run file": "A study file's name ends in .toml",
    "run tiny.toml --out file": "--out: expected a directory, but file is a file",
    "run tiny.toml --out file/below/it": "file is a file",
    "run tiny.toml --out x --images -5": "n_images: expected a whole number of at least 1, got -5",
    "run tiny.toml --out x --images 5000": "n_images: expected at most 1781 of the 1797 digits, got 5000",
    "run tiny.toml --out x --iterations 0": "n_iterations: expected a whole number of at least 1, got 0",
    "run tiny.toml --out x --workers 0": "--workers: expected a whole number of at least 1, got 0",
    "run tiny.toml --out x --workers -2": "--workers: expected a whole number of at least 1, got -2",
    "run tiny.toml --out x --threads 0": "threads: expected a whole number of at least 1, got 0",
    "run tiny.toml --out x --checkpoint-seconds -1": "checkpoint_seconds: expected a number between 0",
    "run tiny.toml --out x --checkpoint-seconds nan": "checkpoint_seconds: expected a number between 0",
    "run tiny.toml --out x --budget soon": "--budget: expected a duration such as 90s, 10m or 1h30m, got 'soon'",
    "run tiny.toml --out x --budget -5m": "--budget: expected a duration such as 90s, 10m or 1h30m, got '-5m'",
    "run tiny.toml --out x --budget inf": "--budget: expected a duration",
    "run tiny.toml --out x --budget 10m5h": "--budget: expected a duration",
    "run tiny.toml --out x --seeds 1 2 1": "seeds: expected different numbers, got [1, 2, 1]",
    "run tiny.toml --out x --seeds 0 -1": "seeds: expected a whole number of at least 0, got -1",
    "run tiny.toml --set name=../elsewhere": "name: expected a name that a directory can have, got '../elsewhere'",
    "run tiny.toml --set name=/elsewhere": "got '/elsewhere'. Change it, or give --out",
    "run tiny.toml --set name=..": "got '..'",
    "run tiny.toml --set name=": "got ''",
    "run tiny.toml --out x --seeds": "--seeds: expected at least one value after it, got none",
    "run tiny.toml --out x --sizes": "--sizes: expected at least one value after it, got none",
    "run tiny.toml --out x --arms": "--arms: expected at least one value after it, got none",
    "run tiny.toml --out x --reuse": "--reuse: expected at least one value after it, got none",
    "run tiny.toml --out x --iterations 99999999999": "n_iterations: expected at most 10,000, got 99,999,999,999",
    "run tiny.toml --out x --set loop.garbage_share=-1": "garbage_share: expected a number of at least 0 and below 1",
    "run tiny.toml --out x --arms replace tow": "there is no 'tow' in 'tiny.toml'; it has replace, accumulate",
    "run tiny.toml --out x --set =3": "--set: expected KEY=VALUE, for instance loop.generator.ema=0.99, got '=3'",
    "run tiny.toml --out x --set n_images": "--set: expected KEY=VALUE, for instance loop.generator.ema=0.99",
    "run tiny.toml --out x --set loop.n_iteration=3": "there is no 'n_iteration'; known are",
    "run tiny.toml --out x --set loop.metrics=recall": "metrics: expected a list of texts, got 'recall'",
    "run tiny.toml --out x --set loop.selector=gredy": "there is no kind 'gredy'; known are random, greedy",
    "run tiny.toml --out x --steps 5": "there is no 'steps'; known are bandwidth",
    "run tiny.toml --out x --data gone.npz": "there is no 'path'; known are split_seed, n_images, n_reference",
    "run tiny.toml --out x --set loop.dataset.kind=array-file --set loop.dataset.path=a.npy": "a.npy: expected",
    "run smoke --out x --device gpu": "device: expected a usable torch device or 'auto', got 'gpu'",
    "run tiny.toml --out x --images many": "--images: expected a whole number, got 'many'.",
    "run tiny.toml --out x --images 1.5": "--images: expected a whole number, got '1.5'.",
    "run tiny.toml --out x --images None": "--images: expected a whole number, got 'None'.",
    "run tiny.toml --out x --seeds 1 a": "--seeds: expected whole numbers, got 'a'.",
    "run tiny.toml --out x --seeds a": "For full helptext, see entropick run --help",
    "run tiny.toml --out x --checkpoint-seconds much": "--checkpoint-seconds: expected a number, got 'much'.",
    "run tiny.toml --out x --colour red": "Unrecognized options: --colour, red",
    "run tiny.toml --out": "--out",
    "run tiny.toml another.toml": "Unrecognized options: another.toml",
    "walk": f"command: there is no 'walk'; known are {', '.join(COMMANDS)}.",
    "selct a=b --n 5": "Did you mean 'select'?",
    "select a=b --n abc --out x": "Error parsing --n: expected a whole number, got 'abc'.",
    "select a=b --n abc --out y": "For full helptext, see entropick select --help",
    "--walk": "--walk",
    "": f"Expected one of {{{', '.join(COMMANDS)}}}",
    "status": "DIR",
    "verify": "DIR",
    "report": "expected at least one run or study directory",
    "status gone": "gone: expected a run or study directory, but found no ledger.jsonl in it or below",
    "status empty": "empty: expected a run or study directory",
    "status file": "file: expected a run or study directory",
    "verify gone": "gone: expected a run or study directory",
    "verify empty": "empty: expected a run or study directory",
    "report gone": "gone: expected a run or study directory",
    "report empty": "empty: expected a run or study directory",
    "report empty --format jpg": "--format: expected one of svg, pdf, png, got 'jpg'",
    "report empty --figures file": "--figures: expected a directory, but file is a file",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_said_once_and_nothing_is_written(cli, place, line):
    before = everything_in(place)
    ended = cli(*line.split())
    assert ended.code == 2
    assert MISTAKES[line] in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err and ended.err.count("entropick: error:") <= 1
    assert not ended.out
    assert everything_in(place) == before


@pytest.mark.parametrize(
    "line",
    [
        "run \udcff",
        "run tiny.toml --set",
        "status \n",
        "run tiny.toml --budget 🙂",
        "run --help=1",
        "-- run",
        "run -",
    ],
)
def test_garbage_from_a_shell(place, line):
    before = everything_in(place)
    done = run_python("-m", "entropick", *line.split(" "), check=False, cwd=place, errors="replace")
    assert done.returncode == 2 and done.stderr.strip() and "Traceback" not in done.stderr
    assert everything_in(place) == before


def test_a_mistake_that_only_the_data_shows(cli, place):
    ended = cli("run", "tiny.toml", "--out", "x", "--images", "4", "--workers", "1")
    assert ended.code == 2 and ended.err.count("entropick: error:") == 1
    assert "expected at least 8 real, 8 reference and 8 generated images, got 4, 1793 and 4" in ended.err


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"\0\0\0"])
def test_a_damaged_config_is_named(cli, finished, content):
    (finished / "arms" / "replace" / "seed-0" / "config.json").write_bytes(content)
    for command in ("status", "report"):
        ended = cli(command, finished)
        assert ended.code == 2 and "config.json is not readable as JSON" in ended.err and not ended.out


def test_a_damaged_ledger_is_named(cli, finished):
    ledger = finished / "arms" / "replace" / "seed-0" / "ledger.jsonl"
    lines = ledger.read_bytes().splitlines(keepends=True)
    ledger.write_bytes(b"".join([lines[0], lines[1].replace(b"0", b"1", 1), *lines[2:]]))
    for command in ("status", "verify"):
        ended = cli(command, finished)
        assert ended.code == 2 and "ledger.jsonl" in ended.err + ended.out and "line 2" in ended.err + ended.out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_refuses(cli, place):
    (place / "empty").chmod(0o500)
    ended = cli("run", "tiny.toml", "--out", "empty/x")
    assert ended.code == 2 and "Permission denied" in ended.err


def test_a_changed_study_is_refused_with_a_diff(cli, finished, study_file):
    before = {path: path.read_bytes() for path in finished.rglob("*.json*")}
    ended = cli("run", study_file, "--out", finished, "--set", "loop.generator.bandwidth=5")
    assert ended.code == 2 and "generator.bandwidth: was 4.0, now 5.0" in ended.err
    assert {path: path.read_bytes() for path in finished.rglob("*.json*")} == before


def test_a_report_of_a_copied_arm_alone(cli, finished, tmp_path):
    shutil.copytree(finished / "arms" / "replace" / "seed-0", tmp_path / "alone")
    assert cli("report", tmp_path / "alone").code == 0 and (tmp_path / "alone" / "report.html").is_file()


@pytest.mark.parametrize(
    "error",
    [MemoryError("Unable to allocate 864 GiB"), torch.OutOfMemoryError("Tried to allocate 2.00 GiB. GPU 0 has")],
)
def test_memory_that_has_run_out_is_said_with_what_takes_less(cli, monkeypatch, tmp_path, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("entropick.cli.score.open_sources", fail)
    ended = cli("score", "--training", "a", "--generated", "b", "--out", tmp_path / "out")
    assert ended.code == 2 and ended.err.count("\n") == 1 and "GiB). " in ended.err and "take less" in ended.err


@pytest.mark.parametrize("error", [AssertionError(), ZeroDivisionError("two\nlines"), RuntimeError("no such thing")])
def test_what_nobody_expected_is_one_line_and_never_a_failed_condition(cli, monkeypatch, tmp_path, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("entropick.cli.score.open_sources", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = cli("score", "--training", "a", "--generated", "b", "--out", tmp_path / "out")
    (file,) = tmp_path.glob("entropick-*.txt")
    assert ended.code == 70 and ended.err.count("\n") == 1 and str(file) in ended.err
    assert "Traceback" not in ended.err and "Traceback" in file.read_text() and type(error).__name__ in ended.err


def test_names_are_no_codes_for_a_terminal(cli, place):
    """What a path, a class or a library holds is shown as escapes, in errors and in what goes well."""
    Path("a\x1b[31m.npy").write_bytes(b"")
    failed = cli("select", "a=a\x1b[31m.npy", "--n", "1", "--out", "out")
    assert failed.code == 2 and r"a\x1b[31m.npy" in failed.err and "\x1b" not in failed.err
    rng = np.random.default_rng(0)
    for name in ("\x1b]0;title\x07", "plain"):
        Path("classes", name).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(Path("classes", name, f"{number}.png"))
    told = cli("select", "a=classes", "--n", "2", "--balance", "--out", "out")
    assert told.code == 0 and r"\x1b]0;title\x07" in told.out and "\x1b" not in told.out + told.err
