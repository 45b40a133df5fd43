"""``entropick select``: from files into files, what it says, what it refuses, what an interruption leaves."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from fresh_python import SRC
from PIL import Image
from sklearn.datasets import load_digits

from entropick import features
from entropick.datasets import reading
from entropick.errors import InputError
from entropick.features import cache as feature_cache
from entropick.run import LEDGER, Ledger
from entropick.selection import choice, output, stages
from entropick.selectors import DensityGreedy, Greedy
from entropick.sources import Space, open_sources
from entropick.sources import candidates as files_command

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
# What is in a folder before anything is finished.
BEGUN = ["config.json", "environment.json", "work"]
NOISE = np.random.default_rng(0).integers(0, 256, (5, 8, 8)).astype(np.uint8)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of 60 digits in two classes, an array of 40 and some noise, embeddings of all."""
    monkeypatch.chdir(tmp_path)
    for row, image in enumerate(DIGITS[:60]):
        folder = tmp_path / "real" / f"class {row % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:02d}.png")
    np.save("made.npy", np.concatenate([DIGITS[60:100], NOISE]))
    embeddings = np.random.default_rng(1).standard_normal((105, 4)).astype(np.float32)
    np.save("all.npy", embeddings)
    pq.write_table(pa.table({"e": list(embeddings)}), "all.parquet")
    np.save("first.npy", embeddings[:60])
    return tmp_path


def result(out="out"):
    with open(f"{out}/selection.json") as file:
        return json.load(file)


def manifest(out="out"):
    with open(f"{out}/manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def hashes(folder):
    """Of every file; of a ledger its seal, which times are no part of."""
    return {
        str(path.relative_to(folder)): Ledger(path.parent).seal
        if path.name == LEDGER
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--approximate 1", "--approximate: expected a number between 0 and 1"),
        ("--approximate 0", "--approximate: expected a number between 0 and 1"),
        ("--approximate 0.1 --method random", "--approximate: expected the method greedy, got 'random'"),
        ("--approximate 0.1 --method density-greedy", "expected the method greedy, got 'density-greedy'"),
        ("--approximate 0.1 --set selector.eps=0.2", "Use --approximate"),
    ],
)
def test_what_cannot_be_approximated_is_refused(cli, place, flags, message):
    failed = cli("select", "pool=all.npy", "--n", "4", "--out", "out", *flags.split())
    assert failed.code == 2 and message in failed.err
    assert not (place / "out").exists()


def test_a_pool_without_near_copies_is_looked_at_in_full_and_says_so(cli, place):
    ended = cli("select", "pool=all.npy", "--n", "4", "--approximate", "0.1", "--out", "out")
    assert ended.code == 0 and "no row of the pool is so near another that it fell away" in " ".join(ended.out.split())


def test_a_long_selection_is_told_of_the_approximate_one(cli, place, monkeypatch):
    monkeypatch.setattr(choice, "_LONG", 0.0)
    assert "--approximate EPS" in cli("select", "pool=all.npy", "--n", "4", "--out", "out").out
    assert "--approximate EPS" not in cli("select", "pool=all.npy", "--n", "4", "--method", "random", "--out", "b").out


def test_density_greedy_leaves_out_what_is_off_the_trusted_source(cli, place):
    command = ["select", "made=made.npy", "real=real", "--n", "40", "--method", "density-greedy"]
    assert cli(*command, "--trusted", "real", "--out", "out").code == 0
    noise = {("made", str(row)) for row in range(40, 45)}
    assert not noise & {(row["source"], row["row"]) for row in manifest()}
    assert result()["config"]["selector"]["trusted"] == 1
    # At power 0 it is greedy, which takes all of it.
    assert cli(*command, "--trusted", "real", "--power", "0", "--out", "plain").code == 0
    assert noise < {(row["source"], row["row"]) for row in manifest("plain")}


@pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning")
@pytest.mark.parametrize(
    "method",
    ["gist --set selector.diversity=0.5", "gist --set selector.utility=uniform", "latent-space-filter"],
)
def test_rivals_choose_as_many_and_what_is_trusted_is_judged(cli, place, method):
    line = ["select", "real=real", "made=made.npy", "--n", "12", "--method", *method.split(), "--out", "out"]
    line += ["--set", "selector.n_classes=3"] if method.startswith("latent") else []
    ended = cli(*line)
    assert ended.code == 0, ended.err
    assert len(manifest()) == 12
    kind, unlike = method.split()[0], result()["unlike_trusted"]
    assert unlike is None if "uniform" in method else 0 < unlike[kind] <= 1


def test_a_rule_that_asks_a_model_is_for_loops(cli, place):
    ended = cli("select", "real=real", "--n", "5", "--method", "denoising-loss", "--out", "out")
    assert ended.code == 2 and "denoising-loss asks the last model of a loop" in ended.err


