"""What every feature space promises."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone

import entropick.features as features
from entropick.errors import InputError

CLASSES = [
    cls
    for cls in (getattr(features, name) for name in features.__all__)
    if inspect.isclass(cls) and issubclass(cls, features.Features) and not inspect.isabstract(cls)
]
pytestmark = pytest.mark.parametrize("cls", CLASSES)


def some_images(n=7, channels=3):
    return np.random.default_rng(0).integers(0, 256, size=(n, 8, 8, channels), dtype=np.uint8)


def test_clone(cls):
    space = cls()
    copy = clone(space)
    assert type(copy) is cls and copy is not space
    assert copy == space
    assert copy.get_params() == space.get_params()


def test_names(cls):
    space = cls()
    assert cls.kind and space.describe()["kind"] == cls.kind
    assert space.name and not set(space.name) & set("/ \t\n")
    assert isinstance(cls.cheap, bool)
    assert "entropick.features." in cls.__module__ and cls.__name__ in features.__all__


def test_parameters_are_keyword_only(cls):
    with pytest.raises(TypeError):
        cls("positional")


@pytest.mark.parametrize("channels", [1, 3])
def test_one_float32_row_per_image(cls, channels):
    X = cls().extract(some_images(channels=channels))
    assert X.dtype == np.float32 and X.ndim == 2 and len(X) == 7
    assert np.isfinite(X).all()
    assert len(np.unique(X, axis=0)) == 7


def test_grey_images_need_no_channel_axis(cls):
    grey = some_images(channels=1)
    np.testing.assert_array_equal(cls().extract(grey[..., 0]), cls().extract(grey))


def test_a_row_depends_on_its_image_alone(cls):
    images, space = some_images(), cls()
    X = space.extract(images)
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    np.testing.assert_array_equal(space.extract(images[order]), X[order])
    np.testing.assert_array_equal(np.concatenate([space.extract(images[i : i + 1]) for i in range(7)]), X)
    np.testing.assert_array_equal(clone(space).extract(images), X)


def test_the_images_are_left_alone(cls):
    images = some_images()
    before = images.copy()
    images.flags.writeable = False
    cls().extract(images)[:] = -1
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 2), np.uint8), np.zeros((0, 8, 8), np.uint8)]
)
def test_unusable_images(cls, bad):
    with pytest.raises(InputError, match="images: expected"):
        cls().extract(bad)
