import json
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.config import InputError
from search.study import (
    MAX_REFUSED_IN_A_ROW,
    MAX_RETRIES,
    StopRule,
    derived_seed,
    enqueue,
    load_study,
    make_pruner,
    make_sampler,
    open_storage,
    open_study,
    requeue_lost,
    run_trials,
)
from search.trials import DIVERGED, FINISHED, REFUSED, STOPPED, TrialFailedError

SETTINGS = {"budget": 8000, "dataset": "mnist", "epochs": 15}


def memory_study(sampler: str = "tpe", seed: int = 0) -> optuna.Study:
    return optuna.create_study(direction="maximize", sampler=make_sampler(sampler, seed), pruner=make_pruner("none", 1))


def objective(trial: optuna.Trial) -> float:
    """A search space with a limit, and a value that depends on the point and on the seed given to the training."""
    x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 100, log=True)
    trial.set_constraint("n", n / 50 - 1)
    if n > 50:
        trial.set_user_attr("outcome", REFUSED)
        raise optuna.TrialPruned
    trial.set_user_attr("outcome", FINISHED)
    return x + 1e-12 * trial.user_attrs["seed"]


def seen(study: optuna.Study) -> dict[int, tuple]:
    """Every decided proposal by its index."""
    return {
        trial.user_attrs["index"]: (trial.state, trial.value, trial.params, trial.user_attrs["seed"])
        for trial in study.trials
        if "outcome" in trial.user_attrs
    }


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(sampler):
    whole = memory_study(sampler)
    run_trials(whole, objective, 0, StopRule(30))
    broken = memory_study(sampler)
    interrupt_at = iter([3, 4, 11, 25])
    next_interrupt = next(interrupt_at)

    def interrupted(trial: optuna.Trial) -> float:
        nonlocal next_interrupt
        if trial.user_attrs["index"] == next_interrupt and "retry_of" not in trial.user_attrs:
            next_interrupt = next(interrupt_at, -1)
            trial.suggest_float("x", 0, 1)
            raise KeyboardInterrupt
        return objective(trial)

    for _ in range(5):
        requeue_lost(broken, running_are_lost=True)
        try:
            # A new sampler each time, as a new process would have.
            broken.sampler = make_sampler(sampler, 0)
            run_trials(broken, interrupted, 0, StopRule(30))
        except KeyboardInterrupt:
            continue
    assert sum(trial.state == TrialState.FAIL for trial in broken.trials) == 4
    assert seen(broken) == seen(whole)


def test_another_seed_is_another_study():
    studies = [memory_study(seed=seed) for seed in (0, 1)]
    for seed, study in enumerate(studies):
        run_trials(study, objective, seed, StopRule(5))
    assert seen(studies[0]) != seen(studies[1])


def test_proposals_and_seeds_do_not_repeat():
    study = memory_study("random")
    run_trials(study, objective, 0, StopRule(40))
    assert len({trial.params["x"] for trial in study.trials}) == len(study.trials)
    assert len({trial.user_attrs["seed"] for trial in study.trials}) == len(study.trials)


def test_derived_seed_depends_on_every_part():
    seeds = {derived_seed(*parts) for parts in ((0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1), (0, "a", 1))}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_trials_counts_trained_candidates_over_restarts():
    study = memory_study("random")
    for n in (4, 4, 30):
        run_trials(study, objective, 0, StopRule(n))
        assert sum(trial.user_attrs["outcome"] == FINISHED for trial in study.trials) == n
    assert any(trial.user_attrs["outcome"] == REFUSED for trial in study.trials)


def test_stopped_and_diverged_count_as_trained():
    study = memory_study("random")

    def lossy(trial: optuna.Trial) -> float:
        trial.suggest_float("x", 0, 1)
        outcome = (DIVERGED, STOPPED, FINISHED)[trial.number % 3]
        trial.set_user_attr("outcome", outcome)
        if outcome == DIVERGED:
            raise TrialFailedError("nan")
        if outcome == STOPPED:
            raise optuna.TrialPruned
        return 1.0

    run_trials(study, lossy, 0, StopRule(6))
    assert len(study.trials) == 6
    assert requeue_lost(study, running_are_lost=True) == 0