@pytest.mark.filterwarnings("ignore::entropick.errors.TrustWarning")
def test_classes_of_folders_are_what_a_filter_by_classes_learns(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = np.clip(60 + 120 * labels[:, None, None] + rng.normal(0, 8, (40, 4, 4)), 0, 255).astype(np.uint8)
    np.savez("real.npz", images=images, labels=labels)
    np.save(
        "made.npy",
        np.concatenate(
            [images[:10], np.full((10, 4, 4), 120, np.uint8) + np.arange(10)[:, None, None].astype(np.uint8)]
        ),
    )
    line = ["select", "real=real.npz", "made=made.npy", "--n", "50", "--method", "latent-space-filter"]
    assert cli(*line, "--set", "selector.n_classes=2", "--out", "out").code == 0
    made = {int(row["row"]) for row in manifest() if row["source"] == "made"}
    assert made == set(range(10))


def test_the_same_sources_in_another_order_are_another_selection(cli, place):
    command = ["select", "real=real", "made=made.npy", "--n", "9", "--method", "density-greedy", "--out", "out"]
    ended = cli(*command)
    assert ended.code == 0 and "density-greedy trusts real." in ended.out
    command[1:3] = ["made=made.npy", "real=real"]
    assert "order" in cli(*command).err


def test_a_guard_that_leaves_nothing_to_trust(cli, place):
    np.save("noise.npy", np.repeat(NOISE, 2, axis=0) // 2 + 100)
    command = ["select", "real=real", "noise=noise.npy", "--n", "5", "--guard", "real", "--out", "out"]
    ended = cli(*command, "--method", "density-greedy", "--trusted", "noise")
    assert ended.code == 2 and "got 0 after the guard has set 10 aside" in ended.err and "noise" in ended.err


def test_a_choice_may_trust_several_sources(place):
    sources = open_sources(("real=real", "made=made.npy"))

    def chosen(trusted):
        selector = DensityGreedy(n_samples=9, trusted=trusted, random_state=0)
        return choice.Choice(sources=sources, selector=selector, space=Space("pixels", encoder=features.Pixels()))

    assert chosen((0, 1)).run(place / "both")["n_samples"] == 9
    for trusted in (2, -1, (0, 5), (), "real", True):
        with pytest.raises(InputError, match="trusted: expected"):
            chosen(trusted).check()


def test_images_of_two_sources(cli, place):
    ended = cli("select", "real=real", "made=made.npy", "--n", "20", "--guard", "real", "--out", "out")
    assert ended.code == 0 and not ended.err
    assert "Forecast" in ended.out and "GiB" in ended.out and "guard:" in ended.out and "random" in ended.out
    rows = manifest()
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(20)]
    table = pq.read_table("out/manifest.parquet").to_pydict()
    assert list(table) == ["rank", "source", "path", "row", "distance", "base", "file_name", "class"]
    assert [str(row) for row in table["row"]] == [row["row"] for row in rows]
    assert {row["source"] for row in rows} == {"real", "made"}
    files = sorted((place / "real").rglob("*.png"))
    made = str(place / "made.npy")
    assert all(row["path"] == made or Path(row["path"]) == files[int(row["row"])] for row in rows)
    told = result()
    assert told["guard"]["n_set_aside"] >= 5 and told["sources"]["made"]["set_aside"] >= 5
    assert not {("made", str(row)) for row in range(40, 45)} & {(row["source"], row["row"]) for row in rows}
    assert told["entropy_gain"] > 0 and told["certificate"]["factor"] == pytest.approx(2.0)
    for name in ("contact-sheet.png", "set-aside.png"):
        with Image.open(place / "out" / name) as sheet:
            assert sheet.width == 1004 or name == "set-aside.png"
    with open("out/set-aside.csv", newline="") as file:
        aside = list(csv.DictReader(file))
    assert [float(row["distance"]) for row in aside] == sorted((float(r["distance"]) for r in aside), reverse=True)


def test_rows_are_those_of_the_selector(cli, place):
    assert cli("select", "made=made.npy", "--n", "12", "--seed", "3", "--out", "out").code == 0
    X = np.load("made.npy").reshape(45, -1).astype(np.float32)
    expected = Greedy(n_samples=12, random_state=3).fit(X)
    assert [int(row["row"]) for row in manifest()] == expected.indices_.tolist()
    assert [float(row["distance"]) for row in manifest()] == expected.distances_.tolist()


@pytest.mark.parametrize("method", ["greedy", "threshold-decay", "random"])
@pytest.mark.parametrize("embeddings", ["all.npy", "all.parquet"])
def test_embeddings_of_images(cli, place, method, embeddings):
    line = f"select real=real made=made.npy --n 30 --method {method} --features {embeddings} --out out"
    assert cli(*line.split()).code == 0
    kinds = {"greedy": 2.0, "threshold-decay": 2 / 0.95}
    assert method == "random" or result()["certificate"]["factor"] <= kinds[method] + 1e-9
    assert (place / "out" / "contact-sheet.png").is_file() and not (place / "out" / "work" / "features").exists()


def test_sources_of_embeddings(cli, place):
    ended = cli("select", "a=first.npy", "b=all.parquet", "--n", "30", "--quota", "a=0.8", "--out", "out")
    assert ended.code == 0, ended.err
    assert result()["sources"]["a"]["chosen"] >= 24
    assert not (place / "out" / "contact-sheet.png").exists()


def test_what_is_given_is_not_chosen_again(cli, place):
    line = ["select", "real=real", "made=made.npy", "--n", "12", "--given", "real", "--out", "out"]
    ended = cli(*line, "--seed", "3", "--copy")
    assert ended.code == 2 and "(--copy): expected folders of image files, but 'made' is one file" in ended.err
    ended = cli(*line, "--seed", "3")
    assert ended.code == 0, ended.err
    assert "given: 60 rows of real, picked already." in ended.out and "greedy: 12 of 45 rows" in ended.out
    X = np.concatenate([DIGITS[:60:2], DIGITS[1:60:2], np.load("made.npy")]).reshape(105, -1).astype(np.float32)
    expected = Greedy(n_samples=72, initial=np.arange(60), random_state=3).fit(X)
    rows = [(row["source"], int(row["row"])) for row in manifest() if row["given"] == "False"]
    assert rows == [("made", row - 60) for row in expected.indices_[60:].tolist()]
    # No file of those that are there already is linked, copied or listed again.
    assert not Path("out/filenames.txt").exists() and len(manifest()) == 72


LABELS = np.repeat([0, 1, 2], [80, 20, 5])


@pytest.mark.parametrize("file", ["images.npz", "labelled.parquet", "numbers.parquet"])
def test_classes_in_balance(cli, place, file):
    X = np.load("all.npy")
    np.savez("images.npz", images=np.concatenate([DIGITS[:100], NOISE]), labels=LABELS)
    pq.write_table(pa.table({"e": list(X), "label": LABELS}), "labelled.parquet")
    pq.write_table(pa.table({"a": X[:, 0], "b": X[:, 1], "label": LABELS.astype(str)}), "numbers.parquet")
    assert cli("select", f"all={file}", "--n", "30", "--balance", "--out", "out").code == 0
    chosen = [(row["class"], LABELS[int(row["row"])]) for row in manifest()]
    assert all(name == str(label) for name, label in chosen)
    # Five is all that the last class has.
    assert sorted(Counter(name for name, _ in chosen).items()) == [("0", 13), ("1", 12), ("2", 5)]


def test_folders_are_classes(cli, place):
    assert cli("select", "real=real", "--n", "21", "--balance", "--out", "out").code == 0
    assert Counter(row["class"] for row in manifest()) == {"class 0": 11, "class 1": 10}
    assert all(row["class"] in row["path"] for row in manifest())


@pytest.mark.parametrize("flag", ["--link", "--copy"])
def test_the_chosen_files_themselves(cli, place, flag):
    before = hashes(place / "real")
    assert cli("select", "real=real", "--n", "10", flag, "--out", "out").code == 0
    chosen = hashes(place / "out" / "selected" / "real")
    assert len(chosen) == 10 and chosen.items() <= before.items()
    one = next(path for path in (place / "out" / "selected").rglob("*.png"))
    assert (one.stat().st_nlink > 1) == (flag == "--link")


@pytest.mark.parametrize("flag", ["--link", "--copy"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.unlink() or path.write_bytes(b"junk")])
def test_chosen_files_that_are_gone_or_others_are_placed_again(cli, place, flag, damage):
    line = ["select", "real=real", "--n", "10", flag, "--out", "out"]
    assert cli(*line).code == 0
    chosen = hashes(place / "out" / "selected")
    damage(next((place / "out" / "selected").rglob("*.png")))
    assert hashes(place / "out" / "selected") != chosen
    assert cli(*line).code == 0 and hashes(place / "out" / "selected") == chosen


def test_the_same_command_again_does_nothing_and_another_is_refused(cli, place, monkeypatch):
    line = ["select", "real=real", "--n", "10", "--out", "out"]
    assert cli(*line).code == 0
    before = hashes(place / "out")
    monkeypatch.setattr(stages, "appraise", None)
    assert "out is complete already; nothing was computed." in cli(*line).out
    ended = cli(*line, "--seed", "5")
    assert ended.code == 2 and "selector.random_state: was 0, now 5" in ended.err
    Image.fromarray(DIGITS[99]).save(place / "real" / "new.png")
    ended = cli(*line)
    assert ended.code == 2 and "sources.real.content: was" in ended.err
    assert hashes(place / "out") == before


def test_a_missing_result_is_made_again_from_kept_features(cli, place, monkeypatch, dear_pixels):
    line = ["select", "real=real", "--n", "10", "--out", "out"]
    cli(*line)
    before = hashes(place / "out")
    (place / "out" / "manifest.csv").unlink()
    monkeypatch.setattr(reading, "read_image", None)
    assert cli(*line).code == 0 and hashes(place / "out") == before


def test_interrupted_while_extracting_it_goes_on(cli, place, monkeypatch, dear_pixels):
    line = ["select", "real=real", "--n", "10", "--out", "out"]
    monkeypatch.setattr(feature_cache, "_PART", 16)
    read, calls = reading.read_image, []

    def interrupted(file, **looks):
        calls.append(file)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return read(file, **looks)

    monkeypatch.setattr(reading, "read_image", interrupted)
    assert cli(*line).code == 130
    assert not (place / "out" / "selection.json").exists()
    assert not list((place / "out").rglob("*.partial"))
    calls[:] = [None] * 100
    assert cli(*line).code == 0
    # Two parts of 16 were kept.
    assert len(calls) == 100 + 60 - 32
    assert cli("select", "real=real", "--n", "10", "--out", "other").code == 0
    assert manifest() == manifest("other")


def test_interrupted_while_copying_nothing_half_written_is_left(cli, place, monkeypatch):
    line = ["select", "real=real", "--n", "10", "--out", "out", "--copy"]
    place_one, calls = output.place, []

    def interrupted(file, target, *, link):
        calls.append(file)
        if len(calls) == 5:
            raise KeyboardInterrupt
        place_one(file, target, link=link)

    monkeypatch.setattr(output, "place", interrupted)
    assert cli(*line).code == 130
    assert not (place / "out" / "selection.json").exists() and not list((place / "out").glob("selected*"))
    assert cli(*line).code == 0 and len(hashes(place / "out" / "selected" / "real")) == 10


def test_copies_are_said(cli, place):
    np.save("same.npy", np.repeat(np.eye(3, dtype=np.float32), 4, axis=0))
    ended = cli("select", "a=same.npy", "--n", "5", "--out", "out")
    assert ended.code == 0 and "only 3 of the chosen rows are distinct" in ended.out


def test_a_real_ctrl_c(place):
    command = [sys.executable, "-m", "entropick", "select", "a=big.npy", "--n", "20000", "--out", "out"]
    np.save("big.npy", np.random.default_rng(0).standard_normal((40_000, 256)).astype(np.float32))
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(SRC)}
    )
    deadline = time.monotonic() + 60
    while not (place / "out" / "work").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert sorted(path.name for path in (place / "out").iterdir() if path.name[0] != ".") == BEGUN


