"""Implement `search.py baselines`, which trains the hand-designed networks again."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from search.cli import values
from search.cli.arguments import DEFAULT_OUT, add_training_options, announce, location_of, n_jobs
from search.config import OWN_KINDS, DataConfig, data_directory
from search.errors import InputError

HELP = "train the hand-designed networks with the recipes of their authors and with one common recipe"
EXAMPLE = "baselines s004_net3 s002_model3 --seeds 5"
# Study whose winner gives the common recipe, if it exists.
RECIPE_OF = "reference"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    add = parser.add_argument
    add("ids", nargs="*", metavar="ID", help="ids of hand-designed networks (default: all that take the images)")
    add(
        "--seeds",
        type=values.repeats,
        metavar="N",
        help="trainings of each network and recipe (default: 3 within 8,000 parameters, else 1)",
    )
    add("--dataset", default="mnist", metavar="NAME", help="data set (default: mnist)")
    add("--study", default="baselines", metavar="NAME", help="name of the study (default: baselines)")
    add("--recipe-of", metavar="STUDY", help="study whose winner gives the common recipe (default: reference)")
    add("--storage", metavar="URL", help="as for run (default: studies.db in --out)")
    add("--out", default=DEFAULT_OUT, metavar="DIR", help="folder of the studies (default: studies)")
    add_training_options(parser)


def run(args: Namespace) -> int:
    """Run the missing trainings, and report the accuracies beside those that the authors state."""
    from search.study.location import StudyLocation, check_name

    location = StudyLocation(Path(args.out), args.study, args.storage)
    check_name(location)
    check_ids(args.ids)
    card = location_of(args.recipe_of or RECIPE_OF).folder / "winner" / "card.json"
    if args.recipe_of and not card.is_file():
        raise InputError(f"there is no {card}: study {args.recipe_of!r:.120} has no winner; name another --recipe-of")
    data = DataConfig.named(args.dataset, data_directory(args.data_dir))
    check_images(data, args.ids)
    announce(f"start    hand-designed networks on {args.dataset}; loading PyTorch and the data")

    from search.cli.baselines import train_baselines
    from search.evidence.runner import Trainer

    trainer = Trainer(args.engine, n_jobs(args), args.changed_code)
    return train_baselines(location, data, args.ids, args.seeds, trainer, card)


def check_ids(ids: Sequence[str]) -> None:
    """Raise InputError for an unknown network."""
    from models.baselines import BASELINES

    for name in ids:
        if name not in BASELINES:
            raise InputError(f"unknown hand-designed network {name!r}; the known ones are {', '.join(BASELINES)}")


def check_images(data: DataConfig, ids: Sequence[str]) -> None:
    """Raise InputError for a data set that no hand-designed network takes, or that one of `ids` does not take."""
    from models.baselines import baselines_for
    from search.data.load import form_of

    if data.is_own:
        _, words = OWN_KINDS[data.dataset]
        raise InputError(
            f"baselines trains on published data, not on a {words}; use `search.py run`, which trains the "
            "hand-designed networks that take its images and fit its budget"
        )
    form = form_of(data)
    fitting = baselines_for(form.input_shape, form.n_classes)
    if not fitting:
        raise InputError(
            f"no hand-designed network takes {form.input_shape} images of {form.n_classes} classes, as {data.dataset} "
            "has; use `search.py run`"
        )
    for name in ids:
        if name not in fitting:
            raise InputError(
                f"{name} does not take the images of {data.dataset}; those that do are {', '.join(fitting)}"
            )
