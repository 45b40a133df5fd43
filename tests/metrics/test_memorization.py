"""generalization_score against brute force, near-copies and real images."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from entropick.errors import InputError
from entropick.metrics import generalization_score, spacing_ratio
from entropick.neighbors import nearest_neighbors

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def oracle(G, T):
    T = np.asarray(T, np.float64)
    return np.mean([np.sqrt(np.square(T - g).sum(axis=1).min()) for g in np.asarray(G, np.float64)])


@pytest.mark.parametrize("d", [1, 3, 50])
def test_equals_brute_force(d):
    rng = np.random.default_rng(d)
    G, T = rng.normal(size=(70, d)).astype(np.float32), rng.normal(size=(90, d)).astype(np.float32)
    score = generalization_score(generated=G, training=T)
    assert score == pytest.approx(oracle(G, T), rel=1e-13)
    tree = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(T.astype(np.float64))
    assert score == pytest.approx(tree.kneighbors(G.astype(np.float64))[0].mean(), rel=1e-13)


@pytest.mark.parametrize("offset", [0, 1e3])
def test_near_copies(offset):
    # In the float32 dot-product form such a copy is at distance 0, or at whatever rounding leaves.
    rng = np.random.default_rng(0)
    T = (rng.normal(size=(300, 64)) + offset).astype(np.float32)
    G = (T[:200] + 1e-4 * rng.choice([-1, 1], size=(200, 64))).astype(np.float32)
    score = generalization_score(generated=G, training=T)
    assert score == pytest.approx(oracle(G, T), rel=1e-12)
    assert score == pytest.approx(np.linalg.norm(G.astype(float) - T[:200], axis=1).mean(), rel=1e-12)
    assert 1e-4 < score < 2e-3


def test_is_the_mean_of_the_neighbours():
    rng = np.random.default_rng(0)
    G, T = rng.normal(size=(20, 3)), rng.normal(size=(30, 3))
    assert generalization_score(generated=G, training=T) == pytest.approx(nearest_neighbors(G, T).distances.mean())


def test_row_order_does_not_matter():
    rng = np.random.default_rng(0)
    G, T = rng.normal(size=(200, 8)).astype(np.float32), rng.normal(size=(300, 8)).astype(np.float32)
    expected = generalization_score(generated=G, training=T)
    for _ in range(10):
        shuffled = generalization_score(generated=G[rng.permutation(200)], training=T[rng.permutation(300)])
        assert shuffled == expected


@pytest.mark.parametrize("copy", [False, True])
def test_training_set_on_both_sides(copy):
    X = np.random.default_rng(0).normal(size=(10_000, 2)).astype(np.float32)
    same = X.copy() if copy else X
    with pytest.raises(InputError, match="one array"):
        generalization_score(generated=same, training=X)
    assert generalization_score(generated=same, training=X, allow_same=True) == 0
    same = X.copy()
    same[-1] += 1
    assert generalization_score(generated=same, training=X) > 0


def test_true_copies_are_not_refused():
    X = np.random.default_rng(0).normal(size=(10, 2))
    assert generalization_score(generated=X[:5], training=X) == 0
    assert generalization_score(generated=X[::-1], training=X) == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="no data beside the repository")
def test_mnist_novel_images_and_copies():
    train = np.load(DATA / "mnist_train_12000.npz", allow_pickle=False)["images"].reshape(12_000, -1)
    test = np.load(DATA / "mnist_test_2000.npz", allow_pickle=False)["images"].reshape(2000, -1)
    training = train[:4000].astype(np.float32)
    baseline = generalization_score(generated=train[4000:4500].astype(np.float32), training=training)
    held_out = generalization_score(generated=test[:500].astype(np.float32), training=training)
    noise = np.random.default_rng(0).normal(scale=3, size=(500, 784))
    copies = np.clip(np.rint(training[:500] + noise), 0, 255)
    assert held_out == pytest.approx(baseline, rel=0.1)
    assert 0 < generalization_score(generated=copies, training=training) < 0.1 * baseline


def spacing_oracle(G, T):
    T = np.asarray(T, np.float64)
    within = np.sqrt(np.square(T[:, None] - T).sum(axis=2))
    np.fill_diagonal(within, np.inf)
    return oracle(G, T) / within.min(axis=1).mean()


@pytest.mark.parametrize("d", [1, 3, 50])
def test_score_over_spacing_equals_brute_force(d):
    rng = np.random.default_rng(d)
    G, T = rng.normal(size=(70, d)).astype(np.float32), rng.normal(size=(90, d)).astype(np.float32)
    assert spacing_ratio(generated=G, training=T) == pytest.approx(spacing_oracle(G, T), rel=1e-12)


def test_a_set_that_shrinks_keeps_its_score_over_spacing_and_a_copy_loses_it():
    rng = np.random.default_rng(0)
    T, G = rng.normal(size=(400, 8)), rng.normal(size=(400, 8))
    fresh = spacing_ratio(generated=G, training=T)
    # As far from the training rows as these are from one another.
    assert fresh == pytest.approx(1, abs=0.05)
    assert spacing_ratio(generated=0.01 * G + 5, training=0.01 * T + 5) == pytest.approx(fresh, rel=1e-3)
    assert spacing_ratio(generated=T + rng.normal(scale=0.01, size=T.shape), training=T) < 0.05


def test_score_over_spacing_of_sets_without_any():
    twins = [[0.0], [0.0], [1.0], [1.0]]
    assert spacing_ratio(generated=[[1.0]], training=twins) == 0
    assert spacing_ratio(generated=[[2.0]], training=twins) == np.inf
    with pytest.raises(InputError, match=r"training: expected at least k \+ 1 = 2 rows"):
        spacing_ratio(generated=[[1.0]], training=[[2.0]])
