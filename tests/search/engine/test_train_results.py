"""What a training gives back, when, and how it scores."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.build import build_model
from models.recipe import Schedule
from models.spec import ArchSpec, Block, Head, Stage
from search.data.dataset import Dataset, Split
from search.engine import train as train_module
from search.engine.batch_norm import FEW_STEPS
from search.engine.inputs import normalise
from search.engine.train import EpochMetrics, TrainingDivergedError, evaluate, predict, train
from tests.search.made_up_trainings import N_CLASSES, RECIPE, copied, equal, holding, made_up_data, network, parameters

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> Dataset:
    return made_up_data()


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
    assert equal(parameters(train(model, data, RECIPE).last_state), parameters(model.state_dict()))


def test_a_short_training_is_not_held_back_by_its_first_weights(data: Dataset) -> None:
    # With a fixed decay of 0.9999, sixteen steps would leave the first weights at 99.8 %.
    slow = replace(RECIPE, epochs=2, ema_decay=0.9999)
    assert train(network(), data, slow).curve[-1].accuracy > 0.9


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_the_decay_rises_to_that_of_the_recipe(data: Dataset, engine: str) -> None:
    # The decay of step n is (1 + n) / (10 + n) or the recipe's, whichever is less: 0.3 from the third step on.
    model = network()
    name, parameter = next(model.named_parameters())
    weights: list[Tensor] = []
    recipe = replace(RECIPE, epochs=1, ema_decay=0.3)
    result = train(model, data, recipe, engine=engine, on_batch=lambda *_: weights.append(parameter.detach().clone()))
    expected = weights[0]
    for n, weight in enumerate(weights[1:], start=1):
        decay = min(0.3, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(result.last_state[name], expected)


# --- statistics of batch norm ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.995])
def test_after_few_steps_a_network_that_learned_is_scored_as_such(data: Dataset, ema_decay: float, engine: str) -> None:
    # Ten steps of all images at once. With the running estimates the accuracies are 0.74 and 0.38.
    torch.manual_seed(0)
    stage = Stage((Block(6, padding="same"),) * 5, pool=2)
    model = build_model(ArchSpec((1, 8, 8), N_CLASSES, (stage,), Head("gap_linear")))
    recipe = replace(RECIPE, epochs=10, batch_size=256, ema_decay=ema_decay)
    assert train(model, data, recipe, engine=engine).curve[-1].accuracy > 0.9


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_after_few_steps_the_statistics_are_those_of_the_training_images(data: Dataset, ema_decay: float) -> None:
    state = train(network(dropout=0.5), data, replace(RECIPE, epochs=1, ema_decay=ema_decay)).last_state
    convolution = holding(state)[0][0]
    with torch.no_grad():
        maps = convolution(normalise(data.train.images.float() / 255, data)).transpose(0, 1).flatten(1)
    name = next(name for name in state if name.endswith("running_mean"))
    torch.testing.assert_close(state[name], maps.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state[name.replace("mean", "var")], maps.var(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_short", [1, 0])
def test_from_few_steps_on_the_running_estimates_are_kept(data: Dataset, n_short: int) -> None:
    model = network()
    recipe = replace(RECIPE, epochs=1, batch_size=2)
    n_images = 2 * (FEW_STEPS - n_short)
    many = replace(data, train=data.train.take(torch.arange(n_images) % len(data.train)))
    assert equal(train(model, many, recipe).last_state, model.state_dict()) == (n_short == 0)


def test_scoring_a_network_after_few_steps_does_not_change_its_training(data: Dataset) -> None:
    recipe = replace(RECIPE, epochs=3, ema_decay=0.9)
    often, once = (train(network(dropout=0.5), data, recipe, every_epoch=every) for every in (True, False))
    assert equal(often.last_state, once.last_state)


# --- what comes back, and when --------------------------------------------------------------------------------------


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
        assert equal(parameters(result.best_state), parameters(states[best]))
        assert equal(parameters(result.last_state), parameters(states[-1]))


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
