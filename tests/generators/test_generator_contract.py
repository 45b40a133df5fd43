"""What every generator keeps to, one test per promise, over all of them."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest
import torch
from interruptions import Interrupting, with_interruptions
from sklearn.base import clone

from entropick import config, generators
from entropick.errors import InputError
from entropick.generators import DDPM, KDE, Generator, Pipeline, save_pipeline
from entropick.random_stream import RandomStream
from entropick.run.files import read_content, write_content

_SMALL = {
    "steps": 3,
    "batch_size": 8,
    "sampling_steps": 3,
    "sampling_chunk": 8,
    "precision": "float32",
    "device": "cpu",
}
GENERATORS = {
    "mlp": lambda: DDPM(network="mlp", width=16, depth=1, **_SMALL),
    "ema": lambda: DDPM(network="mlp", width=16, depth=1, ema=0.9, **_SMALL),
    "unet": lambda: DDPM(network="unet", width=16, depth=1, **_SMALL),
    "patches": lambda: DDPM(network="unet", width=16, depth=1, patch=2, **_SMALL),
    "velocity": lambda: DDPM(network="mlp", width=16, depth=1, predicts="velocity", **_SMALL),
    "kde": lambda: KDE(bandwidth=8.0),
}
CHUNK = 8
TRAIN, SAMPLE = RandomStream(3, 1, "train"), RandomStream(3, 1, "sample")


@pytest.fixture(params=GENERATORS)
def generator(request):
    return GENERATORS[request.param]()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def models(images):
    """Every generator, fitted once."""
    return {name: make().fit(images, stream=TRAIN) for name, make in GENERATORS.items()}


@pytest.fixture(params=GENERATORS)
def fitted(request, models):
    return models[request.param]


def test_every_exported_generator_that_can_be_fitted_is_tested_here():
    exported = {getattr(generators, name) for name in generators.__all__} - {Pipeline, save_pipeline}
    assert {type(make()) for make in GENERATORS.values()} == {cls for cls in exported if not inspect.isabstract(cls)}


def test_every_generator_of_the_registry_is_tested_here():
    registered = {config.component_class("generator", kind, where="test") for kind in config.kinds("generator")}
    assert {type(make()) for make in GENERATORS.values()} == registered


def test_a_sample_is_images_like_the_training_set(fitted):
    sampled = fitted.sample(11, stream=SAMPLE)
    assert (sampled.shape, sampled.dtype) == ((11, 8, 8, 1), np.uint8)
    assert len(np.unique(sampled.reshape(11, -1), axis=0)) == 11


def test_colour_images_and_oblong_ones(generator):
    images = np.random.default_rng(0).integers(0, 256, (9, 8, 10, 3), dtype=np.uint8)
    assert generator.fit(images).sample(3).shape == (3, 8, 10, 3)


def test_written_down_and_restored_it_samples_the_same_images(fitted, tmp_path):
    arrays, state = fitted.state()
    write_content(tmp_path / "model.safetensors", arrays)
    write_content(tmp_path / "model.json", state)
    restored = clone(fitted).restore(
        read_content(tmp_path / "model.safetensors"), read_content(tmp_path / "model.json")
    )
    np.testing.assert_array_equal(restored.sample(11, stream=SAMPLE), fitted.sample(11, stream=SAMPLE))
    np.testing.assert_equal(restored.state(), (arrays, state))


def test_the_stream_alone_decides(generator, images):
    def fit_and_sample(train, sample):
        return clone(generator).fit(images, stream=train).sample(16, stream=sample)

    before = fit_and_sample(TRAIN, SAMPLE)
    torch.manual_seed(99)
    np.random.seed(99)
    np.testing.assert_array_equal(fit_and_sample(TRAIN, SAMPLE), before)
    for other in (RandomStream(4, 1, "sample"), RandomStream(3, 2, "sample"), RandomStream(3, 1, "else")):
        assert (fit_and_sample(TRAIN, other) != before).mean() > 0.5


def test_the_training_depends_on_its_stream(images):
    for name in ("mlp", "ema", "unet"):
        weights = [GENERATORS[name]().fit(images, stream=RandomStream(seed)).state()[0] for seed in (0, 0, 1)]
        np.testing.assert_equal(weights[0], weights[1])
        assert any((weights[0][key] != weights[2][key]).any() for key in weights[0])


def test_global_random_state_is_left_alone(generator, images, monkeypatch):
    torch.manual_seed(5)
    np.random.seed(5)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("random numbers of GPUs were seeded"))
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    generator.fit(images, stream=TRAIN).sample(3, stream=SAMPLE)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("n", [CHUNK, 2 * CHUNK])
def test_more_images_leave_the_first_ones_as_they_are(fitted, n):
    many = fitted.sample(3 * CHUNK + 1, stream=SAMPLE)
    np.testing.assert_array_equal(fitted.sample(n, stream=SAMPLE), many[:n])


@pytest.mark.parametrize("n", [1, CHUNK - 1, CHUNK + 3])
def test_also_within_a_chunk_up_to_rounding(fitted, n):
    many = fitted.sample(2 * CHUNK, stream=SAMPLE).astype(int)
    # A matrix product of fewer rows may round otherwise: one grey level in few pixels, never another image.
    differences = np.abs(fitted.sample(n, stream=SAMPLE) - many[:n])
    assert differences.max() <= 1
    assert (differences > 0).mean() < 0.02


def test_sampling_that_was_interrupted_gives_the_same_images(fitted):
    def sample(work):
        return fitted.sample(5 * CHUNK + 3, stream=SAMPLE, work=work)

    sampled, n_stopped = with_interruptions(sample, 1, 3)
    assert n_stopped == (2 if isinstance(fitted, DDPM) else 0)
    np.testing.assert_array_equal(sampled, fitted.sample(5 * CHUNK + 3, stream=SAMPLE))


def test_progress_rises_to_its_total(generator, images):
    for call, total in (
        (lambda work: generator.fit(images, stream=TRAIN, work=work), 3),
        (lambda work: generator.sample(11, stream=SAMPLE, work=work), 11),
    ):
        work = Interrupting()
        call(work)
        if work.seen:
            assert work.seen == sorted(work.seen)
            assert work.seen[-1] == (total, total)
        else:
            assert isinstance(generator, KDE)


def test_before_it_is_fitted_it_says_so(generator):
    for use in (lambda: generator.sample(3), generator.state):
        with pytest.raises(InputError, match="not fitted"):
            use()


BAD_IMAGES = {
    "floats": np.zeros((9, 8, 8, 1)),
    "flat": np.zeros((9, 64), np.uint8),
    "channels first": np.zeros((9, 3, 8, 8), np.uint8),
    "none at all": np.zeros((0, 8, 8, 1), np.uint8),
    "no array": [["a"]],
}


@pytest.mark.parametrize("bad", BAD_IMAGES)
def test_bad_images_are_refused_and_nothing_is_fitted(generator, bad):
    with pytest.raises(InputError, match="expected"):
        generator.fit(BAD_IMAGES[bad])
    with pytest.raises(InputError, match="not fitted"):
        generator.sample(1)


@pytest.mark.parametrize("n", [0, -1, 2.5, True, None])
def test_a_bad_number_of_images_is_refused(fitted, n):
    with pytest.raises(InputError, match="n_images"):
        fitted.sample(n)


def test_grey_images_may_lack_their_channel_axis(generator):
    assert generator.fit(np.zeros((9, 8, 8), np.uint8)).sample(2).shape == (2, 8, 8, 1)


def test_the_training_images_are_left_as_they_are(generator, images):
    before = images.copy()
    images.setflags(write=False)
    generator.fit(images).sample(9)
    np.testing.assert_array_equal(images, before)


def test_a_clone_is_the_configuration_without_the_fit(fitted):
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert copy == fitted
    with pytest.raises(InputError, match="not fitted"):
        copy.sample(1)


def test_the_description_and_the_training_values_are_plain_data(fitted):
    for plain in (fitted.describe(), fitted.training_values(), fitted.state()[1]):
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
    assert fitted.describe()["kind"] == type(fitted).kind


def test_it_is_a_generator_and_unknown_parameters_are_refused(generator):
    assert isinstance(generator, Generator)
    with pytest.raises(InputError, match="has no parameter 'widht'"):
        generator.set_params(widht=3)