def spoil(place):
    """Four files that cannot be used, each in its own way."""
    (place / "real" / "text.png").write_text("no image")
    whole = next((place / "real").rglob("00.png")).read_bytes()
    (place / "real" / "torn.png").write_bytes(whole[:-40])
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(place / "real" / "wide.png")
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(place / "real" / "deep.png")


def test_unreadable_images_are_all_named(cli, place):
    spoil(place)
    for row in range(15):
        (place / "real" / f"z{row:02d}.png").touch()
    ended = cli("select", "real=real", "--n", "10", "--out", "out")
    assert ended.code == 2 and ended.err.count("entropick: error:") == 1
    assert all(f"{name}.png: " in ended.err for name in ("text", "torn", "wide", "deep", "z00", "z14"))
    told = "19 images cannot be used. Give --resize N (resize=N), which brings all to one size; or mend or remove them"
    assert told in ended.err and "--skip-bad (skip_bad=True)" in ended.err and not (place / "out").exists()


def test_where_sizes_are_not_the_trouble_no_resize_is_advised(cli, place):
    (place / "real" / "text.png").write_text("no image")
    ended = cli("select", "real=real", "--n", "10", "--out", "out")
    assert "1 image cannot be used. Mend or remove it, or give --skip-bad" in ended.err and "--resize" not in ended.err
    assert cli("select", "real=real", "--n", "10", "--out", "out", "--resize", "4").code == 2


