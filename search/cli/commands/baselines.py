"""`search.py baselines`: the hand-designed networks, trained again."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from search.cli import values
from search.cli.arguments import DEFAULT_OUT, add_training_options, location_of, n_jobs
from search.config import DataConfig, data_directory
from search.errors import InputError

HELP = "train the hand-designed networks by their own recipes, and by one for all"
EXAMPLE = "baselines s004_net3 s002_model3 --seeds 5"
# Whose winner's recipe all hand-designed networks get, where there is one.
RECIPE_OF = "reference"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("ids", nargs="*", metavar="ID", help="default: all fourteen")
    add("--seeds", type=values.repeats, metavar="N", help="default: 3 within 8,000 parameters, else 1")
    add("--dataset", default="mnist", metavar="NAME", help="default: mnist")
    add("--study", default="baselines", metavar="NAME", help="default: baselines")
    add("--recipe-of", metavar="STUDY", help="study whose winner's recipe all get as well (default: reference)")
    add("--storage", metavar="URL", help="default: as of a search")
    add("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    add_training_options(parser)


def run(args: Namespace) -> int:
    """Train the networks that are not trained yet, and report them beside what their authors state."""
    from search.cli.baselines import train_baselines
    from search.evidence.runner import Trainer
    from search.study.location import StudyLocation

    location = StudyLocation(Path(args.out), args.study, args.storage)
    card = location_of(args.recipe_of or RECIPE_OF).folder / "winner" / "card.json"
    if args.recipe_of and not card.is_file():
        raise InputError(f"there is no {card}: study {args.recipe_of!r:.120} has no winner; name another --recipe-of")
    data = DataConfig.named(args.dataset, data_directory(args.data_dir))
    trainer = Trainer(args.engine, n_jobs(args), args.changed_code)
    return train_baselines(location, data, args.ids, args.seeds, trainer, card)
