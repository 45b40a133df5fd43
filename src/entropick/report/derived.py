"""Contraction and copying of runs whose ledgers do not tell them: computed from what the runs kept, where it is exact.

Ledgers of earlier versions lack the measures `NAMES`. The variance of the generated images of an iteration stands in
such a ledger all the same where they alone, and all of them, are the next training set. The rest is in the images, if
the run still has them: in pixels they are the features. What was measured of a random part of the training set, because
that had outgrown the real data, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from entropick.arrays import Features
from entropick.metrics.base import Roles
from entropick.metrics.suite import measure
from entropick.page.words import split_key
from entropick.report.study import RunRecord, StudyRecord

NAMES = ("spacing_ratio", "variance_ratio", "variance_ratio_real")
_PIXELS = "pixels"
# Products of distances that a page may take beside reading: some seconds of one core.
_MOST_PRODUCTS = 2e11

Values = dict[int, dict[str, float | None]]


@dataclass(frozen=True)
class Derived:
    """What was computed for a study's page.

    Attributes
    ----------
    values
        Of each run that lacks some of the measures, by its place among the study's runs: iteration -> key -> value.
    how
        From what, in a sentence; empty where nothing was computed.
    missing
        Why some are missing still, in a sentence; empty where none are.
    """

    values: dict[int, Values] = field(default_factory=dict)
    how: str = ""
    missing: str = ""


def derive(study: StudyRecord) -> Derived:
    """Compute what the ledgers of a study lack of `NAMES`."""
    lacking = [(place, run) for place, (_, run) in enumerate(study.runs()) if run.measured and _lacks(run)]
    is_affordable = sum(_products(run) for _, run in lacking) <= _MOST_PRODUCTS
    found: dict[int, Values] = {}
    known: dict[str, dict[str, float | None]] = {}
    sources: set[str] = set()
    n_missing = 0
    for place, run in lacking:
        from_ledger = _of_ledger(run)
        from_images = _of_images(run, known) if is_affordable else {}
        sources |= {"the variances in the ledgers"} if from_ledger else set()
        sources |= {"the images that the runs kept"} if from_images else set()
        found[place] = {n: {**from_ledger.get(n, {}), **from_images.get(n, {})} for n in (0, *run.measured)}
        n_missing += sum(NAMES[0] not in {split_key(key)[0] for key in found[place][n]} for n in run.measured)
    how = f"An earlier version wrote these ledgers: computed for this page from {' and '.join(sorted(sources))}."
    reason = "the runs have not kept the images that it could be computed from"
    if not is_affordable:
        reason = "computing it for this page would take too long"
    missing = (
        f"An earlier version wrote these ledgers, without the score over spacing; of {n_missing:,} iterations "
        f"{reason}. A new directory with --reuse and this one measures it and trains nothing again."
    )
    return Derived(found, how if sources else "", missing if n_missing else "")


def _lacks(run: RunRecord) -> bool:
    metrics = run.values(run.measured[-1], "measure").get("metrics", {})
    return bool(metrics) and not {split_key(key)[0] for key in metrics} & set(NAMES)


def _of_ledger(run: RunRecord) -> Values:
    """The variances kept, where generated images are the next training set, and whose variance that therefore is."""
    found: Values = {}
    spaces = {split_key(key)[1] for key in run.values(0, "baseline").get("metrics", {})}
    for n in run.measured:
        select, own, later = run.values(n + 1, "select"), run.values(n, "measure"), run.values(n + 1, "measure")
        n_made = run.values(n, "sample").get("n_images")
        if select.get("shares", {}).get(str(n)) != 1 or not later:
            continue
        if not n_made == select.get("n_selected") == own.get("n_generated"):
            continue
        for space in sorted(spaces):
            key = f"total_variance/{space}"
            made, given = later["metrics"].get(key), own["metrics"].get(key)
            real = run.values(0, "baseline")["metrics"].get(key)
            for name, over in (("variance_ratio", given), ("variance_ratio_real", real)):
                if made is not None and over:
                    found.setdefault(n, {})[f"{name}/{space}"] = made / over
    return found


def _of_images(run: RunRecord, known: dict[str, dict[str, float | None]]) -> Values:
    """All of them in pixels, of the iterations whose images are there; `known` by key, since arms share results."""
    real, reference = (_kept(run, 0, "data", f"{name}.npy") for name in ("real", "reference"))
    if f"generalization_score/{_PIXELS}" not in run.values(0, "baseline").get("metrics", {}):
        return {}
    if real is None or reference is None:
        return {}
    images = {0: np.asarray(real)}
    X = _rows(real)

    def of(iteration: int, stage: str, training: Features, generated: Any) -> dict[str, float | None]:
        entry = run.find(iteration, stage)
        key = entry.key if entry else ""
        if key not in known:
            known[key] = measure(Roles(training=training, generated=_rows(generated), real=X), NAMES, space=_PIXELS)
        return known[key]

    found = {0: of(0, "baseline", X, reference)}
    for n in run.measured:
        made, picked = _kept(run, n, "sample", "generated.npy"), _kept(run, n, "select", "selection.parquet")
        if made is None or picked is None:
            continue
        images[n] = np.asarray(made)
        training = _training(images, picked, n_real=len(real))
        if training is not None:
            found[n] = of(n, "measure", _rows(training), made[: len(real)])
    return found if len(found) > 1 else {}


def _kept(run: RunRecord, iteration: int, stage: str, name: str) -> Any:
    """A file that the run still has; that one is gone is no damage here."""
    entry = run.find(iteration, stage)
    is_there = entry is not None and entry.has(name) and (run.folder / entry.path(name)).is_file()
    return run.intact(iteration, stage, name) if is_there else None


def _training(images: dict[int, NDArray[Any]], picked: Any, n_real: int) -> NDArray[Any] | None:
    """The training set of a selection; None where it has not as many images as there are real ones, or not all kept."""
    source, row, pool_row = (np.asarray(picked[name]) for name in ("source", "row", "pool_row"))
    if len(row) != n_real or not {int(i) for i in source} <= set(images):
        return None
    # Planted garbage and fresh real images have rows beyond those of their source.
    if any(row[source == i].max() >= len(images[int(i)]) for i in np.unique(source)):
        return None
    order = np.argsort(pool_row)
    return np.stack([images[int(i)][r] for i, r in zip(source[order], row[order], strict=True)])


def _rows(images: Any) -> Features:
    """Pixels as features: grey levels 0..255."""
    return np.asarray(images).reshape(len(images), -1).astype(np.float32)


def _products(run: RunRecord) -> float:
    told = run.values(0, "data")
    n, width = told.get("n_real", 0), int(np.prod(told.get("image_shape") or [1]))
    return 2.0 * float(n) ** 2 * width * (len(run.measured) + 1)
