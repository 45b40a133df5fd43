"""KDE: training images plus noise of known size."""

from __future__ import annotations

import numpy as np
import pytest

from entropick.errors import InputError
from entropick.generators import KDE
from entropick.random_stream import RandomStream


def test_a_tiny_bandwidth_copies_and_uses_all_images():
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1), dtype=np.uint8)
    sampled = KDE(bandwidth=1e-6).fit(images).sample(200)
    rows = {image.tobytes() for image in images}
    assert {image.tobytes() for image in sampled} == rows


def test_the_bandwidth_is_the_standard_deviation_in_grey_levels():
    grey = np.full((3, 8, 8, 1), 128, np.uint8)
    sampled = KDE(bandwidth=10.0).fit(grey).sample(2000, stream=RandomStream(5)).astype(float)
    assert sampled.mean() == pytest.approx(128, abs=0.2)
    assert sampled.std() == pytest.approx(10.0, rel=0.01)


@pytest.mark.parametrize("level", [0, 255])
def test_noise_does_not_wrap_around(level):
    sampled = KDE(bandwidth=30.0).fit(np.full((3, 8, 8, 1), level, np.uint8)).sample(500).astype(int)
    assert np.abs(sampled - level).max() < 200
    assert (sampled == level).mean() > 0.4


def test_it_keeps_a_copy_of_its_own():
    images = np.zeros((3, 4, 4, 1), np.uint8)
    model = KDE(bandwidth=1e-6).fit(images)
    images[:] = 255
    assert model.sample(5).max() == 0


@pytest.mark.parametrize("bandwidth", [0, -1, float("nan"), "wide", True])
def test_a_bad_bandwidth_is_refused(bandwidth):
    with pytest.raises(InputError, match="bandwidth"):
        KDE(bandwidth=bandwidth).fit(np.zeros((3, 4, 4, 1), np.uint8))


def test_every_chunk_has_noise_of_its_own():
    sampled = KDE().fit(np.full((3, 4, 4, 1), 128, np.uint8)).sample(2048)
    assert (sampled[:1024] != sampled[1024:]).mean() > 0.9
