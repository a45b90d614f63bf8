"""A tiny network trained on the embedded digits, as it is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from models.build import build_model
from models.recipe import RecipeConfig
from models.spec import ArchSpec, Block, Head, Stage
from search.data.dataset import Dataset
from search.engine.train import TrainResult, train
from search.evidence.confirm import Confirmation, Contender
from search.evidence.repeats import REPORT, Repeat, RepeatResult
from search.evidence.statistics import estimate
from search.export.export import ModelSource

SPEC = ArchSpec(
    input_shape=(1, 28, 28),
    n_classes=10,
    stages=(Stage((Block(4),), pool=3), Stage((Block(6, kind="residual", padding="same", dropout=0.1),), pool=2)),
    head=Head("gap_linear", bias=True),
)
RECIPE = RecipeConfig(epochs=3, batch_size=64, lr=0.3, ema_decay=0.9)
FILES = {"README.md", "card.json", "misread.png", "model.py", "weights.pt"}

NETWORK = RepeatResult(
    number=3,
    repeat=Repeat(REPORT, 12, 77, "test", SPEC, RECIPE),
    value=0.85,
    misread=(4, 9),
    curve=({"epoch": 3, "train_accuracy": 0.9, "accuracy": 0.85},),
    seconds=1.0,
    precision="float32",
)
CONFIRMED = Confirmation(12, (Contender(12, 0.9, 0.88, None),), estimate([0.84, 0.85, 0.86]), NETWORK, None)


def train_network(data: Dataset, epochs: int = 3) -> TrainResult:
    torch.manual_seed(1)
    return train(build_model(SPEC), data, replace(RECIPE, epochs=epochs), seed=1, keep_best=True)


def source_of(result: TrainResult, score: str = "last", select_on: str = "test") -> ModelSource:
    accuracies = [metrics.accuracy for metrics in result.curve]
    return ModelSource(
        study="tiny",
        trial=12,
        arch=SPEC,
        recipe=RECIPE,
        state=result.best_state if score == "best" else result.last_state,
        seed=1,
        score=score,
        scored_on=select_on,
        select_on=select_on,
        accuracy={"last": accuracies[-1], "best": max(accuracies), "last3": sum(accuracies[-3:]) / 3}[score],
        curve=tuple(metrics.to_dict() for metrics in result.curve),
        max_params=8000,
        epochs=3,
        precision="float32",
        confirmation=CONFIRMED,
    )


def contents(folder: Path) -> dict[str, bytes | None]:
    paths = list(folder.rglob("*"))
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in paths}
