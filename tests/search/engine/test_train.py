"""The training engine: that it learns, alike on both engines, and that it repeats itself."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.build import build_model
from models.recipe import OPTIMIZERS, SCHEDULES, Augmentation, RecipeConfig, Schedule
from search.data.dataset import Dataset, Split
from search.engine import train as train_module
from search.engine.native import kernels
from search.engine.train import EpochMetrics, TrainResult, evaluate, predict, train
from search.errors import InputError
from tests.search.made_up_networks import thrifty_spec
from tests.search.made_up_trainings import (
    ADAM,
    RECIPE,
    SOAP,
    equal,
    holding,
    made_up_data,
    network,
    timeless,
)

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[3]
NEEDS_KERNELS = pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return made_up_data()


# --- it learns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_learns_with_every_optimizer_and_schedule(data: Dataset, optimizer: str, schedule: str) -> None:
    lr = {"sgd": 0.1, "soap": 0.01}.get(optimizer, 0.03)
    result = train(network(), data, replace(RECIPE, optimizer=optimizer, lr=lr, schedule=Schedule(schedule)))
    assert [metrics.epoch for metrics in result.curve] == [1, 2, 3, 4]
    assert result.curve[-1].accuracy > 0.9
    assert result.curve[-1].train_accuracy > 0.9
    assert result.curve[-1].train_loss < 0.5 * result.curve[0].train_loss


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (RECIPE, {"epochs": 2}),
        (RECIPE, {"batch_size": 16}),
        (RECIPE, {"optimizer": "adam"}),
        (RECIPE, {"lr": 0.05}),
        (RECIPE, {"momentum": 0.5}),
        (RECIPE, {"nesterov": True}),
        (RECIPE, {"weight_decay": 0.1}),
        (RECIPE, {"label_smoothing": 0.1}),
        (RECIPE, {"ema_decay": 0.5}),
        (RECIPE, {"schedule": Schedule("onecycle")}),
        (RECIPE, {"augmentation": Augmentation(rotation=10.0)}),
        (RECIPE, {"augmentation": Augmentation(erase_p=1.0)}),
        (ADAM, {"momentum": 0.5}),
        (ADAM, {"weight_decay": 0.1}),
        (replace(ADAM, weight_decay=0.1), {"optimizer": "adamw"}),
        (ADAM, {"optimizer": "soap"}),
        (SOAP, {"momentum": 0.5}),
        (SOAP, {"weight_decay": 0.1}),
    ],
    ids=lambda value: "" if isinstance(value, RecipeConfig) else repr(value)[:50],
)
def test_every_setting_of_a_recipe_has_an_effect(data: Dataset, base: RecipeConfig, changes: dict[str, Any]) -> None:
    before, after = train(network(), data, base), train(network(), data, replace(base, **changes))
    assert not equal(before.last_state, after.last_state)


def thrifty_network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(thrifty_spec((1, 8, 8), 3))


ROTATION = Augmentation(rotation=10.0)
EVERYTHING = Augmentation(
    **{"rotation": 10.0, "shift": 0.1, "scale": 0.1, "shear": 5.0, "fill": 0.3, "crop_p": 0.5, "crop_side": 6},
    **{"mirror_p": 0.5, "brightness": 0.3, "contrast": 0.3, "erase_p": 0.5, "erase_area": (0.02, 0.3)},
)
SAME = {
    "plain": RECIPE,
    "momentum": replace(RECIPE, momentum=0.5, weight_decay=0.01),
    "no momentum": replace(RECIPE, momentum=0.0),
    "nesterov": replace(RECIPE, nesterov=True, weight_decay=0.01, schedule=Schedule("onecycle")),
    "label smoothing": replace(RECIPE, label_smoothing=0.1),
    "average": replace(RECIPE, ema_decay=0.5, augmentation=ROTATION),
    "everything drawn": replace(RECIPE, augmentation=EVERYTHING),
    "adam": replace(ADAM, weight_decay=0.01),
    "adamw": replace(ADAM, optimizer="adamw", weight_decay=0.1, ema_decay=0.5, schedule=Schedule("onecycle")),
    "a last batch of few": replace(RECIPE, batch_size=60),
    "large batches": replace(RECIPE, batch_size=200, lr=0.05),
}


@NEEDS_KERNELS
@pytest.mark.parametrize("make", [network, thrifty_network])
@pytest.mark.parametrize("recipe", SAME.values(), ids=SAME)
def test_both_engines_do_the_same_training(data: Dataset, recipe: RecipeConfig, make: Callable[..., nn.Module]) -> None:
    recipe = replace(recipe, epochs=2)
    native, torch_ = (train(make(), data, recipe, seed=1, engine=engine) for engine in ("native", "torch"))
    assert (native.engine, torch_.engine) == ("native", "torch")
    for name, tensor in native.last_state.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, torch_.last_state[name], rtol=1e-2, atol=1e-3)
    for own, reference in zip(native.curve, torch_.curve, strict=True):
        assert own.train_loss == pytest.approx(reference.train_loss, rel=1e-3)
        assert own.accuracy == pytest.approx(reference.accuracy, abs=0.02)
    # What the last epoch is said to have scored, the weights score on PyTorch, to the last image.
    assert evaluate(holding(native.last_state, make), data.scored, data) == native.curve[-1].accuracy


@NEEDS_KERNELS
@pytest.mark.parametrize("optimizer", ["sgd", "soap"])
def test_the_number_of_threads_does_not_change_a_native_training(optimizer: str) -> None:
    # Batches of several blocks of images.
    recipe = replace(RECIPE, epochs=2, batch_size=150, optimizer=optimizer, lr=0.02, augmentation=EVERYTHING)

    def trained(*n_threads: int) -> TrainResult:
        """Train with these numbers of threads in turn, which change with every step."""
        allowed = itertools.cycle(n_threads).__next__
        return train(network(dropout=0.2), made_up_data(), recipe, seed=1, engine="native", n_threads=allowed)

    alone = trained(1)
    for n_threads in ((2,), (1, 2), (3, 1, 2, 5)):
        result = trained(*n_threads)
        assert equal(result.last_state, alone.last_state)
        assert timeless(result.curve) == timeless(alone.curve)
        assert torch.equal(result.last_answers, alone.last_answers)


def test_batches_that_are_scored_at_once_have_the_same_logits(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_module, "EVALUATION_BATCH", 7)
    model = network(dropout=0.2).train()
    alone = predict(model, data.scored, data)
    for n_threads in (2, 5):
        logits = predict(model, data.scored, data, n_threads)
        assert torch.equal(logits, alone)
        assert not logits.requires_grad
    assert model.training


@NEEDS_KERNELS
def test_a_network_without_kernels_trains_on_pytorch(data: Dataset) -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 3))

    result = train(model(), data, RECIPE)
    assert result.engine == "torch"
    assert equal(result.last_state, train(model(), data, RECIPE, engine="torch").last_state)
    with pytest.raises(InputError, match=r"cannot train this network: Tanh\(\) has no kernel; --engine torch"):
        train(model(), data, RECIPE, engine="native")
    with pytest.raises(InputError, match=r"the network returns \(4, 6, 6\) for 3 classes"):
        train(nn.Conv2d(1, 4, 3), data, RECIPE, engine="native")


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=NEEDS_KERNELS)])
def test_shared_weights_stay_shared_and_norms_unscaled(data: Dataset, engine: str, ema_decay: float) -> None:
    before = {name: tensor.clone() for name, tensor in thrifty_network().state_dict().items()}
    recipe = replace(RECIPE, epochs=2, ema_decay=ema_decay, weight_decay=0.1)
    model = thrifty_network()
    after = train(model, data, recipe, seed=1, engine=engine).last_state
    norms = [name for name, module in model.named_modules() if isinstance(module, nn.BatchNorm2d)]
    for state in (model.state_dict(), after):
        for name in norms:
            assert f"{name}.weight" not in state
            assert not torch.equal(state[f"{name}.bias"], before[f"{name}.bias"])
        # Of depthwise and pointwise convolutions.
        for owner, *others in [("stage1.7", "stage1.11", "stage2.0"), ("stage1.8", "stage1.12", "stage2.1")]:
            assert not torch.equal(state[f"{owner}.weight"], before[f"{owner}.weight"])
            assert all(torch.equal(state[f"{other}.weight"], state[f"{owner}.weight"]) for other in others)


@NEEDS_KERNELS
@pytest.mark.parametrize(("keep_best", "n_exact"), [(False, 1), (True, 4)])
def test_pytorch_scores_the_epochs_whose_weights_are_kept(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, keep_best: bool, n_exact: int
) -> None:
    scored: list[float] = []

    def counted(model: torch.nn.Module, split: Split, of: Dataset, n_threads: int) -> Tensor:
        logits = predict(model, split, of, n_threads)
        scored.append((logits.argmax(1) == split.labels).sum().item() / len(split))
        return logits

    monkeypatch.setattr("search.engine.train.predict", counted)
    result = train(network(), data, RECIPE, engine="native", keep_best=keep_best)
    assert scored == [metrics.accuracy for metrics in result.curve[-n_exact:]]
    labels = data.scored.labels
    assert (result.last_answers == labels).sum().item() / len(labels) == scored[-1]
    if keep_best:
        assert (result.best_answers == labels).sum().item() / len(labels) == max(scored)


def test_label_smoothing_raises_the_floor_of_the_loss(data: Dataset) -> None:
    recipe = replace(RECIPE, epochs=8)
    assert train(network(), data, recipe).curve[-1].train_loss < 0.05
    # The labels become 0.8, 0.1, 0.1, of entropy -0.8 ln 0.8 - 0.2 ln 0.1 = 0.639, below which no loss gets.
    smoothed = train(network(), data, replace(recipe, label_smoothing=0.3)).curve[-1].train_loss
    assert 0.639 < smoothed < 0.75


@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=NEEDS_KERNELS)])
def test_scored_after_the_last_epoch_only_it_is_the_same_training(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, engine: str, ema_decay: float
) -> None:
    recipe = replace(RECIPE, epochs=3, ema_decay=ema_decay, augmentation=Augmentation(rotation=10.0))
    usual = train(network(dropout=0.2), data, recipe, seed=1, engine=engine)
    n_scorings = 0
    reported: list[tuple[int, EpochMetrics]] = []

    def counted(trainer: Any, *, exact: bool) -> Tensor:
        nonlocal n_scorings
        n_scorings += 1
        return answers(trainer, exact=exact)

    answers = train_module._Trainer.answers
    monkeypatch.setattr(train_module._Trainer, "answers", counted)
    once = train(
        network(dropout=0.2),
        data,
        recipe,
        lambda epoch, metrics: reported.append((epoch, metrics)),
        seed=1,
        engine=engine,
        every_epoch=False,
    )
    assert n_scorings == 1
    assert timeless(once.curve) == timeless(usual.curve)[-1:]
    assert reported == [(3, once.curve[0])]
    assert equal(once.last_state, usual.last_state)


class _Idle(nn.Module):
    """A network with numbers that its loss does not depend on, so that weight decay alone moves them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()
        self.idle = nn.Parameter(torch.full((1000,), 1e-30))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) + 0 * self.idle.sum()  # type: ignore[no-any-return]