def test_a_row_of_embeddings_is_at_fault_and_not_its_image(cli, place):
    rows = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
    rows[7, 1] = np.nan
    np.save("emb.npy", rows)
    image = sorted((place / "real").rglob("*.png"))[7].relative_to(place)
    line = ["select", "real=real", "--n", "10", "--features", "emb.npy", "--out", "out"]
    ended = cli(*line)
    assert "1 row of emb.npy cannot be used. Extract it again, or give --skip-bad" in ended.err
    told = "its row in emb.npy: expected finite float32 values, got nan in row 7, column 1"
    assert f"{image}: {told}" in " ".join(ended.err.split())
    rows[7], rows[8] = 1, 0
    np.save("emb.npy", rows)
    assert "its row in emb.npy: expected a direction (--normalize" in cli(*line, "--normalize").err


def test_bad_images_can_be_skipped_and_are_recorded(cli, place):
    whole = cli("select", "real=real", "--n", "10", "--out", "whole")
    assert whole.code == 0
    spoil(place)
    assert cli("select", "real=real", "--n", "10", "--out", "out", "--skip-bad").code == 0
    told = result()
    assert {Path(item["path"]).name for item in told["skipped"]} == {
        "text.png",
        "torn.png",
        "wide.png",
        "deep.png",
    }
    assert told["sources"]["real"]["skipped"] == 4
    assert [row["path"] for row in manifest()] == [row["path"] for row in manifest("whole")]


