"""Implement `search.py describe`, which prints the layers of a network and their costs."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

HELP = "print the layer table of a hand-designed network or a spec file"
EXAMPLE = "describe s004_net3"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "network", metavar="ID|FILE", help="id of a hand-designed network, or a spec in a JSON or TOML file"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: Namespace) -> int:
    """Print the layer table of a network, or with --json the network and its cost."""
    from models.baselines import BASELINES
    from models.cost import compute_cost
    from search.report.architecture import describe_baseline, describe_json, layer_table, torchsummary_table
    from search.search_space.network_file import read_network

    name, spec = read_network(args.network)
    cost = compute_cost(spec)
    if args.json:
        print(json.dumps(describe_json(spec, cost), indent=2))
        return 0
    print(layer_table(cost))
    print(f"\nin the form of torchsummary:\n{torchsummary_table(spec, cost)}")
    if name == args.network and name in BASELINES:
        print(f"\n{describe_baseline(BASELINES[name])}")
    return 0
