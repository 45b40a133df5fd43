"""What every paradigm promises: integers, ascending, from the past."""

import pytest
from sklearn.base import clone

from entropick import config
from entropick.errors import InputError
from entropick.paradigms import Accumulate, FixedRealShare, FreshData, Replace

KINDS = sorted(config.kinds("paradigm"))
NEEDED = {"fresh-data": {"n_fresh": 3}, "fixed-real-share": {"share": 0.25}}
EXAMPLES = [{"kind": kind, **NEEDED.get(kind, {})} for kind in KINDS]
EXAMPLES += [{"kind": kind, **needed, "keep": "newest"} for kind, needed in NEEDED.items()]


@pytest.fixture(params=EXAMPLES, ids=lambda table: "-".join(map(str, table.values())))
def paradigm(request):
    return config.build("paradigm", request.param, where="test")


def test_the_first_iteration_has_the_real_data(paradigm):
    assert paradigm.sources(1) == [0]
    assert len(paradigm.fresh(1)) == 0 and paradigm.n_real(1, 100) is None


@pytest.mark.parametrize("n", [2, 3, 10])
def test_fresh_rows_and_real_ones_are_counts(paradigm, n):
    fresh = paradigm.fresh(n)
    assert isinstance(fresh, range) and fresh.start >= 0 and fresh.step == 1
    assert fresh.stop >= paradigm.fresh(n - 1).stop
    n_real = paradigm.n_real(n, 100)
    assert n_real is None or (type(n_real) is int and 0 <= n_real <= 100)


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


def test_fresh_images_enter_once_each():
    kept, newest = FreshData(n_fresh=4), FreshData(n_fresh=4, keep="newest")
    assert [kept.fresh(n) for n in (1, 2, 4)] == [range(0), range(4), range(12)]
    assert [newest.fresh(n) for n in (1, 2, 4)] == [range(0), range(4), range(8, 12)]
    assert [kept.sources(3), newest.sources(3)] == [[0, 1, 2], [2]]


def test_the_share_is_fixed_from_the_second_iteration_on():
    paradigm = FixedRealShare(share=0.1, keep="newest")
    assert [paradigm.n_real(n, 64) for n in (1, 2, 9)] == [None, 6, 6]
    assert [paradigm.sources(n) for n in (1, 2, 5)] == [[0], [0, 1], [0, 4]]
    assert FixedRealShare(share=0.1).sources(3) == [0, 1, 2]


@pytest.mark.parametrize(
    "paradigm",
    [
        FreshData(n_fresh=0),
        FreshData(n_fresh=2, keep="some"),
        FixedRealShare(share=0.0),
        FixedRealShare(share=1.0),
        FixedRealShare(share=0.5, keep="x"),
    ],
)
def test_unusable_parameters(paradigm):
    with pytest.raises(InputError, match=r"n_fresh|keep|share"):
        paradigm.check()
