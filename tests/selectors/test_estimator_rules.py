"""The rules of scikit-learn's `check_estimator` that a selector keeps, and those that it does not, with the reason."""

import re
import warnings
from pathlib import Path

import pytest
from registered import makers
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from entropick.selectors import Greedy

SELECTORS = makers("selector", {"density-greedy": {"k": 1}, "gist": {"utility": "uniform"}})
NOT_KEPT = {
    "check_dtype_object": "objects are refused, also if each of them is a number: whatever else may be among them",
    "check_estimators_empty_data_messages": "refused, in other words: expected at least one row and one column",
    "check_estimators_nan_inf": "refused, in other words: which row and column has what",
}
# So many there are at least, or nothing was checked.
_LEAST = 30


@pytest.mark.parametrize("name", [name for name, make in SELECTORS.items() if not make(n_samples=1).trusts])
def test_rules_of_scikit_learn(name):
    with warnings.catch_warnings():
        # Data of the checks have copies, and some are random.
        warnings.simplefilter("ignore")
        found = check_estimator(
            SELECTORS[name](n_samples=1), expected_failed_checks=NOT_KEPT, on_skip=None, on_fail=None
        )
    status = {of["check_name"]: of["status"] for of in found}
    assert [check for check, of in status.items() if of == "failed"] == []
    assert {check for check, of in status.items() if of == "xfail"} <= NOT_KEPT.keys()
    assert sum(of == "passed" for of in status.values()) >= _LEAST


def test_the_docs_list_what_is_not_kept():
    page = (Path(__file__).parents[2] / "docs" / "from-python.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(check_\w+)`", page)) == {"check_estimator", *NOT_KEPT}


def test_tags_say_what_a_selector_is():
    tags = get_tags(Greedy(n_samples=1))
    assert tags.estimator_type is None and not tags.target_tags.required and not tags.input_tags.sparse
    assert tags.transformer_tags is tags.classifier_tags is tags.regressor_tags is None


def test_what_selectors_have_not():
    selector = Greedy(n_samples=2).fit([[0.0], [1.0]])
    assert not hasattr(selector, "get_feature_names_out") and not hasattr(selector, "set_output")
    assert not hasattr(selector, "transform") and not hasattr(selector, "predict")
    assert selector.n_features_in_ == 1
