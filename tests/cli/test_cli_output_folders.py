"""What ``select`` and ``score`` leave is a run directory: verified, seen, stopped by a budget, resumed, shared."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from entropick import score, select
from entropick.datasets import reading
from entropick.errors import RunLocked
from entropick.features import cache as feature_cache
from entropick.run import LEDGER, History, Ledger, Pace, locked
from entropick.scoring import score as scoring_score

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
SELECT = ["select", "real=real", "--n", "9", "--out", "out"]
SCORE = ["score", "--training", "real", "--generated", "made.npy", "--out", "out"]
RESULTS = {"select": "selection.json", "score": "score.json"}
commands = pytest.mark.parametrize("line", [SELECT, SCORE], ids=["select", "score"])


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    for row, image in enumerate(DIGITS[:60]):
        Image.fromarray(image).save(tmp_path / "real" / f"{row:02d}.png")
    np.save("made.npy", DIGITS[60:100])
    np.save("half.npy", DIGITS[:100].reshape(100, -1).astype(np.float32) / 2)
    return tmp_path


def seal(out="out"):
    return Ledger(Path(out)).seal


def contents(out="out"):
    """Of every file but the ledger, which has times in it."""
    files = [path for path in Path(out).rglob("*") if path.is_file() and path.name[0] != "." and path.name != LEDGER]
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(files)}


@commands
def test_verify_and_status_know_it(cli, place, line):
    assert cli(*line).code == 0
    n_stages = len(History("out").config["stages"])
    assert re.search(rf"{n_stages}/{n_stages} +done", cli("status", "out").out)
    assert cli("verify", ".").code == 0
    ended = cli("report", "out")
    assert ended.code == 2 and "it holds a selection or a score" in ended.err and not Path("out/report.html").exists()
    whole = contents()
    for name in (RESULTS[line[0]], *(path.name for path in Path("out").glob("*.csv"))):
        damaged = bytearray(whole[name])
        damaged[-3] ^= 1
        Path("out", name).write_bytes(damaged)
        ended = cli("verify", "out")
        assert ended.code == 2 and f"out/{name} is damaged" in ended.out
        # What follows from the sources alone is made again without more ado.
        before = seal()
        assert cli(*line).code == 0 and contents() == whole and seal() == before
        assert cli("verify", "out").code == 0


@commands
def test_a_damaged_ledger_is_mended_by_the_same_command(cli, place, line):
    assert cli(*line).code == 0
    whole, before = contents(), seal()
    Path("out", LEDGER).write_text(Path("out", LEDGER).read_text().replace("pixels", "pixies").replace('"n_', '"m_'))
    assert cli("verify", "out").code == 2
    assert cli(*line).code == 0 and contents() == whole and seal() == before


@commands
def test_a_folder_of_an_entropick_without_ledgers_is_refused_in_one_line(cli, place, line):
    assert cli(*line).code == 0
    Path("out", LEDGER).unlink()
    shutil.rmtree("out/work")
    before = contents()
    ended = cli(*line)
    assert ended.code == 2 and len(ended.err.splitlines()) == 1
    assert f"of an entropick that kept no {LEDGER}" in ended.err and "Give another --out" in ended.err
    assert contents() == before


@commands
def test_a_budget_ends_it_and_the_same_command_goes_on(cli, place, line, monkeypatch, dear_pixels):
    assert cli(*line[:-1], "undisturbed").code == 0
    ended = cli(*line, "--budget", "0s")
    assert ended.code == 75 and "budget" in ended.err and not list(Path("out").glob("*.csv"))
    monkeypatch.setattr(feature_cache, "_PART", 16)
    with monkeypatch.context() as patched:
        # Spent while the second of four parts is extracted.
        patched.setattr(Pace, "spent", lambda pace: len(list(Path("out/work/features").rglob("*.npy"))) > 1)
        assert cli(*line).code == 75
    assert len(list(Path("out/work/features").rglob("*.npy"))) == 2 and not Path("out", LEDGER).exists()
    assert cli(*line).code == 0 and seal() == seal("undisturbed")


def test_spaces_that_are_measured_are_not_measured_again(cli, place, monkeypatch):
    line, measured = [*SCORE, "--features", "pixels", "half.npy"], []
    measure_space = scoring_score.measure_space

    def interrupted(*arguments, **options):
        measured.append(arguments[2])
        if measured == ["pixels", "half"]:
            raise KeyboardInterrupt
        return measure_space(*arguments, **options)

    monkeypatch.setattr(scoring_score, "measure_space", interrupted)
    assert cli(*line).code == 130 and "1/3" in cli("status", "out").out
    assert cli(*line).code == 0 and measured == ["pixels", "half", "half"]
    assert list(json.loads(Path("out/score.json").read_text())["spaces"]) == ["pixels", "half"]


def test_conditions_judge_again_and_leave_what_was_measured(cli, place):
    assert cli(*SCORE).code == 0
    measured = History("out").entries[0]
    assert cli(*SCORE, "--fail-if", "generalization_score>0").code == 1
    judged = History("out").entries
    assert judged[0] == measured and len(judged) == 2 and cli("verify", "out").code == 0


def test_a_condition_on_a_measure_that_a_score_lacks_is_another_score(cli, place):
    line = [*SCORE, "--metrics", "knn_entropy"]
    assert cli(*line).code == 0
    ended = cli(*line, "--fail-if", "generalization_score>0")
    assert ended.code == 2 and "metrics" in ended.err and len(History("out").entries) == 2
    assert cli(*line[:-3], "other", *line[-2:], "--fail-if", "generalization_score>0").code == 1


def test_commands_share_what_they_extract(cli, place, monkeypatch, dear_pixels):
    assert cli(*SELECT, "--work", "kept").code == 0 and not Path("out/work").exists()
    monkeypatch.setattr(reading, "read_image", None)
    assert cli(*SCORE[:-1], "scored", "--work", "kept").code == 0
    # One that differs in nothing is linked.
    assert cli(*SELECT[:-1], "again", "--work", "kept").code == 0
    assert Path("again/manifest.csv").samefile("out/manifest.csv") and seal("again") == seal()


@commands
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--budget", "soon"], "--budget: expected a duration such as 90s"),
        (["--work", "made.npy"], "--work: expected a directory, but made.npy is a file"),
    ],
)
def test_a_mistake_in_a_flag(cli, place, line, flags, message):
    ended = cli(*line, *flags)
    assert ended.code == 2 and message in ended.err and not Path("out").exists()


@commands
@pytest.mark.parametrize("is_begun", [False, True])
def test_a_folder_in_use_is_refused_before_anything_is_read(cli, place, line, is_begun, monkeypatch):
    if is_begun:
        assert cli(*line).code == 0
    monkeypatch.setattr(f"entropick.cli.{line[0]}.open_sources", None)
    with locked(Path("out")):
        before = sorted(Path("out").rglob("*"))
        ended = cli(*line)
        assert ended.code == 2 and ended.err.count("\n") == 1 and "out is in use by process" in ended.err
        assert sorted(Path("out").rglob("*")) == before


@pytest.mark.parametrize("call", [partial(select, "half.npy", 3), partial(score, "half.npy", "half.npy")])
def test_from_python_too(place, call, monkeypatch):
    for of in ("selected", "scored"):
        monkeypatch.setattr(f"entropick.api.{of}.sources_of", None)
    with locked(Path("out")), pytest.raises(RunLocked, match="out is in use by process"):
        call(out="out")


def test_a_home_is_a_home_in_every_command(cli, place, study_file, monkeypatch):
    (place / "home").mkdir()
    monkeypatch.setenv("HOME", str(place / "home"))
    assert cli("run", study_file, "--out=~/study").code == 0
    assert cli("run", study_file, "--out=again", "--reuse=~/study").code == 0
    assert cli("status", "~/study").code == cli("verify", "~/study").code == 0
    assert cli("report", "~/study", "--out=~/page").code == 0
    ended = cli("export", "~/study/arms/replace/seed-0", "--iteration=1", "--out=~/model")
    assert "expected a run with generator 'ddpm'" in ended.err
    assert sorted(path.name for path in (place / "home").iterdir()) == ["page", "study"]
    assert not Path("~").exists()


@commands
def test_a_folder_in_what_is_read_is_refused(cli, place, line):
    Path("emb").mkdir()
    rows = np.load("half.npy")
    np.save("emb/0.npy", rows[:70])
    np.save("emb/1.npy", rows[70:])
    Path("sixty").mkdir()
    np.save("sixty/0.npy", rows[:60])
    of_embeddings = ["real=emb"] if line is SELECT else ["--training", "emb", "--generated", "half.npy", "--allow-same"]
    n = ["--n", "9"] if line is SELECT else []
    features = "sixty" if line is SELECT else "emb"
    lines = {
        "emb/out": [line[0], *of_embeddings, *n],
        f"{features}/out": [*line[:-2], "--features", features],
        "emb/below/out": [line[0], *(part.replace("emb", "emb/**/*.npy") for part in of_embeddings), *n],
    }
    for out, words in lines.items():
        ended = cli(*words, "--out", out)
        assert ended.code == 2 and not Path(out).exists(), out
        assert "out: expected a folder outside of what is read" in " ".join(ended.err.split()), out
    named = [line[0], *(part.replace("emb", "emb/**/[01].npy") for part in of_embeddings), *n]
    # What is written there is nothing that the pattern finds.
    assert cli(*named, "--out", "emb/out").code == 0


def test_a_part_with_other_settings_is_said_to_begin_anew(cli, place, monkeypatch):
    line = [*SCORE, "--features", "pixels", "half.npy"]
    with monkeypatch.context() as patched:
        measure_space = scoring_score.measure_space

        def interrupted(*arguments, **options):
            if arguments[2] == "half":
                raise KeyboardInterrupt
            return measure_space(*arguments, **options)

        patched.setattr(scoring_score, "measure_space", interrupted)
        assert cli(*line).code == 130
    begun = "out holds a part of a score with other settings: it goes, and this one begins anew."
    ended = cli(*line, "--seed", "3")
    assert ended.code == 0 and begun in " ".join(ended.out.split())
    assert cli("verify", "out").code == 0 and begun not in " ".join(cli(*line, "--seed", "3").out.split())
