"""Forecasts: what cannot be done here is refused, and to know it costs little."""

from __future__ import annotations

import os
import time

import pytest

from entropick.errors import InputError
from entropick.neighbors import Speed
from entropick.sources.cost import (
    Forecast,
    check_affordable,
    check_workers,
    core_set_seconds,
    score_forecast,
    selection_forecast,
    worker_bytes,
    workers_seconds,
)

SIZES = {"training": 1000, "generated": 1000, "reference": 1000}


def peak():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def test_a_forecast_costs_little_whatever_the_width():
    selection_forecast(10, 64, 2, method="greedy")  # torch is imported
    before, started = peak(), time.process_time()
    wide = selection_forecast(10, 512 * 512 * 3, 2, method="greedy")
    # Of the processor, and far from the minutes that one of as many rows as for narrow ones would take.
    assert time.process_time() - started < 20 and peak() - before < 200 << 20
    assert wide.bytes > 8 * 10 * 512 * 512 * 3


def test_few_rows_of_many_columns_are_no_forecast_of_terabytes():
    cost = score_forecast(SIZES, 256 * 256 * 3, ["frechet_distance", "vendi_score"])
    assert cost.bytes < 8 << 30 and cost.seconds < 3600


@pytest.mark.parametrize(("seconds", "size"), [(1.0, 2001), (86_401.0, 10)])
def test_what_does_not_fit_is_refused(seconds, size):
    with pytest.raises(InputError, match=r"forecast: expected what fits .* and a day, got .*--features"):
        check_affordable(Forecast(seconds, size), memory=2000)
    check_affordable(Forecast(86_400.0, 2000), memory=2000)
    with pytest.raises(InputError, match="forecast"):
        check_affordable(Forecast(1.0, 2 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))


def test_a_worker_that_cannot_hold_its_rows_is_refused_with_numbers():
    sizes, least = [1_000_000, 2_000_000], worker_bytes(2_000_000, 384, 1000)
    assert least > 2_000_000 * 384
    check_workers([least, least], sizes, 384, 1000)
    with pytest.raises(
        InputError, match=r"worker 1 of 2 needs at least 1\.\d GiB for 2,000,000 rows .* 1,000 picks, and has 1\.\d\."
    ):
        check_workers([least, least - (200 << 20)], sizes, 384, 1000)


def test_the_slowest_worker_decides():
    fast = Speed(1e-9, 1e-9, 0.0, 1e-6, 1e-6, 1e-9, 64, 2048)
    slow = Speed(1e-9, 4e-9, 0.0, 4e-6, 4e-6, 1e-9, 64, 2048)
    alone = workers_seconds([fast], [100_000], 1000)
    assert workers_seconds([fast, fast], [50_000, 50_000], 1000) < alone
    assert workers_seconds([fast, slow], [50_000, 50_000], 1000) > alone


def test_what_an_approximate_choice_takes_in_any_case_is_a_part_of_what_it_may_take():
    assert core_set_seconds(1000, 64, 500) == 0.0
    least = core_set_seconds(1_000_000, 64, 10_000)
    assert 0 < least < 1.5 * selection_forecast(1_000_000, 64, 10_000, method="greedy").seconds
