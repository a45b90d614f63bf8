"""Which code decides what a trial is worth, and what becomes of a study where it has changed."""

from __future__ import annotations

import optuna
import pytest

from search import code_version as module
from search.code_version import CODE, code_version, join_code, significant
from search.config import InputError

SOURCE = '''"""Says what it is."""

import os  # for a reason


def f(x: int) -> int:
    """Doubles.

    At length.
    """
    # Why.
    return 2 * x  # always


TEXT = "# no comment"
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Says what it is", "Says more", True),
        ("At length.", "At\n    greater length.", True),
        ("# Why.", "# Why not.", True),
        ("  # always", "", True),
        ("\n\n\ndef", "\ndef", True),
        ("2 * x", "3 * x", False),
        ("no comment", "comment", False),
        ("import os", "import sys", False),
    ],
)
def test_comments_and_docstrings_decide_nothing(old: str, new: str, same: bool) -> None:
    assert old in SOURCE
    assert (significant(SOURCE.replace(old, new)) == significant(SOURCE)) == same


def test_what_decides_is_all_that_a_trial_leads_to_and_nothing_that_is_written_of_it() -> None:
    names = set(code_version())
    assert names >= {
        "objective.py",
        "space.py",
        "models/blocks.py",
        "search/train.py",
        "search/data.py",
        "search/augment.py",
        "search/samplers.py",
        "search/study.py",
        "search/feasible_start.py",
        "torch",
    }
    assert any(name.startswith("search/native/") for name in names)
    assert names.isdisjoint({"search/report.py", "search/export.py", "search/run.py", "search/cli.py"})


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    monkeypatch.setattr(module, "code_version", lambda: {"a.py": "1", "b.py": "2", "torch": "2.15.0"})
    return optuna.create_study(study_name="one")


def test_a_study_is_joined_by_the_same_code(study: optuna.Study) -> None:
    join_code(study, may_differ=False)
    join_code(study, may_differ=False)
    assert study.user_attrs[CODE] == {"a.py": "1", "b.py": "2", "torch": "2.15.0"}


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"a.py": "0", "b.py": "2", "torch": "2.15.0"}, r"other code \(a.py\)"),
        ({"a.py": "1", "c.py": "3", "torch": "2.15.0"}, r"other code \(b.py, c.py\)"),
        ({"a.py": "1", "b.py": "2", "torch": "2.14.0"}, r"other code \(torch 2.14.0 there, 2.15.0 here\)"),
        ({f"{i}.py": "1" for i in range(9)}, r"other code \(0.py, 1.py, 2.py, 3.py, 4.py and 7 more\)"),
    ],
)
def test_other_code_is_refused_by_name_unless_it_may_take_its_place(
    study: optuna.Study, there: dict[str, str], words: str
) -> None:
    study.set_user_attr(CODE, there)
    with pytest.raises(InputError, match=words):
        join_code(study, may_differ=False)
    assert study.user_attrs[CODE] == there
    join_code(study, may_differ=True)
    join_code(study, may_differ=False)
