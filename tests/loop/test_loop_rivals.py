"""Loops that trust some classes alone, that count classes, and whose selector asks the last model or for labels."""

from __future__ import annotations

import numpy as np
import pytest
from loop_parts import N_REAL, N_SELECTED, entries, make_loop, tiny_ddpm

from entropick import Accumulate, Replace
from entropick.errors import InputError
from entropick.generators import KDE
from entropick.random_stream import RandomStream
from entropick.report.table import read_table
from entropick.selectors import DenoisingLoss, DensityGreedy, Gist, Greedy, LatentSpaceFilter, OutlierGuard, Random

CLASSES = (0, 1, 2, 3, 4)


def test_a_selector_trusts_the_named_classes_alone(tmp_path, images):
    loops = {
        classes: make_loop(
            images,
            paradigm=Accumulate(),
            selector=DensityGreedy(n_samples=N_SELECTED, k=2),
            trusted_classes=classes,
            n_iterations=2,
        )
        for classes in ((), CLASSES)
    }
    found = {classes: loop.run(tmp_path / str(len(classes))) for classes, loop in loops.items()}
    labels = found[()].load(0, "real_labels.npy")
    shares = {}
    for classes, history in found.items():
        table = history.load(2, "selection.parquet")
        of_real = table["label"][table["source"] == 0]
        shares[classes] = np.isin(of_real, CLASSES).mean()
    assert set(labels) > set(CLASSES) and shares[CLASSES] > shares[()]
    assert "trusted_classes" not in loops[()].describe() and "by_class" not in loops[()].describe()
    assert loops[CLASSES].describe()["trusted_classes"] == list(CLASSES)


@pytest.mark.parametrize("paradigm", [Accumulate(), Replace()], ids=lambda paradigm: paradigm.kind)
def test_a_guard_trusts_the_named_classes_alone_whether_the_pool_has_real_images_or_not(tmp_path, images, paradigm):
    guard = OutlierGuard(k=1, quantile=0.5, factor=1.6)
    aside = {}
    for classes in ((), CLASSES):
        loop = make_loop(
            images,
            paradigm=paradigm,
            selector=Greedy(n_samples=N_SELECTED),
            guard=guard,
            trusted_classes=classes,
            n_iterations=2,
        )
        aside[classes] = entries_of(loop, tmp_path / str(len(classes)))[2, "select"].values["selection"]
    assert aside[CLASSES]["guard_set_aside"] > aside[()]["guard_set_aside"]


def entries_of(loop, folder):
    loop.run(folder)
    return entries(folder)


def test_classes_are_counted_among_what_is_generated_and_trained_on(tmp_path, images):
    found = entries_of(make_loop(images, by_class=True, n_iterations=2), tmp_path / "run")
    values = found[1, "measure"].values["classes"]
    shares = [value for name, value in values.items() if name.startswith("generated_share_")]
    assert len(shares) == 10 and sum(shares) == pytest.approx(1)
    assert values["training_dispersion/pixels"] == pytest.approx(1) and 1 < values["generated_classes/pixels"] <= 10
    plain = entries_of(make_loop(images, n_iterations=2), tmp_path / "plain")
    assert "classes" not in plain[1, "measure"].values
    assert plain[2, "measure"].values["metrics"] == found[2, "measure"].values["metrics"]
    assert plain[2, "select"].key == found[2, "select"].key
    of_run = read_table(tmp_path / "run")
    (arm,) = of_run.study.arms
    assert of_run.over_seeds(arm, 1, "generated_classes/pixels", "classes").mean == values["generated_classes/pixels"]


@pytest.mark.parametrize("prefer", ["low", "high"])
def test_a_selection_by_loss_asks_the_last_model(tmp_path, images, prefer):
    selector = DenoisingLoss(n_samples=N_SELECTED, prefer=prefer)
    history = make_loop(images, paradigm=Accumulate(), selector=selector, n_iterations=2).run(tmp_path / "run")
    kde = KDE(bandwidth=12.0).restore(history.load(1, "model.safetensors"), {})
    pool = np.concatenate([history.load(0, "real.npy"), history.load(1, "generated.npy")])
    losses = kde.losses(pool)
    order = np.argsort(losses if prefer == "low" else -losses)[:N_SELECTED]
    table = history.load(2, "selection.parquet")
    np.testing.assert_allclose(losses[table["pool_row"]], losses[order])
    assert history.find(2, "select").values["selection"]["threshold"] == pytest.approx(losses[order[-1]])


