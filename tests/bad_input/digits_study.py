"""A study of the embedded digits to give commands of, and such commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch

from models.build import build_model
from models.spec import ArchSpec
from search.config import DataConfig
from tests.bad_input.refusals import RUN
from tests.search.made_up_studies import made_up_study
from tests.search.made_up_trials import CONFIG, EVERY_OUTCOME

DIGITS = replace(CONFIG, data=DataConfig("digits", "data"), epochs=1)
WEIGHTS, CARD = "studies/mine/weights/trial-00008.pt", "studies/mine/winner/card.json"
SEARCH = [*RUN, "--study", "mine"]
EXPORT = ["export", "mine", "--trial", "8", "--out", "new"]


def close(study: optuna.Study) -> None:
    """Writes what is still in the write-ahead log, so that the file can be copied."""
    study._storage._backend.engine.dispose()


def arch_of(number: int) -> ArchSpec:
    found = next(record for record in EVERY_OUTCOME if record.number == number).arch
    assert found is not None
    return found


def make_study(folder: Path, settings: dict[str, Any]) -> None:
    """The study `mine` in `folder`/studies, with the weights of one trial."""
    close(made_up_study(EVERY_OUTCOME, folder / "studies", "mine", settings))
    (folder / WEIGHTS).parent.mkdir(parents=True)
    torch.save(build_model(arch_of(8)).state_dict(), folder / WEIGHTS)
