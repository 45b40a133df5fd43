"""The classes of a training set, and which of them are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from planted import SAMPLE

from entropick.diffusion.labels import Classes
from entropick.random_stream import RandomStream


def test_balanced_labels_come_in_turn():
    classes = Classes.of(np.array([7, 3, 3, 3, 9]))
    drawn = classes.draw(8, shares="balanced", chunk_size=4, stream=SAMPLE)
    assert drawn.tolist() == [3, 7, 9, 3, 7, 9, 3, 7]
    assert classes.numbers(drawn).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def test_labels_with_the_shares_of_the_training_set():
    classes = Classes.of(np.repeat([2, 5], [900, 100]))
    drawn = classes.draw(5000, shares="training", chunk_size=64, stream=SAMPLE)
    assert set(drawn) == {2, 5}
    # Five standard deviations of a binomial share.
    assert (drawn == 5).mean() == pytest.approx(0.1, abs=5 * np.sqrt(0.09 / 5000))
    np.testing.assert_array_equal(classes.draw(130, shares="training", chunk_size=64, stream=SAMPLE), drawn[:130])
    other = classes.draw(5000, shares="training", chunk_size=64, stream=RandomStream(1, 3, "sample"))
    assert (other != drawn).any()
