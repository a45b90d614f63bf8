from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import pytest
import torch

from models.baselines import BASELINES
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.spec import ArchSpec, Block, Head, Stage
from search.data.dataset import Dataset, Split
from search.export.standalone.docstring import model_docstring
from search.export.trained_model import ModelSource
from tests.search.made_up_networks import thrifty_spec

SPLIT = Split(torch.zeros(1, 1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64))
DATA = Dataset("noise", tuple("0123456789"), SPLIT, None, SPLIT, (0.1,), (0.3,), "0")
MODEL3 = BASELINES["s001_model3"].spec
# Long names and large figures in every column.
LARGE = ArchSpec(
    input_shape=(3, 224, 224),
    n_classes=1000,
    stages=(Stage((Block(1024, 7, "separable"), Block(1024, kind="residual", padding="same")), pool=2),),
    head=Head("gap_conv", hidden=(Block(4096, 1),)),
)
VAL = {"select_on": "val", "scored_on": "val"}
SPECS = {"large": LARGE, "thrifty": thrifty_spec()} | {name: baseline.spec for name, baseline in BASELINES.items()}


def source_of(spec: ArchSpec, **changes: Any) -> ModelSource:
    accuracies = (0.95, 0.975, 0.975, 0.96)
    curve = tuple({"epoch": i, "train_accuracy": 0.9, "accuracy": value} for i, value in enumerate(accuracies, 1))
    source = ModelSource("study", 7, spec, RecipeConfig(), {}, 3, "last", "test", "test", 0.96, curve, 8000, 15)
    return replace(source, **changes)


def text_of(source: ModelSource, data: Dataset = DATA) -> str:
    return str(ast.literal_eval(model_docstring(source, data)))


def words_of(source: ModelSource, data: Dataset = DATA) -> str:
    return " ".join(text_of(source, data).split())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "7,784 parameters; 96.00% on the test set after epoch 4, the last, seed 3. Selected on test: the search"),
        ({"score": "best", "accuracy": 0.975}, "97.50% on the test set after epoch 2 of 4, the best, seed 3."),
        (VAL, "96.00% on the validation images after epoch 4, the last, seed 3. Selected on val: the search"),
        ({}, "the search maximised accuracy on the test set."),
        (VAL, "the search maximised accuracy on the validation images."),
        (VAL, "and 96.00% of the validation images after it: a gap of -6.00 points."),
        # Retrained on all training images.
        ({"select_on": "val"}, "the search maximised accuracy on the validation images."),
        ({"select_on": "val"}, "96.00% on the test set after epoch 4, the last, seed 3. Selected on val: the search"),
        ({"select_on": "val"}, "trained again on all training images, and the test set read once, after the last"),
        ({"select_on": "val"}, "and 96.00% of the test set after it: a gap of -6.00 points."),
        ({"max_params": 1234}, "At most 1,234 parameters; training on noise for at most 15 epochs;"),
        ({"epochs": 1}, "for at most 1 epoch;"),
        ({}, "In the last epoch 90.00% of the training images were right"),
        ({}, "and 96.00% of the test set after it: a gap of -6.00 points."),
    ],
)
def test_target_and_result(changes: dict[str, Any], words: str) -> None:
    assert words in words_of(source_of(MODEL3, **changes))


@pytest.mark.parametrize(
    "words",
    [
        "An image classifier for noise with 7,784 parameters. Target",
        "One image takes 766,404 multiply-adds (MACs).",
        "The largest maps that exist at once take 34.7 KiB in float32, 8.7 KiB in int8.",
        "The receptive field (RF) is 34 pixels square before the head and 42 at the logits, of images of 28x28.",
        "stage1 15%, stage2 26%, stage3 56%, head 2%; the largest layer is stage3.block2 with 2,628.",
    ],
)
def test_what_the_network_costs(words: str) -> None:
    assert words in words_of(source_of(MODEL3))


def test_shared_weights_count_once() -> None:
    words = "Parameters by part (weights that layers share count once, in the first of them): stage1 97%, stage2 3%"
    assert words in words_of(source_of(thrifty_spec()))
    assert "share" not in words_of(source_of(MODEL3))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_layer_table_adds_up(spec: ArchSpec) -> None:
    cost = compute_cost(spec)
    table = text_of(source_of(spec)).rstrip().split("\n\n")[-1].splitlines()
    assert table[0].split() == ["layer", "kind", "output", "RF", "parameters", "MACs"]
    *rows, total = (line.split() for line in table[1:])
    assert [row[0] for row in rows] == [row.name for row in cost.layers]
    assert [row[-4] for row in rows] == [f"{row.channels}x{row.height}x{row.width}" for row in cost.layers]
    columns = list(zip(*([int(cell.replace(",", "")) for cell in row[-3:]] for row in rows), strict=True))
    assert list(columns[0]) == [row.receptive_field for row in cost.layers]
    assert (sum(columns[1]), sum(columns[2])) == (cost.n_params, cost.macs)
    assert total == ["total", f"{cost.n_params:,}", f"{cost.macs:,}"]
    assert len({len(line) for line in table}) == 1


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_lines_fit_a_page(spec: ArchSpec) -> None:
    lines = text_of(source_of(spec)).splitlines()
    assert max(map(len, lines)) <= 100
    assert [line for line in lines if line != line.rstrip()] == []


def test_name_of_the_data_cannot_break_out_of_the_text() -> None:
    name = r'folder:C:\new\"""{x}"'
    assert f"for {name} with" in text_of(source_of(MODEL3), replace(DATA, name=name))
