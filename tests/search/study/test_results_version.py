"""The versions that decide whether new trials may join a study."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import optuna
import pytest
import torch

from search.config import DataConfig, SearchConfig
from search.data.dataset import Dataset, Split
from search.engine.batch_norm import FEW_STEPS
from search.errors import InputError
from search.study import results_version as module
from search.study.results_version import EARLIER_VERSIONS, VERSIONS, join_results, results_version

CONFIG = SearchConfig(DataConfig("mnist", "data"), max_params=8000)
PRESENT = {"results": "4", "torch": "2.15.0", "numpy": "2.4.0", "optuna": "5.0.0"}


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> optuna.Study:
    monkeypatch.setattr(module, "results_version", lambda: PRESENT)
    return optuna.create_study(study_name="one")


def test_the_versions_are_those_of_results_and_packages() -> None:
    assert results_version().keys() == PRESENT.keys()


def test_a_study_is_joined_by_the_same_versions(study: optuna.Study) -> None:
    join_results(study, CONFIG, may_differ=False)
    join_results(study, CONFIG, may_differ=False)
    assert study.user_attrs[VERSIONS] == PRESENT


@pytest.mark.parametrize(
    ("attribute", "there", "words"),
    [
        (VERSIONS, {"results": "3"}, r"other versions \(results 3 there, 4 here\)"),
        (VERSIONS, {"torch": "2.14.0"}, r"other versions \(torch 2.14.0 there, 2.15.0 here\)"),
        (EARLIER_VERSIONS, {"optuna": "4.0.0"}, r"other versions \(optuna 4.0.0 there, 5.0.0 here\)"),
    ],
)
def test_other_versions_are_refused_by_name_unless_they_are_allowed(
    study: optuna.Study, attribute: str, there: dict[str, str], words: str
) -> None:
    study.set_user_attr(attribute, PRESENT | there)
    with pytest.raises(InputError, match=words):
        join_results(study, CONFIG, may_differ=False)
    join_results(study, CONFIG, may_differ=True)
    join_results(study, CONFIG, may_differ=False)


def test_a_study_of_an_earlier_version_is_compared_by_its_packages_alone(study: optuna.Study) -> None:
    study.set_user_attr(EARLIER_VERSIONS, {"models/blocks.py": "a07f13381ec9", "torch": "2.15.0"})
    join_results(study, CONFIG, may_differ=False)
    assert study.user_attrs[VERSIONS] == PRESENT


@pytest.mark.parametrize(
    ("dimensions", "n_images", "refusal"),
    [
        ((), 128 * FEW_STEPS, None),
        ((), 128 * FEW_STEPS - 1, "results 1 there, 3 here"),
        (("batch_size = 512",), 128 * FEW_STEPS, "results 1 there, 3 here"),
        (("batch_size = 512",), 512 * FEW_STEPS, None),
        (("batch_size = [32, 512]",), 511 * FEW_STEPS, "results 1 there, 3 here"),
    ],
)
def test_a_study_of_version_1_goes_on_where_no_epoch_has_few_steps(
    dimensions: tuple[str, ...], n_images: int, refusal: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "results_version", lambda: PRESENT | {"results": "3"})
    monkeypatch.setattr(module, "load_dataset", lambda _config: _dataset_of(n_images))
    study = optuna.create_study(study_name="one")
    study.set_user_attr(VERSIONS, PRESENT | {"results": "1"})
    config = replace(CONFIG, dimensions=dimensions)
    with pytest.raises(InputError, match=refusal) if refusal else nullcontext():
        join_results(study, config, may_differ=False)


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        ({}, None),
        ({"max_memory": 20_000}, None),
        ({"max_weights_bytes": 20_000, "bytes_in": "int8"}, None),
        ({"max_memory": 20_000, "bytes_in": "int8"}, "results 2 there, 3 here"),
    ],
)
def test_a_study_of_version_2_goes_on_unless_it_limits_memory_in_int8(
    limits: dict[str, Any], refusal: str | None, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "results_version", lambda: PRESENT | {"results": "3"})
    study.set_user_attr(VERSIONS, PRESENT | {"results": "2"})
    with pytest.raises(InputError, match=refusal) if refusal else nullcontext():
        join_results(study, replace(CONFIG, **limits), may_differ=False)


def _dataset_of(n_images: int) -> Dataset:
    split = Split(torch.zeros(n_images, 1, 1, 1, dtype=torch.uint8), torch.zeros(n_images, dtype=torch.int64))
    return Dataset("made up", ("a", "b"), split, None, split, mean=(0.5,), std=(0.25,), checksum="")
