"""Repeat one training of a study, alone and from its own seed: on the same machine it has the same value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.spec import ArchSpec
from search.config import SearchConfig
from search.data.load import load_dataset
from search.engine.process import prepare_process
from search.errors import InputError
from search.evidence.confirm import confirmation
from search.evidence.runner import repeats_of
from search.export.trained_model import read_weights
from search.study.load import check_data, config_of, existing
from search.study.location import StudyLocation
from search.study.results_version import recorded_versions, results_version
from search.study.training import RecordedTraining, Training, weights_path
from search.study.trials import TrialRecord, finished_trial, read_trials
from search.text import percent


@dataclass(frozen=True)
class _Recorded:
    """A training as it was recorded: its name, what was trained on which split, its value, and its weights' file."""

    name: str
    training: Training
    select_on: str
    value: float
    weights: Path
    number: int


def verify(location: StudyLocation, data_dir: str | None, number: int | None) -> int:
    """Train again, and compare; return 0 if the value is the recorded one, else 1.

    number: of a finished trial; None: of the network that is handed on, which is the best trial's or, once that is
    confirmed, one of its trainings from fresh seeds. Weights that are missing are kept again if the value is the same;
    nothing else is written.
    """
    study = existing(location)
    config = config_of(study, data_dir)
    records = read_trials(study.get_trials(deepcopy=False))
    recorded = (number is None and _confirmed(location, records, config)) or _searched(
        location, records, config, number
    )
    data = load_dataset(config.data)
    check_data(study, data)
    if recorded.select_on != config.data.select_on:
        data = load_dataset(replace(config.data, select_on=recorded.select_on))
    prepare_process()
    training = recorded.training
    result = training.run(data)
    value = training.value(result)
    verdict = "the same" if value == recorded.value else f"NOT the same{_excuse(recorded_versions(study))}"
    print(f"{recorded.name}: {percent(recorded.value)} recorded, {percent(value)} again: {verdict}")
    if value != recorded.value:
        return 1
    path = weights_path(recorded.weights, recorded.number)
    if not _is_there(path, training.arch):
        RecordedTraining(recorded.weights).keep_weights(recorded.number, training.state(result))
        print(f"its weights are there again: {path}")
    return 0


def _searched(
    location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig, number: int | None
) -> _Recorded:
    record = finished_trial(records, number)
    if record.arch is None or record.recipe is None or record.seed is None or record.value is None:
        raise InputError(f"trial {record.number} was recorded without network, recipe or seed; name another one")
    training = Training(record.arch, record.recipe, record.seed, config.score, config.metric, record.engine or "auto")
    weights = location.folder / "weights"
    name = f"trial {record.number}"
    return _Recorded(name, training, config.data.select_on, record.value, weights, record.number)


def _confirmed(location: StudyLocation, records: Sequence[TrialRecord], config: SearchConfig) -> _Recorded | None:
    results, plan = repeats_of(location)
    found = plan and confirmation(plan, records, results, config)
    if not found:
        return None
    network, repeat = found.network, found.network.repeat
    training = Training(repeat.arch, repeat.recipe, repeat.seed, "last", config.metric, network.engine)
    name = f"trial {found.trial} from seed {repeat.seed}"
    return _Recorded(name, training, repeat.select_on, network.value, location.folder / "repeats", network.number)


def _is_there(path: Path, arch: ArchSpec) -> bool:
    try:
        read_weights(path, arch)
    except InputError:
        return False
    return True


def _excuse(versions: dict[str, str] | None) -> str:
    """Say what else may be why: other kernels and packages round differently. versions: those of the study."""
    if versions is None:
        return ", but the study does not record the versions that it was made with"
    return "" if versions == results_version() else ", but versions have changed since"
