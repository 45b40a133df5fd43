"""``entropick score --features``: a classifier with its lessons, and what is said where it has none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.datasets import load_digits

DIGITS = np.round(load_digits().images * (255 / 16)).astype(np.uint8)
LINE = ["score", "--training", "training.npy", "--generated", "generated.npy", "--reference", "reference.npy"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("training", "generated", "reference")):
        np.save(f"{name}.npy", DIGITS[200 + 40 * number : 240 + 40 * number])
    np.savez("labelled.npz", images=DIGITS[:200], labels=load_digits().target[:200])
    return tmp_path


def test_a_classifier_with_its_lessons(cli, place):
    space = '{kind = "classifier", path = "labelled.npz", steps = 20}'
    ended = cli(*LINE, "--features", space, "--out", "out")
    assert ended.code == 0, ended.err
    told = json.loads((place / "out" / "score.json").read_text())
    assert told["values"]["generalization_score/classifier"] > 0


def test_what_is_missing_is_said_before_anything_is_read(cli, place):
    ended = cli(*LINE, "--features", "classifier", "--out", "out")
    assert ended.code == 2 and "learns from labelled images" in ended.err and not (place / "out").exists()
