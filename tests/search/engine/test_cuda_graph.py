"""What a CUDA graph needs, as far as a processor can show it: the same steps as without one.

Recording itself needs a card: the last test trains on one where there is one.
"""

from dataclasses import replace

import pytest
import torch
from torch import nn

from models.recipe import Augmentation, RecipeConfig, Schedule
from search.engine import cuda_graph
from search.engine.cuda_graph import CudaGraphSGD
from search.engine.optimizers import MovingAverage, make_optimizer, make_schedules
from search.engine.train import train
from tests.search.made_up_trainings import made_up_data, network


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
@pytest.mark.parametrize("schedule", [Schedule("constant"), Schedule("onecycle"), Schedule("step", gamma=0.5)])
def test_sgd_for_graphs_takes_pytorchs_steps(schedule: Schedule, weight_decay: float, nesterov: bool) -> None:
    recipe = RecipeConfig(
        epochs=2, lr=0.1, momentum=0.8, nesterov=nesterov, weight_decay=weight_decay, schedule=schedule
    )
    finals = []
    for with_cuda_graph in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = make_optimizer(model, recipe, cuda_graph=with_cuda_graph)
        per_step, per_epoch = make_schedules(optimizer, recipe, steps_per_epoch=5)
        for step in range(10):
            if isinstance(optimizer, CudaGraphSGD):
                optimizer.refresh()
            optimizer.zero_grad()
            model(torch.tensor([[1.0, -2.0, 0.5 * step]])).square().sum().backward()
            optimizer.step()
            if per_step:
                per_step.step()
            if per_epoch and step == 4:
                per_epoch.step()
        finals.append([parameter.detach() for parameter in model.parameters()])
    for plain, own in zip(*finals, strict=True):
        torch.testing.assert_close(own, plain)


def test_average_for_graphs_is_the_same_average() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    averages = [MovingAverage(model, 0.9, cuda_graph=with_cuda_graph) for with_cuda_graph in (False, True)]
    for _ in range(20):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(4, 1, 5, 5))
        for average in averages:
            average.advance()
            average.update()
    plain, own = (average.model.state_dict() for average in averages)
    assert not torch.allclose(plain["0.weight"], model[0].weight)
    for name in plain:
        torch.testing.assert_close(own[name], plain[name])


def test_sgd_for_graphs_says_what_it_needs() -> None:
    model = nn.Linear(2, 2)
    optimizer = CudaGraphSGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)
    with pytest.raises(RuntimeError, match="a gradient for every parameter"):
        optimizer.step()
    with pytest.raises(ValueError, match="no closure"):
        optimizer.step(lambda: 0.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_recorded_training_learns_like_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RecipeConfig(
        epochs=4, batch_size=32, lr=0.1, ema_decay=0.5, augmentation=Augmentation(rotation=5.0, erase_p=0.1)
    )
    same = replace(recipe, augmentation=Augmentation(), ema_decay=0.0)
    data = made_up_data(n_train=250)
    recorded, repeatable = train(network(dropout=0.1).cuda(), data, recipe), train(network().cuda(), data, same)
    monkeypatch.setattr(cuda_graph, "WARM_UP_STEPS", 10**9)  # from here on nothing is recorded
    plain, expected = train(network(dropout=0.1).cuda(), data, recipe), train(network().cuda(), data, same)
    assert recorded.curve[-1].accuracy > 0.9
    assert plain.curve[-1].accuracy > 0.9
    for name, tensor in repeatable.last_state.items():
        torch.testing.assert_close(tensor, expected.last_state[name], rtol=1e-3, atol=1e-4)
