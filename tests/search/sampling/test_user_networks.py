"""Networks that are handed in: queued once, trained as they are, and no point to the sampler where they are none."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from optuna.samplers import NSGAIISampler

import space
from models.baselines import BASELINES
from models.spec import ArchSpec, Block, Head, Stage
from objective import Objective
from search.config import SAMPLERS, DataConfig, SearchConfig
from search.data.load import load_dataset
from search.errors import InputError
from search.evidence.importance import importances
from search.report.summary import summarise
from search.sampling.evolve import trained_points
from search.sampling.samplers import KINDS, SamplerKind, make_sampler
from search.sampling.user_networks import check_networks, queue_networks
from search.study.attributes import USER_NETWORK
from search.study.loop import StopRule, run_trials
from search.study.study import enqueue
from search.study.trials import FINISHED, REFUSED, TrialRecord, read_trials
from search.workers.recovery import requeue_abandoned
from space import space_of
from tests.test_objective import fake_train as fake_train  # a fixture

CONFIG = SearchConfig(DataConfig("digits", "unused"), max_params=8000, epochs=3)
DATA = load_dataset(CONFIG.data)
POINT = space.assemble(space.DEFAULTS).arch
OUTSIDE = ArchSpec((1, 28, 28), 10, (Stage((Block(8, 7), Block(10)), 4),), Head("flatten_linear"))
LARGE = replace(OUTSIDE, stages=(Stage((Block(40, 7), Block(40)), 4),))
NARROW = replace(CONFIG, dimensions=("stages.1.width.1 = 16", "batch_size = 64"))


def study(sampler: str = "tpe") -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=make_sampler(sampler, 0))


@pytest.mark.usefixtures("fake_train")
def test_a_point_is_queued_as_one_and_anything_else_as_it_is() -> None:
    searched = study()
    assert queue_networks(searched, CONFIG, DATA, {"mine": POINT, "other": OUTSIDE, "large": LARGE}) == [
        "mine",
        "other",
        "large",
    ]
    # The same command again.
    queue_networks(searched, CONFIG, DATA, {"mine": POINT, "other": OUTSIDE, "large": LARGE})
    run_trials(searched, Objective(CONFIG), 0, StopRule(2))
    queue_networks(searched, CONFIG, DATA, {"mine": POINT, "other": OUTSIDE})
    run_trials(searched, Objective(CONFIG), 0, StopRule(4))
    point, other, large, *rest = map(TrialRecord.from_trial, searched.trials)
    assert [one.baseline for one in (point, other, *rest)] == ["mine", "other", *[None] * len(rest)]
    assert (point.arch, other.arch, len(point.params), other.params) == (POINT, OUTSIDE, len(space.DIMENSIONS), {})
    assert (point.outcome, other.outcome, large.outcome) == (FINISHED, FINISHED, REFUSED)
    assert point.recipe == other.recipe == replace(space.assemble(space.DEFAULTS).recipe, epochs=3)
    rows = {one.id: one for one in summarise("s", CONFIG, read_trials(searched.trials)).baselines}
    assert (rows["mine"].value, rows["other"].value, rows["other"].stated_accuracy) == (0.5, 0.5, None)
    assert (rows["large"].fits, rows["large"].remark, rows["large"].value) == (False, "over a limit", None)


def test_another_network_of_a_name_that_is_taken_is_refused() -> None:
    for first, second in ((POINT, OUTSIDE), (OUTSIDE, POINT), (OUTSIDE, LARGE), (POINT, BASELINES["s004_net3"].spec)):
        searched = study()
        queue_networks(searched, CONFIG, DATA, {"mine": first})
        with pytest.raises(InputError, match="has another network named mine; rename the file"):
            queue_networks(searched, CONFIG, DATA, {"mine": second})
        assert len(searched.trials) == 1


def test_a_network_for_other_images_is_refused() -> None:
    check_networks({"mine": OUTSIDE}, DATA, share_weights=False)
    with pytest.raises(InputError, match=r"network mine takes \(3, 32, 32\) images of 7 classes; those of digits are"):
        check_networks({"mine": replace(OUTSIDE, input_shape=(3, 32, 32), n_classes=7)}, DATA, share_weights=False)


def test_a_network_that_shares_weights_needs_the_setting() -> None:
    block = Block(8, padding="same")
    sharing = replace(OUTSIDE, stages=(Stage((block, block, replace(block, shared=True)), 4),))
    check_networks({"mine": sharing}, DATA, share_weights=True)
    with pytest.raises(InputError, match="network mine shares weights between layers; add --share-weights"):
        check_networks({"mine": sharing}, DATA, share_weights=False)


def test_hand_designed_networks_that_a_file_leaves_outside_are_trained_as_they_are() -> None:
    searched = study()
    inside = space.baseline_params((1, 28, 28), 10)
    assert set(queue_networks(searched, NARROW, DATA, {})) == {"s001_model3", "s002_model1", "s002_model2"} | {
        "s002_model3",
        "s004_net3",
    }
    assert [ArchSpec.from_dict(trial.user_attrs[USER_NETWORK]) for trial in searched.trials] == [
        BASELINES[name].spec for name in inside if name in {trial.user_attrs["baseline"] for trial in searched.trials}
    ]
    # Without a file they are points, and queued as such elsewhere.
    assert queue_networks(study(), CONFIG, DATA, {"s004_net3": BASELINES["s004_net3"].spec}) == []
    assert queue_networks(study(), CONFIG, DATA, {"s000_net": BASELINES["s000_net"].spec}) == ["s000_net"]


def test_a_search_without_stored_networks_queues_those_that_its_user_names() -> None:
    for config in (replace(CONFIG, starts="none"), replace(NARROW, starts="none")):
        assert queue_networks(study(), config, DATA, {}) == []
        assert queue_networks(study(), config, DATA, {"s004_net3": BASELINES["s004_net3"].spec}) == ["s004_net3"]


@pytest.mark.usefixtures("fake_train")
@pytest.mark.parametrize("sampler", [*SAMPLERS, "of Optuna"])
def test_the_sampler_learns_from_the_points_alone(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "of Optuna", SamplerKind(lambda seed, _start: NSGAIISampler(seed=seed)))
    searched = study(sampler)
    queue_networks(searched, CONFIG, DATA, {"other": OUTSIDE})
    enqueue(searched, {"a start": space.DEFAULTS}, "start")
    run_trials(searched, Objective(CONFIG), 0, StopRule(12))
    relative = searched.sampler.infer_relative_search_space(searched, searched.ask()._get_latest_trial())
    searched_dimensions = [dimension for dimension in space_of(CONFIG).dimensions if dimension.n_values != 1]
    assert set(relative) == {dimension.name for dimension in searched_dimensions}
    assert all(len(trial.params) == len(space.DIMENSIONS) for trial in searched.trials[1:-1])
    assert 0 not in [trial.number for trial in trained_points(searched.trials)]


@pytest.mark.usefixtures("fake_train")
def test_importances_are_those_of_the_points(fake_train: tuple[list[tuple[float, ...]], list[int]]) -> None:
    asked, _ = fake_train
    asked += [(0.5, 0.5, 0.3 + i / 100) for i in range(25)]
    searched = study("random")
    queue_networks(searched, replace(CONFIG, max_params=10**6), DATA, {"other": OUTSIDE})
    run_trials(searched, Objective(replace(CONFIG, max_params=10**6)), 0, StopRule(24))
    assert set(importances(searched)) == {one.name for one in space.DIMENSIONS}


def test_a_network_whose_training_was_interrupted_is_trained_again() -> None:
    searched = study()
    queue_networks(searched, CONFIG, DATA, {"other": OUTSIDE})
    searched.ask()
    assert requeue_abandoned(searched, running_are_abandoned=True) == 1
    again = searched.trials[-1].user_attrs
    assert (again["baseline"], ArchSpec.from_dict(again[USER_NETWORK])) == ("other", OUTSIDE)
