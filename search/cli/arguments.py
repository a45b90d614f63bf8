"""Options that several commands share, and the study that a command names."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from search.cli import values
from search.config import ENGINES, ConfirmConfig
from search.cores import n_cores

if TYPE_CHECKING:
    from search.study.location import StudyLocation

DEFAULT_OUT = "studies"
# Only users of this machine reach this address.
LOOPBACK = "127.0.0.1"


def add_training_options(parser: argparse._ActionsContainer) -> None:
    """Add the options of commands that train."""
    parser.add_argument(
        "--changed-code",
        action="store_true",
        help="continue although code or packages have changed since the study was made (default: refuse to)",
    )
    add = parser.add_argument
    add("--data-dir", metavar="DIR", help="folder of the data sets, also for downloads (default: $DATA_DIR, else data)")
    add(
        "--jobs",
        type=values.jobs,
        default=0,
        metavar="N",
        help="number of networks to train side by side, or auto: one on each core; trainings that are fewer than the "
        "cores use several each (default: auto)",
    )
    add(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="native: kernels compiled on this machine; torch: PyTorch's operators (default: auto)",
    )


def add_confirm_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that sets the sizes of the confirmation."""
    parser.add_argument(
        "--confirm",
        type=values.confirmation,
        default=ConfirmConfig(),
        metavar="K:SEEDS",
        help="train the K best trials again with SEEDS fresh seeds each, then the winner with SEEDS further ones, or "
        "with FURTHER ones for K:SEEDS:FURTHER; none: do not confirm (default: 5:5)",
    )


def add_study_storage(parser: argparse.ArgumentParser) -> None:
    """Add the option for the storage of an existing study."""
    parser.add_argument("--storage", metavar="URL", help="storage of the study (default: SQLite files under studies/)")


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option for the location of the data of an existing study."""
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="folder of the data sets, or new place of images of your own (default: $DATA_DIR or data, else where "
        "the search found the data)",
    )


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that select an existing study."""
    parser.add_argument("study", metavar="STUDY", help="name of a study under studies/, or path of its folder")
    add_study_storage(parser)


def add_address(parser: argparse.ArgumentParser, port: int) -> None:
    """Add the options for the address that a server listens on."""
    parser.add_argument(
        "--port", type=values.port, default=port, metavar="N", help=f"port to listen on (default: {port})"
    )
    parser.add_argument(
        "--host", default=LOOPBACK, metavar="ADDRESS", help=f"address to listen on (default: {LOOPBACK}, this machine)"
    )


def location_of(study: str | None, storage: str | None = None) -> StudyLocation:
    """Return the location of a study, from its name or from the path of its folder."""
    from search.study.find import located
    from search.study.location import StudyLocation

    path = Path(study or ".")
    # Text without a separator is a name; StudyLocation refuses names that no folder can have.
    if study and (path.parent != Path() or path.is_absolute()) and path.parent.is_dir():
        return located(StudyLocation(path.parent, path.name, storage))
    return located(StudyLocation(Path(DEFAULT_OUT), study, storage))


def existing_study(study: str, storage: str | None = None) -> StudyLocation:
    """Return the location of an existing study, from its name or from the path of its folder.

    Raises InputError if it does not exist. Commands call this before they import torch, so that a wrong name is
    answered at once.
    """
    from search.study.find import is_surely_missing, missing_study

    location = location_of(study, storage)
    if is_surely_missing(location):
        raise missing_study(location)

    from search.study.load import load_existing
    from search.study.read_only import readable

    with readable(location) as readable_location:
        load_existing(readable_location)
    return location


def announce(text: str) -> None:
    """Print a line on standard output before torch is imported, which takes seconds."""
    if "torch" not in sys.modules:
        print(text, flush=True)


def n_jobs(args: Namespace) -> int:
    """Return the number of networks to train side by side."""
    return args.jobs or n_cores()
