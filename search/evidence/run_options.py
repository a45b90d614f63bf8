"""Read the options that a study was run with and that are in none of its settings, so that it can be repeated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from search.errors import InputError
from search.evidence.confirm import ConfirmPlan
from search.study.provenance import read_runs

# The command line's default of --confirm.
DEFAULT_CONFIRM = "5:5"
# Options that are in no setting of a study, although its results depend on them; those of all runs count.
_REPEATABLE = ("--warm", "--baseline")
_SINGLE = ("--data-dir", "--engine")

Options = tuple[tuple[str, str], ...]


def run_options(path: Path, plan: ConfirmPlan | None, adopted: Sequence[str]) -> Options:
    """Return the options of the runs of a study that its settings do not hold, with their values.

    path     file that records the runs, config.json
    plan     plan of the last confirmation
    adopted  names of the studies whose trials were adopted
    """
    try:
        runs = read_runs(path)
    except InputError:  # a study can be reported without this file
        runs = []
    arguments = [run["argv"] for run in runs if isinstance(run, Mapping) and isinstance(run.get("argv"), list)]
    options = [(name, value) for name in _REPEATABLE for argv in arguments for value in _values(argv, name)]
    if not any(name == "--warm" for name, _ in options):  # a frontier adopts trials without this option
        options = [*(("--warm", name) for name in adopted), *options]
    for name in _SINGLE:
        values = [value for argv in arguments for value in _values(argv, name)]
        options += [(name, values[-1])] if values and values[-1] != "auto" else []
    return (*dict.fromkeys(options), ("--confirm", _confirmation(arguments, plan)))


def _values(argv: Sequence[Any], name: str) -> Iterator[str]:
    """Yield the values of an option, written as two arguments or with an equals sign."""
    words = list(map(str, argv))
    for word, following in pairwise([*words, ""]):
        if word == name:
            yield following
        elif word.startswith(f"{name}="):
            yield word.partition("=")[2]


def _confirmation(arguments: Sequence[Sequence[Any]], plan: ConfirmPlan | None) -> str:
    """Return the value of --confirm with which the last run was started, or that of a later confirmation."""
    values = [[DEFAULT_CONFIRM, *_values(argv, "--confirm")][-1] for argv in arguments]
    requested = values[-1] if values else "none"
    if plan is None:
        return requested
    n_candidates, further = len(plan.candidates), f":{plan.n_further}" if plan.n_further else ""
    match = re.fullmatch(r"(\d+)(:.+)", requested)
    # A study with few finished trials has fewer candidates than requested.
    is_requested = match and int(match[1]) >= n_candidates and match[2] == f":{plan.n_seeds}{further}"
    return requested if is_requested else f"{n_candidates}:{plan.n_seeds}{further}"
