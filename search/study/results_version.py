"""Compare the versions that results depend on with those of a study, before trials are added to it."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from search.errors import InputError
from search.study.attributes import EARLIER_VERSIONS, VERSIONS
from search.study.provenance import version_of

# Increase this number with every change that gives a seed other candidates, or a candidate another value.
# tests/test_results.py fails if such a change does not increase it.
# Version 2 scores weights with new batch-norm statistics after fewer than FEW_STEPS steps.
# Version 3 counts the memory of maps in int8 as the exported C program needs it.
# Version 4 takes whole steps on the kernels: the native engine rounds differently, and heads drop other values.
# Version 5 has another sampler evolve, and the kernels convolve by Winograd's algorithm, which rounds differently.
RESULTS_VERSION = 5

_PACKAGES = ("torch", "numpy", "optuna")


def results_version() -> dict[str, str]:
    """Return the versions that a study's proposals and values depend on besides its settings, by name."""
    return {"results": str(RESULTS_VERSION)} | {name: version_of(name) or "none" for name in _PACKAGES}


def join_results(study: optuna.Study, *, may_differ: bool) -> None:
    """Check that a study was made with the present versions, and record these with the study.

    Only the versions that the study recorded are compared; earlier versions of this program recorded fewer. Raises
    InputError that names the differences, unless they are allowed (`may_differ`).
    """
    recorded, present = recorded_versions(study), results_version()
    if recorded is not None and not may_differ and (differences := _differences(recorded, present)):
        raise InputError(
            f"study {study.study_name!r} was made with other versions ({differences}), so new trials may not compare "
            "with its own; add --changed-code to go on all the same, install those versions, or search in a new study"
        )
    if study.user_attrs.get(VERSIONS) != present:
        study.set_user_attr(VERSIONS, present)


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
