"""Implement `search.py space`, which lists the searched dimensions and the share of the space that fits the limits."""

from __future__ import annotations

import math
from argparse import ArgumentParser, Namespace
from dataclasses import replace

from search.cli import values
from search.cli.search_options import (
    add_augment_options,
    add_data_options,
    add_limit_options,
    add_share_weights,
    dimensions_of,
    limits_of,
)
from search.config import DataConfig, SearchConfig, data_directory

HELP = "list the searched dimensions and the share of the space that fits the limits"
EXAMPLE = "space --budget 8k --max-macs 400k"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--budget", type=values.count, default=8000, metavar="N", help="largest number of parameters (default: 8000)"
    )
    parser.add_argument(
        "--space",
        metavar="FILE",
        help="TOML file that narrows, widens or fixes searched dimensions (default: the whole space)",
    )
    add_share_weights(parser)
    add_data_options(parser, "mnist", "")
    add_augment_options(parser)
    add_limit_options(parser)


def run(args: Namespace) -> int:
    """Print every dimension with its range, the size of the space, and the share that fits the limits."""
    from search.data.load import form_of
    from search.limits import describe_limits
    from search.sampling.feasibility import feasibility_report, survey
    from search.search_space.augmentations import choose_augmentations
    from space import LARGEST, space_of

    data = DataConfig.named(args.dataset, data_directory(None), image_size=args.image_size)
    form = form_of(data)
    data = replace(data, form=form)
    dimensions = dimensions_of(args, data)
    config = SearchConfig(data, args.budget, **limits_of(args), dimensions=dimensions, share_weights=args.share_weights)
    config = choose_augmentations(config, args.augment, args.no_augment, LARGEST)
    searched = space_of(config)
    usual_space = space_of(replace(config, dimensions=()))
    for dimension, default in zip(searched.dimensions, usual_space.dimensions, strict=True):
        print(f"{dimension.name:24}{dimension}" + (f"   instead of {default}" if dimension != default else ""))
    counts = [dimension.n_values for dimension in searched.dimensions if dimension.n_values]
    n_real = len(searched.dimensions) - len(counts)
    print(
        f"\n{searched.n_searched} dimensions: 10^{math.log10(math.prod(counts)):.0f} points of whole numbers and "
        f"choices, and {n_real} of real numbers; for {describe_limits(config)}"
    )
    shape = "x".join(map(str, form.input_shape))
    print(f"images                        {shape}, {form.n_classes} classes ({form.name})")
    feasibility = survey(config)
    print(feasibility_report(feasibility))
    if not feasibility.n_fitting:
        print(f"\n{_nearest_network(config)}")
    return 0


def _nearest_network(config: SearchConfig) -> str:
    """Return whether anything fits the limits, if no random candidate does."""
    from search.sampling.feasibility import NothingFitsError, check_something_fits

    try:
        check_something_fits(config)
    except NothingFitsError as error:
        return str(error)
    return "No random candidate fits, but a network that fits was found by descent; a search starts there."
