"""Implement `search.py confirm`, which trains the best trials of a study again from fresh seeds."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from search.cli.arguments import (
    add_confirm_option,
    add_study,
    add_training_options,
    announce,
    existing_study,
    n_jobs,
)
from search.errors import InputError

HELP = "train the best trials of a study again from fresh seeds"
EXAMPLE = "confirm reference --confirm 4:3:10"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    add_confirm_option(parser)
    add_training_options(parser)
    add_study(parser)


def run(args: Namespace) -> int:
    """Confirm the winner of a study, report and export it; return the exit status."""
    if args.confirm is None:
        raise InputError("nothing to confirm with --confirm none; give K:SEEDS")
    location = existing_study(args.study, args.storage)
    announce(f"confirm  study {location.name}; loading PyTorch and the data")

    from search.cli.conclude import conclude, load_for_training
    from search.evidence.runner import Trainer, confirm
    from search.files import make_folder
    from search.study.location import hold_study

    study, config, data = load_for_training(location, args.data_dir)
    trainer = Trainer(args.engine, n_jobs(args), args.changed_code)
    make_folder(location.folder)
    with hold_study(location):
        confirm(trainer.at(location, config), study, args.confirm, len(data.scored))
        return conclude(study, config, location, with_export=True, data=data)
