"""One trial of a study trained again, with subnormal numbers taken for zero and with them kept: seconds an epoch.

    python -m benchmarks.subnormals STUDY --trial N [--epochs 8] [--storage URL]

On one thread, one training after the other; run it with nothing beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from unittest import mock

import torch

from models.build import build_model
from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.engine.metrics import EpochMetrics
from search.engine.train import train
from search.storage.open import open_storage
from search.study.attributes import SETTINGS
from search.study.location import StudyLocation
from search.study.study import load_study
from search.study.trials import TrialRecord, read_trials


def first_epochs(record: TrialRecord, data: Dataset, n: int) -> list[EpochMetrics]:
    """The first n epochs of the trial's network, by its recipe and from its seed."""
    assert record.arch is not None
    assert record.recipe is not None
    assert record.seed is not None
    curve: list[EpochMetrics] = []

    def stop_in_time(epoch: int, metrics: EpochMetrics) -> None:
        curve.append(metrics)
        if epoch == n:
            raise InterruptedError

    torch.manual_seed(record.seed)
    with contextlib.suppress(InterruptedError):
        train(build_model(record.arch), data, record.recipe, stop_in_time, seed=record.seed)
    return curve


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--trial", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--storage")
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(open_storage(StudyLocation(Path("studies"), args.study, args.storage).url), args.study)
    record = next(one for one in read_trials(study.trials) if one.number == args.trial)
    data = load_dataset(DataConfig(study.user_attrs[SETTINGS]["dataset"], args.data_dir))
    as_zero = first_epochs(record, data, args.epochs)
    with mock.patch("torch.set_flush_denormal"):
        kept = first_epochs(record, data, args.epochs)
    print("epoch   as zero      kept   ratio   accuracies")
    for one, other in zip(as_zero, kept, strict=True):
        print(
            f"{one.epoch:5} {one.seconds:8.2f}s {other.seconds:8.2f}s {other.seconds / one.seconds:7.2f}   "
            f"{100 * one.accuracy:.2f} %  {100 * other.accuracy:.2f} %"
        )


if __name__ == "__main__":
    main()
