"""Forecasts: what cannot be done here is refused, and to know it costs little."""

from __future__ import annotations

import os
import time

import pytest

from entropick.errors import InputError
from entropick.sources.cost import Forecast, check_affordable, score_forecast, selection_forecast

SIZES = {"training": 1000, "generated": 1000, "reference": 1000}


def peak():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def test_a_forecast_costs_little_whatever_the_width():
    selection_forecast(10, 64, 2, method="greedy")  # torch is imported
    before, started = peak(), time.perf_counter()
    wide = selection_forecast(10, 512 * 512 * 3, 2, method="greedy")
    assert time.perf_counter() - started < 5 and peak() - before < 200 << 20
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
