"""Compare the versions that results depend on with those of a study, before trials are added to it."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from models.baselines import BASELINES
from search.config import SearchConfig
from search.data.load import load_dataset
from search.errors import InputError
from search.search_space.dimensions import Choice
from search.study.attributes import EARLIER_VERSIONS, VERSIONS
from search.study.provenance import version_of
from space import space_of

# Increase this number with every change that gives a seed other candidates, or a candidate another value.
# tests/test_results.py fails if such a change does not increase it.
# Version 2 scores weights with new batch-norm statistics after fewer than FEW_STEPS steps.
# Version 3 counts the memory of maps in int8 as the exported C program needs it.
RESULTS_VERSION = 3

_PACKAGES = ("torch", "numpy", "optuna")


def results_version() -> dict[str, str]:
    """Return the versions that a study's proposals and values depend on besides its settings, by name."""
    return {"results": str(RESULTS_VERSION)} | {name: version_of(name) or "none" for name in _PACKAGES}


def join_results(study: optuna.Study, config: SearchConfig, *, may_differ: bool) -> None:
    """Check that a study was made with the present versions, and record these with the study.

    Only the versions that the study recorded are compared; earlier versions of this program recorded fewer. Versions 1
    and 2 of the results are equal if every epoch of the study has at least FEW_STEPS steps; versions 2 and 3 unless the
    study limits the memory of maps in int8. Raises InputError that names the differences, unless they are allowed
    (`may_differ`).

    config: settings of the study, or of its search if it is a study of repeats.
    """
    from search.engine.batch_norm import FEW_STEPS  # imported here, as it imports torch

    recorded, present = recorded_versions(study), results_version()
    if recorded and recorded.get("results") == "1" and not may_differ and fewest_steps(config) >= FEW_STEPS:
        recorded |= {"results": "2"}
    if recorded and recorded.get("results") == "2" and not (config.max_memory and config.bytes_in == "int8"):
        recorded |= {"results": "3"}
    if recorded is not None and not may_differ and (differences := _differences(recorded, present)):
        raise InputError(
            f"study {study.study_name!r} was made with other versions ({differences}), so new trials may not compare "
            "with its own; add --changed-code to go on all the same, install those versions, or search in a new study"
        )
    if study.user_attrs.get(VERSIONS) != present:
        study.set_user_attr(VERSIONS, present)


def fewest_steps(config: SearchConfig) -> int:
    """Return the number of steps of an epoch with the largest batches that a search may train with.

    The data set is read for it.
    """
    batch_size = next(dimension for dimension in space_of(config).dimensions if dimension.name == "batch_size")
    largest = max(batch_size.choices) if isinstance(batch_size, Choice) else int(batch_size.high)
    recipes = [recipe for baseline in BASELINES.values() for recipe in baseline.recipes.values()]
    largest = max(largest, *(recipe.batch_size for recipe in recipes))
    return len(load_dataset(config.data).train) // largest


def recorded_versions(study: optuna.Study) -> dict[str, str] | None:
    """Return the versions that a study was made with, those that it recorded, or None if it recorded none."""
    recorded = study.user_attrs.get(VERSIONS, study.user_attrs.get(EARLIER_VERSIONS))
    if not isinstance(recorded, Mapping):
        return None
    return {name: str(recorded[name]) for name in ("results", *_PACKAGES) if name in recorded}


def _differences(recorded: Mapping[str, str], present: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {version} there, {present[name]} here"
        for name, version in recorded.items()
        if version != present[name]
    )
