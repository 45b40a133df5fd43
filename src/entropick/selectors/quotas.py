"""Quotas: what each source is owed, and how long a free choice can go on without touching it. Integers only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from entropick.arrays import Integers, check_real
from entropick.errors import InputError, shown

BALANCED = "balanced"
# Shares that were written as decimals or quotients add up to 1, and to whole rows, up to this.
ROUNDING = 1e-9


def check_minimum(minimum: Any) -> None:
    """Raise InputError unless `minimum` is None, "balanced", or shares from 0 to 1 that add up to at most 1."""
    if minimum is None or (isinstance(minimum, str) and minimum == BALANCED):
        return
    if not isinstance(minimum, Mapping):
        raise InputError(f'minimum: expected a mapping of source to share, "balanced" or None, got {shown(minimum)}.')
    shares = _by_source(minimum)
    for source, share in shares.items():
        check_real(share, name=f"minimum of source {source}", minimum=0.0, below=1 + ROUNDING)
    if sum(shares.values()) > 1 + ROUNDING:
        raise InputError(f"minimum: expected shares that add up to at most 1, got {sum(shares.values()):g}.")


def _by_source(minimum: Mapping[Any, float]) -> dict[int, float]:
    """A study file can only have text as keys, so whole numbers may be written as text."""
    try:
        shares = {int(source): share for source, share in minimum.items()}
    except (TypeError, ValueError):
        raise InputError(f"minimum: expected whole numbers as sources, got {list(minimum)}.") from None
    if len(shares) < len(minimum):
        raise InputError(f"minimum: expected every source once, got {list(minimum)}.")
    return shares


def rows_of_share(share: float, n: int) -> int:
    """How many whole rows a share of `n` is.

    >>> rows_of_share(0.7, 10), rows_of_share(0.75, 10)
    (7, 7)
    """
    return int(share * n + ROUNDING)


def least_rows(minimum: Mapping[Any, float], n: int) -> dict[int, int]:
    """How many of `n` rows the share of each source is, however many rows it has.

    >>> least_rows({0: 0.5, "1": 0.25}, 6)
    {0: 3, 1: 1}
    """
    return {source: rows_of_share(share, n) for source, share in _by_source(minimum).items()}


def owed_rows(minimum: Mapping[Any, float] | str, sources: Integers, n: int) -> dict[int, int]:
    """How many of `n` rows each source must get at least.

    Raises
    ------
    InputError
        If a source has fewer rows than it is owed.

    Examples
    --------
    >>> owed_rows({0: 0.5}, np.array([0, 0, 0, 1, 1]), 3)
    {0: 1}
    >>> owed_rows("balanced", np.array([0, 0, 0, 1]), 4)
    {0: 3, 1: 1}
    """
    values, sizes = np.unique(sources, return_counts=True)
    if isinstance(minimum, str):
        return dict(zip(values.tolist(), even_shares(sizes, n).tolist(), strict=True))
    owed = least_rows(minimum, n)
    have = dict(zip(values.tolist(), sizes.tolist(), strict=True))
    for source, least in owed.items():
        if least > have.get(source, 0):
            raise InputError(
                f"minimum: expected at least {least} rows of source {source}, got {have.get(source, 0)}. "
                "Lower its share or n_samples, or pass more of its rows."
            )
    return owed


def within_quotas(sources: Integers, owed: Mapping[int, int]) -> int:
    """How many of the picks, whose `sources` are given in order, leave enough places for what is still owed.

    >>> within_quotas(np.array([0, 0, 0, 0]), {1: 1})
    3
    """
    # A pick of a source that is owed takes a place and pays a debt; any other only takes a place.
    spare = len(sources) - sum(owed.values())
    debts = dict(owed)
    for position, source in enumerate(sources.tolist()):
        if debts.get(source, 0) > 0:
            debts[source] -= 1
        elif spare > 0:
            spare -= 1
        else:
            return position
    return len(sources)


def even_shares(sizes: Integers, n: int) -> Integers:
    """Split `n` among sources as evenly as their sizes allow; what is left over goes to the first that have more.

    >>> even_shares(np.array([10, 1, 10, 10]), 12).tolist()
    [4, 1, 4, 3]
    """
    shares = np.zeros_like(sizes)
    while left := n - int(shares.sum()):
        hungry = np.flatnonzero(shares < sizes)
        each = left // len(hungry)
        if each == 0:
            shares[hungry[:left]] += 1
        else:
            shares[hungry] = np.minimum(shares[hungry] + each, sizes[hungry])
    return shares
