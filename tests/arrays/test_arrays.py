"""The border: what is let in, as what, and what is said to the rest."""

import numpy as np
import pytest

from entropick.arrays import (
    check_choice,
    check_count,
    check_features,
    check_images,
    check_labels,
    check_real,
    check_same_width,
    check_sources,
)
from entropick.errors import InputError


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 5, 6), (4, 5, 6, 1)), ((4, 5, 6, 1), (4, 5, 6, 1)), ((4, 5, 6, 3), (4, 5, 6, 3)), ((1, 1, 1), (1, 1, 1, 1))],
)
def test_images(shape, expected):
    images = np.ones(shape, np.uint8)
    checked = check_images(images)
    assert checked.shape == expected and checked.dtype == np.uint8 and np.shares_memory(checked, images)


@pytest.mark.parametrize(
    ("images", "came"),
    [
        (np.zeros((4, 5, 6)), "float64"),
        (np.zeros((4, 5, 6), np.int64), "int64"),
        (np.zeros((4, 5, 6), bool), "bool"),
        (np.zeros((4, 5, 6, 4), np.uint8), r"\(4, 5, 6, 4\)"),
        (np.zeros((4, 3, 5, 6), np.uint8), r"\(4, 3, 5, 6\).*Channels come last"),
        (np.zeros((4, 5), np.uint8), r"\(4, 5\)"),
        (np.zeros((0, 5, 6), np.uint8), r"\(0, 5, 6, 1\)"),
        (np.zeros((4, 0, 6), np.uint8), r"\(4, 0, 6, 1\)"),
        ("text", "dtype <U4"),
        (None, "dtype object"),
        ([], "float64"),
        (np.zeros((4, 5)), r"\(4, 5\), dtype float64. Embeddings are a matrix \(n, d\): save it as a .npy file"),
        (np.zeros(4, np.float32), r"\(4,\), dtype float32. Embeddings are a matrix"),
        (np.zeros((4, 5, 6, 3), np.float32), r"float32. Convert them first, for instance \(x \* 255\)"),
    ],
)
def test_no_images(images, came):
    with pytest.raises(InputError, match=f"^pool: expected .*{came}"):
        check_images(images, name="pool")


def test_ragged_images():
    with pytest.raises(InputError, match="images: expected"):
        check_images([[[0, 1]], [[0]]])


def test_float32_features_are_not_copied(tmp_path):
    X = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    assert check_features(X) is X
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert check_features(mapped) is mapped


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64, np.float16, bool])
def test_other_numbers_are_cast(dtype):
    X = np.array([[0, 1], [1, 200]]).astype(dtype)
    checked = check_features(X)
    assert checked.dtype == np.float32
    np.testing.assert_array_equal(checked, X.astype(np.float64))


def test_lists_are_features():
    assert check_features([[1, 2], [3, 4]]).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("X", "came"),
    [
        (np.zeros(5), r"shape \(5,\)"),
        (np.zeros((2, 3, 4)), r"shape \(2, 3, 4\)"),
        (np.zeros((0, 4)), r"at least one row and one column, got shape \(0, 4\)"),
        (np.zeros((4, 0)), r"got shape \(4, 0\)"),
        (np.array([["a", "b"]]), "real numbers, got dtype <U1"),
        (np.zeros((2, 2), complex), "got dtype complex128"),
        (np.zeros((2, 2), object), "got dtype object"),
        (None, "got dtype object"),
    ],
)
def test_no_features(X, came):
    with pytest.raises(InputError, match=f"^space: expected .*{came}"):
        check_features(X, name="space")


def test_a_value_that_numpy_cannot_take():
    class Refuses:
        def __array__(self, dtype=None, copy=None):
            raise TypeError("lies on another device")

    with pytest.raises(InputError, match=r"y: expected an array.*another device"):
        check_sources(Refuses(), 3)


def test_ragged_features():
    with pytest.raises(InputError, match="X: expected"):
        check_features([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
@pytest.mark.parametrize("row", [0, 3, 69_999])
def test_values_that_are_not_finite_are_located(bad, row):
    X = np.zeros((70_000, 3))
    X[row, 2] = bad
    shown = bad if abs(bad) != 1e300 else r"1e\+300 \(beyond float32\)"
    with pytest.raises(
        InputError, match=rf"finite float32 values, got {shown} in row {row}, column 2 of shape \(70000"
    ):
        check_features(X)


def test_halves_are_called_so():
    X = np.zeros((5, 3), np.float16)
    X[2, 1] = np.inf
    with pytest.raises(InputError, match=r"X: expected finite float16 values, got inf in row 2, column 1 of shape"):
        check_features(X)


def test_widths():
    check_same_width(("a", np.zeros((2, 3), np.float32)), ("b", np.zeros((5, 3), np.float32)))
    with pytest.raises(InputError, match="a has 3, b has 4"):
        check_same_width(("a", np.zeros((2, 3), np.float32)), ("b", np.zeros((2, 4), np.float32)))


def test_sources_and_labels():
    assert check_sources(None, 3).tolist() == [0, 0, 0] and check_labels(None, 3) is None
    for checked in (check_sources([2, 0, 1], 3), check_labels(np.array([2, 0, 1], np.uint8), 3)):
        assert checked.tolist() == [2, 0, 1] and checked.dtype == np.int64


@pytest.mark.parametrize("y", [[0, 1], [[0], [1], [2]], [0.0, 1.0, 2.0], ["a", "b", "c"], [True, False, True], 3])
def test_no_sources(y):
    with pytest.raises(InputError, match="y: expected 3 integers, one per row, got shape"):
        check_sources(y, 3)


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(7), 2**62])
def test_counts(value):
    assert check_count(value, name="n") == value and type(check_count(value, name="n")) is int


@pytest.mark.parametrize("value", [0, -1, 1.0, True, np.True_, "1", None, np.nan, [1]])
def test_no_counts(value):
    with pytest.raises(InputError, match="n: expected a whole number of at least 1, got"):
        check_count(value, name="n")


def test_reals():
    assert check_real(3, name="x", above=0) == 3.0 and type(check_real(np.float32(0.5), name="x")) is float


@pytest.mark.parametrize("value", [0, 1, -0.5, np.nan, np.inf, True, "0.5", None, 0.5j])
def test_no_reals(value):
    with pytest.raises(InputError, match=r"x: expected a number between 0 and 1 \(both excluded\), got"):
        check_real(value, name="x", above=0, below=1)


@pytest.mark.parametrize("value", [-1e-300, 1, np.nan, np.inf])
def test_no_reals_from_a_minimum(value):
    with pytest.raises(InputError, match="x: expected a number of at least 0 and below 1, got"):
        check_real(value, name="x", minimum=0, below=1)
    assert check_real(0, name="x", minimum=0, below=1) == 0.0


def test_choices():
    assert check_choice("a", ("a", "b"), name="c") == "a"
    with pytest.raises(InputError, match="c: expected one of a, b, got 'ab'"):
        check_choice("ab", ("a", "b"), name="c")


def test_sources_and_labels_are_never_wrapped():
    with pytest.raises(InputError, match="at most 9223372036854775807, got 18446744073709551615"):
        check_labels(np.array([0, 2**64 - 1], np.uint64), 2)