def test_colour_and_grey_files_are_compared_in_colour(cli, place, dear_pixels):
    Image.fromarray(np.full((8, 8, 4), 200, np.uint8)).save(place / "real" / "rgba.png")
    assert cli("select", "real=real", "--n", "10", "--out", "out").code == 0
    assert np.load(next((place / "out" / "work" / "features").rglob("*.npy"))).shape == (61, 192)


def test_colour_is_not_dropped_for_a_grey_array(cli, place):
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(place / "real" / "colour.png")
    ended = cli("select", "real=real", "made=made.npy", "--n", "10", "--out", "out")
    expected = (
        "expected images of one shape, but real has mostly 8x8 pixels in colour, made has (8, 8, 1). Bring them to grey"
    )
    assert ended.code == 2 and expected in ended.err and not (place / "out").exists()


def bad_files(place):
    np.savez("zip.npz", images=DIGITS[:9])
    np.save("nan.npy", np.array([[0.0, np.nan], [1.0, 2.0]], np.float32))
    np.save("inf.npy", np.array([[0.0, np.inf], [1.0, 2.0]], np.float32))
    np.save("floats.npy", np.zeros((5, 8, 8)))
    np.savez("rows.npz", np.zeros((60, 4)))
    np.save("line.npy", np.zeros(60))
    np.save("colour.npy", np.zeros((5, 8, 8, 3), np.uint8))
    np.save("few.npy", np.ones((3, 4), np.float32))
    np.save("short.npy", np.zeros((7, 4), np.float32))
    np.save("wide.npy", np.zeros((7, 5), np.float32))
    (place / "text.npy").write_text("hello")
    (place / "text.parquet").write_text("hello")
    (place / "notes.txt").write_text("hello")
    pq.write_table(pa.table({"e": [[1.0], [1.0, 2.0]]}), "ragged.parquet")
    pq.write_table(pa.table({"e": [[1.0], None]}), "holes.parquet")
    pq.write_table(pa.table({"name": ["a", "b"]}), "words.parquet")
    Path("zip.npy").write_bytes(Path("zip.npz").read_bytes())
    dates = pa.array([0, 1], pa.timestamp("s"))
    pq.write_table(pa.table({"x": [1.0, 2.0], "day": dates}), "dates.parquet")
    pq.write_table(pa.Table.from_arrays([pa.array([1.0, 2.0])] * 2, names=["x", "x"]), "twice.parquet")
    (place / "loop").symlink_to("loop")
    (place / "nowhere").symlink_to("gone")
    (place / "empty").mkdir()
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("years of work")


