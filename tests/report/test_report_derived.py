"""What ledgers of an earlier version lack is computed where it is exact, and it is said where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from entropick import Accumulate, Loop, Replace, Study
from entropick.datasets import Digits
from entropick.generators import KDE
from entropick.metrics.suite import LOOP_MEASURES
from entropick.report import read_table
from entropick.report.derived import NAMES
from entropick.report.figure import Look
from entropick.report.plane import plane
from entropick.selectors import Greedy

EARLIER = tuple(name for name in LOOP_MEASURES if name not in NAMES)


def studied(folder: Path, metrics: tuple[str, ...]) -> Path:
    def loop(**settings) -> Loop:
        digits = Digits(n_images=40, n_reference=40)
        return Loop(dataset=digits, generator=KDE(), n_iterations=3, metrics=metrics, **settings)

    arms = {
        "replace": loop(paradigm=Replace()),
        "accumulate": loop(paradigm=Accumulate()),
        "accumulate+greedy": loop(paradigm=Accumulate(), selector=Greedy(n_samples=40)),
    }
    Study(name="s", arms=arms).run(folder)
    return folder


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studied(tmp_path_factory.mktemp("earlier"), EARLIER)


def test_from_kept_images_they_are_what_a_loop_measures(earlier: Path, tmp_path: Path) -> None:
    derived, measured = read_table(earlier), read_table(studied(tmp_path, LOOP_MEASURES))
    assert "computed for this page from the images that the runs kept" in derived.derived.how
    assert measured.derived.how == measured.derived.missing == ""
    for name in ("replace", "accumulate+greedy"):
        for n in range(4):
            found, expected = (
                {key: table.of_run(arm, arm.runs[0], n)[f"{key}/pixels"] for key in NAMES}
                for table in (derived, measured)
                for arm in table.study.arms
                if arm.name == name
            )
            assert found == pytest.approx(expected, rel=1e-12)
    # A training set that has outgrown the real data was measured of a random part: not to be had again.
    assert "of 2 iterations" in derived.derived.missing


def test_from_ledgers_alone_the_variance_is_that_of_the_next_training_set(earlier: Path, tmp_path: Path) -> None:
    copy = tmp_path / "study"
    shutil.copytree(earlier, copy, ignore=shutil.ignore_patterns("*.npy", "*.parquet", "*.safetensors"))
    table, whole = read_table(copy), read_table(earlier)
    assert "from the variances in the ledgers" in table.derived.how
    kept = [
        [one.over_seeds(one.study.arms[0], n, "variance_ratio_real/pixels") for n in (1, 2, 3)]
        for one in (table, whole)
    ]
    assert [spread.mean for spread in kept[0][:2]] == pytest.approx([spread.mean for spread in kept[1][:2]])
    assert kept[0][2] is None and kept[1][2] is not None
    (figure,) = plane(table, Look(table.study))
    assert figure.panels == () and "have not kept the images" in figure.caption[0] and "--reuse" in figure.caption[0]


def test_what_takes_too_long_is_left_out_and_said(earlier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entropick.report.derived._MOST_PRODUCTS", 1e3)
    table = read_table(earlier)
    assert "would take too long" in table.derived.missing
    assert "spacing_ratio" not in table.rows["measure"].to_pylist()
