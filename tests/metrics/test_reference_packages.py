"""The measures against the packages of the field, on the same features."""

import numpy as np
import pytest
import torch

from entropick.metrics import (
    coverage,
    density,
    frechet_distance,
    kernel_distance,
    precision,
    recall,
    vendi_score,
)

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs, not ours


def sets(d, n=300):
    """Two float32 sets of equal size, correlated and shifted, as features are."""
    rng = np.random.default_rng(d)
    mix = rng.normal(size=(d, d)) / np.sqrt(d)
    G = np.maximum(rng.normal(size=(n, d)) @ mix + 0.2, 0)
    return G.astype(np.float32), np.maximum(rng.normal(size=(n, d)), 0).astype(np.float32)


@pytest.mark.parametrize("d", [4, 32, 128])
def test_frechet_distance_of_torch_fidelity(d):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    G, R = sets(d)
    statistics = [fid_features_to_statistics(torch.from_numpy(X)) for X in (G.astype(float), R.astype(float))]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(generated=G, reference=R) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("d", [4, 32, 128])
def test_frechet_distance_of_torchmetrics(d):
    from torchmetrics.image.fid import _compute_fid

    G, R = sets(d)
    moments = [m for X in (G, R) for X in [torch.from_numpy(X).double()] for m in (X.mean(0), X.T.cov())]
    theirs = float(_compute_fid(*moments))
    assert frechet_distance(generated=G, reference=R) == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("d", [4, 64, 256])
def test_kernel_distance_of_torch_fidelity_and_torchmetrics(d):
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torchmetrics.image.kid import poly_mmd

    G, R = sets(d)
    ours = kernel_distance(generated=G, reference=R)
    # One subset that holds every row is the whole estimate.
    tensors = [torch.from_numpy(X).double() for X in (G, R)]
    theirs = kid_features_to_metric(*tensors, kid_subsets=1, kid_subset_size=len(G), verbose=False)
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-9)
    assert ours == pytest.approx(float(poly_mmd(*tensors)), rel=1e-9)


def test_subsets_of_torch_fidelity_estimate_the_same():
    from torch_fidelity.metric_kid import kid_features_to_metric

    G, R = (torch.from_numpy(X).double() for X in sets(16, 600))
    theirs = kid_features_to_metric(G, R, kid_subsets=200, kid_subset_size=100, verbose=False)
    mean, sd = theirs["kernel_inception_distance_mean"], theirs["kernel_inception_distance_std"]
    assert kernel_distance(generated=G.numpy(), reference=R.numpy()) == pytest.approx(mean, abs=4 * sd / np.sqrt(200))


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("d", [3, 40])
def test_the_four_of_prdc(d, k, capsys):
    from prdc import compute_prdc

    G, R = (X.astype(np.float64) for X in sets(d))
    R, G = R + 0.01 * np.arange(d), G[:200] + 0.01 * np.arange(d)[::-1]  # away from the many zeros, where balls touch
    theirs = compute_prdc(R, G, nearest_k=k)
    capsys.readouterr()
    for metric in (precision, recall, density, coverage):
        ours = metric(generated=G.astype(np.float32), reference=R.astype(np.float32), k=k)
        assert ours == pytest.approx(theirs[metric.__name__], abs=1e-12), metric.__name__


def test_precision_and_recall_of_torch_fidelity():
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    G, R = sets(24)
    theirs = calculate_precision_recall_full(*(torch.from_numpy(X).double() for X in (G, R)), 3)
    ours = (precision(generated=G, reference=R), recall(generated=G, reference=R))
    assert ours == pytest.approx([float(value) for value in theirs], abs=1e-7)  # theirs are means in float32


@pytest.mark.parametrize(("n", "d"), [(50, 8), (20, 60)])
def test_vendi_score_of_its_authors(n, d):
    from vendi_score import vendi

    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    assert vendi_score(X) == pytest.approx(vendi.score_dual(X.astype(float)), rel=1e-9)
