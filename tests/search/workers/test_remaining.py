"""Estimates of the remaining time of studies whose trainings take known times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import repeat
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from models.baselines import BASELINES
from search.config import ConfirmConfig, DataConfig, SearchConfig
from search.study.training_report import TrainingReport
from search.workers.estimate import OVERHEAD_MACS, time_left, work_of_training
from search.workers.remaining import Remaining, RepeatsRemaining, SearchRemaining
from space import DEFAULTS, baseline_params
from tests.search.made_up_studies import as_trial
from tests.search.made_up_trials import made_up

CONFIG = SearchConfig(DataConfig("digits", "data"), max_params=8000, epochs=15, pruner="none")
MACS = 1_000_000
# Work of a training of CONFIG with MACS, on images of 28x28 values.
WORK = 15 * (MACS + OVERHEAD_MACS * 784)


@pytest.mark.parametrize(
    ("running", "queue", "n_workers", "n_needed", "seconds"),
    [
        ([], [], 2, None, 0),
        ([], [10, 10, 10], 1, None, 30),
        ([], [10, 10, 10], 2, None, 20),
        ([], [1, 2, 30], 3, None, 30),
        ([5], [10], 2, None, 10),
        ([5, 7], [10, 10], 2, None, 17),
        ([5, 7], [], 1, None, 7),  # another machine trains one of them
        ([], repeat(10), 1, 3, 30),
        ([4], repeat(10), 1, 3, 24),
        # Two workers begin a further training before the last one that is needed has ended.
        ([], repeat(10), 2, 3, 20),
        ([2, 8], repeat(10), 2, 2, 12),
        ([2, 8], repeat(10), 2, 0, 8),
        ([], repeat(10), 2, 0, 0),
    ],
)
def test_trainings_side_by_side(
    running: Sequence[float], queue: Iterator[float], n_workers: int, n_needed: int | None, seconds: float
) -> None:
    assert time_left(running, queue, n_workers, n_needed) == seconds


def finished(number: int, seconds: float, **facts: Any) -> Any:
    return as_trial(made_up(number, facts.pop("value", 0.99), macs=MACS, seconds=seconds, **facts))


def study_of(*trials: Any) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def remaining(study: optuna.Study, *reports: TrainingReport, **options: Any) -> Remaining | None:
    settings = {"n_trials": 12, "n_workers": 2, "mean_macs": MACS, **options}
    config = replace(CONFIG, pruner=settings.pop("pruner", "none"))
    return SearchRemaining(config, **settings)(study.get_trials(), {report.trial: report for report in reports})


def begin(study: optuna.Study, **attrs: object) -> int:
    """Begin a trial whose network is known, and return its number."""
    trial = study.ask()
    for name, value in {"macs": MACS, **attrs}.items():
        trial.set_user_attr(name, value)
    return trial.number


def test_before_the_first_step_nothing_is_known() -> None:
    study = study_of()
    begin(study)
    assert remaining(study) is None


def test_the_first_steps_give_an_estimate_of_search_and_confirmation() -> None:
    study = study_of()
    numbers = [begin(study), begin(study)]
    # Each has done a hundredth of its work in a second, so a training takes 100 seconds.
    reports = [TrainingReport(number, 1, 15, 0.01, 1.0) for number in numbers]
    # Six of each worker, and one more that begins before the twelfth has ended.
    plan = ConfirmConfig(top=3, seeds=2, further=4)
    # Six trainings of the first round and four of the second, without a hand-designed network.
    assert remaining(study, *reports, confirmation=plan) == Remaining(pytest.approx(699.0), pytest.approx(500.0))


def test_a_confirmation_scores_each_training_once() -> None:
    study = study_of()
    report = TrainingReport(begin(study), 2, 15, 0.1, 10.0, 0.9, scoring=5.0)
    left = remaining(study, report, n_trials=1, n_workers=1, confirmation=ConfirmConfig(top=1, seeds=4))
    assert left == Remaining(pytest.approx(90.0), pytest.approx(200.0))


@pytest.mark.parametrize("n_done", [2, 6, 11])
def test_stored_durations_count_at_once_after_a_resume(n_done: int) -> None:
    study = study_of(*(finished(number, 60.0) for number in range(n_done)))
    left = remaining(study, n_workers=1)
    assert left == Remaining(pytest.approx((12 - n_done) * 60.0, rel=0.01))


def test_trials_that_were_adopted_or_refused_say_nothing_about_the_speed() -> None:
    study = study_of(finished(0, 60.0, origin="other/3"), as_trial(made_up(1, outcome="refused", seconds=None)))
    assert remaining(study) is None


def test_a_poll_with_nothing_done_changes_nothing() -> None:
    study = study_of(finished(0, 60.0), finished(1, 60.0))
    estimate = SearchRemaining(CONFIG, 12, 1, MACS)
    first = estimate(study.get_trials(), {})
    assert {estimate(study.get_trials(), {}) for _ in range(50)} == {first}


def test_stopped_trials_count_with_their_share() -> None:
    epochs = [{"epoch": i, "train_accuracy": 0.9, "accuracy": 0.9, "seconds": 4.0} for i in range(1, 4)]
    stopped = made_up(0, outcome="stopped", macs=MACS, seconds=12.0, curve=tuple(epochs))
    assert stopped.recipe is not None
    study = study_of(*(as_trial(replace(stopped, recipe=replace(stopped.recipe, epochs=15))) for _ in range(97)))
    left = remaining(study, n_workers=1, n_trials=98, pruner="median")
    # A whole training takes 60 seconds. Three proposals with three quarters of that are assumed beside the 97.
    assert left == Remaining(pytest.approx((97 * 12 + 3 * 45) / 100, rel=0.01))


def test_a_proposal_that_may_still_be_stopped_counts_with_the_share_of_the_others() -> None:
    lefts = []
    for epoch, attrs in ((5, {}), (6, {}), (5, {"baseline": "s004_net3"})):
        study = study_of()
        report = TrainingReport(begin(study, **attrs), epoch, 15, 0.3, 30.0)
        lefts.append(remaining(study, report, n_trials=1, n_workers=1, pruner="median"))
    assert lefts == [Remaining(pytest.approx(seconds)) for seconds in (45.0, 70.0, 70.0)]


def test_queued_networks_count_with_their_own_size() -> None:
    study = study_of()
    number = begin(study)
    small, large = ({**DEFAULTS, "stages.1.width.1": width, "stages.1.width.2": width} for width in (4, 32))
    reports = [TrainingReport(number, 1, 15, 0.5, 50.0)]
    times = []
    for params in (small, large):
        queued = study_of(*study.get_trials())
        queued.enqueue_trial(params)
        left = remaining(queued, *reports, n_trials=2, n_workers=1)
        times.append(left.seconds if left else math.nan)
    assert times[0] < 0.8 * times[1]
    # The hand-designed networks are queued as points of the space.
    point = next(iter(baseline_params((1, 28, 28), 10).values()))
    study.enqueue_trial(point)
    estimate = SearchRemaining(replace(CONFIG, data=DataConfig("mnist", "data")), 2, 1, MACS)
    assert estimate.work_of(study.get_trials()[-1])


@pytest.mark.parametrize(
    "queued", [{"stages": "2"}, {"stages.1.width.1": -3}, {"stages": None}, {"stages": 10**9}, {"unknown": 1}, {}]
)
def test_a_trial_queued_outside_the_space_counts_as_a_proposal(queued: dict[str, Any]) -> None:
    study = study_of(finished(0, 60.0))
    study.enqueue_trial({**DEFAULTS, **queued} if queued else {})
    assert remaining(study, n_trials=2, n_workers=1) == Remaining(pytest.approx(60.0, rel=0.01))


def test_a_timeout_ends_a_search_and_drops_its_confirmation() -> None:
    study = study_of(finished(0, 60.0), finished(1, 60.0))
    left = remaining(study, n_workers=1, timeout=100.0, confirmation=ConfirmConfig(2, 2))
    assert left == Remaining(pytest.approx(100.0, abs=5.0))


def test_a_trial_of_another_machine_counts_from_its_start() -> None:
    running = create_trial(state=TrialState.RUNNING, user_attrs={"macs": MACS})
    running.datetime_start = datetime.now()
    study = study_of(*(finished(number, 60.0) for number in range(11)))
    study.add_trial(running)
    left = remaining(study, n_workers=1)
    assert left == Remaining(pytest.approx(60.0, abs=3.0))


def test_confirmations_know_their_time_from_the_search() -> None:
    study = study_of()
    number = begin(study, **{"seconds in the search": 40.0})
    for seconds in (30.0, 50.0):
        study.enqueue_trial({}, user_attrs={"seconds in the search": seconds})
    estimate = RepeatsRemaining(
        lambda trial: trial.user_attrs["seconds in the search"], 1, later=[100.0], default_rate=1.0
    )
    assert estimate(study.get_trials(), {}) == Remaining(pytest.approx(220.0, abs=3.0))
    # Now everything takes twice as long.
    report = TrainingReport(number, 8, 15, 0.5, 40.0)
    left = estimate(study.get_trials(), {number: report})
    assert left
    assert left.seconds == pytest.approx(40 + 60 + 100 + 200, rel=0.1)


def test_without_a_search_the_first_steps_give_the_time() -> None:
    spec = BASELINES["s004_net3"].spec
    work = work_of_training(MACS, math.prod(spec.input_shape), 15)
    study = study_of()
    number = begin(study)
    study.enqueue_trial({})
    estimate = RepeatsRemaining(lambda _trial: work, 1)
    assert estimate(study.get_trials(), {}) is None
    assert estimate(study.get_trials(), {number: TrainingReport(number, 3, 15, 0.2, 20.0)}) == Remaining(
        pytest.approx(180.0)
    )
