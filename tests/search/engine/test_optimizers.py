"""The optimizers are PyTorch's, to the last bit; the learning rates those of a published run, to the last digit."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.baselines import BASELINES
from models.recipe import RecipeConfig
from search.engine.optimizers import ScheduledSettings, make_optimizer, make_schedules

# Per-epoch table of model 3 in SXD390/ERA-V4-Session_6_MNIST_SUB_8K_Params@a1264c7, README.md: the learning rate when
# each epoch's last batch is through.
STATED = (
    0.0976,
    0.2327,
    0.3,
    0.2949,
    0.2799,
    0.2561,
    0.225,
    0.1889,
    0.1501,
    0.1113,
    0.0752,
    0.0441,
    0.0203,
    0.0054,
    0.0003,
)
IMAGES, BATCH = 60_000, 128


def test_one_cycle_repeats_the_published_learning_rates() -> None:
    recipe = BASELINES["s001_model3"].recipes["sgd_nesterov_onecycle"]
    assert (recipe.epochs, recipe.batch_size) == (len(STATED), BATCH)
    optimizer = make_optimizer(torch.nn.Linear(1, 1), recipe)
    steps_per_epoch = -(-IMAGES // BATCH)
    schedule, each_epoch = make_schedules(optimizer, recipe, steps_per_epoch)
    assert schedule is not None
    assert each_epoch is None
    found = []
    for step in range(1, recipe.epochs * steps_per_epoch + 1):
        optimizer.step()
        schedule.step()
        if step % steps_per_epoch == 0:
            found.append(round(float(optimizer.param_groups[0]["lr"]), 4))
    assert tuple(found) == STATED


@pytest.mark.parametrize(("n_steps", "last_share"), [(1, 0.69), (2, 0.37), (3, 0.22), (9, 0.039), (10, 0.001)])
def test_every_step_of_a_short_cycle_learns(n_steps: int, last_share: float) -> None:
    recipe = RecipeConfig(epochs=n_steps, lr=0.5)
    settings = ScheduledSettings(recipe)
    schedule, _ = make_schedules(settings, recipe, steps_per_epoch=1)
    assert schedule is not None
    lrs = []
    for _ in range(n_steps):
        lrs.append(settings.current[0])
        settings.step()
        schedule.step()
    assert lrs[-1] == pytest.approx(0.5 * last_share, rel=0.1)
    assert max(lrs) > 0.5 * 0.6


PYTORCHS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@pytest.mark.parametrize("name", PYTORCHS)
def test_steps_are_pytorchs_to_the_last_bit(name: str) -> None:
    recipe = replace(RecipeConfig(), optimizer=name, lr=0.05, momentum=0.8, nesterov=name == "sgd", weight_decay=0.1)
    ours, theirs = _network(), _network()
    betas = {"momentum": 0.8, "nesterov": True} if name == "sgd" else {"betas": (0.8, 0.999)}
    optimizers = (
        make_optimizer(ours, recipe),
        PYTORCHS[name](theirs.parameters(), lr=0.05, weight_decay=0.1, fused=True, **betas),
    )
    for step in range(4):
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            _loss(model, step).backward()
            optimizer.step()
        assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    assert not torch.equal(ours.weight, _network().weight)


def _network() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(5, 3)


def _loss(model: nn.Module, step: int) -> Tensor:
    images = torch.randn(7, 5, generator=torch.Generator().manual_seed(step))
    loss: Tensor = model(images).square().mean()
    return loss
