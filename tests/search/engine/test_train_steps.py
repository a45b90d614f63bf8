"""The steps of a training: what the optimizer is set to, and which images are in a batch."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook

from models.recipe import RecipeConfig, Schedule
from search.data.dataset import Dataset, Split
from search.engine.train import train
from tests.search.made_up_trainings import ADAM, RECIPE, SOAP, STEPS_PER_EPOCH, made_up_data, network

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return made_up_data()


# --- optimizer and schedule -----------------------------------------------------------------------------------------


@dataclass
class Step:
    """What the optimizer was set to for one step."""

    lr: float
    momentum: float


@pytest.fixture
def steps() -> Iterator[list[Step]]:
    """Every step that any optimizer takes during the test."""
    seen: list[Step] = []

    def note(optimizer: Optimizer, *_: object) -> None:
        (group,) = optimizer.param_groups
        seen.append(Step(float(group["lr"]), group["momentum"] if "momentum" in group else group["betas"][0]))

    handle = register_optimizer_step_pre_hook(note)
    yield seen
    handle.remove()


ONE_CYCLE = Schedule("onecycle", pct_start=0.25, anneal="linear", div_factor=10.0, final_div_factor=100.0)


@pytest.mark.parametrize(
    ("schedule", "lrs"),
    [
        (Schedule("constant"), [0.1, 0.1, 0.1, 0.1, 0.1]),
        (Schedule("step", step_size=2, gamma=0.5), [0.1, 0.1, 0.05, 0.05, 0.025]),
        (Schedule("step", step_size=1, gamma=0.1), [0.1, 0.01, 0.001, 1e-4, 1e-5]),
        # 40 steps: from 0.01 up to 0.1 in steps 0 to 9, down to 0.0001 in steps 9 to 39; an epoch has eight.
        # 0.01 + 0.09 * 8 / 9 = 0.09, then 0.1 - 0.0999 * (step - 9) / 30
        (ONE_CYCLE, [0.01, 0.09, 0.07669, 0.05005, 0.02341]),
        # 0.01 + 0.045 * (1 - cos(pi * 8 / 9)), then 0.0001 + 0.04995 * (1 + cos(pi * (step - 9) / 30))
        (replace(ONE_CYCLE, anneal="cos"), [0.01, 0.097286, 0.087170, 0.050050, 0.012930]),
        # Laid out for 80 steps, of which 40 are run: up in steps 0 to 19, down in steps 19 to 79.
        # 0.01 + 0.09 * step / 19, then 0.1 - 0.0999 * (step - 19) / 60
        (replace(ONE_CYCLE, epochs=10), [0.01, 0.047895, 0.085789, 0.091675, 0.078355]),
    ],
)
def test_learning_rates_follow_the_schedule(
    data: Dataset, steps: list[Step], schedule: Schedule, lrs: list[float]
) -> None:
    curve = train(network(), data, replace(RECIPE, epochs=5, schedule=schedule)).curve
    assert [metrics.lr for metrics in curve] == pytest.approx(lrs, rel=1e-4)
    assert len(steps) == 5 * STEPS_PER_EPOCH
    assert [step.lr for step in steps[::STEPS_PER_EPOCH]] == [metrics.lr for metrics in curve]


@pytest.mark.parametrize("changes", [{"epochs": 5, "batch_size": 256}, {"epochs": 1, "batch_size": 64}], ids=str)
def test_one_cycle_over_a_handful_of_steps(data: Dataset, steps: list[Step], changes: dict[str, Any]) -> None:
    # A fifth of five steps is one: the peak comes at the first or the second of them.
    train(network(), data, replace(RECIPE, schedule=Schedule("onecycle"), **changes))
    assert max(step.lr for step in steps[:2]) == pytest.approx(0.1, rel=0.25)
    assert steps[-1].lr < 0.02


@pytest.mark.parametrize("base", [RECIPE, ADAM, SOAP], ids=lambda recipe: recipe.optimizer)
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_one_cycle_moves_the_momentum_whatever_was_given(
    data: Dataset, steps: list[Step], base: RecipeConfig, momentum: float
) -> None:
    schedule = replace(ONE_CYCLE, base_momentum=0.8, max_momentum=0.95)
    train(network(), data, replace(base, momentum=momentum, epochs=5, schedule=schedule))
    momenta = [step.momentum for step in steps]
    assert momenta[0] == pytest.approx(0.95)
    assert momenta[9] == min(momenta) == pytest.approx(0.8)
    assert momenta[-1] == pytest.approx(0.95)


@pytest.mark.parametrize("base", [RECIPE, ADAM, SOAP], ids=lambda recipe: recipe.optimizer)
@pytest.mark.parametrize("schedule", [Schedule("constant"), replace(ONE_CYCLE, cycle_momentum=False)])
def test_otherwise_the_momentum_stays_as_given(
    data: Dataset, steps: list[Step], base: RecipeConfig, schedule: Schedule
) -> None:
    train(network(), data, replace(base, momentum=0.7, schedule=schedule))
    assert {step.momentum for step in steps} == {0.7}


# --- batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_images", "n_steps"), [(64, 2), (65, 2), (66, 3), (95, 3), (2, 1)])
def test_a_last_batch_of_one_image_is_left_out(steps: list[Step], n_images: int, n_steps: int) -> None:
    train(network(), made_up_data(n_images, n_test=10), replace(RECIPE, epochs=1))
    assert len(steps) == n_steps


@pytest.mark.parametrize("n_images", [32, 33, 34])
def test_training_figures_are_means_over_the_images_trained_on(n_images: int) -> None:
    data = made_up_data(n_images, n_test=10)
    data = replace(data, train=Split(data.train.images, torch.zeros_like(data.train.labels)))
    model = network()
    with torch.no_grad():
        for parameter in model[-1].parameters():
            parameter.zero_()
    # All logits are 0 before the only step or two, and the learning rate is next to nothing: loss ln 3, all right.
    (metrics,) = train(model, data, replace(RECIPE, epochs=1, lr=1e-8)).curve
    assert metrics.train_loss == pytest.approx(1.0986, abs=1e-4)
    assert metrics.train_accuracy == 1.0
