"""The classifier's features: learned from labels, the same bits again, telling classes apart."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier

from entropick.errors import InputError
from entropick.features import Classifier, classifier
from entropick.processes.hardware import limited_threads

DIGITS = load_digits()
IMAGES, LABELS = np.round(DIGITS.images * (255 / 16)).astype(np.uint8)[..., None], DIGITS.target
N = 1024


@pytest.fixture(scope="module")
def digits():
    return Classifier(steps=200).fit(IMAGES[:N], LABELS[:N])


def test_it_learns_the_digits(digits):
    assert digits.accuracy_ > 0.9
    assert digits.summary() == {"accuracy": digits.accuracy_, "n_held_out": 102, "n_classes": 10}
    right = round(digits.accuracy_ * 102)
    assert digits.accuracy_ == right / 102


def test_classes_are_apart_in_its_space(digits):
    """The nearest neighbour of an image that it has not learned from has its label."""
    X = digits.extract(IMAGES)
    assert KNeighborsClassifier(1).fit(X[:N], LABELS[:N]).score(X[N:], LABELS[N:]) > 0.9


def test_the_same_bits_whatever_surrounds_it(monkeypatch):
    def weights(**changes):
        space = Classifier(**{"steps": 12, **changes}).fit(IMAGES[:200], LABELS[:200])
        return np.concatenate([value.ravel() for value in space.weights_.values()])

    torch.manual_seed(0)
    first, drawn = weights(), torch.rand(1)
    torch.manual_seed(1)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("random numbers of GPUs were seeded"))
    with limited_threads(2):
        np.testing.assert_array_equal(weights(), first)
        assert torch.get_num_threads() == 2
    monkeypatch.undo()
    torch.manual_seed(0)
    assert torch.rand(1) == drawn, "torch's own random numbers were used"
    assert not np.array_equal(weights(seed=1), first)


def test_the_device_is_part_of_what_it_is_known_by_where_it_is_no_processor(monkeypatch):
    usual, auto = Classifier(steps=12), Classifier(steps=12, device="auto")
    assert "device" not in usual.describe() and auto.describe() == {**usual.describe(), "device": "auto"}
    monkeypatch.setattr(classifier, "usable_device", lambda device: {"auto": "cuda"}.get(device, device))
    assert auto.identity() == {**usual.identity(), "device": "cuda"}
    monkeypatch.setattr(classifier, "usable_device", lambda device: "cpu")
    assert auto.identity() == usual.identity()
    with pytest.raises(InputError, match="device: expected"):
        Classifier(device="tpu").check()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_learned():
    with pytest.raises(InputError, match="expected a GPU for 'cuda', but torch sees no GPU"):
        Classifier(device="cuda").check()


@pytest.mark.cuda
def test_on_a_gpu_it_learns_as_well_and_its_rows_are_those_of_the_processor_by_rounding():
    there = Classifier(steps=200, device="cuda").fit(IMAGES[:N], LABELS[:N])
    assert there.accuracy_ > 0.9
    X = there.extract(IMAGES)
    np.testing.assert_array_equal(X[:5], there.extract(IMAGES[:5]))
    here = Classifier(steps=200).restore(*there.state())
    np.testing.assert_allclose(here.extract(IMAGES), X, rtol=1e-4, atol=1e-3)


def test_the_order_of_labels_and_their_values_do_not_matter_to_the_space():
    a = Classifier(steps=12).fit(IMAGES[:200], LABELS[:200])
    b = Classifier(steps=12).fit(IMAGES[:200], LABELS[:200] * 10 + 7)
    np.testing.assert_array_equal(a.extract(IMAGES[:9]), b.extract(IMAGES[:9]))
    assert a.identity() != b.identity()


def test_state_and_restore(digits):
    arrays, state = digits.state()
    again = Classifier(steps=200).restore(arrays, state)
    np.testing.assert_array_equal(again.extract(IMAGES[:40]), digits.extract(IMAGES[:40]))
    assert again.identity() == digits.identity() and again.summary() == digits.summary()


@pytest.mark.parametrize("shape", [(28, 28, 1), (5, 9, 3), (32, 20, 3)])
def test_images_of_every_size(shape):
    images = np.random.default_rng(0).integers(0, 256, (30, *shape), dtype=np.uint8)
    space = Classifier(steps=2).fit(images, np.arange(30) % 2)
    assert space.extract(images).shape == (30, space.width(shape)) == (30, 84)
    with pytest.raises(InputError, match=r"learned from images of shape .*, got \(4, 4, 1\)"):
        space.extract(np.zeros((2, 4, 4), np.uint8))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "expected labels to learn from"),
        (np.zeros(20, int), "at least 2 classes"),
        (np.arange(19) % 2, "labels: expected 20 integers"),
        (np.full(20, 0.5), "labels: expected 20 integers"),
    ],
)
def test_unusable_lessons(labels, message):
    for call in (Classifier().check_lessons, Classifier().fit):
        with pytest.raises(InputError, match=message):
            call(IMAGES[:20], labels)


def test_not_taught_and_unusable_parameters(tmp_path):
    with pytest.raises(InputError, match="expected to have learned"):
        Classifier().extract(IMAGES[:2])
    for space, message in {
        "steps: expected": Classifier(steps=0),
        "seed: expected": Classifier(seed=-1),
        r"path: expected a \.npz file": Classifier(path=str(tmp_path / "gone.npz")),
    }.items():
        with pytest.raises(InputError, match=space):
            message.check()
