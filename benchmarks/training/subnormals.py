"""Compare the seconds of an epoch with subnormal numbers flushed to zero and with them kept, for one trial of a study.

    python -m benchmarks.training.subnormals STUDY --trial N [--epochs 8] [--storage URL]

The trial is trained twice on one thread, one training after the other. Run it while the machine has no other load.
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
    """Train a trial's network with its recipe and seed; return the metrics of the first n epochs."""
    assert record.arch is not None
    assert record.recipe is not None
    assert record.seed is not None
    curve: list[EpochMetrics] = []

    def stop_after_n(epoch: int, metrics: EpochMetrics) -> None:
        curve.append(metrics)
        if epoch == n:
            raise InterruptedError

    torch.manual_seed(record.seed)
    with contextlib.suppress(InterruptedError):
        train(build_model(record.arch), data, record.recipe, stop_after_n, seed=record.seed)
    return curve


def main() -> None:
    """Train the trial both ways, and print a line for each epoch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--trial", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--storage")
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    study = load_study(open_storage(StudyLocation(Path("studies"), args.study, args.storage).url), args.study)
    record = next(record for record in read_trials(study.trials) if record.number == args.trial)
    data = load_dataset(DataConfig(study.user_attrs[SETTINGS]["dataset"], args.data_dir))
    flushed = first_epochs(record, data, args.epochs)
    with mock.patch("torch.set_flush_denormal"):
        kept = first_epochs(record, data, args.epochs)
    print("epoch   as zero      kept   ratio   accuracies")
    for zero, subnormal in zip(flushed, kept, strict=True):
        print(
            f"{zero.epoch:5} {zero.seconds:8.2f}s {subnormal.seconds:8.2f}s {subnormal.seconds / zero.seconds:7.2f}   "
            f"{100 * zero.accuracy:.2f} %  {100 * subnormal.accuracy:.2f} %"
        )


if __name__ == "__main__":
    main()
