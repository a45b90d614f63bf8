"""Implement `search.py describe`, which prints the layers of a network and their costs."""

from __future__ import annotations

import json
import os
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from search.cli import values
from search.cli.arguments import add_study_storage, existing_study
from search.errors import InputError

if TYPE_CHECKING:
    from models.spec import ArchSpec

HELP = "print the layer table of a hand-designed network, a spec file, or the winner or a trial of a study"
EXAMPLE = "describe reference --trial 0"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "network",
        metavar="ID|FILE|STUDY",
        help="id of a hand-designed network, a spec in a JSON or TOML file, or a study, of which the winner is shown",
    )
    parser.add_argument(
        "--trial",
        type=values.whole_number,
        metavar="N",
        help="number of a finished trial of the study (default: the winner)",
    )
    add_study_storage(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table (default: a table)")


def run(args: Namespace) -> int:
    """Print the layer table of a network, or with --json the network and its cost."""
    from models.baselines import BASELINES
    from models.cost import compute_cost
    from search.report.architecture import (
        architecture_line,
        describe_baseline,
        describe_json,
        layer_table,
        torchsummary_table,
    )
    from search.search_space.network_file import read_network

    is_study = args.trial is not None or args.storage is not None or _is_study(args.network)
    name, spec = _network_of_study(args) if is_study else read_network(args.network)
    cost = compute_cost(spec)
    if args.json:
        origin = {"network": name} if is_study else {}
        print(json.dumps(origin | describe_json(spec, cost), indent=2))
        return 0
    if is_study:
        print(f"{name}: {architecture_line(spec)}\n")
    print(layer_table(cost))
    print(f"\nin the form of torchsummary:\n{torchsummary_table(spec, cost)}")
    if name == args.network and name in BASELINES:
        print(f"\n{describe_baseline(BASELINES[name])}")
    return 0


def _is_study(name: str) -> bool:
    """Return whether an argument names a study and no hand-designed network or file.

    Raises InputError that names the nearest of all these if it names none of them.
    """
    from models.baselines import BASELINES

    is_file = os.path.exists(name) and not os.path.isdir(name)  # also a pipe or a device
    if name in BASELINES or is_file or Path(name).suffix in (".json", ".toml"):
        return False
    try:
        existing_study(name)
    except InputError as error:
        names = ", ".join(BASELINES)
        raise InputError(
            f"no hand-designed network or readable file {name!r:.120}; the networks are {names}; {error}"
        ) from error
    return True


def _network_of_study(args: Namespace) -> tuple[str, ArchSpec]:
    """Return the name and the network of a trial of a study, by default of the winner."""
    from search.cli.winner import winner_or_trial
    from search.study.load import config_of, load_existing
    from search.study.read_only import readable
    from search.study.trials import read_trials

    with readable(existing_study(args.network, args.storage)) as location:
        study = load_existing(location)
        config, records = config_of(study), read_trials(study.get_trials(deepcopy=False))
        record = winner_or_trial(location, records, config, args.trial)
    assert record.arch is not None
    return f"{location.name}, trial {record.number}{' (the winner)' if args.trial is None else ''}", record.arch
