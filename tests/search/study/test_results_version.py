"""The versions that decide whether new trials may join a study."""

from __future__ import annotations

import optuna
import pytest

from search.errors import InputError
from search.study import results_version as module
from search.study.results_version import EARLIER_VERSIONS, VERSIONS, join_results, results_version

PRESENT = {"results": "3", "torch": "2.15.0", "numpy": "2.4.0", "optuna": "5.0.0"}


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    monkeypatch.setattr(module, "results_version", lambda: PRESENT)
    return optuna.create_study(study_name="one")


def test_the_versions_are_those_of_results_and_packages() -> None:
    assert results_version().keys() == PRESENT.keys()


def test_a_study_is_joined_by_the_same_versions(study: optuna.Study) -> None:
    join_results(study, may_differ=False)
    join_results(study, may_differ=False)
    assert study.user_attrs[VERSIONS] == PRESENT


@pytest.mark.parametrize(
    ("attribute", "there", "words"),
    [
        (VERSIONS, {"results": "2"}, r"other versions \(results 2 there, 3 here\)"),
        (VERSIONS, {"torch": "2.14.0"}, r"other versions \(torch 2.14.0 there, 2.15.0 here\)"),
        (EARLIER_VERSIONS, {"optuna": "4.0.0"}, r"other versions \(optuna 4.0.0 there, 5.0.0 here\)"),
    ],
)
def test_other_versions_are_refused_by_name_unless_they_are_allowed(
    study: optuna.Study, attribute: str, there: dict[str, str], words: str
) -> None:
    study.set_user_attr(attribute, PRESENT | there)
    with pytest.raises(InputError, match=words):
        join_results(study, may_differ=False)
    join_results(study, may_differ=True)
    join_results(study, may_differ=False)


def test_a_study_of_an_earlier_version_is_compared_by_its_packages_alone(study: optuna.Study) -> None:
    study.set_user_attr(EARLIER_VERSIONS, {"models/blocks.py": "a07f13381ec9", "torch": "2.15.0"})
    join_results(study, may_differ=False)
    assert study.user_attrs[VERSIONS] == PRESENT
