"""Labels on their way through a loop: real images, pool, selection, training, generated images, and round again."""

from __future__ import annotations

import numpy as np
import pytest
from loop_parts import N_GENERATED, make_loop, tiny_ddpm, write_images

from entropick import Accumulate
from entropick.errors import InputError
from entropick.run import History
from entropick.selectors import Greedy

CONDITIONAL = {"conditional": True, "guidance": 1.0, "steps": 20}


def test_generated_images_carry_the_labels_that_were_asked_for(tmp_path):
    path = write_images(tmp_path / "images.npz")
    loop = make_loop(
        path,
        generator=tiny_ddpm(**CONDITIONAL),
        paradigm=Accumulate(),
        selector=Greedy(n_samples=32),
        n_iterations=2,
        metrics=("total_variance",),
    )
    history = loop.run(tmp_path / "run")
    assert isinstance(history, History)
    real, generated = history.load(0, "real_labels.npy"), history.load(1, "generated_labels.npy")
    first = history.load(1, "selection.parquet")
    known = np.unique(first["label"])
    np.testing.assert_array_equal(generated, known[np.arange(N_GENERATED) % len(known)])
    chosen = history.load(2, "selection.parquet")
    assert set(chosen["source"]) == {0, 1}
    for source, labels in ((0, real), (1, generated)):
        rows = chosen["source"] == source
        np.testing.assert_array_equal(chosen["label"][rows], labels[chosen["row"][rows]])


def test_images_without_labels_are_refused_before_anything_is_written(tmp_path):
    np.save(tmp_path / "images.npy", np.zeros((60, 4, 4, 1), np.uint8))
    loop = make_loop(tmp_path / "images.npy", generator=tiny_ddpm(**CONDITIONAL))
    with pytest.raises(InputError, match=r"dataset: a conditional generator expected a label .* 'array-file' has none"):
        loop.run(tmp_path / "run")
    assert not (tmp_path / "run" / "ledger.jsonl").exists()
