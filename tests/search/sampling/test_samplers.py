import random
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from search.config import SAMPLERS
from search.sampling.evolve import NoLimits
from search.sampling.proposals import n_within
from search.sampling.samplers import make_sampler
from search.search_space.dimensions import SuggestsValues
from search.study.loop import StopRule, run_trials
from search.study.trials import FINISHED, REFUSED, STOPPED
from search.workers.recovery import requeue_abandoned
from tests.search.study.test_study import memory_study, objective

# --- every sampler --------------------------------------------------------------------------------------------------


def seen(study: optuna.Study) -> dict[int, tuple]:
    """Every decided proposal by its index."""
    return {
        trial.user_attrs["index"]: (trial.state, trial.value, trial.params, trial.user_attrs["seed"])
        for trial in study.trials
        if "outcome" in trial.user_attrs
    }


class SmallStart(NoLimits):
    """Of the points that `test_study.objective` asks for, those of which `n` is at most 5 fit."""

    def key(self, point: dict[str, Any]) -> str | None:
        return super().key(point) if point["n"] <= 5 else None

    def ask(self, trial: SuggestsValues) -> None:
        trial.suggest_float("x", 0, 1)
        trial.suggest_int("n", 1, 100, log=True)

    def point(self, first: dict[str, Any], rng: random.Random) -> dict[str, Any]:
        return first if first["n"] <= 5 else {"x": rng.random(), "n": rng.randint(1, 5)}


STARTS = [pytest.param(None, id="no start"), pytest.param(SmallStart(), id="start")]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(sampler, start):
    whole = memory_study(sampler, start=start)
    run_trials(whole, objective, 0, StopRule(40))
    broken = memory_study(sampler, start=start)
    interrupt_at = iter([3, 4, 11, 25, 34, 38])
    next_interrupt = next(interrupt_at)

    def interrupted(trial: optuna.Trial) -> float:
        nonlocal next_interrupt
        if trial.user_attrs["index"] == next_interrupt and "retry_of" not in trial.user_attrs:
            next_interrupt = next(interrupt_at, -1)
            trial.suggest_float("x", 0, 1)
            if next_interrupt == 38:  # once after all suggestions
                trial.suggest_int("n", 1, 100, log=True)
            raise KeyboardInterrupt
        return objective(trial)

    for _ in range(7):
        requeue_abandoned(broken, running_are_abandoned=True)
        try:
            # A new sampler each time, as a new process would have.
            broken.sampler = make_sampler(sampler, 0, start)
            run_trials(broken, interrupted, 0, StopRule(40))
        except KeyboardInterrupt:
            continue
    assert sum(trial.state == TrialState.FAIL for trial in broken.trials) == 6
    assert seen(broken) == seen(whole)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_another_seed_is_another_study(sampler):
    studies = [memory_study(sampler, seed) for seed in (0, 1)]
    for seed, study in enumerate(studies):
        run_trials(study, objective, seed, StopRule(5))
    assert seen(studies[0]) != seen(studies[1])
    points = [{trial.params["x"] for trial in study.trials} for study in studies]
    assert not points[0] & points[1]


def test_proposals_and_seeds_do_not_repeat():
    study = memory_study("random")
    run_trials(study, objective, 0, StopRule(40))
    assert len({trial.params["x"] for trial in study.trials}) == len(study.trials)
    assert len({trial.user_attrs["seed"] for trial in study.trials}) == len(study.trials)


# --- the start ------------------------------------------------------------------------------------------------------


def points_of(study: optuna.Study, n: int) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials[:n]]


def test_the_first_proposals_fit_until_ten_trials_did():
    study = memory_study("tpe", start=SmallStart())
    # What is queued is not touched, and counts where it fits.
    queued = [30, *range(60, 69)]
    for n in queued:
        study.enqueue_trial({"x": 0.5, "n": n})
    run_trials(study, objective, 0, StopRule(40))
    assert [trial.params["n"] for trial in study.trials[:10]] == queued
    assert [trial.user_attrs["outcome"] for trial in study.trials[:10]] == [FINISHED, *[REFUSED] * 9]
    assert all(trial.params["n"] <= 5 for trial in study.trials[10:19])
    assert any(trial.params["n"] > 5 for trial in study.trials[19:])


def test_all_proposals_of_evolve_fit():
    study = memory_study("evolve", start=SmallStart())
    run_trials(study, objective, 0, StopRule(40))
    assert all(trial.params["n"] <= 5 for trial in study.trials)


def test_a_tenth_of_the_later_proposals_of_evolve_is_drawn():
    study = memory_study("evolve", start=SmallStart())
    run_trials(study, objective, 0, StopRule(210))
    later = study.trials[10:]
    assert 10 <= sum("is_drawn" in trial.user_attrs for trial in later) <= 32
    assert all(("parent" in trial.user_attrs) != ("is_drawn" in trial.user_attrs) for trial in later)


def test_what_was_refused_for_its_latency_was_within_what_a_start_knows():
    study = memory_study()
    for outcome, attrs in ((FINISHED, {}), (REFUSED, {}), (REFUSED, {"latency_ms": 3.0}), (STOPPED, {})):
        study.add_trial(create_trial(value=0.5, user_attrs={"outcome": outcome, **attrs}))
    assert n_within(study.trials) == 3


def test_a_start_takes_the_draws_of_random_search_where_they_fit():
    by_random, started = memory_study("random"), memory_study(start=SmallStart())
    for study in (by_random, started):
        run_trials(study, objective, 0, StopRule(10))
    pairs = list(zip(points_of(by_random, 10), points_of(started, 10), strict=True))
    assert [theirs == ours for theirs, ours in pairs] == [theirs["n"] <= 5 for theirs, _ in pairs]
    assert 0 < sum(theirs == ours for theirs, ours in pairs) < 10


def test_the_control_knows_nothing_of_what_fits():
    studies = [memory_study("random", start=start) for start in (None, SmallStart())]
    for study in studies:
        run_trials(study, objective, 0, StopRule(20))
    assert seen(studies[0]) == seen(studies[1])
