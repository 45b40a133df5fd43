"""How measures are named on a page, and how numbers are written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from entropick.errors import ConfigError
from entropick.metrics.base import Words
from entropick.metrics.suite import MEASURES, REGISTRY

DASH, TIMES, _MINUS = "\u2013", "\u00d7", "\u2212"


def split_key(key: str) -> tuple[str, str]:
    """A metric key as (metric, feature space): ``"recall/pixels"`` is ``("recall", "pixels")``."""
    metric, _, space = key.partition("/")
    return metric, space


def words(key: str) -> Words:
    """The words for a metric key, from the measure's record; one whose package is not here is called by its name."""
    metric, _ = split_key(key)
    try:
        return MEASURES[metric]
    except (KeyError, ConfigError):
        return Words(label=metric.replace("_", " ").capitalize())


def name_with_space(key: str) -> str:
    """The label of a metric with its feature space: "Recall (pixels)"."""
    _, space = split_key(key)
    return f"{words(key).label} ({space})" if space else words(key).label


def short_names(keys: Sequence[str]) -> list[str]:
    """The names of measures for the head of a table or a list, with their feature spaces where there are several."""
    several = len({split_key(key)[1] for key in keys}) > 1
    names = [words(key).short or in_sentence(words(key).label) for key in keys]
    spaces = [f" ({split_key(key)[1]})" if several and split_key(key)[1] else "" for key in keys]
    return [name + space for name, space in zip(names, spaces, strict=True)]


def in_sentence(label: str) -> str:
    """A label as it stands inside a sentence: small, but for a person's name."""
    return label if label.startswith("Fréchet") else label[:1].lower() + label[1:]


def in_order(keys: set[str]) -> list[str]:
    """Metric keys in the order of the registry, one feature space after the other, those of other packages last."""
    ranks = {name: rank for rank, name in enumerate(REGISTRY.built_in)}

    def rank(key: str) -> tuple[str, int, str]:
        metric, space = split_key(key)
        return space, ranks.get(metric, len(ranks)), metric

    return sorted(keys, key=rank)


def signed(value: float | None) -> str:
    """A difference: with its sign.

    >>> signed(0.25), signed(-3.0), signed(None)
    ('+0.250', '−3', '–')
    """
    text = number(value, 3)
    return f"+{text}" if value is not None and value > 0 else text


def number(value: float | None, digits: int = 4) -> str:
    """A number with so many significant digits, in plain notation where that is readable; a dash for none.

    Examples
    --------
    >>> number(1234.5), number(0.012345), number(-2.0), number(None)
    ('1,234', '0.01235', '−2', '–')
    """
    if value is None:
        return DASH
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("-", _MINUS)
    exponent = int(f"{value:e}".partition("e")[2])
    decimals = max(0, digits - 1 - exponent)
    text = f"{int(value):,}" if value == int(value) else f"{value:,.{decimals}f}"
    return text.replace("-", _MINUS)


def percent(share: float) -> str:
    """A share as per cent: "12.5 %"."""
    return f"{100 * share:.3g} %"


def duration(seconds: float) -> str:
    """Seconds as a person would say them: "0.42 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02d} min"


def slug(name: str) -> str:
    """A name as part of a file name."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "figure"
