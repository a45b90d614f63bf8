"""Implement `search.py null`, which measures the noise floor of a study."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from search.cli import values
from search.cli.arguments import add_study, add_training_options, announce, existing_study, n_jobs

HELP = "measure the noise floor of a study by training one configuration many times"
EXAMPLE = "null reference --runs 10"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "--runs", type=values.repeats, default=10, metavar="N", help="number of trainings (default: 10)"
    )
    parser.add_argument(
        "--trial",
        type=values.whole_number,
        metavar="N",
        help="number of the trial to train (default: the best hand-designed network)",
    )
    add_training_options(parser)
    add_study(parser)


def run(args: Namespace) -> int:
    """Train one configuration from many seeds, and report the spread of the accuracies; return the exit status."""
    location = existing_study(args.study, args.storage)
    announce(f"null     study {location.name}; loading PyTorch and the data")

    from search.cli.conclude import conclude, load_for_training
    from search.evidence.runner import Trainer, measure_noise
    from search.files import make_folder
    from search.study.location import hold_study
    from search.study.trials import finished_trial, read_trials

    study, config, data = load_for_training(location, args.data_dir)
    # A wrong number is refused before anything is trained.
    finished_trial(read_trials(study.get_trials(deepcopy=False)), args.trial)
    trainer = Trainer(args.engine, n_jobs(args), args.changed_code)
    make_folder(location.folder)
    with hold_study(location):
        measure_noise(trainer.at(location, config), study, args.trial, args.runs)
        return conclude(study, config, location, with_export=False, data=data)
