"""Estimate how long the trials of a finished study would have taken in the usual loop, and what saved the time.

    python -m benchmarks.whole_search STUDY [--storage URL] [--sample 6]

Wall-clock time and epochs are read from the study. For a sample of its trials, spread over the range of seconds per
epoch, one epoch of the usual loop (all cores, no loader workers) is run with the network, batch size and augmentation
of the trial. The result is scaled to all trials at their full number of epochs. Run it on the machine of the study,
while the machine has no other load.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch

from models.build import build_model
from search.config import DataConfig
from search.data.dataset import Dataset
from search.data.load import load_dataset
from search.engine.usual_loop import train_usually
from search.storage.open import open_storage
from search.study.attributes import SETTINGS
from search.study.location import StudyLocation
from search.study.study import load_study
from search.study.trials import TRAINED, TrialRecord, read_trials


def epoch_seconds(record: TrialRecord) -> float:
    """Return the median seconds of an epoch of a trial on the engine, while other workers were running."""
    return statistics.median(float(epoch["seconds"]) for epoch in record.curve)


def usual_seconds(record: TrialRecord, data: Dataset) -> float:
    """Return the seconds of an epoch of a trial in the usual loop."""
    assert record.arch is not None
    assert record.recipe is not None
    seconds: list[float] = []
    torch.manual_seed(0)
    recipe = replace(record.recipe, epochs=1)
    train_usually(build_model(record.arch), data, recipe, 0, lambda _epoch, _accuracy, s: seconds.append(s))
    return seconds[0]


def main() -> None:
    """Measure the sample, and print the estimates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("--storage")
    parser.add_argument("--sample", type=int, default=6)
    parser.add_argument("--data-dir", default=os.environ.get("DATA_DIR", "data"))
    args = parser.parse_args()
    study = load_study(open_storage(StudyLocation(Path("studies"), args.study, args.storage).url), args.study)
    settings = study.user_attrs[SETTINGS]
    trained = [record for record in read_trials(study.trials) if record.outcome in TRAINED and record.curve]
    starts = [trial.datetime_start for trial in study.trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in study.trials if trial.datetime_complete]
    wall = (max(ends) - min(starts)).total_seconds()
    by_speed = sorted(trained, key=epoch_seconds)
    sample = [by_speed[round((i + 0.5) * len(by_speed) / args.sample - 0.5)] for i in range(args.sample)]
    data = load_dataset(DataConfig(settings["dataset"], args.data_dir))
    usual = []
    for record in sample:
        usual.append(usual_seconds(record, data))
        print(
            f"trial {record.number}, {record.n_params:,} parameters: engine {epoch_seconds(record):.2f} s an epoch "
            f"beside the others, usual loop {usual[-1]:.2f}",
            file=sys.stderr,
            flush=True,
        )
    engine_factor = sum(usual) / sum(map(epoch_seconds, sample))
    full = settings["epochs"] * sum(map(epoch_seconds, trained))
    epochs_run = sum(len(record.curve) for record in trained)
    busy = sum(epoch_seconds(record) * len(record.curve) for record in trained)
    print(f"{len(study.trials)} proposals, {len(trained)} trained, {epochs_run} epochs, {wall / 60:.1f} minutes")
    print(f"usual loop, the same trials to the end: {full * engine_factor / 3600:.1f} hours (estimated)")
    print(f"times faster: {full * engine_factor / wall:.1f}")
    print(f"  engine, one core against all     {engine_factor:5.2f}")
    print(f"  trainings side by side           {busy / wall:5.2f}")
    print(f"  epochs that pruning saved        {full / busy:5.2f}")


if __name__ == "__main__":
    main()