MISTAKES = {
    "select --n 5 --out out": "expected at least one NAME=PATH",
    "select a=zip.npy --n 5 --out out": "zip.npy: expected one array, but it is an archive of arrays. Name it .npz",
    "select a=dates.parquet --n 1 --out out": "expected real numbers, but column 'day' has dtype datetime64",
    "select a=twice.parquet --n 1 --out out": "expected columns of different names, got x, x",
    f"select a={300 * 'x'} --n 5 --out out": "but: File name too long",
    "select a\x1b=real --n 5 --out out": "expected NAME=PATH",
    "select a=real --n 5 --out real/out": "out: expected a folder outside of what is read, but real/out is in a (real)",
    "select a=real --n 5 --out nowhere": "nowhere: expected a directory or a path that is free, but it is a link that",
    "select a=real --n 5 --columns nosuch --out out": "columns: expected a table whose columns are features or images",
    "select a=made.npy --n 5 --columns nosuch --out out": "there is none among a and the features, got 'nosuch'.",
    "select a=first.npy --n 5 --columns nosuch --out out": "there is none among a and the features, got 'nosuch'.",
    "select a=real --n 5 --features short.npy --columns nosuch --out out": "columns: expected a table whose columns",
    "select a=real b=made.npy --n 5 --given a --given a --out out": "given: expected every source once, got 'a' more",
    "select a=real --n 5 --out loop": "loop",
    f"select a=real --n 5 --features {'[' * 3000} --out out": "there is no kind",
    "select a=real --n 5 --features= --out out": "there is no kind ''",
    "select a=real --n 5 --quota a=0.5 --quota a=0.2 --out out": "--quota: expected every source once",
    "select real --n 5 --out out": "expected NAME=PATH, for instance real=photos/, got 'real'",
    "select =real --n 5 --out out": "got '=real'",
    "select a/b=real --n 5 --out out": "got 'a/b=real'",
    "select a=real a=made.npy --n 5 --out out": "expected different names, got 'a' more than once",
    "select a=gone --n 5 --out out": "a: expected a folder or a file at gone, but there is none",
    "select a=empty --n 5 --out out": "empty: expected image files",
    "select a=notes.txt --n 5 --out out": "expected a folder of images, or a .npy, .npz or .parquet file",
    "select a=text.npy --n 5 --out out": "text.npy: expected a NumPy file, as numpy.save writes it, but it is not one.",
    "select a=text.parquet --n 5 --out out": "text.parquet: expected a parquet file",
    "select a=ragged.parquet --n 2 --out out": "lists of one length in column 'e', got lengths [1, 2]",
    "select a=holes.parquet --n 2 --out out": "no missing values, but column 'e'",
    "select a=words.parquet --n 2 --out out": "expected real numbers",
    "select a=nan.npy --n 1 --out out": "nan.npy: expected finite float32 values, got nan in row 0, column 1",
    "select a=inf.npy --n 1 --out out": "got inf in row 0, column 1",
    "select a=floats.npy --n 1 --out out": "expected uint8 values 0..255",
    "select a=rows.npz --n 1 --out out": "got shape (60, 4), dtype float64. Embeddings are a matrix (n, d): save it as",
    "select a=line.npy --n 1 --out out": "got shape (60,), dtype float64. Embeddings are a matrix (n, d): save it as",
    "select a=made.npy b=colour.npy --n 1 --out out": "expected images of one shape, but a has (8, 8, 1), b has",
    "select a=real b=first.npy --n 1 --out out": "a has folder, b has embeddings",
    "select a=short.npy b=wide.npy --n 1 --out out": "a has 4, b has 5",
    "select a=real --n 0 --out out": "error: n: expected a whole number of at least 1, got 0",
    "select a=real --n -3 --out out": "error: n: expected a whole number of at least 1, got -3",
    "select a=real --n 61 --out out": "n: expected at most 60, as many as there are candidates, got 61",
    "select a=real --n 5 --seed -1 --out out": "seed: expected a whole number of at least 0, got -1",
    "select a=real --n 5 --method gready --out out": "there is no kind 'gready'",
    "select a=real --n 5 --threshold 3 --out out": "--threshold: expected a method that has it (threshold-decay), got "
    "'greedy'. Leave --threshold out, or give --method threshold-decay.",
    "select a=real --n 5 --decay 0.5 --method random --out out": "--decay: expected a method that has it (threshold-",
    "select a=real --n 5 --power 2 --out out": "--power: expected a method that has it (density-greedy), got 'greedy'",
    "select a=real --n 5 --method threshold-decay --threshold 0 --out out": 'error: --threshold (or "auto"): expected',
    "select a=real --n 5 --method threshold-decay --threshold -2 --out out": 'error: --threshold (or "auto"): ',
    "select a=real --n 5 --method threshold-decay --threshold much --out out": "error: --threshold",
    "select a=real --n 5 --method threshold-decay --decay 1 --out out": "--decay: expected a number between 0 and 1",
    "select a=real --n 5 --method threshold-decay --decay -0.5 --out out": "error: --decay: expected",
    "select a=real --n 5 --features dino --out out": "there is no kind 'dino'",
    "select a=real --n 5 --features gone.npy --out out": "gone.npy",
    "select a=real --n 5 --features short.npy --out out": "expected 60 rows, one per image (a 60), got 7",
    "select a=first.npy --n 5 --features pixels --out out": "the sources are embeddings already",
    "select a=real --n 5 --guard b --out out": "guard: expected the name of a source (a), got 'b'",
    "select a=real --n 5 --method density-greedy --trusted b --out out": "--trusted: expected the name of a source (a)",
    "select a=real --n 5 --trusted a --out out": "--trusted: expected a method that trusts a source",
    "select a=real --n 5 --method density-greedy --power -1 --out out": "--power: expected a number of at least 0",
    "select a=real --n 5 --method density-greedy --balance --out out": "expected a rule that needs no trusted source",
    "select a=few.npy b=first.npy --n 5 --guard a --out out": "outlier-guard: expected more than k = 5 rows",
    "select a=few.npy b=first.npy --n 5 --method density-greedy --out out": "of the trusted source a, got 3.",
    "select a=real --n 5 --quota b=0.5 --out out": "quotas (--quota): expected the name of a source (a), got 'b'",
    "select a=few.npy b=short.npy --n 5 --quota a=0.9 --out out": "a=0.9 of 5 asks for 4 rows, but a has 3. Lower the",
    "select a=real --n 5 --quota a=0.6 --quota a/b=0.6 --out out": "expected the name of a source (a), got 'a/b'",
    "select a=real b=made.npy --n 5 --quota a=0.6 --quota b=0.6 --out out": "(--quota): expected shares that add up to",
    "select a=real --n 5 --quota a --out out": "--quota: expected NAME=SHARE",
    "select a=real --n 5 --quota a=lots --out out": "--quota: expected NAME=SHARE",
    "select a=real --n 5 --quota a=1.5 --out out": "with a share from 0 to 1, for instance real=0.5, got 'a=1.5'",
    "select a=real --n 5 --balance --quota a=0.5 --out out": "expected a balance of classes or quotas of sources",
    "select a=made.npy --n 5 --balance --out out": "expected the class of every row, but a (made.npy) has none. "
    "Classes are the folders below a folder, what its metadata.csv or metadata.jsonl or the .json or .cls files in",
    "select a=real --n 5 --link --copy --out out": "--link and --copy: expected one of them",
    "select a=made.npy --n 5 --copy --out out": "files='copy' (--copy): expected folders of image files, but 'a' is",
    "select a=real --n 5 --engine spark --out out": "engine: expected processes, processes:N, ray or ray:ADDRESS, got",
    "select a=real --n 5 --engine processes:0 --out out": "engine: expected a number of processes of at least 1",
    "select a=real --n 5 --engine ray --workers 0 --out out": "workers: expected a whole number of at least 1, got 0",
    "select a=real --n 5 --memory lots --out out": "--memory: expected a size such as 3G or 512M, got 'lots'",
    "select a=real --n 5 --memory 0 --out out": "--memory: expected a size such as 3G or 512M, got '0'",
    "select a=real --n 5 --memory 3 --out out": "--memory: expected at least 384M, which Python and torch take by",
    "select a=real --n 5 --memory 1K --out out": "themselves, got '1K'. Give more, with a unit (K, M, G, T), or leave",
    "select a=first.npy --n 5 --memory 384M --out out": "forecast: expected what fits into 0.4 GiB of memory and a day",
    "select a=real --n 5 --workers 2 --out out": "--workers: expected an engine whose workers they are, got none",
    "select a=real --n 5 --engine processes --method random --out out": "engine: expected a rule that asks workers",
    "select a=first.npy --n 5 --engine ray:127.0.0.1:1 --out out": "nothing answers there",
    "select a=real --n 5 --out notes.txt": "--out: expected a directory, but notes.txt is a file",
    "select a=real --n 5 --out mine": "a new folder or one of an earlier selection, but mine holds other files",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_said_once_and_nothing_is_written(cli, place, line):
    bad_files(place)
    before = hashes(place)
    ended = cli(*line.split())
    assert ended.code == 2
    assert MISTAKES[line] in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err and ended.err.count("entropick: error:") == 1
    left = hashes(place)
    assert {name: left[name] for name in before} == before
    assert not [name for name in left if name.endswith(("selection.json", "manifest.csv"))]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_is_extracted(cli, place):
    ended = cli("select", "a=real", "--n", "5", "--device", "cuda", "--out", "out")
    assert ended.code == 2 and "torch sees no GPU" in ended.err and not ended.out
    assert not (place / "out").exists()


HOSTILE = ["a\nb.png", "<b>.png", "a: b.png", "\x1b[31m.png", "\U0001f600.png", os.fsdecode(b"caf\xe9.png")]


def test_hostile_file_and_folder_names(cli, place):
    folder = place / os.fsdecode(b"h\xf4te") / os.fsdecode(b"classe \xe9")
    folder.mkdir(parents=True)
    for name, image in zip(HOSTILE, DIGITS, strict=False):
        Image.fromarray(image).save(folder / "x.png")
        (folder / "x.png").rename(folder / name)
    line = ["select", f"a={folder.parent}", "--n", "6", "--balance", "--copy"]
    ended = cli(*line, "--out", "out")
    assert ended.code == 0, ended.err
    assert sorted(p.name for p in Path("out/selected").rglob("*.png")) == sorted(HOSTILE)
    assert "caf\\xe9.png" in "".join(pq.read_table("out/manifest.parquet")["path"].to_pylist())
    assert b"caf\xe9.png" in Path("out/manifest.csv").read_bytes()
    Path(f"out/selected/a/{folder.name}/{HOSTILE[-1]}").write_text("spoilt")
    ended = cli("verify", "out")
    assert ended.code == 2 and "caf" in ended.out and "is damaged" in ended.out and "Traceback" not in ended.err
    for name in HOSTILE:
        (folder / name).write_text("no image")
    ended = cli(*line, "--out", "other")
    assert ended.code == 2 and "a\\nb.png: does not decode" in ended.err and "\x1b" not in ended.err
    # Not one can be read, and still all are named.
    assert len(ended.err.splitlines()) == 1 + len(HOSTILE)


def test_links_that_lead_nowhere_are_unreadable_images_and_folders_are_none(cli, place, dear_pixels):
    (place / "real" / "gone.png").symlink_to("nowhere")
    (place / "real" / "loop.png").symlink_to("loop.png")
    (place / "real" / "folder.png").mkdir()
    Image.new("LAB", (8, 8)).save(place / "real" / "lab.tif")
    ended = cli("select", "real=real", "--n", "10", "--out", "out")
    assert ended.code == 2 and "3 images cannot be used" in ended.err
    assert all(name in ended.err for name in ("gone.png", "loop.png", "lab.tif"))
    assert cli("select", "real=real", "--n", "10", "--out", "out", "--skip-bad").code == 0
    assert len(result()["skipped"]) == 3
    assert np.load(next((place / "out" / "work" / "features").rglob("*.npy"))).shape == (60, 64)


@pytest.mark.parametrize("content", ["[]", "3", "{}"])
def test_a_config_or_result_of_another_shape(cli, place, content):
    line = ["select", "real=real", "--n", "10", "--out", "out"]
    assert cli(*line).code == 0
    before = hashes(place / "out")
    Path("out/selection.json").write_text(content)
    assert cli(*line).code == 0 and hashes(place / "out") == before
    Path("out/config.json").write_text(content)
    assert "out holds other files" in cli(*line).err


def test_what_an_unfinished_choice_left_is_no_part_of_another(cli, place):
    assert cli("select", "real=real", "made=made.npy", "--n", "9", "--guard", "real", "--out", "out").code == 0
    assert cli("select", "real=real", "--n", "9", "--copy", "--out", "copied").code == 0
    shutil.copytree("copied/selected", "out/selected")
    Path("out/selection.json").unlink()
    assert cli("select", "real=real", "--n", "9", "--out", "out").code == 0
    assert not Path("out/set-aside.csv").exists() and not Path("out/selected").exists()


def test_no_other_process_can_begin_in_the_folder_meanwhile(cli, place, monkeypatch):
    def meanwhile(*arguments, **more):
        monkeypatch.undo()
        os.chdir(place)
        ended = cli("select", "real=real", "--n", "9", "--seed", "7", "--out", "out")
        assert ended.code == 2 and "out is in use by process" in ended.err
        return survey(*arguments, **more)

    survey = files_command.survey
    monkeypatch.setattr(files_command, "survey", meanwhile)
    assert cli("select", "real=real", "--n", "9", "--out", "out").code == 0


def test_another_process_finished_in_the_folder_meanwhile(cli, place, monkeypatch):
    def meanwhile(*arguments, **more):
        monkeypatch.undo()
        os.chdir(place)
        assert cli("select", "real=real", "--n", "9", "--seed", "7", "--out", "out").code == 0
        return survey(*arguments, **more)

    survey = files_command.survey
    monkeypatch.setattr(files_command, "survey", meanwhile)
    # As one does that is run from Python part by part, and holds its folder only where it writes.
    monkeypatch.setattr("entropick.cli.flags.working_in", contextlib.nullcontext)
    ended = cli("select", "real=real", "--n", "9", "--out", "out")
    assert ended.code == 2 and "selector.random_state: was 7, now 0" in ended.err
    assert result()["config"]["seed"] == 7


def test_a_reader_that_goes_is_no_failed_condition(place):
    command = f"{sys.executable} -m entropick select real=real --n 9 --out out"
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command.split(), stdout=write, stderr=subprocess.PIPE, text=True, env=env)
    os.close(write)
    assert ended.returncode == 141 and not ended.stderr


