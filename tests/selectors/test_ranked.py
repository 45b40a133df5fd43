"""Latent Space Filtering and selection by denoising loss: what they rank by, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from sklearn.datasets import load_digits

from entropick.errors import InputError
from entropick.selectors import DenoisingLoss, LatentSpaceFilter


def softmax_confidence(X, lessons, taught, penalty=1.0, passes=4000):
    """Softmax regression by plain gradient descent in float64: probabilities (n, classes)."""
    X = np.asarray(X, np.float64)
    mean, deviation = X[lessons].mean(axis=0), X[lessons].std(axis=0)
    Z = (X - mean) / np.where(deviation == 0, 1, deviation)
    wanted = np.eye(taught.max() + 1)[taught]
    weights, offset = np.zeros((Z.shape[1], wanted.shape[1])), np.zeros(wanted.shape[1])

    def probabilities(rows):
        logits = rows @ weights + offset
        logits = np.exp(logits - logits.max(axis=1, keepdims=True))
        return logits / logits.sum(axis=1, keepdims=True)

    for _ in range(passes):
        error = probabilities(Z[lessons]) - wanted
        weights -= 0.02 * (Z[lessons].T @ error + penalty * weights)
        offset -= 0.02 * error.sum(axis=0)
    return probabilities(Z)


def blobs(n=40, seed=0):
    """Three clouds that touch."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (rng.normal(size=(n, 2)) + 1.5 * np.eye(3, 2)[labels]).astype(np.float32), labels


def test_confidence_is_that_of_softmax_regression():
    X, labels = blobs()
    sources = np.repeat([0, 1], [24, 16])
    own = np.where(sources == 0, labels, -1)
    own[30] = 1
    found = LatentSpaceFilter(n_samples=40, n_classes=3).fit(X, sources, labels=own)
    expected = softmax_confidence(X, np.arange(24), labels[:24])
    confidence = np.where(own >= 0, expected[np.arange(40), own], expected.max(axis=1))
    ranks = confidence[found.indices_]
    assert (np.diff(ranks) <= 1e-3).all() and ranks[0] > ranks[-1] + 0.2
    assert found.threshold_ == pytest.approx(confidence.min(), abs=2e-3)
    np.testing.assert_array_equal(found.distances_, reference.in_order(X, found.indices_.tolist()))


def test_a_label_that_no_trusted_row_has_comes_last():
    X, labels = blobs()
    own = labels.copy()
    own[[37, 39]] = 7
    found = LatentSpaceFilter(n_samples=40, n_classes=2).fit(X, np.repeat([0, 1], [24, 16]), labels=own)
    assert sorted(found.indices_[-2:].tolist()) == [37, 39] and found.threshold_ == 0


def test_what_is_of_no_class_is_left_and_clusters_stand_for_classes_where_there_are_none():
    digits = load_digits()
    X, labels = digits.data[:1200].astype(np.float32), digits.target[:1200]
    blends = np.maximum(digits.data[1200:1400], digits.data[1400:1600]).astype(np.float32)
    everything, y = np.concatenate([X, blends]), np.repeat([0, 1, 1], [600, 600, 200])
    unknown = np.concatenate([labels[:600], np.full(800, -1)])
    for given in (unknown, None):
        chosen = LatentSpaceFilter(n_samples=700, random_state=0).fit(everything, y, labels=given).indices_
        assert (chosen >= 1200).mean() < 0.5 * 200 / 1400


def test_a_selection_by_likeliest_class_of_one_cluster_is_refused():
    X, labels = blobs()
    with pytest.raises(InputError, match=r"labels: expected at least two classes among the 40 trusted rows .* got 1"):
        LatentSpaceFilter(n_samples=3, n_classes=2).fit(X, labels=np.zeros(40, int))
    with pytest.raises(InputError, match=r"trusted: expected at least 20 rows of source 0, two for each .* got 12"):
        LatentSpaceFilter(n_samples=3).fit(X, np.repeat([0, 1], [12, 28]))
    with pytest.raises(InputError, match="n_classes: expected a whole number of at least 2"):
        LatentSpaceFilter(n_samples=3, n_classes=1).fit(X)
    with pytest.raises(InputError, match="penalty"):
        LatentSpaceFilter(n_samples=3, penalty=0.0).fit(X)
    assert labels.sum()


def test_losses_are_ranked_from_either_end_and_shares_are_kept():
    rng = np.random.default_rng(0)
    X, losses, y = rng.normal(size=(50, 3)), rng.permutation(50) / 50, np.repeat([0, 1], [40, 10])
    ascending = np.argsort(losses).tolist()
    low = DenoisingLoss(n_samples=12).fit(X, losses=losses)
    high = DenoisingLoss(n_samples=12, prefer="high").fit(X, losses=losses)
    assert low.indices_.tolist() == ascending[:12] and low.threshold_ == losses[ascending[11]]
    assert high.indices_.tolist() == ascending[::-1][:12] and high.threshold_ == losses[ascending[-12]]
    shared = DenoisingLoss(n_samples=12, minimum={1: 0.5}).fit(X, y, losses=losses)
    of_first = [row for row in ascending if row < 40][:6]
    assert {row for row in shared.indices_.tolist() if row < 40} <= set(of_first)
    assert (shared.indices_ >= 40).sum() >= 6


def test_without_losses_all_rows_are_equal():
    X = np.random.default_rng(0).normal(size=(50, 3))
    rule = DenoisingLoss(n_samples=12, random_state=0).fit(X)
    assert rule.threshold_ == 0 and rule.indices_.tolist() != list(range(12))


@pytest.mark.parametrize("losses", [np.zeros(49), np.full(50, np.nan), np.array(["a"] * 50), np.zeros((50, 1))])
def test_refuses_bad_losses(losses):
    with pytest.raises(InputError, match="losses: expected 50 finite numbers"):
        DenoisingLoss(n_samples=3).fit(np.random.default_rng(0).normal(size=(50, 3)), losses=losses)


def test_refuses_another_direction():
    with pytest.raises(InputError, match="prefer"):
        DenoisingLoss(n_samples=3, prefer="middle").check()