def test_a_diffusion_model_knows_what_it_was_trained_on(images):
    rng = np.random.default_rng(0)
    with np.load(images) as archive:
        known = archive["images"][:N_REAL]
    noise = rng.integers(0, 256, known.shape, np.uint8)
    model = tiny_ddpm(steps=400, width=32).fit(known)
    stream = RandomStream(0, 1, "select")
    losses = model.losses(np.concatenate([known, noise]), stream=stream)
    assert losses.shape == (2 * N_REAL,) and losses[:N_REAL].mean() < losses[N_REAL:].mean()
    # An image's loss is its own: whatever stands beside it.
    np.testing.assert_allclose(model.losses(known[3:5], stream=stream), losses[3:5], rtol=1e-5)
    again = tiny_ddpm(steps=400, width=32).restore(*model.state())
    np.testing.assert_array_equal(again.losses(known, stream=stream), model.losses(known, stream=stream))


def test_a_conditional_model_is_told_the_class(images):
    with np.load(images) as archive:
        known, labels = archive["images"][:N_REAL], archive["labels"][:N_REAL]
    model = tiny_ddpm(conditional=True, label_dropout=0.2).fit(known, labels)
    told, untold = model.losses(known, labels), model.losses(known, np.full(N_REAL, -1))
    assert (told != untold).any()
    np.testing.assert_array_equal(untold, model.losses(known))
    np.testing.assert_array_equal(untold, model.losses(known, np.full(N_REAL, 99)))


def test_a_filter_by_classes_is_given_the_labels_of_the_pool(tmp_path, images):
    selector = LatentSpaceFilter(n_samples=N_SELECTED, n_classes=4)
    history = make_loop(images, paradigm=Accumulate(), selector=selector, n_iterations=2).run(tmp_path / "run")
    X = np.concatenate([history.load(0, "real.npy"), history.load(1, "generated.npy")])
    X = X.reshape(len(X), -1).astype(np.float32)
    labels = np.concatenate([history.load(0, "real_labels.npy"), np.full(len(X) - N_REAL, -1)])
    y = np.repeat([0, 1], [N_REAL, len(X) - N_REAL])
    expected = LatentSpaceFilter(n_samples=N_SELECTED, n_classes=4, random_state=0).fit(X, y, labels=labels)
    assert set(history.load(2, "selection.parquet")["pool_row"]) == set(expected.indices_)


TRUSTING = {"paradigm": Accumulate(), "selector": DensityGreedy(n_samples=N_SELECTED, k=2)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trusted_classes": (0,)}, "expected a selector or a guard that trusts real images"),
        ({**TRUSTING, "trusted_classes": (0, 0)}, "expected different labels"),
        ({**TRUSTING, "trusted_classes": 3}, "expected a tuple of labels, got 3"),
        ({**TRUSTING, "trusted_classes": (-1,)}, "trusted_classes: expected a whole number of at least 0"),
        ({**TRUSTING, "trusted_classes": (77,)}, r"expected labels of \[0, 1.*got 77"),
        ({**TRUSTING, "selector": DensityGreedy(n_samples=9, k=30), "trusted_classes": (0,)}, "expected at least 31"),
        ({**TRUSTING, "selector": DensityGreedy(n_samples=9, minimum={0: 0.5}), "trusted_classes": (0,)}, "no shares"),
        ({"by_class": 1}, "by_class"),
        ({"selector": Gist(n_samples=9, utility=[1.0, 2.0])}, "expected a utility by its name inside a loop"),
        ({"selector": Random(n_samples=9), "by_class": "yes"}, "by_class"),
    ],
)
def test_what_cannot_be_is_refused_before_the_first_training(tmp_path, images, changes, message):
    with pytest.raises(InputError, match=message):
        make_loop(images, **changes).run(tmp_path / "run")


def test_a_generator_that_knows_no_losses_is_refused(images):
    class Silent(KDE):
        kind = "silent"
        has_losses = False

    with pytest.raises(InputError, match="'denoising-loss' expects a generator that can tell"):
        make_loop(images, generator=Silent(), selector=DenoisingLoss(n_samples=9)).check()