def test_a_study_where_nothing_fits_stops():
    study = memory_study("random")

    def never(trial: optuna.Trial) -> float:
        trial.set_user_attr("outcome", REFUSED)
        raise optuna.TrialPruned

    run_trials(study, never, 0, StopRule(5))
    assert len(study.trials) == MAX_REFUSED_IN_A_ROW


def test_an_error_of_the_program_is_not_swallowed():
    def broken(_trial: optuna.Trial) -> float:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_trials(memory_study(), broken, 0, StopRule(5))


def test_named_starts_are_queued_once_and_first():
    study = memory_study()
    starts = {"one": {"x": 0.25, "n": 3}, "two": {"x": 0.75, "n": 5}}
    enqueue(study, starts)
    run_trials(study, objective, 0, StopRule(3))
    enqueue(study, starts)
    assert [trial.params for trial in study.trials[:2]] == list(starts.values())
    assert [trial.user_attrs.get("baseline") for trial in study.trials[:2]] == ["one", "two"]
    assert not study.get_trials(states=(TrialState.WAITING,))


def test_a_lost_trial_is_queued_again_with_its_place_and_name_but_not_for_ever():
    study = memory_study()
    enqueue(study, {"one": {"x": 0.25, "n": 3}})

    def dies(_trial: optuna.Trial) -> float:
        raise KeyboardInterrupt

    for attempt in range(MAX_RETRIES + 1):
        assert requeue_lost(study, running_are_lost=True) == (attempt > 0)
        with pytest.raises(KeyboardInterrupt):
            run_trials(study, dies, 0, StopRule(3))
    assert {trial.user_attrs["index"] for trial in study.trials} == {0}
    assert {trial.user_attrs["baseline"] for trial in study.trials} == {"one"}
    assert requeue_lost(study, running_are_lost=True) == 0


def test_a_running_trial_is_lost_only_where_nobody_else_works():
    study = memory_study()
    study.ask().suggest_float("x", 0, 1)
    assert requeue_lost(study, running_are_lost=False) == 0
    assert requeue_lost(study, running_are_lost=True) == 1
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_sqlite_storage_waits_instead_of_failing_and_does_not_block_readers(tmp_path: Path):
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def test_the_same_settings_resume_and_others_are_refused_by_name(tmp_path: Path):
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    open_study(storage, "one", SETTINGS)
    assert open_study(storage, "one", json.loads(json.dumps(SETTINGS))).metric_names == ["accuracy"]
    with pytest.raises(InputError, match=r"'one' was made with other settings: budget 8000 there, 50 now, epochs 15 "):
        open_study(storage, "one", SETTINGS | {"budget": 50, "epochs": 3})
    assert load_study(storage, "one").user_attrs["settings"] == SETTINGS


def test_an_unknown_study_is_refused_with_the_known_ones(tmp_path: Path):
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    open_study(storage, "one", SETTINGS)
    with pytest.raises(InputError, match="no study 'two' here; there are: one"):
        load_study(storage, "two")


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "sqlite:///{tmp}/no/such/folder/studies.db",
        "sqlite:///{tmp}/not-a-database.db",
        "nosuchdatabase://user:hunter2@localhost/x",
    ],
)
def test_an_unusable_storage_is_one_line_without_the_password(tmp_path: Path, url):
    (tmp_path / "not-a-database.db").write_text("not a database, although its name says so\n" * 100)
    with pytest.raises(InputError) as caught:
        open_storage(url.format(tmp=tmp_path))
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_plain_sqlite_can_read_the_file(tmp_path: Path):
    study = open_study(open_storage(f"sqlite:///{tmp_path}/studies.db"), "one", SETTINGS)
    study.sampler = make_sampler("random", 0)
    run_trials(study, objective, 0, StopRule(2))
    with sqlite3.connect(tmp_path / "studies.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM trials").fetchone()[0] == len(study.trials)
    database.close()