def test_what_decays_becomes_zero_and_not_a_number_that_processors_are_slow_with(data: Dataset) -> None:
    recipe = replace(RECIPE, optimizer="adamw", lr=0.5, weight_decay=1.0)  # halves it, in 32 steps
    idle = train(_Idle(), data, recipe, engine="torch").last_state["idle"]
    assert torch.equal(idle, torch.zeros(1000))
    assert torch.tensor(2.0**-130) * torch.tensor(0.5) > 0  # elsewhere numbers are what they were


# --- it repeats itself ----------------------------------------------------------------------------------------------

RANDOM_RECIPE = replace(RECIPE, epochs=2, ema_decay=0.9, augmentation=Augmentation(rotation=10.0, shift=0.1))


def test_same_seed_same_training(data: Dataset) -> None:
    first = train(network(dropout=0.2), data, RANDOM_RECIPE, seed=3)
    model = network(dropout=0.2)
    torch.manual_seed(1234)  # what was drawn before must not matter
    second = train(model, data, RANDOM_RECIPE, seed=3)
    assert timeless(first.curve) == timeless(second.curve)
    assert equal(first.last_state, second.last_state)
    assert equal(first.best_state, second.best_state)


@pytest.mark.parametrize(
    ("recipe", "dropout"),
    [
        pytest.param(replace(RECIPE, epochs=1), 0.0, id="order"),
        # One batch, so that the order of the images has no say.
        pytest.param(replace(RECIPE, epochs=1, batch_size=256), 0.2, id="dropout"),
        pytest.param(
            replace(RECIPE, epochs=1, batch_size=256, augmentation=Augmentation(shift=0.1)), 0.0, id="augmentation"
        ),
    ],
)
def test_another_seed_another_training(data: Dataset, recipe: RecipeConfig, dropout: float) -> None:
    first, second = (train(network(dropout=dropout), data, recipe, seed=seed).curve for seed in (0, 1))
    assert first[0].train_loss != pytest.approx(second[0].train_loss, rel=1e-4)


