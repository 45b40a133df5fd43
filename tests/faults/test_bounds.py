"""Values beyond all measure end in one short line, at once."""

from __future__ import annotations

import time

import numpy as np
import pytest

from entropick.datasets.reading import read_array_file
from entropick.errors import InputError
from entropick.generators.ddpm import DDPM


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 10**11),
        ("depth", 10**8),
        ("batch_size", 10**22),
        ("steps", "longer than Python writes"),
        ("sampling_chunk", 10**12),
    ],
)
def test_a_size_beyond_all_measure_is_one_line_in_under_a_second(name, value):
    value = 10**5000 if isinstance(value, str) else value
    started = time.monotonic()
    with pytest.raises(InputError, match=f"{name}: expected a whole number of at most") as caught:
        DDPM(**{name: value}).check()
    assert time.monotonic() - started < 1 and len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_messages_cut_long_values():
    with pytest.raises(InputError, match="…") as caught:
        DDPM(width="x" * 10_000).check()
    assert len(str(caught.value)) < 300


def test_of_an_archive_only_the_needed_arrays_are_read(tmp_path):
    images = np.zeros((3, 4, 4, 1), np.uint8)
    np.savez_compressed(tmp_path / "x.npz", images=images, other=np.array([{}]))  # cannot be read without pickles
    found, labels = read_array_file(tmp_path / "x.npz")
    np.testing.assert_array_equal(found, images)
    assert labels is None