def test_copies_among_what_is_given_are_not_said_to_be_chosen(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("have.npy", np.array([[0.0], [0.0], [5.0]], np.float32))
    np.save("new.npy", np.array([[1.0], [2.0], [9.0]], np.float32))
    ended = cli("select", "have=have.npy", "new=new.npy", "--given", "have", "--n", 2, "--out", "out")
    assert ended.code == 0 and "only 4 of the given and chosen rows are distinct" in ended.out


def test_classes_of_which_all_that_were_kept_are_taken(cli, place):
    images = np.random.default_rng(0).integers(100, 110, (40, 8, 8)).astype(np.uint8)
    images[38:] = [[[0]], [[255]]]
    np.savez("pool.npz", images=images, labels=np.repeat([0, 1], [35, 5]))
    np.save("trusted.npy", np.random.default_rng(1).integers(100, 110, (30, 8, 8)).astype(np.uint8))
    line = ["select", "trusted=trusted.npz", "pool=pool.npz", "--n", "12", "--balance", "--out", "out"]
    np.savez("trusted.npz", images=np.load("trusted.npy"), labels=np.full(30, 2))
    ended = cli(*line, "--guard", "trusted")
    assert ended.code == 0, ended.err
    assert result()["classes"]["1"] == {"candidates": 5, "set_aside": 2, "chosen": 3}
    assert "all candidates of 1 that were kept are taken; the other classes share" in " ".join(ended.out.split())
    assert re.search(r"class +candidates +set aside +chosen", ended.out)
    page = Path("out/selection.html").read_text()
    assert '<th scope="col">set aside</th>' in page
    assert '<th scope="row">1</th><td>5</td><td>2</td><td>3</td>' in page
    ended = cli(*line[:-1], "free")
    assert "that were kept" not in ended.out
    assert '>candidates</th><th scope="col">chosen</th>' in Path("free/selection.html").read_text()


def test_a_link_is_the_file_itself(cli, place):
    assert cli("select", "real=real", "--n", "5", "--link", "--out", "out").code == 0
    linked = list(Path("out/selected/real").rglob("*.png"))
    assert linked and all(file.stat().st_nlink == 2 for file in linked)
    helped = " ".join(cli("select", "--help").out.replace("│", " ").split())
    assert "an edit there edits the original" in helped
