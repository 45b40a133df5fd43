"""``entropick score``: exit codes for pipelines, what it refuses, what an interruption leaves."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fresh_python import SRC
from PIL import Image
from sklearn.datasets import load_digits

from entropick import metrics
from entropick.datasets import reading
from entropick.features import Pixels
from entropick.run import LEDGER, Ledger
from entropick.scoring import score

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
TRAINING, FRESH, REFERENCE = DIGITS[:300], DIGITS[300:400], DIGITS[400:600]
NOISE = np.random.default_rng(0).integers(-3, 4, (50, 8, 8))
COPIES = np.clip(TRAINING[:50].astype(int) + NOISE, 0, 255).astype(np.uint8)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of training images, generated images of several kinds, held-out real ones, embeddings of all roles."""
    monkeypatch.chdir(tmp_path)
    for row, image in enumerate(TRAINING):
        folder = tmp_path / "training" / f"class {row % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{row:03d}.png")
    np.save("fresh.npy", FRESH)
    np.savez("copies.npz", images=COPIES)
    np.save("half.npy", np.concatenate([FRESH[:50], COPIES]))
    np.savez("reference.npz", images=REFERENCE)
    for name, images in {"t": TRAINING, "g": COPIES, "r": REFERENCE}.items():
        np.save(f"{name}.npy", Pixels().extract(images))
    return tmp_path


LINE = ["score", "--training", "training", "--generated", "copies.npz", "--reference", "reference.npz", "--out", "out"]


def told(out="out"):
    with open(f"{out}/score.json") as file:
        return json.load(file)


def nearest(out="out", space="pixels"):
    with open(f"{out}/nearest-{space}.csv", newline="") as file:
        return list(csv.DictReader(file))


def contents(folder):
    """Of every file; of a ledger its seal, which times are no part of."""
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name[0] != "."]
    return {p.name: Ledger(p.parent).seal if p.name == LEDGER else p.read_bytes() for p in files}


def test_copies_are_found_and_everything_is_told(cli, place):
    ended = cli(*LINE)
    assert ended.code == 0 and not ended.err
    assert "Forecast" in ended.out and "copies" in ended.out and "page: out/score.html" in ended.out
    found = told()
    files = sorted((place / "training").rglob("*.png"))
    T = Pixels().extract(np.stack([np.asarray(Image.open(file)) for file in files]))
    G, R = Pixels().extract(COPIES), Pixels().extract(REFERENCE)
    expected = metrics.copying(generated=G, training=T, reference=R)
    assert found["values"]["generalization_score/pixels"] == expected.score
    assert found["values"]["generalization_score_ratio/pixels"] == expected.ratio < 0.2
    assert found["values"]["near_copy_rate/pixels"] == 1
    assert found["values"]["recall/pixels"] == metrics.recall(generated=G, reference=R)
    without_real = [name for name, record in metrics.MEASURES.items() if "real" not in record.roles]
    assert set(found["values"]) == {f"{name}/pixels" for name in without_real}
    assert found["sizes"]["training"] == {"files_or_rows": 300, "skipped": 0, "used": 300}
    assert found["version"] and len(found["config"]["sources"]["generated"]["content"]) == 64
    rows = nearest()
    assert [float(row["distance"]) for row in rows] == sorted(expected.distances.tolist())
    assert all(files[expected.neighbors[int(row["row"])]] == place / row["training_path"] for row in rows)
    assert {row["near_copy"] for row in rows} == {"1"}


