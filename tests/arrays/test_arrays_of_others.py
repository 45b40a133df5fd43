"""The border for what other packages have: tensors, frames, pictures, data sets, as the arrays that they stand for."""

import numpy as np
import pytest
from PIL import Image

from entropick.arrays import check_features, check_images, check_labels, check_sources
from entropick.errors import InputError

X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
IMAGES = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3)).astype(np.uint8)
PICTURES = [Image.fromarray(image) for image in IMAGES]


def test_a_tensor_is_not_copied():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(X)
    assert np.shares_memory(check_features(tensor), X)
    assert np.shares_memory(check_features(tensor.clone().requires_grad_()), X) is False
    np.testing.assert_array_equal(check_features(tensor.double().requires_grad_()), X)
    np.testing.assert_array_equal(check_features(tensor.bfloat16()), tensor.bfloat16().float().numpy())
    assert check_sources(torch.tensor([2, 0, 1]), 3).tolist() == [2, 0, 1]


def test_a_tensor_of_images_may_have_its_channels_first():
    torch = pytest.importorskip("torch")
    first = torch.from_numpy(IMAGES).permute(0, 3, 1, 2)
    np.testing.assert_array_equal(check_images(first), IMAGES)
    np.testing.assert_array_equal(check_images(torch.from_numpy(IMAGES)), IMAGES)
    with pytest.raises(InputError, match="Channels come last"):
        check_images(np.moveaxis(IMAGES, -1, 1))
    # Both ways fit: the last axis is what it is everywhere else.
    assert check_images(torch.zeros((2, 3, 5, 3), dtype=torch.uint8)).shape == (2, 3, 5, 3)


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_a_frame_is_its_columns(package):
    frames = pytest.importorskip(package)
    frame = frames.DataFrame({name: X[:, place] for place, name in enumerate("abc")})
    np.testing.assert_array_equal(check_features(frame), X)
    assert check_labels(frames.Series([3, 1, 2]), 3).tolist() == [3, 1, 2]
    with pytest.raises(InputError, match=r"^X: expected a frame of numbers, got the column 'word'.*Drop what is no"):
        check_features(frames.DataFrame({"a": [0.5, 1.5], "word": ["x", "y"]}))
    with pytest.raises(InputError, match="got nan in row 1, column 0"):
        check_features(frames.DataFrame({"a": [1, None], "b": [0.5, 0.6]}))


def test_numbers_of_pandas_that_may_be_missing():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abc")).convert_dtypes()
    np.testing.assert_array_equal(check_features(frame), X)
    frame.iloc[2, 0] = pandas.NA
    with pytest.raises(InputError, match="got nan in row 2, column 0"):
        check_features(frame)


def test_pictures_are_what_a_viewer_shows():
    np.testing.assert_array_equal(check_images(PICTURES), IMAGES)
    grey = [picture.convert("L") for picture in PICTURES]
    assert check_images(grey).shape == (4, 8, 9, 1)
    assert check_images([grey[0], PICTURES[0]]).shape == (2, 8, 9, 3)
    clear = Image.new("RGBA", (9, 8), (255, 0, 0, 0))
    assert (check_images([clear]) == 255).all()
    palette = PICTURES[0].quantize(colors=256)
    np.testing.assert_array_equal(check_images([palette])[0], np.asarray(palette.convert("RGB")))
    on_its_side = PICTURES[0].copy()
    on_its_side.getexif()[0x0112] = 6
    assert check_images([on_its_side]).shape == (1, 9, 8, 3)


@pytest.mark.parametrize(
    ("pictures", "came"),
    [
        ([Image.new("L", (3, 3)), Image.new("L", (4, 3))], r"one size, got 2 sizes, \(3, 3\) and \(4, 3\)"),
        ([Image.new("I;16", (3, 3))], "8 bits, got Pillow mode 'I;16'"),
        ([Image.new("L", (3, 3)), "a.png"], "Pillow images, got 'a.png' at place 1"),
    ],
)
def test_no_pictures(pictures, came):
    with pytest.raises(InputError, match=f"^pool: expected .*{came}"):
        check_images(pictures, name="pool")


def test_a_data_set():
    datasets = pytest.importorskip("datasets")
    kinds = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
    images = datasets.Dataset.from_dict({"image": PICTURES, "label": [0, 1, 0, 1]}, features=kinds)
    np.testing.assert_array_equal(check_images(images), IMAGES)
    rows = datasets.Dataset.from_dict({"embedding": X.tolist(), "name": list("abcde")})
    np.testing.assert_array_equal(check_features(rows), X)
    np.testing.assert_array_equal(check_features(rows.select([3, 1]).with_format("torch")), X[[3, 1]])
    shape = datasets.Features(embedding=datasets.Array2D((1, X.shape[1]), "float64"))
    tensors = datasets.Dataset.from_dict({"embedding": X[:, None].tolist()}, features=shape)
    with pytest.raises(InputError, match=r"got shape \(5, 1, 3\)"):
        check_features(tensors)
    for uneven in ([[1.0, 2.0], [3.0]], [[1.0, 2.0], None]):
        with pytest.raises(InputError, match=r"^X: expected"):
            check_features(datasets.Dataset.from_dict({"embedding": uneven}))
    with pytest.raises(InputError, match=r"got DatasetDict of train. Take one, such as data\['train'\]"):
        check_images(datasets.DatasetDict(train=images))
    with pytest.raises(InputError, match="known length, got a stream"):
        check_images(images.to_iterable_dataset())
    with pytest.raises(InputError, match=r"one column of images or of lists, got name \(Value\)"):
        check_features(rows.select_columns("name"))
