"""Class-conditional models: labels in, the asked-for classes out."""

from __future__ import annotations

import numpy as np
import pytest
from interruptions import with_interruptions
from planted import IMAGES, LABELS, SAMPLE, TRAIN, fitted, tiny
from sklearn.base import clone

from entropick.errors import InputError
from entropick.generators import KDE
from entropick.run.files import read_content, write_content

CONDITIONAL = {"conditional": True, "guidance": 1.0}


@pytest.mark.parametrize("labels", [None, np.full(31, -1), np.where(np.arange(31) == 4, -1, 0)])
def test_every_image_must_have_a_label(labels):
    with pytest.raises(InputError, match=r"conditional generator expected a label .*(all|31 of 31|1 of 31) have none"):
        fitted(labels=labels, **CONDITIONAL)


def test_labels_do_not_matter_to_an_unconditional_model():
    np.testing.assert_equal(fitted(labels=LABELS).state(), fitted().state())
    assert fitted(labels=LABELS).sample_labels(5) is None
    assert KDE().fit(IMAGES, LABELS).sample_labels(5) is None
    assert (tiny(**CONDITIONAL).needs_labels, tiny().needs_labels, KDE().needs_labels) == (True, False, False)


@pytest.mark.parametrize("network", [{}, {"network": "unet", "width": 16, "depth": 1, "steps": 6, "batch_size": 4}])
def test_conditional_training_that_was_interrupted_is_bit_for_bit_the_same(network):
    changes = {**CONDITIONAL, "flips": True, **network}
    undisturbed = fitted(labels=LABELS, **changes)
    model, n_stopped = with_interruptions(lambda work: fitted(work, LABELS, **changes), 1, 4)
    assert n_stopped == 2
    np.testing.assert_equal(model.state(), undisturbed.state())


def test_written_down_and_restored_it_makes_the_same_images_of_the_same_classes(tmp_path):
    model = fitted(labels=LABELS * 4 + 1, **CONDITIONAL)
    write_content(tmp_path / "model.safetensors", model.state()[0])
    write_content(tmp_path / "model.json", model.state()[1])
    restored = clone(model).restore(read_content(tmp_path / "model.safetensors"), read_content(tmp_path / "model.json"))
    np.testing.assert_array_equal(restored.sample(11, stream=SAMPLE), model.sample(11, stream=SAMPLE))
    assert restored.sample_labels(5, stream=SAMPLE).tolist() == [1, 5, 9, 1, 5]


def test_sampling_that_was_interrupted_gives_the_same_images_of_the_same_classes():
    model = fitted(labels=LABELS, label_shares="training", **CONDITIONAL)
    sampled, _ = with_interruptions(lambda work: model.sample(43, stream=SAMPLE, work=work), 1, 3)
    np.testing.assert_array_equal(sampled, model.sample(43, stream=SAMPLE))


@pytest.fixture(scope="module")
def of_two_kinds():
    """A model of dark images, label 0, and bright ones, label 1."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = np.where(labels == 0, 50, 205)[:, None, None, None] + rng.integers(-20, 20, (64, 4, 4, 1))
    settings = {"width": 64, "steps": 600, "batch_size": 64, "learning_rate": 3e-3, "sampling_steps": 40}
    return tiny(conditional=True, ema=0.98, **settings).fit(images.astype(np.uint8), labels, stream=TRAIN)


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_it_makes_images_of_the_class_that_is_asked_for(of_two_kinds, guidance):
    model = clone(of_two_kinds).set_params(guidance=guidance).restore(*of_two_kinds.state())
    brightness = model.sample(60, stream=SAMPLE).mean(axis=(1, 2, 3))
    asked = model.sample_labels(60, stream=SAMPLE)
    assert ((brightness > 128) == asked).mean() > 0.95


def test_guidance_changes_what_is_made(of_two_kinds):
    guided = clone(of_two_kinds).set_params(guidance=3.0).restore(*of_two_kinds.state())
    assert (guided.sample(8, stream=SAMPLE) != of_two_kinds.sample(8, stream=SAMPLE)).any()


@pytest.mark.parametrize("changes", [{"conditional": False}, {"label_dropout": 0.0}])
def test_guidance_wants_a_network_that_knows_both_with_and_without(changes):
    with pytest.raises(InputError, match=r"guidance: 1\.0 needs conditional = true and a label_dropout above 0"):
        tiny(**{**CONDITIONAL, **changes}).check()
