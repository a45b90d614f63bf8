"""Verify a trial: repeat its training from the same seed, which gives the same value on the same machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import optuna

from models.spec import ArchSpec
from search.config import DataConfig, SearchConfig
from search.cores import n_cores
from search.data.load import load_dataset
from search.engine.process import prepare_process
from search.errors import InputError
from search.evidence.confirm import confirmation
from search.evidence.read import repeats_of
from search.evidence.repeats import RepeatResult, read_results
from search.export.trained_model import read_weights
from search.study.attributes import SETTINGS
from search.study.load import check_data, config_of, kind_of, load_existing, locate_data
from search.study.location import StudyLocation
from search.study.results_version import recorded_versions, results_version
from search.study.training import RecordedTraining, Training, weights_path
from search.study.trials import TrialRecord, finished_trial, read_trials
from search.text import percent
from search.workers.progress import TrainingProgress


@dataclass(frozen=True)
class _Recorded:
    """Training as the study recorded it.

    name       for the output
    select_on  split that it was scored on, as in DataConfig
    weights    folder of the weights; `number` is that of their file
    """

    name: str
    training: Training
    select_on: str
    value: float
    weights: Path
    number: int


def verify(location: StudyLocation, data_dir: str | None, number: int | None) -> int:
    """Repeat a training and compare its value with the recorded one; return 0 if they are equal, else 1.

    number: number of a finished trial; None: the training of the exported network, which is that of the best trial
    or, after a confirmation, one of its trainings from fresh seeds. Only missing weights are written, and only if the
    value is equal.
    """
    study = load_existing(location)
    recorded, data_config = _recorded_training(study, location, data_dir, number)
    data = load_dataset(data_config)
    check_data(study, data)
    if recorded.select_on != data_config.select_on:
        data = load_dataset(replace(data_config, select_on=recorded.select_on))
    prepare_process()
    training, cores = recorded.training, n_cores()
    with TrainingProgress(recorded.name) as progress:
        result = training.run_with_reports(data, recorded.number, progress.report, n_threads=lambda: cores)
    value = training.value(result)
    verdict = "the same" if value == recorded.value else f"NOT the same{_version_note(recorded_versions(study))}"
    print(f"{recorded.name}: {percent(recorded.value)} recorded, {percent(value)} again: {verdict}")
    if value != recorded.value:
        return 1
    path = weights_path(recorded.weights, recorded.number)
    if not _has_weights(path, training.arch):
        RecordedTraining(recorded.weights).keep_weights(recorded.number, training.state(result))
        print(f"its weights are saved again: {path}")
    return 0


def _recorded_training(
    study: optuna.Study, location: StudyLocation, data_dir: str | None, number: int | None
) -> tuple[_Recorded, DataConfig]:
    """Return the training to repeat and the data of its study. Raises InputError if there is none."""
    trials = study.get_trials(deepcopy=False)
    if kind_of(location) == "baselines":
        data = locate_data(DataConfig(study.user_attrs[SETTINGS]["dataset"], ""), study, data_dir)
        return _baseline_training(location, read_results(trials), number), data
    config, records = config_of(study, data_dir), read_trials(trials)
    confirmed = _confirmed_training(location, records, config) if number is None else None
    return confirmed or _search_training(location, records, config, number), config.data


def _baseline_training(location: StudyLocation, results: Sequence[RepeatResult], number: int | None) -> _Recorded:
    """Return a training of a hand-designed network. Raises InputError if there is none of that number."""
    result = next((result for result in results if result.number == number), None)
    if result is None:
        numbers = ", ".join(str(result.number) for result in results) or "none yet"
        raise InputError(
            f"study {location.name} is of hand-designed networks: name a training with --trial ({numbers:.300})"
        )
    repeat = result.repeat
    training = Training(repeat.arch, repeat.recipe, repeat.seed, engine=result.engine)
    name = f"trial {result.number}, {repeat.network}, {repeat.recipe_name or repeat.purpose}"
    return _Recorded(name, training, repeat.select_on, result.value, location.folder / "repeats", result.number)


def _search_training(
    location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig, number: int | None
) -> _Recorded:
    """Return the training of a trial of the search; the best one if `number` is None. Raises InputError."""
    record = finished_trial(records, number)
    if record.arch is None or record.recipe is None or record.seed is None or record.value is None:
        raise InputError(f"trial {record.number} was recorded without network, recipe or seed; name another trial")
    training = Training(record.arch, record.recipe, record.seed, config.score, config.metric, record.engine or "auto")
    weights = location.folder / "weights"
    name = f"trial {record.number}"
    return _Recorded(name, training, config.data.select_on, record.value, weights, record.number)


def _confirmed_training(
    location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig
) -> _Recorded | None:
    """Return the training of the confirmed network, or None if the winner is not confirmed."""
    results, plan = repeats_of(location)
    confirmed = plan and confirmation(plan, records, results, config)
    if not confirmed:
        return None
    network, repeat = confirmed.network, confirmed.network.repeat
    training = Training(repeat.arch, repeat.recipe, repeat.seed, "last", config.metric, network.engine)
    name = f"trial {confirmed.trial} from seed {repeat.seed}"
    return _Recorded(name, training, repeat.select_on, network.value, location.folder / "repeats", network.number)


def _has_weights(path: Path, arch: ArchSpec) -> bool:
    try:
        read_weights(path, arch)
    except InputError:
        return False
    return True


def _version_note(versions: dict[str, str] | None) -> str:
    """Return a note if other versions, which may round differently, explain another value.

    versions: versions that the study recorded, or None.
    """
    if versions is None:
        return ", but the study does not record the versions that it was made with"
    return "" if versions == results_version() else ", but versions have changed since"
