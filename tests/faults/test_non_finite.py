"""NaN and infinity, wherever they come up in a loop, end it in one line, and nothing of them is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from entropick import Loop
from entropick.datasets import Digits
from entropick.diffusion.chunk import Prediction
from entropick.diffusion.optimization import Optimization
from entropick.diffusion.step import Step
from entropick.errors import InputError, TrainingDiverged
from entropick.features import Pixels
from entropick.generators import DDPM, KDE
from entropick.run import History, verify

MODEL = DDPM(
    network="mlp", width=8, depth=1, steps=20, batch_size=8, sampling_steps=4, precision="float32", device="cpu"
)
NON_FINITE = [math.nan, math.inf, -math.inf]


def loop(**changes):
    return Loop(**{"dataset": Digits(n_images=24, n_reference=16), "generator": MODEL, "n_iterations": 1, **changes})


def stages(folder):
    return [entry.stage for entry in History(folder).entries]


def spoiled(monkeypatch, owner, name, at, spoil):
    """Call number `at` of a method, from 1, also does `spoil` with itself and its result."""
    real, calls = getattr(owner, name), iter(range(1, 10**6))

    def called(self, *args, **named):
        found = real(self, *args, **named)
        return spoil(self, found) if next(calls) == at else found

    monkeypatch.setattr(owner, name, called)


def assert_told_and_mended(folder, monkeypatch, expected, last):
    """It ends with the error, keeps what was before, and goes on to the end once the cause is gone."""
    with pytest.raises(TrainingDiverged, match=expected) as caught:
        loop().run(folder)
    assert "\n" not in str(caught.value) and stages(folder)[-1] == last
    assert not any(found.damages for found in verify(folder))
    monkeypatch.undo()
    assert loop().run(folder).seal == loop().run(folder.with_name("undisturbed")).seal


@pytest.mark.parametrize("value", NON_FINITE)
@pytest.mark.parametrize("step", [1, 7, 20])
def test_a_loss(tmp_path, monkeypatch, step, value):
    def spoil(self, result):
        result.loss.fill_(value)
        return result

    spoiled(monkeypatch, Step, "__call__", step, spoil)
    assert_told_and_mended(tmp_path / "run", monkeypatch, "the training loss became (nan|-?inf)", "select")


@pytest.mark.parametrize("value", NON_FINITE)
@pytest.mark.parametrize("step", [7, 20])
def test_a_weight(tmp_path, monkeypatch, step, value):
    def spoil(self, result):
        with torch.no_grad():
            self._parameters[0].view(-1)[0] = value

    spoiled(monkeypatch, Optimization, "step", step, spoil)
    assert_told_and_mended(tmp_path / "run", monkeypatch, "became (NaN or infinite|nan)", "select")


@pytest.mark.parametrize("step", [1, 3])
def test_an_image_on_its_way(tmp_path, monkeypatch, step):
    spoiled(
        monkeypatch,
        Prediction,
        "__call__",
        step,
        lambda self, predicted: predicted.index_fill(0, torch.tensor([2]), math.nan),
    )
    assert_told_and_mended(tmp_path / "run", monkeypatch, "sampling: images of chunk 0 became NaN", "train")


@dataclass(kw_only=True)
class Sampling(KDE):
    """Samples what it is told."""

    kind = "sampling"
    what: str = "nan"

    def sample(self, n_images, *, stream=None, work=None):
        images = super().sample(n_images, stream=stream, work=work)
        return {
            "nan": lambda: np.full(images.shape, math.nan, np.float32),
            "few": lambda: images[:-1],
            "flat": lambda: images.reshape(len(images), -1),
            "none": lambda: None,
            "large": lambda: np.zeros((len(images), 9, 9, 1), np.uint8),
        }[self.what]()


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("nan", "generator 'sampling': what it sampled: expected uint8 values 0..255, got dtype float32"),
        ("few", "generator 'sampling': expected 24 sampled images, got 23"),
        ("flat", "what it sampled: expected shape"),
        ("none", "what it sampled: expected"),
        ("large", r"generator 'sampling': expected sampled images of shape \(8, 8, 1\), .* got \(9, 9, 1\)"),
    ],
)
def test_images_of_a_generator_of_others_are_looked_at_before_they_are_kept(tmp_path, what, expected):
    with pytest.raises(InputError, match=expected):
        loop(generator=Sampling(what=what)).run(tmp_path)
    assert stages(tmp_path)[-1] == "train" and not list(tmp_path.glob("iteration-001/generated.npy"))


def test_a_generator_of_others_that_was_mended_goes_on_in_the_same_folder(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="expected sampled images of shape"):
        loop(generator=Sampling(what="large")).run(tmp_path)
    monkeypatch.setattr(Sampling, "sample", KDE.sample)
    assert loop(generator=Sampling(what="large")).run(tmp_path).is_finished


@dataclass(kw_only=True)
class Writing(KDE):
    """Writes down what it is told, in one place."""

    what: str = ""

    def training_values(self):
        return {"final_loss": math.nan} if self.what == "training_values" else super().training_values()

    def sampling_values(self):
        return [] if self.what == "sampling_values" else super().sampling_values()

    def state(self):
        arrays, state = super().state()
        told = {"scalar": np.float32(0.5), "nan": math.nan, "object": object()}
        return (list(arrays), state) if self.what == "arrays" else (arrays, {**state, "more": told.get(self.what)})

    def restore(self, arrays, state):
        restored = super().restore(arrays, state)
        return None if self.what == "restore" else restored


@pytest.mark.parametrize(
    ("what", "expected", "last"),
    [
        ("training_values", "final_loss: expected finite numbers, .* from its `training_values`, got nan", "select"),
        ("sampling_values", r"expected values by name from its `sampling_values`, got \[\]", "train"),
        ("nan", "expected finite numbers, .* from its `state`", "select"),
        ("object", "expected finite numbers, .* from its `state`", "select"),
        ("arrays", r"expected \(arrays by name, numbers\) from its `state`", "select"),
        ("restore", "expected the generator itself from its `restore`, got None", "train"),
    ],
)
def test_what_a_generator_of_others_writes_down_is_looked_at_before_it_is_kept(tmp_path, what, expected, last):
    with pytest.raises(InputError, match=f"generator 'Writing': {expected}"):
        loop(generator=Writing(what=what)).run(tmp_path)
    assert stages(tmp_path)[-1] == last


def test_a_number_of_numpy_in_a_state_is_a_number(tmp_path):
    assert loop(generator=Writing(what="scalar")).run(tmp_path).load(1, "model.json")["more"] == 0.5


@pytest.mark.parametrize("value", NON_FINITE)
def test_features(tmp_path, monkeypatch, value):
    def spoil(self, X):
        X = X.copy()
        X[0, 0] = value
        return X

    spoiled(monkeypatch, Pixels, "extract", 1, spoil)
    with pytest.raises(InputError, match="finite"):
        loop(generator=KDE()).run(tmp_path)
