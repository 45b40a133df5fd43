"""What every feature space promises."""

import inspect
import json

import checkpoints
import numpy as np
import pytest
from sklearn.base import clone

import entropick.features as features
from entropick import config
from entropick.errors import InputError

CLASSES = [config.component_class("features", kind, where="test") for kind in config.kinds("features")]
CHANNELS = [1, 3]


def some_images(n=7, channels=3):
    return np.random.default_rng(0).integers(0, 256, size=(n, 8, 8, channels), dtype=np.uint8)


def taught(channels):
    images = some_images(40, channels)
    return features.Classifier(steps=5).fit(images, np.arange(40) % 3)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Small checkpoints of all encoders."""
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints.write_dinov2(folder / "dinov2")
    checkpoints.write_timm(folder / "timm")
    checkpoints.write_inception(folder / "inception.pth")
    return folder


@pytest.fixture
def make(cls, folder):
    """A space that is ready for images with so many channels."""
    makers = {
        "DINOv2": lambda channels: cls(path=str(folder / "dinov2"), device="cpu"),
        "Encoder": lambda channels: cls(model=str(folder / "timm"), device="cpu"),
        "Inception": lambda channels: cls(path=str(folder / "inception.pth"), device="cpu"),
        "Classifier": taught,
    }
    return makers.get(cls.__name__, lambda channels: cls())


@pytest.fixture
def space(make):
    return make(3)


def same(space):
    """An equal space that has seen nothing yet, taught the same where it learns."""
    copy = clone(space)
    return copy.restore(*space.state()) if isinstance(space, features.LearnedFeatures) else copy


pytestmark = pytest.mark.parametrize("cls", CLASSES)


def test_it_is_one_of_the_rooms_spaces_all_of_which_are_registered(cls):
    classes = {one for _, one in inspect.getmembers(features, inspect.isclass) if issubclass(one, features.Features)}
    assert cls in classes and {one for one in classes if not inspect.isabstract(one)} == set(CLASSES)


def test_clone(cls, space):
    copy = clone(space)
    assert type(copy) is cls and copy is not space
    assert copy == space
    assert copy.get_params() == space.get_params()


def test_names(cls, space):
    assert cls.kind and space.describe()["kind"] == cls.kind
    assert space.name and not set(space.name) & set("/ \t\n")
    assert isinstance(cls.cheap, bool)
    assert "entropick.features." in cls.__module__ and cls.__name__ in features.__all__


def test_parameters_are_keyword_only(cls):
    # DINOv2's size alone may come without its name.
    with pytest.raises(TypeError):
        cls(*["positional"] * (2 if cls is features.DINOv2 else 1))


def test_identity_is_plain_and_holds_the_description(cls, space):
    assert space.identity().items() >= space.describe().items()
    assert json.loads(json.dumps(space.identity())) == same(space).identity()


@pytest.mark.parametrize("channels", CHANNELS)
def test_one_float32_row_per_image(cls, make, channels):
    space = make(channels)
    X = space.extract(some_images(channels=channels))
    assert X.shape[1] == space.width((8, 8, channels))
    assert X.dtype == np.float32 and X.ndim == 2 and len(X) == 7
    assert np.isfinite(X).all()
    assert len(np.unique(X, axis=0)) == 7


def test_grey_images_need_no_channel_axis(cls, make):
    grey, space = some_images(channels=1), make(1)
    np.testing.assert_array_equal(space.extract(grey[..., 0]), space.extract(grey))


def test_a_row_depends_on_its_image_alone(cls, space):
    """Bit for bit, whatever stands beside it, how many there are and in which order."""
    images = some_images()
    X = space.extract(images)
    order = np.array([3, 0, 6, 1, 5])
    np.testing.assert_array_equal(space.extract(images[order]), X[order])
    np.testing.assert_array_equal(np.concatenate([space.extract(images[i : i + 1]) for i in (0, 5)]), X[[0, 5]])
    np.testing.assert_array_equal(same(space).extract(images[:2]), X[:2])


def test_a_copy_of_an_image_has_the_same_row(cls, space):
    """So that duplicates can be counted in every space."""
    images = some_images(5)
    X = space.extract(images[[0, 1, 2, 3, 4, 0, 2]])
    np.testing.assert_array_equal(X[[5, 6]], X[[0, 2]])


def test_the_images_are_left_alone(cls, space):
    images = some_images()
    before = images.copy()
    images.flags.writeable = False
    space.extract(images)[:] = -1
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 8, 8, 3)), np.zeros((2, 8, 8, 2), np.uint8), np.zeros((0, 8, 8), np.uint8)]
)
def test_unusable_images(cls, space, bad):
    with pytest.raises(InputError, match="images: expected"):
        space.extract(bad)
