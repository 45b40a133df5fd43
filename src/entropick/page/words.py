"""What each measure is called, what it means and where it misleads; and how numbers are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

DASH, TIMES, _MINUS = "\u2013", "\u00d7", "\u2212"


@dataclass(frozen=True)
class MetricWords:
    """The words for one measure.

    `between` is the range that a chart always shows; None leaves that side to the data. `better` is 1 if more is
    better, -1 if less is, 0 if it depends. `is_main` measures are shown first. `short` is for tables; by default the
    label.
    """

    label: str
    meaning: str
    trap: str
    unit: str = ""
    between: tuple[float | None, float | None] = (None, None)
    better: int = 0
    is_main: bool = False
    short: str = ""


METRICS: dict[str, MetricWords] = {
    "generalization_score": MetricWords(
        "Generalization score",
        "Mean distance from a generated image to its nearest image in its training set: "
        "high means novel images, low means copies.",
        "Noise is far from everything, so a high score alone does not mean good images: read it beside precision, and "
        "against the real-data line. Comparable at equal training-set size and feature space.",
        between=(0.0, None),
        better=1,
        is_main=True,
        short="GS",
    ),
    "generalization_score_real": MetricWords(
        "Generalization score against real data",
        "Mean distance from a generated image to its nearest original real image.",
        "Where the training set is generated itself, an image can be far from the real ones and still a copy.",
        between=(0.0, None),
    ),
    "generalization_score_baseline": MetricWords(
        "Score of fresh real images",
        "Mean distance from a held-out real image to its nearest of as many real images as the training set has: what "
        "the generalization score is measured against.",
        "Held-out images that are in the training set as well make it too low.",
        between=(0.0, None),
    ),
    "generalization_score_ratio": MetricWords(
        "Ratio to fresh real images",
        "The generalization score over the score of fresh real images: 1 is as new as fresh data, 0 is a copy.",
        "A mean: a few copies among many new images hardly move it, so read it beside the near-copy rate. Noise, too, "
        "is far from everything.",
        between=(0.0, 1.0),
        better=1,
        is_main=True,
        short="ratio",
    ),
    "near_copy_rate": MetricWords(
        "Near-copy rate",
        "Share of generated images that are nearer to a training image than 99 % of fresh real images are, or exact "
        "copies of one.",
        "About 1 % is chance. In pixels a shifted or recoloured copy is no near copy: look in an encoder's space, too.",
        between=(0.0, 1.0),
        better=-1,
    ),
    "authpct": MetricWords(
        "Authentic share",
        "Share of generated images that are farther from their nearest training image than that one is from its own "
        "nearest training image.",
        "Fresh real images score well below 1, how far depends on the dimension. Copies of training images that come "
        "in near-identical pairs count as authentic.",
        between=(0.0, 1.0),
        better=1,
    ),
    "knn_entropy": MetricWords(
        "Entropy of the training set",
        "Kozachenko-Leonenko estimate from nearest-neighbour distances over the distinct images of the training set: "
        "the more evenly spread, the higher. It is a differential entropy and may be negative.",
        "Biased in high dimension, and the bias moves with the number of images N: compare only at equal N, k and "
        "feature space. Duplicates are dropped first, so read it beside the duplicate share.",
        unit="nats",
        better=1,
        is_main=True,
        short="entropy",
    ),
    "total_variance": MetricWords(
        "Variance of the training set",
        "Trace of the covariance of the training set: the mean squared distance from its mean.",
        "Sees the spread around the mean only: a few far clusters of copies keep a large variance.",
        between=(0.0, None),
        short="variance",
    ),
    "vendi_score": MetricWords(
        "Vendi score of the training set",
        "The effective number of different directions among its images, by cosine similarity.",
        "Does not see lengths, and stays low in pixels, which have no negative values: read it in embeddings. Compare "
        "at equal size and feature space.",
        between=(1.0, None),
        better=1,
    ),
    "intrinsic_dimension": MetricWords(
        "Intrinsic dimension of the training set",
        "The dimension of the surface that its images lie near, estimated from the distances of their ten nearest "
        "neighbours.",
        "Too low with few images, the more so the higher it is: compare at equal size and feature space.",
        between=(0.0, None),
        better=1,
    ),
    "frechet_distance": MetricWords(
        "Fréchet distance",
        "Distance between Gaussians fitted to the generated images and to held-out real ones: 0 means equal mean and "
        "covariance.",
        "Grows as samples get smaller, and copies of the training set score well. It is an FID only with Inception "
        "features of the original weights; compare at equal sizes and feature space.",
        between=(0.0, None),
        better=-1,
        is_main=True,
    ),
    "kernel_distance": MetricWords(
        "Kernel distance",
        "Squared maximum mean discrepancy between generated and held-out real images: 0 for equal distributions, by "
        "chance also below.",
        "It is a KID only with Inception features of the original weights. Large where the features are large: compare "
        "in one feature space only.",
        better=-1,
    ),
    "precision": MetricWords(
        "Precision",
        "Share of generated images that lie among the held-out real ones (within a k-nearest-neighbour ball of one).",
        "Copies of training images score high as well; one outlier among the real images has a ball that swallows "
        "much.",
        between=(0.0, 1.0),
        better=1,
        is_main=True,
    ),
    "recall": MetricWords(
        "Recall",
        "Share of held-out real images that lie among the generated ones (within a k-nearest-neighbour ball of one).",
        "One generated outlier has a ball that swallows much; compare at equal sizes and k.",
        between=(0.0, 1.0),
        better=1,
        is_main=True,
    ),
    "density": MetricWords(
        "Density",
        "Mean number of real k-nearest-neighbour balls that a generated image lies in, divided by k.",
        "Not bounded by 1; copies of training images score high as well.",
        between=(0.0, None),
        better=1,
    ),
    "coverage": MetricWords(
        "Coverage",
        "Share of held-out real images whose k-nearest-neighbour ball holds at least one generated image.",
        "Rises with the number of generated images; compare at equal sizes and k.",
        between=(0.0, 1.0),
        better=1,
        is_main=True,
    ),
    "duplicate_share": MetricWords(
        "Duplicate share",
        "Share of the training set that repeats another of its images exactly.",
        "Near copies that differ in one value are not counted.",
        between=(0.0, None),
        better=-1,
    ),
}


def split_key(key: str) -> tuple[str, str]:
    """A metric key as (metric, feature space): ``"recall/pixels"`` is ``("recall", "pixels")``."""
    metric, _, space = key.partition("/")
    return metric, space


def words(key: str) -> MetricWords:
    """The words for a metric key; a measure from elsewhere is called by its own name."""
    metric, _ = split_key(key)
    return METRICS.get(metric) or MetricWords(metric.replace("_", " ").capitalize(), "", "")


def name_with_space(key: str) -> str:
    """The label of a metric with its feature space: "Recall (pixels)"."""
    _, space = split_key(key)
    return f"{words(key).label} ({space})" if space else words(key).label


def short_name(key: str, *, with_space: bool) -> str:
    """The name of a measure for the head of a table or a list."""
    _, space = split_key(key)
    name = words(key).short or in_sentence(words(key).label)
    return f"{name} ({space})" if with_space and space else name


def short_names(keys: Sequence[str]) -> list[str]:
    """Short names, with their feature spaces where there are several."""
    several = len({split_key(key)[1] for key in keys}) > 1
    return [short_name(key, with_space=several) for key in keys]


def in_sentence(label: str) -> str:
    """A label as it stands inside a sentence: small, but for a person's name."""
    return label if label.startswith("Fréchet") else label[:1].lower() + label[1:]


def in_order(keys: set[str]) -> list[str]:
    """Metric keys in the order of this page, one feature space after the other, unknown ones last."""
    ranks = {name: rank for rank, name in enumerate(METRICS)}

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
    decimals = max(0, digits - 1 - _exponent(value))
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


def _exponent(value: float) -> int:
    return int(f"{value:e}".partition("e")[2])
