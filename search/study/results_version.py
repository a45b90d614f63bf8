"""Compare the version of this program's results with that of a study before new trials join it."""

from __future__ import annotations

from collections.abc import Mapping

import optuna

from search.errors import InputError
from search.study.attributes import EARLIER_VERSIONS, VERSIONS
from search.study.provenance import version_of

# Raise this number with every change after which the same seed proposes another candidate or gives it another value.
# tests/test_results.py fails when such a change is made without it.
RESULTS_VERSION = 1

_PACKAGES = ("torch", "numpy", "optuna")


def results_version() -> dict[str, str]:
    """Return what the values and proposals of a study depend on beside its settings: versions by name."""
    return {"results": str(RESULTS_VERSION)} | {name: version_of(name) or "none" for name in _PACKAGES}


def join_results(study: optuna.Study, *, may_differ: bool) -> None:
    """Check that the study's versions are the present ones, and record the present ones with the study.

    A study of an earlier version of this program is compared as far as it recorded versions. Raises InputError that
    names the differences, unless they are allowed.
    """
    known, present = recorded_versions(study), results_version()
    if known is not None and not may_differ and (differences := _differences(known, present)):
        raise InputError(
            f"study {study.study_name!r} was made with other versions ({differences}), so new trials may not compare "
            "with its own; use those versions, choose another --study name, or go on with --changed-code"
        )
    if study.user_attrs.get(VERSIONS) != present:
        study.set_user_attr(VERSIONS, present)


def recorded_versions(study: optuna.Study) -> dict[str, str] | None:
    """Return the versions that a study was made with, as far as it recorded them; None if it recorded none."""
    known = study.user_attrs.get(VERSIONS, study.user_attrs.get(EARLIER_VERSIONS))
    if not isinstance(known, Mapping):
        return None
    return {name: str(known[name]) for name in ("results", *_PACKAGES) if name in known}


def _differences(known: Mapping[str, str], present: Mapping[str, str]) -> str:
    return ", ".join(
        f"{name} {version} there, {present[name]} here" for name, version in known.items() if version != present[name]
    )
