"""The hand-designed networks against their published figures (typed in here) and against the golden table."""

import json
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.baselines import BASELINES, MNIST_BASELINES, baselines_for
from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "baselines.json"
STEPS_PER_EPOCH = 469  # 60,000 images in batches of 128

# id, parameters, receptive field at the logits: counted by PyTorch and worked out by hand from the source code
PUBLISHED = [
    ("s000_net", 18662, 34),
    ("s001_model1", 13808, 32),
    ("s001_model2", 9382, 40),
    ("s001_model3", 7784, 42),
    ("s002_model1", 7108, 28),
    ("s002_model2", 6280, 28),
    ("s002_model3", 7416, 32),
    ("s003_iter1", 19146, 38),
    ("s003_iter2", 19402, 38),
    ("s003_iter3", 19402, 38),
    ("s003_iter4", 19402, 38),
    ("s004_net1", 10970, 28),
    ("s004_net2", 8024, 32),
    ("s004_net3", 7496, 28),
    # 78,186 trainable ones in the source, whose two 1x1 shortcuts have 32 and 64 biases.
    ("resnet8", 78186 - 96, 53),
]

# id, recipe, optimizer, lr (peak of a one-cycle), weight decay, label smoothing, epochs, schedule, rotation, shift
RECIPES = [
    ("s000_net", "exp1_sgd_onecycle", "sgd", 0.02, 1e-4, 0.05, 20, "onecycle", 7, 0.08),
    ("s000_net", "exp2_sgd_constant", "sgd", 0.006, 1e-4, 0.05, 20, "constant", 7, 0.08),
    ("s000_net", "exp3_adam_onecycle", "adam", 0.02, 1e-4, 0.05, 20, "onecycle", 7, 0.08),
    ("s000_net", "exp4_adamw_onecycle", "adamw", 0.02, 1e-4, 0.05, 20, "onecycle", 7, 0.08),
    ("s001_model1", "sgd_nesterov_onecycle", "sgd", 0.3, 0, 0.02, 15, "onecycle", 7, 0),
    ("s001_model2", "sgd_nesterov_onecycle", "sgd", 0.3, 0, 0.02, 15, "onecycle", 7, 0),
    ("s001_model3", "sgd_nesterov_onecycle", "sgd", 0.3, 0, 0.02, 15, "onecycle", 7, 0),
    ("s002_model1", "sgd_constant", "sgd", 0.01, 0, 0, 20, "constant", 0, 0),
    ("s002_model2", "sgd_constant", "sgd", 0.01, 0, 0, 15, "constant", 0, 0),
    ("s002_model3", "sgd_onecycle", "sgd", 0.05, 1e-4, 0, 15, "onecycle", 7, 0.1),
    ("s003_iter1", "adam_constant", "adam", 0.002, 0, 0, 19, "constant", 10, 0),
    ("s003_iter2", "adam_constant", "adam", 0.002, 0, 0, 19, "constant", 10, 0),
    ("s003_iter3", "adam_steplr10", "adam", 0.002, 0, 0, 19, "step", 10, 0),
    ("s003_iter4", "adam_steplr5_source", "adam", 0.002, 0, 0, 19, "step", 10, 0.1),
    ("s003_iter4", "adam_steplr5_document", "adam", 0.002, 0, 0, 19, "step", 10, 0),
    ("s004_net1", "sgd_constant", "sgd", 0.01, 0, 0, 15, "constant", 0, 0),
    ("s004_net2", "sgd_constant", "sgd", 0.01, 0, 0, 15, "constant", 5, 0),
    ("s004_net3", "sgd_constant", "sgd", 0.015, 0, 0, 15, "constant", 5, 0),
    ("resnet8", "adam_decay", "adam", 0.001, 2e-4, 0, 500, "step", 15, 0.1),
]

