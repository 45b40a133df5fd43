"""How measures are named on a page, and how numbers are written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import chain, count
from typing import Any

from entropick.errors import ConfigError
from entropick.metrics.base import Words
from entropick.metrics.suite import MEASURES, REGISTRY

# Written alike in notebooks and on pages; the notebook is on the ground floor.
from entropick.notebook import DASH as DASH
from entropick.notebook import number as number

TIMES = "\u00d7"
# Ratios to fresh data between which a generator is called as new as it.
AS_NEW = (0.9, 1.15)
# Below this share of images it counts as none.
_NONE = 0.01
_POWERS = {1: "", 2: "\u00b2", 6: "\u2076"}


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


def condition_in_words(judged: Mapping[str, Any]) -> tuple[str, str]:
    """How a condition ended, and by what, as `entropick.scoring.Condition.judge` has it.

    >>> found = {"recall/pixels": 0.25}
    >>> condition_in_words({"condition": "recall <= 0.5", "holds": True, "found": found})
    ('failed', 'recall/pixels is 0.2500 (fails if <=0.5)')
    """
    word = {True: "failed", False: "passed", None: "undecided"}[judged["holds"]]
    found = [f"{key} is {'no finite number' if of is None else number(of)}" for key, of in judged["found"].items()]
    bound = "".join(re.findall(r"[<>].*", judged["condition"])).replace(" ", "")
    return word, f"{', '.join(found)} (fails if {bound})"


def name_with_space(key: str) -> str:
    """The label of a metric with its feature space: "Recall (pixels)"."""
    _, space = split_key(key)
    return f"{words(key).label} ({space})" if space else words(key).label


def unit(key: str) -> str:
    """The unit of a measure's values: "nats", "grey levels²", "share", "ratio"; empty where it is not known.

    >>> unit("knn_entropy/pixels"), unit("total_variance/pixels"), unit("recall/pixels"), unit("theirs/pixels")
    ('nats', 'grey levels²', 'share', '')
    """
    known, (_, space) = words(key), split_key(key)
    if known.unit or not known.meaning:
        return known.unit
    if known.power:
        return length_unit(space) + _POWERS.get(known.power, f"^{known.power}")
    return "share" if known.range == (0.0, 1.0) else "ratio"


def length_unit(space: Any) -> str:
    """The unit of distances in a space, by its name or by what a config says of it.

    >>> length_unit("pixels"), length_unit({"kind": "dinov2"}), length_unit({"kind": "pixels", "normalize": True})
    ('grey levels', 'units of dinov2', 'features of length 1')
    """
    said = space if isinstance(space, Mapping) else {"kind": space}
    if said.get("normalize") or "embeddings" in said:
        return "features of length 1"
    kind = said.get("kind")
    return "grey levels" if kind == "pixels" else f"units of {kind}" if kind else "units of the features"


def axis_title(key: str) -> str:
    """A measure as the title of an axis, with its unit: "generalization score (grey levels)"."""
    name, of = in_sentence(words(key).label), unit(key)
    return f"{name} ({of})" if of and not name.startswith(of) else name


def short_names(keys: Sequence[str]) -> list[str]:
    """The names of measures for the head of a table or a list, with their feature spaces where there are several."""
    several = len({split_key(key)[1] for key in keys}) > 1
    names = [words(key).short or in_sentence(words(key).label) for key in keys]
    spaces = [f" ({split_key(key)[1]})" if several and split_key(key)[1] else "" for key in keys]
    return [name + space for name, space in zip(names, spaces, strict=True)]


def in_sentence(label: str) -> str:
    """A label as it stands inside a sentence: small, but for a person's name."""
    return label if label.startswith("Fréchet") else label[:1].lower() + label[1:]


def in_order(keys: set[str], first_space: str = "") -> list[str]:
    """Metric keys in the order of the registry, one feature space after the other, those of other packages last."""
    ranks = {name: rank for rank, name in enumerate(REGISTRY.built_in)}

    def rank(key: str) -> tuple[bool, str, int, str]:
        metric, space = split_key(key)
        return space != first_space, space, ranks.get(metric, len(ranks)), metric

    return sorted(keys, key=rank)


def signed(value: float | None) -> str:
    """A difference: with its sign.

    >>> signed(0.25), signed(-3.0), signed(None)
    ('+0.250', '−3', '–')
    """
    text = number(value, 3)
    return f"+{text}" if value is not None and value > 0 else text


def percent(share: float, digits: int = 3) -> str:
    """A share as per cent, with so many significant digits: "12.5 %".

    >>> percent(0.125), percent(0.997, 2), percent(0.99, 2), percent(-12.5, 2), percent(0.00001, 2)
    ('12.5 %', '100 %', '99 %', '-1,250 %', '0.001 %')
    """
    rounded = f"{100 * share:.{digits}g}"
    return f"{rounded} %" if abs(float(rounded)) < 10**digits else f"{100 * share:,.0f} %"


def listed(items: Sequence[str]) -> str:
    """Items in a sentence: "a, b and c"."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def is_noise(novelty: float | None, precision: float | None, coverage: float | None) -> bool:
    """Whether generated images are noise: none among the real ones, and farther from all than fresh real images.

    >>> is_noise(2.3, 0.0, 0.0), is_noise(2.3, 0.8, 0.7), is_noise(0.5, 0.0, 0.0), is_noise(2.3, None, None)
    (True, False, False, False)
    """
    return novelty is not None and novelty > AS_NEW[1] and are_unlike(precision, coverage)


def are_unlike(precision: float | None, coverage: float | None) -> bool:
    """Whether next to none of the generated images lie among the real ones, however far they are.

    >>> are_unlike(0.0, 0.002), are_unlike(0.0, 0.3), are_unlike(None, None)
    (True, False, False)
    """
    among = [share for share in (precision, coverage) if share is not None]
    return bool(among) and max(among) < _NONE


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


def different(names: Sequence[str]) -> list[str]:
    """Names of files beside one another: of equal ones, in capitals or not, the later ones get numbers.

    >>> different(["a", "b", "A", "a-2", "a"])
    ['a', 'b', 'A-2', 'a-2-2', 'a-3']
    """
    taken: set[str] = set()
    found = []
    for name in names:
        numbered = (f"{name}-{number}" for number in count(2))
        free = next(free for free in chain([name], numbered) if free.lower() not in taken)
        taken.add(free.lower())
        found.append(free)
    return found