@pytest.mark.parametrize(
    ("generated", "condition", "code"),
    [
        ("copies.npz", "generalization_score_ratio<0.8", 1),
        ("fresh.npy", "generalization_score_ratio<0.8", 0),
        ("half.npy", "near_copy_rate/pixels >= 0.5", 1),
        ("half.npy", "near_copy_rate>0.6", 0),
        ("fresh.npy", "recall<=-1", 0),
    ],
)
def test_a_condition_sets_the_exit_code(cli, place, generated, condition, code):
    line = ["score", "--training", "training", "--generated", generated, "--reference", "reference.npz"]
    ended = cli(*line, "--metrics", "generalization_score", "--out", "out", "--fail-if", condition)
    assert ended.code == code, ended.err
    name, comparison, bound = re.split("(?:/pixels)? ?([<>]=?) ?", condition)
    said = rf"{'failed' if code else 'passed'}: {name}/pixels is \S+ \(fails if {comparison}{bound}\)\n"
    assert re.search(said, ended.out)
    assert told()["conditions"][0]["holds"] is bool(code)


def test_one_condition_of_several_is_enough_however_they_are_given(cli, place):
    weak, strong = "generalization_score_ratio<0.01", "near_copy_rate>0.5"
    for number, flags in enumerate((["--fail-if", weak, strong], ["--fail-if", strong, "--fail-if", weak])):
        ended = cli(*LINE[:-1], f"out{number}", *flags)
        assert ended.code == 1 and "passed: generalization_score_ratio/pixels is " in ended.out
        assert "failed: near_copy_rate/pixels is 1 (fails if >0.5)" in ended.out


def test_a_condition_on_no_number_cannot_be_decided(cli, place):
    # All reference images are training images, too: there is no baseline to divide by.
    np.save("known.npy", TRAINING[:200])
    line = ["score", "--training", "training", "--generated", "fresh.npy", "--reference", "known.npy", "--out", "out"]
    refused = cli(*line)
    assert refused.code == 2 and "all 200 are in the training set" in refused.err
    line.append("--allow-same")
    ended = cli(*line, "--fail-if", "generalization_score_ratio<0.8")
    assert ended.code == 2 and "cannot be decided" in ended.err
    assert "undecided: generalization_score_ratio/pixels is no finite number (fails if <0.8)" in ended.out
    assert told()["values"]["generalization_score_ratio/pixels"] is None
    assert told()["conditions"][0]["holds"] is None
    assert "200 reference images are in the training set" in (place / "out" / "score.html").read_text()
    ended = cli(*line, "--fail-if", "generalization_score_ratio<0.8", "generalization_score>0")
    assert ended.code == 1


def test_embeddings_of_three_roles(cli, place):
    assert cli("score", "--training", "t.npy", "--generated", "g.npy", "--reference", "r.npy", "--out", "out").code == 0
    assert cli(*LINE[:-1], "images").code == 0
    assert told()["values"]["recall/embeddings"] == told("images")["values"]["recall/pixels"]
    assert '<ol class="gallery">' not in (place / "out" / "score.html").read_text()


def test_several_spaces_one_of_them_from_a_file(cli, place):
    T = Pixels().extract(np.stack([np.asarray(Image.open(f)) for f in sorted((place / "training").rglob("*.png"))]))
    np.save("half size.npy", np.concatenate([T, np.load("g.npy"), np.load("r.npy")]) / 2)
    ended = cli(*LINE, "--features", "pixels", "half size.npy", "--metrics", "generalization_score", "recall")
    assert ended.code == 0, ended.err
    values = told()["values"]
    assert values["generalization_score/half size"] == pytest.approx(values["generalization_score/pixels"] / 2)
    assert len(nearest(space="half-size")) == 50
    assert told()["config"]["spaces"]["pixels"] == {"kind": "pixels"}
    # A condition without a space looks at all of them, one with a space at that one.
    only = ["--features", "pixels", "half size.npy", "--metrics", "generalization_score", "--out"]
    bound = values["generalization_score/pixels"] * 0.8
    assert cli(*LINE[:-2], *only, "any", "--fail-if", f"generalization_score<{bound}").code == 1
    assert cli(*LINE[:-2], *only, "one", "--fail-if", f"generalization_score/pixels<{bound}").code == 0