# id, setting of all its recipes, value: what the table above leaves out
SETTINGS = [
    ("s000_net", "augmentation.erase_p", 0.05),
    ("s000_net", "augmentation.erase_area", (0.02, 0.05)),
    ("s000_net", "augmentation.erase_ratio", (0.3, 3.3)),
    ("s001_model3", "nesterov", True),
    ("s001_model3", "momentum", 0.9),
    ("s002_model1", "nesterov", False),
    ("s002_model1", "momentum", 0.9),
    ("s002_model3", "schedule.epochs", 20),
    ("s002_model3", "augmentation.fill", 1 / 255),
    ("s003_iter1", "augmentation.crop_p", 0.1),
    ("s003_iter4", "augmentation.crop_side", 22),
    ("s003_iter4", "schedule.step_size", 5),
    ("s004_net2", "augmentation.brightness", 0.4),
    ("s004_net3", "augmentation.contrast", 0.4),
    ("resnet8", "batch_size", 32),
    ("resnet8", "schedule.gamma", 0.99),
    ("resnet8", "augmentation.interpolation", "bilinear"),
    ("resnet8", "augmentation.mirror_p", 0.5),
]

# s001_model3, as its README.md prints them: the learning rate at the end of each epoch
PUBLISHED_LRS = [
    *(0.0976, 0.2327, 0.3, 0.2949, 0.2799, 0.2561, 0.225, 0.1889),
    *(0.1501, 0.1113, 0.0752, 0.0441, 0.0203, 0.0054, 0.0003),
]


# --- networks -------------------------------------------------------------------------------------------------------


def test_ids_and_their_order() -> None:
    assert list(BASELINES) == [row[0] for row in PUBLISHED]
    assert all(key == baseline.id for key, baseline in BASELINES.items())


@pytest.mark.parametrize(("id_", "n_params", "receptive_field"), PUBLISHED)
def test_published_counts(id_: str, n_params: int, receptive_field: int) -> None:
    cost, model = compute_cost(BASELINES[id_].spec), build_model(BASELINES[id_].spec)
    assert cost.n_params == n_params
    assert cost.receptive_field == receptive_field
    assert sum(parameter.numel() for parameter in model.parameters()) == n_params
    assert model(torch.zeros(2, *BASELINES[id_].spec.input_shape)).shape == (2, 10)


def test_networks_belong_to_their_images() -> None:
    assert baselines_for((1, 28, 28), 10) == MNIST_BASELINES
    assert list(baselines_for((3, 32, 32), 10)) == ["resnet8"]
    assert baselines_for((3, 32, 32), 100) == baselines_for((1, 32, 32), 10) == {}


@pytest.mark.parametrize("id_", BASELINES)
def test_golden(id_: str, golden: dict[str, Any]) -> None:
    assert golden_entry(id_) == golden[id_]


@pytest.fixture(scope="module")
def golden(update_golden: bool) -> dict[str, Any]:
    """The golden table, rewritten first if asked for."""
    if update_golden:
        entries = {id_: golden_entry(id_) for id_ in BASELINES}
        GOLDEN.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    table: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert list(table) == list(BASELINES)
    return table


def golden_entry(id_: str) -> dict[str, Any]:
    """What the golden table keeps of one network: its totals, a line a layer, and a line of modules a stage."""
    spec = BASELINES[id_].spec
    cost = compute_cost(spec)
    return {
        "n_params": cost.n_params,
        "macs": cost.macs,
        "receptive_field": cost.receptive_field,
        "feature_receptive_field": cost.feature_receptive_field,
        "peak_activation_bytes": cost.peak_activation_bytes,
        "layers": [
            f"{row.name}: {row.kind} -> {row.channels}x{row.height}x{row.width}, {row.n_params} parameters, "
            f"rf {row.receptive_field}"
            for row in cost.layers
        ],
        "modules": {
            name: " ".join(map(module_name, part.children())) for name, part in build_model(spec).named_children()
        },
    }


