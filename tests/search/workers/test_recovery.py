"""Trials whose process died, at every moment at which it can, and who may queue them again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
import pytest
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from search.sampling.samplers import make_sampler
from search.study.loop import StopRule, n_trained, run_trials
from search.study.pruner import make_pruner
from search.study.study import enqueue
from search.study.trials import DIVERGED, FINISHED, REFUSED, STOPPED, TrialFailedError, outcome_of
from search.workers.recovery import MAX_RESTARTS, MAX_RETRIES, Recovery, requeue_abandoned

N_TRIALS = 7
STARTS = {"one": {"x": 0.25, "y": 0.5}, "two": {"x": 0.75, "y": 0.5}}
WRITES = ("create_new_trial", "set_trial_param", "set_trial_state_values", "set_trial_user_attr")


class Killed(BaseException):
    """What kill -9 is to a database: nothing that the process would have done afterwards is done."""


class Mortal(InMemoryStorage):
    """Counts what is written, and dies before the write of that number."""

    def __init__(self) -> None:
        super().__init__()
        self.n_writes = 0
        self.last = -1

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return self._counted(found) if name in WRITES else found

    def _counted(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.n_writes == self.last:
                raise Killed
            self.n_writes += 1
            return write(*args, **kwargs)

        return counted


def memory_study(storage: InMemoryStorage | None = None) -> optuna.Study:
    sampler, pruner = make_sampler("tpe", 0), make_pruner("none", 1)
    return optuna.create_study(
        study_name="one", storage=storage, direction="maximize", sampler=sampler, pruner=pruner, load_if_exists=True
    )


def objective(trial: optuna.Trial) -> float:
    """Every way to end; like the real one, it notes how before Optuna hears of it."""
    x, _ = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
    kind = (FINISHED, STOPPED, REFUSED, DIVERGED)[int(1000 * x) % 4 if "start" not in trial.user_attrs else 0]
    trial.set_user_attr("outcome", kind)
    if kind == DIVERGED:
        raise TrialFailedError("nan")
    if kind != FINISHED:
        raise optuna.TrialPruned
    return x + 1e-12 * trial.user_attrs["seed"]


def search(storage: InMemoryStorage, starts: Mapping[str, Mapping[str, Any]]) -> optuna.Study:
    """What the same command does, again and again."""
    study = memory_study(storage)
    requeue_abandoned(study, running_are_abandoned=True)
    enqueue(study, starts, "start")
    run_trials(study, objective, 0, StopRule(N_TRIALS))
    return study


def decided(study: optuna.Study) -> list[tuple[object, ...]]:
    """All that came to an end, in order of its place."""
    found = [
        (trial.user_attrs["index"], outcome_of(trial), trial.value, trial.params, trial.user_attrs["seed"])
        for trial in study.trials
        if outcome_of(trial)
    ]
    return sorted(found, key=lambda one: one[0])


@dataclass(frozen=True)
class Whole:
    """An uninterrupted study: what it starts with, what it decided, how often it wrote."""

    starts: Mapping[str, Mapping[str, Any]]
    decided: list[tuple[object, ...]]
    n_writes: int


@pytest.fixture(scope="module", params=[STARTS, {}], ids=["starts", "no starts"])
def whole(request: pytest.FixtureRequest) -> Whole:
    storage = Mortal()
    return Whole(request.param, decided(search(storage, request.param)), storage.n_writes)


def test_the_study_has_trials_of_every_kind(whole: Whole) -> None:
    assert {one[1] for one in whole.decided} == {FINISHED, STOPPED, DIVERGED, REFUSED}


def test_killed_before_any_write_and_resumed_equals_uninterrupted(whole: Whole) -> None:
    for last in range(whole.n_writes):
        storage = Mortal()
        storage.last = last
        with pytest.raises(Killed):
            search(storage, whole.starts)
        storage.last = -1
        study = search(storage, whole.starts)
        assert decided(study) == whole.decided, f"killed before write {last} of {whole.n_writes}"
        assert n_trained(study.trials) == N_TRIALS
        assert not study.get_trials(states=(TrialState.RUNNING, TrialState.WAITING))


def test_killed_again_and_again_equals_uninterrupted(whole: Whole) -> None:
    storage = Mortal()
    n_deaths = 0
    while True:
        # Some more writes every time, so that no trial is hit more often than it may be.
        storage.n_writes, storage.last = 0, 9 + n_deaths % 3
        try:
            study = search(storage, whole.starts)
            break
        except Killed:
            n_deaths += 1
    assert n_deaths > N_TRIALS
    assert decided(study) == whole.decided


def test_a_proposal_is_repeated_as_it_was_made_if_its_trial_is_lost_a_second_time() -> None:
    """The first time the worker died before it had proposed every value."""
    study = memory_study()
    run_trials(study, objective, 0, StopRule(2))
    lost = study.ask()
    lost.suggest_float("x", 0, 1)
    study.tell(lost, state=TrialState.FAIL)
    assert requeue_abandoned(study, running_are_abandoned=False) == 1
    again = study.ask()
    proposed = {name: again.suggest_float(name, 0, 1) for name in ("x", "y")}
    study.tell(again, state=TrialState.FAIL)
    # A sampler of another seed stands for one that has more results to learn from.
    study.sampler = make_sampler("tpe", 1)
    assert requeue_abandoned(study, running_are_abandoned=False) == 1
    third = study.ask()
    assert {name: third.suggest_float(name, 0, 1) for name in ("x", "y")} == proposed


@pytest.mark.parametrize("kind", ["baseline", "start", "repeat"])
def test_a_lost_trial_is_queued_again_with_its_place_and_name_but_not_for_ever(kind: str) -> None:
    study = memory_study()
    study.enqueue_trial({"x": 0.25, "y": 0.5}, user_attrs={kind: "one"})
    for attempt in range(MAX_RETRIES + 1):
        assert requeue_abandoned(study, running_are_abandoned=True) == (attempt > 0)
        with pytest.raises(ZeroDivisionError):
            run_trials(study, lambda _: 1 / 0, 0, StopRule(3))
    assert {trial.user_attrs["index"] for trial in study.trials} == {0}
    assert [trial.user_attrs[kind] for trial in study.trials] == ["one"] * (MAX_RETRIES + 1)
    assert requeue_abandoned(study, running_are_abandoned=True) == 0


def test_a_command_that_is_killed_begins_a_trial_again_more_often() -> None:
    study = memory_study()
    for _ in range(MAX_RESTARTS):
        study.ask().suggest_float("x", 0, 1)
        assert requeue_abandoned(study, running_are_abandoned=True) == 1
    run_trials(study, lambda _: 0.5, 0, StopOnce())
    assert {trial.user_attrs["index"] for trial in study.trials[1:]} == {0}
    study = memory_study()
    study.enqueue_trial({}, user_attrs={"restarts": MAX_RESTARTS})
    study.ask()
    assert requeue_abandoned(study, running_are_abandoned=True) == 0


class StopOnce:
    """After one trial."""

    def __init__(self) -> None:
        self.n_asked = 0

    def is_reached(self, _study: optuna.Study) -> bool:
        self.n_asked += 1
        return self.n_asked > 1


def test_one_that_its_user_interrupts_is_queued_again_however_often() -> None:
    study = memory_study()

    def interrupted(_trial: optuna.Trial) -> float:
        raise KeyboardInterrupt

    # Before it has died as often as it may, and afterwards.
    for n_deaths in (0, MAX_RETRIES):
        for _ in range(2 * MAX_RETRIES):
            with pytest.raises(KeyboardInterrupt):
                run_trials(study, interrupted, 0, StopRule(1))
            assert requeue_abandoned(study, running_are_abandoned=True) == 1
            assert study.trials[-1].user_attrs["retries"] == n_deaths
        while study.trials[-1].user_attrs["retries"] < MAX_RETRIES:
            with pytest.raises(ZeroDivisionError):
                run_trials(study, lambda _: 1 / 0, 0, StopRule(1))
            assert requeue_abandoned(study, running_are_abandoned=True) == 1
    run_trials(study, objective, 0, StopRule(1))
    assert decided(study)[0][0] == 0


def test_a_running_trial_is_lost_only_where_nobody_else_works() -> None:
    study = memory_study()
    study.ask().suggest_float("x", 0, 1)
    assert requeue_abandoned(study, running_are_abandoned=False) == 0
    assert requeue_abandoned(study, running_are_abandoned=True) == 1
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


# --- a main process beside its workers ------------------------------------------------------------------------------


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("search.workers.recovery.time.monotonic", lambda: self.now)


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


@pytest.mark.parametrize("is_shared", [False, True])
def test_the_trial_of_a_dead_worker_is_queued_again_at_once_and_those_of_others_go_on(is_shared: bool) -> None:
    study = memory_study()
    for worker in ("ours-1", "ours-2", "elsewhere/1"):
        study.ask().set_user_attr("worker", worker)
    recovery = Recovery(study, is_shared=is_shared, grace=60)
    recovery()
    assert states(study) == ["RUNNING"] * 3
    recovery.worker_died("ours-2")
    for _ in range(3):
        recovery()
        assert states(study) == ["RUNNING", "FAIL", "RUNNING", "WAITING"]


@pytest.mark.parametrize(("is_shared", "patience"), [(False, 30), (True, 90)])
def test_a_trial_that_was_taken_and_never_claimed_is_given_up(
    monkeypatch: pytest.MonkeyPatch, is_shared: bool, patience: int
) -> None:
    clock = Clock(monkeypatch)
    study = memory_study()
    taken = study.ask()
    recovery = Recovery(study, is_shared=is_shared, grace=90)
    recovery()
    clock.now += patience
    recovery()
    assert states(study) == ["RUNNING"]
    clock.now += 10
    recovery()
    assert states(study) == ["FAIL", "WAITING"]
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        taken.set_user_attr("worker", "slow")


@pytest.mark.parametrize(("is_shared", "expected"), [(False, ["FAIL", "WAITING"]), (True, ["RUNNING"])])
def test_at_the_end_nothing_runs_where_nobody_else_works(is_shared: bool, expected: list[str]) -> None:
    study = memory_study()
    study.ask().set_user_attr("worker", "elsewhere/1")
    Recovery(study, is_shared=is_shared, grace=60).finish()
    assert states(study) == expected


# --- a worker that was taken for dead -------------------------------------------------------------------------------


def given_up(study: optuna.Study, trial: optuna.Trial) -> None:
    """As another machine does it."""
    study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    requeue_abandoned(study, running_are_abandoned=False)


@pytest.mark.parametrize("moment", ["noting", "returning", "pruning", "telling"])
def test_a_worker_whose_trial_was_given_up_goes_on_with_the_next(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    study = memory_study()
    trained = []

    def slow(trial: optuna.Trial) -> float:
        trained.append(trial.number)
        if trial.number == 1:
            if moment == "telling":  # after Optuna has looked, and before it writes
                monkeypatch.setattr(study.sampler, "after_trial", lambda *_: given_up(study, trial), raising=False)
                return 0.5
            given_up(study, trial)
            if moment == "returning":
                return 0.5
            if moment == "pruning":
                raise optuna.TrialPruned
        if trial.number > 1:
            monkeypatch.undo()
        return objective(trial)

    enqueue(study, STARTS, "start")
    run_trials(study, slow, 0, StopRule(3))
    assert trained[:3] == [0, 1, 2]
    assert n_trained(study.trials) == 3
    by_place = [trial.user_attrs["index"] for trial in study.trials if outcome_of(trial)]
    assert len(set(by_place)) == len(by_place)
    assert 1 in by_place


def test_an_error_of_the_program_is_not_taken_for_that() -> None:
    def broken(_trial: optuna.Trial) -> float:
        raise ValueError("Cannot tell a FAIL trial.")

    with pytest.raises(ValueError, match="Cannot tell"):
        run_trials(memory_study(), broken, 0, StopRule(1))