def test_steps_are_reported_and_the_training_stays_the_same(data: Dataset) -> None:
    steps: list[tuple[int, float]] = []
    reported = train(network(), data, RECIPE, on_batch=lambda epoch, share: steps.append((epoch, share)))
    assert steps == [(epoch, step / 8) for epoch in (1, 2, 3, 4) for step in range(1, 9)]
    assert timeless(reported.curve) == timeless(train(network(), data, RECIPE).curve)


def test_training_leaves_the_data_alone() -> None:
    data = made_up_data()
    images, labels = data.train.images.clone(), data.train.labels.clone()
    train(network(), data, replace(RECIPE, epochs=1, augmentation=Augmentation(shift=0.1, erase_p=1.0)))
    assert torch.equal(data.train.images, images)
    assert torch.equal(data.train.labels, labels)


# --- on its own -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_trains_where_optuna_is_not_installed() -> None:
    code = """
import sys
for absent in ("optuna", "torchvision", "sklearn", "pandas"):
    sys.modules[absent] = None
from tests.search.made_up_trainings import RECIPE, made_up_data, network
from search.engine.train import train
print(len(train(network(), made_up_data(), RECIPE).curve))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("4\n", "")


@pytest.mark.slow
def test_no_training_imports_the_compiler() -> None:
    code = """
import sys
from dataclasses import replace
from models.recipe import OPTIMIZERS
from search.engine.train import train
from tests.search.made_up_trainings import RECIPE, made_up_data, network
for optimizer in OPTIMIZERS:
    train(network(), made_up_data(), replace(RECIPE, optimizer=optimizer, epochs=1))
print(*sorted({"torch._dynamo", "torch._inductor"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