def test_without_a_reference_what_needs_one_is_left_out(cli, place):
    ended = cli("score", "--training", "training", "--generated", "copies.npz", "--out", "out")
    assert ended.code == 0
    line = next(line for line in ended.out.splitlines() if line.startswith("left out without --reference"))
    assert "generalization_score_ratio" in line and "recall" in line and "authpct" not in line
    assert set(told()["values"]) >= {"generalization_score/pixels", "authpct/pixels", "knn_entropy/pixels"}
    assert not {"generalization_score_ratio/pixels", "recall/pixels"} & set(told()["values"])
    assert "--reference" in ended.out.rpartition("pixels: ")[2]


def test_intervals_on_request(cli, place):
    ended = cli(*LINE, "--interval", "--metrics", "generalization_score", "recall")
    assert ended.code == 0 and "95 % interval" in ended.out
    low, high = told()["intervals"]["generalization_score/pixels"]
    assert low < told()["values"]["generalization_score/pixels"] < high


def test_the_same_command_again_computes_nothing_and_another_is_refused(cli, place, monkeypatch):
    assert cli(*LINE).code == 0
    before = contents("out")
    monkeypatch.setattr(score, "measure_space", None)
    ended = cli(*LINE)
    assert (
        ended.code == 0
        and "out is complete already; nothing was computed." in ended.out
        and "generalization_score_ratio" in ended.out
    )
    ended = cli(*LINE, "--seed", "3")
    assert ended.code == 2 and "seed: was 0, now 3" in ended.err
    np.savez("copies.npz", images=COPIES[:40])
    ended = cli(*LINE)
    assert ended.code == 2 and "sources.generated.content: was" in ended.err
    assert contents("out") == before


def test_other_conditions_judge_the_same_score_again(cli, place, monkeypatch):
    assert cli(*LINE).code == 0
    monkeypatch.setattr(score, "measure_space", None)
    assert cli(*LINE, "--fail-if", "recall<2").code == 1
    assert "(fails if &lt;2)" in (place / "out" / "score.html").read_text()
    assert cli(*LINE, "--fail-if", "recall<0").code == 0
    assert cli(*LINE).code == 0 and told()["conditions"] == []


def test_a_missing_result_is_made_again_from_kept_features(cli, place, monkeypatch):
    cli(*LINE)
    before = contents("out")
    (place / "out" / "score.html").unlink()
    monkeypatch.setattr(reading, "read_image", None)
    assert cli(*LINE).code == 0 and contents("out") == before


def test_interrupted_while_measuring_nothing_half_written_is_left(cli, place, monkeypatch):
    measure_space = score.measure_space

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(score, "measure_space", interrupted)
    ended = cli(*LINE)
    assert ended.code == 130 and "repeat the same command" in ended.err
    assert not list((place / "out").glob("score.*")) and not list((place / "out").rglob("*.partial"))
    monkeypatch.setattr(score, "measure_space", measure_space)
    assert cli(*LINE).code == 0


def test_a_real_ctrl_c(place):
    for name in ("a", "b"):
        np.save(f"{name}.npy", np.random.default_rng(ord(name)).standard_normal((40_000, 128)).astype(np.float32))
    command = [
        sys.executable,
        "-m",
        "entropick",
        *["score", "--training", "a.npy", "--generated", "b.npy", "--out", "out"],
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(SRC)}
    )
    deadline = time.monotonic() + 60
    while not (place / "out" / "work").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    begun = ["config.json", "environment.json", "work"]
    assert sorted(path.name for path in (place / "out").iterdir() if path.name[0] != ".") == begun


def test_the_same_images_on_both_sides_are_refused_unless_meant(cli, place):
    np.savez("again.npz", images=np.load("copies.npz")["images"])
    line = ["score", "--training", "copies.npz", "--generated", "again.npz", "--metrics", "generalization_score"]
    ended = cli(*line, "--out", "out")
    assert ended.code == 2 and "training and generated: expected two sets" in ended.err and "--allow-same" in ended.err
    assert not (place / "out").exists()
    ended = cli(*line, "--allow-same", "--out", "out")
    assert ended.code == 0 and told()["values"]["generalization_score/pixels"] == 0
    ended = cli(*LINE[:5], "--reference", "training", "--out", "other")
    assert ended.code == 2 and "training and reference: expected two sets" in ended.err