def module_name(module: nn.Module) -> str:
    """The class, with what the layer table does not show: whether there is a bias, how much is padded or dropped."""
    name = type(module).__name__
    match module:
        case nn.Conv2d() | nn.Linear():
            details = ["bias"] if module.bias is not None else []
            padding = getattr(module, "padding", (0, 0))
            details += [f"padding={padding[0]}"] if any(padding) else []
        case nn.Dropout():
            details = [str(module.p)]
        case _:
            details = []
    return f"{name}({','.join(details)})" if details else name


# --- recipes and results --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", RECIPES, ids=lambda row: f"{row[0]}-{row[1]}")
def test_published_recipes(row: tuple[Any, ...]) -> None:
    recipe = BASELINES[row[0]].recipes[row[1]]
    assert row[2:] == (
        recipe.optimizer,
        recipe.lr,
        recipe.weight_decay,
        recipe.label_smoothing,
        recipe.epochs,
        recipe.schedule.kind,
        recipe.augmentation.rotation,
        recipe.augmentation.shift,
    )
    if row[0] in MNIST_BASELINES:
        assert recipe.batch_size == 128
        assert recipe.augmentation.interpolation == "nearest" or not recipe.augmentation.rotation
    assert RecipeConfig.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(("id_", "setting", "value"), SETTINGS)
def test_published_settings(id_: str, setting: str, value: object) -> None:
    assert {attrgetter(setting)(recipe) for recipe in BASELINES[id_].recipes.values()} == {value}


def test_every_recipe_stands_in_the_table() -> None:
    assert [(id_, key) for id_, baseline in BASELINES.items() for key in baseline.recipes] == [r[:2] for r in RECIPES]


def test_one_cycle_gives_the_published_learning_rates() -> None:
    (recipe,) = BASELINES["s001_model3"].recipes.values()
    assert [round(lr, 4) for lr in end_of_epoch_lrs(recipe)] == PUBLISHED_LRS


def test_a_run_that_stops_early_keeps_the_longer_schedule() -> None:
    (recipe,) = BASELINES["s002_model3"].recipes.values()
    # 15 of 20 epochs: 0.45 of the way down, of 0.7, from the peak of 0.05; 0.025 * (1 + cos(pi * 0.45 / 0.7)) = 0.0142
    assert end_of_epoch_lrs(recipe)[-1] == pytest.approx(0.0142, abs=1e-4)


def end_of_epoch_lrs(recipe: RecipeConfig) -> list[float]:
    """The learning rate of torch's OneCycleLR after the last step of each epoch."""
    schedule = recipe.schedule
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=recipe.lr, momentum=recipe.momentum)
    one_cycle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.lr,
        total_steps=(schedule.epochs or recipe.epochs) * STEPS_PER_EPOCH,
        pct_start=schedule.pct_start,
        anneal_strategy="cos" if schedule.anneal == "cos" else "linear",
        div_factor=schedule.div_factor,
        final_div_factor=schedule.final_div_factor,
    )
    lrs = []
    for _ in range(recipe.epochs):
        for _ in range(STEPS_PER_EPOCH):
            optimizer.step()
            one_cycle.step()
        lrs.append(float(one_cycle.get_last_lr()[0]))
    return lrs


@pytest.mark.parametrize("id_", MNIST_BASELINES)
def test_stated_results_are_fractions_of_known_recipes(id_: str) -> None:
    baseline = BASELINES[id_]
    assert baseline.stated.keys() == baseline.recipes.keys()
    for result in baseline.stated.values():
        accuracies = [*result.last_accuracies, *([result.best_accuracy] if result.best_accuracy else [])]
        assert accuracies
        assert all(0.98 < accuracy < 1 for accuracy in accuracies)
        assert result.best_accuracy is None or max(accuracies) == result.best_accuracy
        assert result.last_accuracy == (result.last_accuracies[-1] if result.last_accuracies else None)
        assert all(1 <= epoch <= result.epochs for epoch in result.best_epochs)
        assert result.origin in ("document", "log")


def test_baselines_are_read_only() -> None:
    with pytest.raises(TypeError):
        BASELINES["s000_net"].recipes["mine"] = RecipeConfig()  # type: ignore[index]
