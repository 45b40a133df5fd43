"""How varied a set is, and from which iterations it comes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from entropick.arrays import Features, check_count, check_features, check_sources
from entropick.errors import InputError
from entropick.metrics.moments import blocks, centered_blocks, column_means


def total_variance(X: ArrayLike) -> float:
    """Trace of the covariance: the sum of the variances of all columns (with n - 1), in float64.

    It sees only the spread around the mean: a few far clusters of copies have a large variance and a low entropy, so
    show `knn_entropy` beside it. Comparable in the same feature space only; the paper's values are of pixels 0..255.

    Parameters
    ----------
    X
        Features, ``(n, d)``, taken as float32. No d x d matrix is made.

    Returns
    -------
    float
        In squared units of the features; unbiased, so sets of different size may be compared.

    Raises
    ------
    InputError
        For unusable features or fewer than 2 rows.

    References
    ----------
    Shi et al. 2025, arXiv 2509.16499: the variance of the training set.

    Examples
    --------
    >>> total_variance([[0.0, 0.0], [2.0, 4.0]])
    10.0
    """
    X = check_features(X)
    if len(X) < 2:
        raise InputError(f"X: expected at least 2 rows for a variance, got {len(X)}.")
    squares = sum(float(np.square(block).sum()) for block in centered_blocks(X, column_means(X)))
    return squares / (len(X) - 1)


def vendi_score(X: ArrayLike) -> float:
    """Vendi score with the cosine kernel: the effective number of different directions among the rows, 1 to n.

    ::

        exp(- sum over i of lambda_i log lambda_i),  lambda the eigenvalues of K / n,  K_ij = cos(x_i, x_j)

    n equal rows score 1, n orthogonal ones n. At most d with d columns, so it saturates where n is far above d. It does
    not see lengths, and in spaces without negative values (pixels) all rows are alike and it stays low: read it in
    embeddings, and compare at equal n and feature space. Rows of zeros count as one more direction.

    Parameters
    ----------
    X
        Features, ``(n, d)``, taken as float32. The smaller of the n x n and the d x d matrix is made, in float64.

    Returns
    -------
    float
        From 1 to min(n, d + 1).

    Raises
    ------
    InputError
        For unusable features.

    References
    ----------
    Friedman and Dieng, "The Vendi score: a diversity evaluation metric for machine learning", TMLR 2023, def. 3.1, of
    order 1.

    Examples
    --------
    >>> round(vendi_score([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [0.0, 4.0]]), 6)
    2.0
    """
    X = check_features(X)
    values = np.append(np.linalg.eigvalsh(_cosines(X)), np.count_nonzero(~X.any(axis=1))) / len(X)
    values = values[values > 0]
    return float(np.exp(-np.sum(values * np.log(values))))


def _cosines(X: Features) -> NDArray[np.float64]:
    """Gram matrix of the rows scaled to length 1, or the matrix of columns with the same eigenvalues but for zeros."""
    if len(X) <= X.shape[1]:
        rows = np.concatenate([_unit_rows(block) for block in blocks(X)])
        small: NDArray[np.float64] = rows @ rows.T
        return small
    gram = np.zeros((X.shape[1], X.shape[1]))
    for block in blocks(X):
        rows = _unit_rows(block)
        gram += rows.T @ rows
    return gram


def _unit_rows(block: Features) -> NDArray[np.float64]:
    rows = block.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    rows /= np.where(lengths > 0, lengths, 1)
    return rows


def source_shares(source: ArrayLike, n_sources: int | None = None) -> dict[int, float]:
    """Share of each source - the iteration a row was born in, 0 for real - in a set.

    Beside it belongs the line 1 / n, the share of each source in a random choice from n equal ones.

    Parameters
    ----------
    source
        Source of each row, integers ``(n,)``, at least 0; for a selection ``pool.source[selector.indices_]``.
    n_sources
        Report the sources 0 .. n_sources - 1, also absent ones, with share 0. Without it, those that occur.

    Returns
    -------
    dict
        Source to share, by ascending source; the shares add up to 1.

    Raises
    ------
    InputError
        For no rows, values that are not integers, or a source below 0 or not below `n_sources`.

    References
    ----------
    Shi et al. 2025, arXiv 2509.16499: proportions of the iterations in the selected training set.

    Examples
    --------
    >>> source_shares([0, 0, 0, 2], n_sources=3)
    {0: 0.75, 1: 0.0, 2: 0.25}
    """
    sources = check_sources(source, np.size(source), name="source")
    if not len(sources):
        raise InputError("source: expected at least one row, got none.")
    values, counts = np.unique(sources, return_counts=True)
    limit = None if n_sources is None else check_count(n_sources, name="n_sources")
    if values[0] < 0 or (limit is not None and values[-1] >= limit):
        expected = "0 or more" if limit is None else f"0..{limit - 1}"
        raise InputError(f"source: expected values {expected}, got {values[0]}..{values[-1]}.")
    shares = dict.fromkeys(range(limit or 0), 0.0)
    return shares | dict(zip(values.tolist(), (counts / len(sources)).tolist(), strict=True))
