"""``entropick select --features``: encoders by name or as a table, kept features, and what is said without weights."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).parents[1] / "features"))

import checkpoints

from entropick.features import DINOv2

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)


@pytest.fixture
def place(tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "real").mkdir()
    for row, image in enumerate(DIGITS[:40]):
        Image.fromarray(image).save(tmp_path / "real" / f"{row:02d}.png")
    np.save("made.npy", DIGITS[40:70])
    np.savez("labelled.npz", images=DIGITS[:200], labels=load_digits().target[:200])
    return tmp_path


def download(place):
    snapshot = place / "hub" / "models--facebook--dinov2-small"
    (snapshot / "refs").mkdir(parents=True)
    (snapshot / "refs" / "main").write_text("abc")
    return checkpoints.write_dinov2(snapshot / "snapshots" / "abc")


LINE = ["select", "real=real", "made=made.npy", "--n", "12", "--out", "out"]


def test_dinov2_by_its_name(cli, place, monkeypatch):
    download(place)
    line = [*LINE, "--features", "dinov2-small"]
    ended = cli(*line)
    assert ended.code == 0 and not ended.err and "with 384 features" in ended.out
    told = json.loads((place / "out" / "selection.json").read_text())
    assert told["config"]["features"]["kind"] == "dinov2" and len(told["config"]["features"]["weights"]) == 64
    (place / "out" / "manifest.csv").unlink()
    monkeypatch.setattr(DINOv2, "extract", None)
    assert cli(*line).code == 0, "features of files and arrays are kept"


def test_how_many_features_are_kept_from_before_is_said(cli, place, dear_pixels):
    assert cli("select", "a=real", "--n", 2, "--out", "one", "--work", "kept").code == 0
    Image.new("L", (8, 8), 7).save(place / "real" / "new.png")
    again = cli("select", "a=real", "--n", 2, "--out", "two", "--work", "kept")
    assert "are kept from before, 1 to extract." in again.out


def test_changed_weights_are_another_choice(cli, place):
    folder = download(place)
    line = [*LINE, "--features", "dinov2-small"]
    assert cli(*line).code == 0
    shutil.rmtree(folder)
    checkpoints.write_dinov2(folder, seed=1)
    ended = cli(*line)
    assert ended.code == 2 and "features.weights: was" in ended.err


def test_a_classifier_with_its_lessons(cli, place):
    space = '{kind = "classifier", path = "labelled.npz", steps = 10}'
    ended = cli(*LINE, "--features", space)
    assert ended.code == 0 and "with 84 features" in ended.out
    assert list((place / "out" / "work" / "features").glob("learned-*/weights.safetensors"))


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("dinov2-small", "hf download facebook/dinov2-small config.json preprocessor_config.json model.safetensors"),
        ('{kind = "encoder", model = "vit_tiny.x"}', "hf download timm/vit_tiny.x config.json model.safetensors"),
        ('{kind = "inception", path = "gone.pth"}', "python -c"),
        ("classifier", "learns from labelled images. Say which"),
        ("encoder", "needs model"),
        ("dinov3", "known are pixels, dinov2, inception, encoder, classifier, dinov2-small"),
        ('{kind = "dinov2", size = 3}', "expected text, got 3"),
    ],
)
def test_what_is_missing_is_said_in_one_message(cli, place, space, message):
    ended = cli(*LINE, "--features", space)
    assert ended.code == 2 and message in ended.err and "Traceback" not in ended.err
    assert not (place / "out").exists()