def test_unreadable_images_are_all_named_or_skipped_and_recorded(cli, place):
    whole = (place / "training" / "class 0" / "000.png").read_bytes()
    (place / "training" / "<b>torn.png").write_bytes(whole[:-40])
    (place / "training" / "text.png").write_text("no image")
    (place / "training" / os.fsdecode(b"caf\xe9.png")).write_text("no image")
    ended = cli(*LINE)
    assert ended.code == 2 and "3 images cannot be used" in ended.err
    assert all(name in ended.err for name in ("<b>torn.png: ", "text.png: ", "caf\\xe9.png: ", "--skip-bad"))
    ended = cli(*LINE, "--skip-bad")
    assert ended.code == 0, ended.err
    assert {Path(item["path"]).name for item in told()["skipped"]} == {"<b>torn.png", "text.png", "caf\\xe9.png"}
    assert told()["sizes"]["training"] == {"files_or_rows": 303, "skipped": 3, "used": 300}
    page = (place / "out" / "score.html").read_text()
    assert "&lt;b&gt;torn.png" in page and "<b>torn" not in page


def bad_files(place):
    holed = np.ones((2, 64), np.float32)
    holed[0, 1] = np.nan
    np.save("nan.npy", holed)
    np.save("wide.npy", np.zeros((7, 65), np.float32) + np.arange(7, dtype=np.float32)[:, None])
    np.save("turned.npy", np.load("t.npy")[::-1].astype(np.float64))
    np.save("few.npy", np.load("g.npy")[:3])
    np.save("blank.npy", np.full((20, 64), 7, np.float32))
    np.save("blank images.npy", np.full((20, 8, 8), 7, np.uint8))
    np.save("short.npy", np.zeros((7, 4), np.float32))
    np.save("colour.npy", np.zeros((5, 8, 8, 3), np.uint8))
    (place / "empty").mkdir()
    (place / "mine").mkdir()
    (place / "mine" / "thesis.txt").write_text("years of work")
    (place / "notes.txt").write_text("hello")
    pq.write_table(pa.table({"e": [[1.0], [1.0, 2.0]]}), "ragged.parquet")


