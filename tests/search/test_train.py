"""The training engine, on small made-up images and networks of a few hundred parameters."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from models.build import build_model
from models.spec import ArchSpec, Block, Head, Stage
from search import kernels
from search import train as train_module
from search.config import OPTIMIZERS, SCHEDULES, Augmentation, RecipeConfig, Schedule
from search.data import Dataset, Split
from search.train import EpochMetrics, TrainingDivergedError, evaluate, normalise, predict, train

pytestmark = pytest.mark.usefixtures("one_thread")
ROOT = Path(__file__).parents[2]
N_CLASSES = 3
STEPS_PER_EPOCH = 8  # 256 images in batches of 32

RECIPE = RecipeConfig(epochs=4, batch_size=32, lr=0.1, schedule=Schedule("constant"))
ADAM = replace(RECIPE, optimizer="adam", lr=0.01)
NEEDS_KERNELS = pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return made_up_data()


def made_up_data(n_train: int = 256, n_test: int = 128) -> Dataset:
    """8x8 images of noise, in which a brighter pair of rows tells the class."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> Split:
        labels = torch.randint(0, N_CLASSES, (n,), generator=generator)
        images = torch.randint(0, 100, (n, 1, 8, 8), generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            image[0, 2 * label + 1 : 2 * label + 3] += 60
        return Split(images.to(torch.uint8), labels)

    classes = tuple(map(str, range(N_CLASSES)))
    return Dataset("made up", classes, split(n_train), None, split(n_test), mean=(0.25,), std=(0.15,), checksum="")


def network(seed: int = 0, **settings: Any) -> nn.Sequential:
    """A convolution, a pool and a convolution over the whole map; `settings` are the block's."""
    torch.manual_seed(seed)
    return build_model(ArchSpec((1, 8, 8), N_CLASSES, (Stage((Block(6, **settings),), pool=2),), Head("conv")))


def timeless(curve: tuple[EpochMetrics, ...]) -> list[EpochMetrics]:
    """The curve without what differs between two equal runs."""
    return [replace(metrics, seconds=0.0) for metrics in curve]


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def holding(state: dict[str, Tensor]) -> nn.Module:
    """A fresh network with these weights."""
    model = network(seed=99)
    model.load_state_dict(state)
    return model


# --- it learns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_learns_with_every_optimizer_and_schedule(data: Dataset, optimizer: str, schedule: str) -> None:
    lr = 0.1 if optimizer == "sgd" else 0.03
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
    ],
    ids=lambda value: "" if isinstance(value, RecipeConfig) else repr(value)[:50],
)
def test_every_setting_of_a_recipe_has_an_effect(data: Dataset, base: RecipeConfig, changes: dict[str, Any]) -> None:
    before, after = train(network(), data, base), train(network(), data, replace(base, **changes))
    assert not equal(before.last_state, after.last_state)


@NEEDS_KERNELS
@pytest.mark.parametrize("ema_decay", [0.0, 0.5])
def test_both_engines_do_the_same_training(data: Dataset, ema_decay: float) -> None:
    recipe = replace(RECIPE, epochs=2, ema_decay=ema_decay, augmentation=Augmentation(rotation=10.0))
    native, torch_ = (train(network(), data, recipe, seed=1, engine=engine) for engine in ("native", "torch"))
    assert (native.engine, torch_.engine) == ("native", "torch")
    for name, tensor in native.last_state.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, torch_.last_state[name], rtol=1e-2, atol=1e-3)
    for own, reference in zip(native.curve, torch_.curve, strict=True):
        assert own.train_loss == pytest.approx(reference.train_loss, rel=1e-3)
        assert own.accuracy == pytest.approx(reference.accuracy, abs=0.02)
    # What the last epoch is said to have scored, the weights score on PyTorch, to the last image.
    assert evaluate(holding(native.last_state), data.scored, data) == native.curve[-1].accuracy


@NEEDS_KERNELS
@pytest.mark.parametrize(("keep_best", "n_exact"), [(False, 1), (True, 4)])
def test_pytorch_scores_the_epochs_whose_weights_are_kept(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, keep_best: bool, n_exact: int
) -> None:
    scored: list[float] = []

    def counted(model: torch.nn.Module, split: Split, of: Dataset) -> Tensor:
        logits = predict(model, split, of)
        scored.append((logits.argmax(1) == split.labels).sum().item() / len(split))
        return logits

    monkeypatch.setattr("search.train.predict", counted)
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

    def counted(*arguments: Any) -> Tensor:
        nonlocal n_scorings
        n_scorings += 1
        return logits(*arguments)

    logits = train_module._logits
    monkeypatch.setattr(train_module, "_logits", counted)
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


