"""The DDPM: training is a function of its inputs however often it is interrupted, and it learns."""

from __future__ import annotations

import numpy as np
import planted
import pytest
import torch
from interruptions import Interrupting, with_interruptions

from entropick.diffusion.training import Epochs
from entropick.errors import BudgetSpent, InputError, TrainingDiverged
from entropick.generators import DDPM
from entropick.random_stream import RandomStream

TINY = {"network": "mlp", "width": 32, "depth": 2, "steps": 230, "batch_size": 12, "warmup_steps": 20}
# "auto" would go through the gate on some processors and not on others.
TINY |= {"precision": "float32", "device": "cpu"}
STREAM = RandomStream(1, 2, "train")


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (31, 6, 6, 1), dtype=np.uint8)


def fitted(images, work=None, **changes):
    return DDPM(**{**TINY, **changes}).fit(images, stream=STREAM, work=work)


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({}, (1, 49, 50, 51, 229)),
        ({"ema": 0.95}, (37, 120)),
        ({"batch_size": 70}, (1, 103)),
        ({"precision": "bfloat16"}, (77,)),
        ({"steps": 200}, (150,)),
    ],
)
def test_training_that_was_interrupted_is_bit_for_bit_the_same(images, changes, stops):
    model, n_stopped = with_interruptions(lambda work: fitted(images, work, **changes), *stops)
    undisturbed = fitted(images, **changes)
    assert n_stopped == len(stops)
    np.testing.assert_equal(model.state(), undisturbed.state())
    assert model.training_values() == undisturbed.training_values()


def test_an_interrupted_unet_too(images):
    unet = {"network": "unet", "width": 16, "depth": 1, "steps": 51, "batch_size": 2}
    model, n_stopped = with_interruptions(lambda work: fitted(images[:8], work, **unet), 1)
    assert n_stopped == 1
    np.testing.assert_equal(model.state(), fitted(images[:8], **unet).state())


def test_what_was_trained_is_not_trained_again(images):
    work = Interrupting(120)
    with pytest.raises(BudgetSpent):
        fitted(images, work)
    work.seen.clear()
    fitted(images, work)
    assert [done for done, _ in work.seen] == [150, 200, 230]


def test_there_is_no_checkpoint_after_the_last_step(images):
    work = Interrupting()
    fitted(images, work, steps=60)
    assert work.n_saved == 59


@pytest.mark.parametrize("batch_size", [1, 12, 31, 70])
def test_every_epoch_sees_every_image_once_and_batches_are_always_full(batch_size):
    epochs = Epochs(31, batch_size, STREAM)
    drawn = list(epochs.batches(0, 31))
    assert {len(batch) for batch in drawn} == {batch_size}
    rows = np.concatenate(drawn).reshape(batch_size, 31)
    assert (np.sort(rows, axis=1) == np.arange(31)).all()
    assert batch_size == 1 or (rows[0] != rows[1]).any()
    for first in (1, 7, 30):
        np.testing.assert_equal(list(epochs.batches(first, 31)), drawn[first:])


def test_the_average_of_the_weights_is_what_is_sampled_from(images):
    last, averaged = fitted(images).state()[0], fitted(images, ema=0.95).state()[0]
    assert last.keys() == averaged.keys()
    assert all((last[name] != averaged[name]).any() for name in last)


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_loss_that_is_not_finite_ends_the_training_and_says_what_to_do(images):
    with pytest.raises(TrainingDiverged, match=r"became (nan|inf) before step 50\. Lower learning_rate"):
        fitted(images, learning_rate=1e30, warmup_steps=0, clip_norm=1e30)


def test_no_checkpoint_of_a_training_that_diverged_is_kept(images, monkeypatch):
    real, calls = torch.nn.functional.mse_loss, []

    def broken(*args):
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) > 120 else 1.0)

    monkeypatch.setattr(torch.nn.functional, "mse_loss", broken)
    work = Interrupting()
    with pytest.raises(TrainingDiverged, match=r"before step 121\b.*The checkpoint of step 120 is the last good one"):
        fitted(images, work)
    assert work.kept["training"][1]["step"] == 120
    assert all(np.isfinite(array).all() for array in work.kept["training"][0].values())


def test_it_learns_a_distribution_of_two_images():
    rng = np.random.default_rng(0)
    two = rng.integers(0, 2, (2, 4, 4, 1)) * 200 + 25
    images = np.repeat(two, 32, axis=0).astype(np.uint8)
    settings = {"width": 64, "steps": 800, "batch_size": 64, "learning_rate": 3e-3, "ema": 0.98, "sampling_steps": 50}
    model = fitted(images, **settings)
    sampled = model.sample(100, stream=RandomStream(stage="sample")).astype(float)
    distances = np.sqrt(((sampled[:, None] - two[None]) ** 2).mean(axis=(2, 3, 4)))
    assert np.median(distances.min(axis=1)) < 12
    assert 20 <= (distances.argmin(axis=1) == 0).sum() <= 80
    assert model.final_loss_ < 0.25


BAD = {
    "network": "cnn",
    "width": 0,
    "steps": 2.5,
    "batch_size": True,
    "learning_rate": 0.0,
    "clip_norm": float("inf"),
    "warmup_steps": -1,
    "weight_decay": -0.1,
    "ema": 1.0,
    "sampling_steps": 1001,
    "precision": "float8",
    "sampler": "pndm",
    "epochs": 0,
    "flips": 1,
    "conditional": "yes",
    "label_dropout": 1.0,
    "guidance": -1.0,
    "label_shares": "equal",
    "device": "abacus",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_parameter_is_named_before_anything_is_done(images, name):
    with pytest.raises(InputError, match=name):
        DDPM(**{**TINY, name: BAD[name]}).check()
    with pytest.raises(InputError, match=name):
        fitted(images, **{name: BAD[name]})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there_is_a_mistake_of_the_user():
    with pytest.raises(InputError, match="device: expected a usable torch device or 'auto', got 'cuda'"):
        DDPM(device="cuda").check()


def test_flips_are_drawn_only_where_they_are_asked_for():
    assert planted.fitted(flips=True).final_loss_ != planted.fitted().final_loss_


def test_epochs_are_a_budget_in_passes_over_the_set():
    assert planted.fitted(steps=128_000, epochs=4).training_values()["n_steps"] == 4 * 3  # 31 images in batches of 12
    np.testing.assert_equal(planted.fitted(steps=128_000, epochs=4).state(), planted.fitted(steps=12).state())


def test_two_budgets_are_one_too_many():
    with pytest.raises(InputError, match="expected one budget, got epochs = 4 and steps = 60"):
        planted.tiny(epochs=4).check()
