"""What every paradigm promises: integers, ascending, from the past."""

import pytest
from sklearn.base import clone

from entropick import config
from entropick.errors import InputError
from entropick.paradigms import Accumulate, Replace

KINDS = sorted(config.kinds("paradigm"))


@pytest.fixture(params=KINDS)
def paradigm(request):
    return config.build("paradigm", request.param, where="test")


def test_the_first_iteration_has_the_real_data(paradigm):
    assert paradigm.sources(1) == [0]


@pytest.mark.parametrize("n", [1, 2, 3, 10, 1000])
def test_sources_ascend_and_lie_before(paradigm, n):
    sources = paradigm.sources(n)
    assert sources and all(type(source) is int for source in sources)
    assert sources == sorted(set(sources)) and sources[0] >= 0 and sources[-1] < n


def test_the_answer_is_a_function_of_the_iteration(paradigm):
    assert [paradigm.sources(n) for n in (5, 2, 5)] == [clone(paradigm).sources(n) for n in (5, 2, 5)]
    paradigm.sources(5).clear()
    assert paradigm.sources(5)


@pytest.mark.parametrize("n", [0, -1, 1.0, True, None, "1"])
def test_there_is_no_such_iteration(paradigm, n):
    with pytest.raises(InputError, match="iteration: expected a whole number of at least 1"):
        paradigm.sources(n)


def test_clone_and_names(paradigm):
    assert clone(paradigm) == paradigm and paradigm.describe()["kind"] == type(paradigm).kind in KINDS
    with pytest.raises(TypeError):
        type(paradigm)("positional")


def test_replace_forgets_and_accumulate_does_not():
    assert [Replace().sources(n) for n in (1, 2, 7)] == [[0], [1], [6]]
    assert [Accumulate().sources(n) for n in (1, 2, 4)] == [[0], [0, 1], [0, 1, 2, 3]]