def test_training_leaves_the_data_alone() -> None:
    data = made_up_data()
    images, labels = data.train.images.clone(), data.train.labels.clone()
    train(network(), data, replace(RECIPE, epochs=1, augmentation=Augmentation(shift=0.1, erase_p=1.0)))
    assert torch.equal(data.train.images, images)
    assert torch.equal(data.train.labels, labels)


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
    assert steps[-1].lr < 0.001


@pytest.mark.parametrize("base", [RECIPE, ADAM], ids=lambda recipe: recipe.optimizer)
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


@pytest.mark.parametrize("base", [RECIPE, ADAM], ids=lambda recipe: recipe.optimizer)
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


# --- averaged weights -----------------------------------------------------------------------------------------------


def test_averaged_weights_are_scored_and_returned(data: Dataset) -> None:
    model = network()
    # At this learning rate the weights themselves jump about.
    result = train(model, data, replace(RECIPE, lr=1.0, ema_decay=0.9, epochs=2))
    assert not equal(result.last_state, model.state_dict())
    for name in result.last_state:
        if name.endswith(("weight", "running_mean")):
            assert not torch.equal(result.last_state[name], model.state_dict()[name]), name
    assert evaluate(holding(result.last_state), data.scored, data) == result.curve[-1].accuracy
    raw = predict(model, data.scored, data)
    assert not torch.allclose(predict(holding(result.last_state), data.scored, data), raw, atol=0.01)


def test_without_averaging_the_weights_themselves_are_returned(data: Dataset) -> None:
    model = network()
    assert equal(train(model, data, RECIPE).last_state, model.state_dict())


def test_a_short_training_is_not_held_back_by_its_first_weights(data: Dataset) -> None:
    # With a fixed decay of 0.9999, sixteen steps would leave the first weights at 99.8 %.
    slow = replace(RECIPE, epochs=2, ema_decay=0.9999)
    assert train(network(), data, slow).curve[-1].accuracy > 0.9


def test_the_decay_rises_to_that_of_the_recipe(data: Dataset) -> None:
    # The decay of step n is (1 + n) / (10 + n) or the recipe's, whichever is less: 0.3 from the third step on.
    model = network()
    name, parameter = next(model.named_parameters())
    weights: list[Tensor] = []
    handle = register_optimizer_step_post_hook(lambda *_: weights.append(parameter.detach().clone()))
    result = train(model, data, replace(RECIPE, epochs=1, ema_decay=0.3))
    handle.remove()
    expected = weights[0]
    for n, weight in enumerate(weights[1:], start=1):
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(result.last_state[name], expected)


# --- what comes back, and when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ema_decay", [0.0, 0.2])
def test_best_state_is_of_the_earliest_best_epoch_and_last_state_of_the_last(data: Dataset, ema_decay: float) -> None:
    model = network()
    states = []

    def on_epoch(epoch: int, _: EpochMetrics) -> None:
        states.append(copied(model.state_dict()))
        if epoch == 3:  # the network goes bad, and the learning rate has become too small to mend it
            for parameter in model[-1].parameters():
                parameter.data.neg_()

    fading = replace(RECIPE, epochs=5, ema_decay=ema_decay, schedule=Schedule("step", step_size=3, gamma=1e-6))
    result = train(model, data, fading, on_epoch, keep_best=True)
    accuracies = [metrics.accuracy for metrics in result.curve]
    best = accuracies.index(max(accuracies))
    assert accuracies.count(accuracies[best]) > 1
    assert accuracies[-1] < 0.5
    assert evaluate(holding(result.best_state), data.scored, data) == accuracies[best]
    assert evaluate(holding(result.last_state), data.scored, data) == accuracies[-1]
    if not ema_decay:
        assert equal(result.best_state, states[best])
        assert equal(result.last_state, states[-1])


def test_on_epoch_is_called_after_every_epoch(data: Dataset) -> None:
    seen: list[tuple[int, EpochMetrics]] = []
    result = train(network(), data, RECIPE, lambda epoch, metrics: seen.append((epoch, metrics)))
    assert seen == [(metrics.epoch, metrics) for metrics in result.curve]
    assert result.seconds >= sum(metrics.seconds for metrics in result.curve) > 0


def test_what_on_epoch_raises_ends_the_training(data: Dataset) -> None:
    class StopError(Exception):
        pass

    seen = []

    def stop_at_two(epoch: int, _: EpochMetrics) -> None:
        seen.append(epoch)
        if epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        train(network(), data, RECIPE, stop_at_two)
    assert seen == [1, 2]


