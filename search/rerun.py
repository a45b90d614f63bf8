"""One finished trial trained again, alone and from its own seed: on the same machine it has the same value."""

from __future__ import annotations

import torch

from models.build import build_model
from search.code_version import CODE, code_version
from search.commands import check_data, config_of, existing
from search.config import InputError
from search.data import load_dataset
from search.describe import percent
from search.place import Place
from search.scores import EpochMetrics, score
from search.train import train, training_device
from search.trials import finished_trial, read_trials


def rerun(place: Place, data_dir: str | None, number: int | None) -> int:
    """Train the trial, None: the best one, and compare; 0 if the value is the recorded one, else 1. Writes nothing."""
    study = existing(place)
    config = config_of(study, data_dir)
    record = finished_trial(read_trials(study.get_trials(deepcopy=False)), number)
    if record.arch is None or record.recipe is None or record.seed is None:
        raise InputError(f"trial {record.number} was recorded without network, recipe or seed; name another one")
    data = load_dataset(config.data)
    check_data(study, data)
    torch.set_num_threads(1)  # as in a search
    torch.manual_seed(record.seed)
    model = build_model(record.arch).to(training_device())
    curve: list[EpochMetrics] = []
    keep_best = config.score == "best"
    train(
        model,
        data,
        record.recipe,
        lambda _epoch, metrics: curve.append(metrics),
        seed=record.seed,
        engine=record.engine or "auto",
        keep_best=keep_best,
        metric=config.metric,
    )
    value = score(curve, config.score, config.metric)
    verdict = "the same" if value == record.value else f"NOT the same{_excuse(study.user_attrs.get(CODE))}"
    print(f"trial {record.number}: {percent(record.value)} recorded, {percent(value)} again: {verdict}")
    return 0 if value == record.value else 1


def _excuse(code: object) -> str:
    """What else than a fault may be why: other kernels or packages round in another way. code: the study's."""
    if code is None:
        return ", but the study does not say with what code it was made"
    return "" if code == code_version() else ", but the code or its packages have changed since"
