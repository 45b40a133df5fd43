import numpy as np
import pytest
from fresh_python import run_python
from sklearn.datasets import load_digits

from entropick.datasets import Digits
from entropick.errors import InputError


def test_grey_levels_are_spread_over_all_of_uint8():
    data = Digits().load()
    assert data.images.shape == (1024, 8, 8, 1) and data.reference.shape == (773, 8, 8, 1)
    assert len(np.unique(data.images)) == 17 and data.images.min() == 0 and data.images.max() == 255


def test_digits_keep_their_labels():
    bunch, data = load_digits(), Digits(n_images=50).load()
    pixels = np.round(bunch.images * 255 / 16).astype(np.uint8)
    known = {image.tobytes(): label for image, label in zip(pixels, bunch.target, strict=True)}
    assert [known[image.tobytes()] for image in data.images] == data.labels.tolist()


def test_sixteen_digits_are_left_as_reference():
    assert len(Digits(n_images=1781).load().reference) == 16
    with pytest.raises(InputError, match="expected at most 1781 of the 1797 digits, got 1782"):
        Digits(n_images=1782).check()


def test_the_fingerprint_does_not_import_scikit_learn():
    code = "from entropick.datasets import Digits; Digits().fingerprint()"
    run_python("-c", f"import sys; {code}; assert 'sklearn' not in sys.modules")