def test_a_diverging_training_says_in_which_epoch(data: Dataset) -> None:
    seen: list[int] = []
    recipe = replace(RECIPE, epochs=20, lr=100.0)
    with pytest.raises(TrainingDivergedError, match=r"training loss became (nan|inf) in epoch \d+$") as raised:
        train(network(batch_norm=False), data, recipe, lambda epoch, _: seen.append(epoch))
    assert str(raised.value).endswith(f" epoch {len(seen) + 1}")


# --- scoring --------------------------------------------------------------------------------------------------------


def test_held_out_images_are_scored_where_there_are_any(data: Dataset) -> None:
    nothing = Split(data.test.images[:0], data.test.labels[:0])
    held_out = Split(data.test.images, (data.test.labels + 1) % N_CLASSES)
    last = train(network(), replace(data, val=held_out, test=nothing), RECIPE).curve[-1]
    assert last.train_accuracy > 0.9
    assert last.accuracy < 0.1  # every label is wrong


@pytest.mark.parametrize("training", [True, False])
def test_predict_is_in_evaluation_mode_and_changes_nothing(data: Dataset, training: bool) -> None:
    model = network(dropout=0.5).train(training)
    state = copied(model.state_dict())
    logits = predict(model, data.test, data)
    assert model.training is training
    assert all(module.training is training for module in model.modules())
    assert equal(model.state_dict(), state)
    with torch.no_grad():
        expected = model.eval()(normalise(data.test.images.float() / 255, data))
    assert torch.equal(logits, expected)
    assert (logits.shape, logits.dtype, logits.requires_grad) == ((128, N_CLASSES), torch.float32, False)


@pytest.mark.parametrize("n_images", [1, 999, 1000, 1001, 2000])
def test_predict_answers_for_every_image_in_order(data: Dataset, n_images: int) -> None:
    index = torch.arange(n_images) % len(data.test)
    logits = predict(network(), data.test.take(index), data)
    torch.testing.assert_close(logits, predict(network(), data.test, data)[index])


def test_evaluate_is_the_share_of_right_answers(data: Dataset) -> None:
    answers = predict(network(), data.test, data).argmax(1)
    wrong = answers.clone()
    wrong[:32] = (wrong[:32] + 1) % N_CLASSES
    assert evaluate(network(), Split(data.test.images, answers), data) == 1.0
    assert evaluate(network(), Split(data.test.images, wrong), data) == 0.75


def test_normalise_works_per_channel(data: Dataset) -> None:
    coloured = replace(data, mean=(0.2, 0.5), std=(0.1, 0.25))
    images = torch.tensor([0.2, 0.5]).view(1, 2, 1, 1) + torch.tensor([0.1, 0.25]).view(1, 2, 1, 1) * torch.ones(
        3, 2, 4, 4
    )
    torch.testing.assert_close(normalise(images, coloured), torch.ones(3, 2, 4, 4))


# --- on its own -----------------------------------------------------------------------------------------------------


def test_trains_where_optuna_is_not_installed() -> None:
    code = """
import sys
for absent in ("optuna", "torchvision", "sklearn", "pandas"):
    sys.modules[absent] = None
from tests.search.test_train import RECIPE, made_up_data, network
from search.train import train
print(len(train(network(), made_up_data(), RECIPE).curve))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("4\n", "")


@pytest.mark.parametrize(("metric", "best"), [("accuracy", 0), ("balanced_accuracy", 1)])
def test_the_best_epoch_is_best_in_the_metric(
    metric: str, best: int, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = torch.tensor([0] * 8 + [1, 2])
    uneven = replace(data, test=Split(data.test.images[:10], labels))
    # First all of one class, then half of that and both others, then nothing.
    scripted = [torch.zeros(10, dtype=torch.int64), torch.where(torch.arange(10) < 4, 1, labels), labels + 1]
    given = iter(scripted)
    monkeypatch.setattr(train_module._Trainer, "answers", lambda _self, **_: next(given))
    result = train(network(), uneven, replace(RECIPE, epochs=3), keep_best=True, metric=metric)
    assert [epoch.accuracy for epoch in result.curve] == pytest.approx([0.8, 0.6, 0.0])
    assert [epoch.balanced_accuracy for epoch in result.curve] == pytest.approx([1 / 3, 2.5 / 3, 0.0])
    assert torch.equal(result.best_answers, scripted[best])


def test_balanced_classes_have_no_balanced_accuracy_until_it_is_asked_for(data: Dataset) -> None:
    rows = torch.cat([(data.test.labels == label).nonzero().flatten()[:20] for label in range(N_CLASSES)])
    even, one = replace(data, test=data.test.take(rows)), replace(RECIPE, epochs=1)
    assert train(network(), even, one).curve[0].balanced_accuracy is None
    assert train(network(), even, one, metric="balanced_accuracy").curve[0].balanced_accuracy is not None
