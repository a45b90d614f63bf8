"""One training of a study again, alone and from its own seed: on the same machine it comes to the same value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.build import build_model
from models.recipe import RecipeConfig
from models.spec import ArchSpec
from search.config import SearchConfig
from search.data.load import load_dataset
from search.engine.metrics import EpochMetrics, score
from search.engine.train import train, training_device
from search.errors import InputError
from search.evidence.confirm import confirmation
from search.evidence.runner import repeats_of
from search.export.trained_model import read_weights
from search.study.load import check_data, config_of, existing
from search.study.location import Place
from search.study.results_version import recorded_versions, results_version
from search.study.training import RecordedTraining, weights_path
from search.study.trials import TrialRecord, finished_trial, read_trials
from search.text import percent


@dataclass(frozen=True)
class _Training:
    """As it was done, and what it came to. number: of the file with its weights, in the folder `weights`."""

    name: str
    arch: ArchSpec
    recipe: RecipeConfig
    seed: int
    engine: str
    select_on: str
    score: str
    value: float
    weights: Path
    number: int


def verify(place: Place, data_dir: str | None, number: int | None) -> int:
    """Train again, and compare; 0 if the value is the recorded one, else 1.

    number: of a finished trial; None: of the network that is handed on, which is the best trial's or, once that is
    confirmed, one of its trainings from fresh seeds. Weights that are not there any more are kept again if the value is
    the same; nothing else is written.
    """
    study = existing(place)
    config = config_of(study, data_dir)
    records = read_trials(study.get_trials(deepcopy=False))
    again = (number is None and _confirmed(place, records, config)) or _searched(place, records, config, number)
    data = load_dataset(config.data)
    check_data(study, data)
    if again.select_on != config.data.select_on:
        data = load_dataset(replace(config.data, select_on=again.select_on))
    torch.set_num_threads(1)  # as in a search
    torch.manual_seed(again.seed)
    model = build_model(again.arch).to(training_device())
    curve: list[EpochMetrics] = []
    is_best = again.score == "best"
    result = train(
        model,
        data,
        again.recipe,
        lambda _epoch, metrics: curve.append(metrics),
        seed=again.seed,
        engine=again.engine,
        keep_best=is_best,
        metric=config.metric,
    )
    value = score(curve, again.score, config.metric)
    verdict = "the same" if value == again.value else f"NOT the same{_excuse(recorded_versions(study))}"
    print(f"{again.name}: {percent(again.value)} recorded, {percent(value)} again: {verdict}")
    if value != again.value:
        return 1
    path = weights_path(again.weights, again.number)
    if not _is_there(path, again.arch):
        RecordedTraining(again.weights).keep_weights(again.number, result.best_state if is_best else result.last_state)
        print(f"its weights are there again: {path}")
    return 0


def _searched(place: Place, records: Sequence[TrialRecord], config: SearchConfig, number: int | None) -> _Training:
    record = finished_trial(records, number)
    if record.arch is None or record.recipe is None or record.seed is None or record.value is None:
        raise InputError(f"trial {record.number} was recorded without network, recipe or seed; name another one")
    return _Training(
        name=f"trial {record.number}",
        arch=record.arch,
        recipe=record.recipe,
        seed=record.seed,
        engine=record.engine or "auto",
        select_on=config.data.select_on,
        score=config.score,
        value=record.value,
        weights=place.folder / "weights",
        number=record.number,
    )


def _confirmed(place: Place, records: Sequence[TrialRecord], config: SearchConfig) -> _Training | None:
    results, plan = repeats_of(place)
    found = plan and confirmation(plan, records, results, config)
    if not found:
        return None
    repeat = found.network.repeat
    return _Training(
        name=f"trial {found.trial} from seed {repeat.seed}",
        arch=repeat.arch,
        recipe=repeat.recipe,
        seed=repeat.seed,
        engine="auto",
        select_on=repeat.select_on,
        score="last",
        value=found.network.value,
        weights=place.folder / "repeats",
        number=found.network.number,
    )


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