ROWS = "score --out out --training t.npy --generated g.npy --reference r.npy"
IMAGES = "score --out out --training training --generated fresh.npy --reference reference.npz"
MISTAKES = {
    "score --out out --generated g.npy": "required",
    "score --out out --training gone --generated g.npy": "training: expected a folder or a file at gone",
    "score --out out --training t.npy --generated empty": "empty: expected image files",
    "score --out out --training t.npy --generated notes.txt": "expected a folder of images, or a .npy, .npz",
    "score --out out --training t.npy --generated ragged.parquet": "lists of one length in column 'e'",
    "score --out out --training t.npy --generated nan.npy": "finite float32 values, got nan in row 0, column 1",
    "score --out out --training t.npy --generated wide.npy": "training has 64, generated has 65",
    "score --out out --training t.npy --generated t.npy": "training and generated: expected two sets, but t.npy and",
    "score --out out --training t.npy --generated few.npy --reference r.npy": "generated: expected at least 4 usable",
    "score --out out --training t.npy --generated g.npy --reference few.npy": "reference: expected at least 6 usable",
    "score --out out --training few.npy --generated g.npy": "training: expected at least 11 usable rows for intrinsic",
    "score --out out --training t.npy --generated blank.npy": "generated: expected rows that differ, but all 20",
    "score --out out --training blank.npy --generated g.npy": "training: expected rows that differ, but all 20",
    "score --out out --training training --generated t.npy": "training has folder, generated has embeddings",
    "score --out out --training fresh.npy --generated colour.npy": "expected images of one shape",
    f"{ROWS} --interval --generated few.npy --metrics recall": "at least 8 usable rows for recall and its interval",
    f"{ROWS} --features pixels": "the sources are embeddings already",
    f"{ROWS} --metrics generalisation_score": "there is no 'generalisation_score'; known are generalization_score, ",
    f"{ROWS} --metrics generalization_score_real": "needs the role real",
    f"{ROWS} --metrics": "--metrics: expected at least one value",
    f"{ROWS} --columns nosuch": "columns: expected a table whose columns are features or images, but there is none",
    f"{ROWS} --fail-if": "--fail-if: expected at least one value",
    "score --out out --training t.npy --generated turned.npy": "training and generated: expected two sets",
    "score --out training/out --training training --generated fresh.npy": "out: expected a folder outside of what",
    f"{ROWS} --seed -1": "seed: expected a whole number of at least 0",
    f"{ROWS} --fail-if generalization_score_ratio": "expected NAME<NUMBER or NAME/SPACE<NUMBER",
    f"{ROWS} --fail-if generalization_score_ratio=0.8": "expected NAME<NUMBER or NAME/SPACE<NUMBER",
    f"{ROWS} --fail-if recall<much": "expected NAME<NUMBER or NAME/SPACE<NUMBER",
    f"{ROWS} --fail-if recall<nan": "expected NAME<NUMBER or NAME/SPACE<NUMBER",
    f"{ROWS} --fail-if 0.5>recall": "expected NAME<NUMBER or NAME/SPACE<NUMBER",
    f"{ROWS} --fail-if ratio<0.8": "error: fail-if: there is no 'ratio'; known are",
    f"{ROWS} --fail-if recall/dino<0.8": "there is no space 'dino'; known are embeddings",
    "score --out out --training t.npy --generated g.npy --metrics recall": "recall needs the role reference: give",
    "score --out out --training t.npy --generated g.npy --fail-if recall<0.5": "as --reference",
    f"{IMAGES} --features dino": "--features: there is no kind 'dino'; known are",
    f"{IMAGES} --features gone.npy": "gone.npy: expected a file of embeddings, but there is none",
    f"{IMAGES} --features short.npy": "expected 600 rows, one per image (training 300, generated 100,",
    f"{IMAGES} --features pixels pixels": "expected spaces of different names, got 'pixels' more than once",
    "score --out notes.txt --training t.npy --generated g.npy": "--out: expected a directory, but notes.txt is a file",
    "score --out mine --training t.npy --generated g.npy": "one of an earlier score, but mine holds other files",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_said_once_and_nothing_is_written(cli, place, line):
    bad_files(place)
    before = contents(place)
    ended = cli(*line.split())
    assert ended.code == 2
    assert MISTAKES[line] in " ".join(ended.err.replace("│", " ").split())
    assert "Traceback" not in ended.err and ended.err.count("entropick: error:") <= 1
    left = contents(place)
    assert {name: left[name] for name in before} == before
    assert not {"score.json", "score.html"} & left.keys()


def test_blank_images_are_refused(cli, place):
    bad_files(place)
    ended = cli("score", "--training", "training", "--generated", "blank images.npy", "--out", "out")
    assert ended.code == 2 and "generated: expected rows that differ, but all 20 are the same in pixels" in ended.err


def test_the_same_images_under_other_names_are_refused(cli, place):
    (place / "renamed").mkdir()
    for number, file in enumerate(sorted((place / "training").rglob("*.png"))):
        (place / "renamed" / f"{number}.png").symlink_to(file)
    line = ["score", "--training", "training", "--generated", "renamed", "--metrics", "generalization_score"]
    ended = cli(*line, "--out", "out")
    assert ended.code == 2 and "training and generated: expected two sets" in ended.err
    assert cli(*line, "--out", "out", "--allow-same").code == 0
