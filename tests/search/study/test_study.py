import json
import multiprocessing
import sqlite3
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from search.errors import InputError
from search.sampling.proposals import Start
from search.sampling.samplers import make_sampler
from search.storage.open import open_storage
from search.study.loop import MAX_REFUSED_IN_A_ROW, StopRule, n_trained, run_trials
from search.study.pruner import make_pruner
from search.study.seeds import derived_seed
from search.study.study import enqueue, load_study, open_study
from search.study.trials import DIVERGED, FINISHED, REFUSED, STOPPED, TrialFailedError
from search.workers.recovery import requeue_abandoned

SETTINGS = {"budget": 8000, "dataset": "mnist", "epochs": 15}


def memory_study(sampler: str = "tpe", seed: int = 0, start: Start | None = None) -> optuna.Study:
    found = make_sampler(sampler, seed, start)
    return optuna.create_study(direction="maximize", sampler=found, pruner=make_pruner("none", 1))


def objective(trial: optuna.Trial) -> float:
    """A search space with a limit, and a value that depends on the point and on the seed given to the training."""
    x, n = trial.suggest_float("x", 0, 1), trial.suggest_int("n", 1, 100, log=True)
    trial.set_constraint("n", n / 50 - 1)
    if n > 50:
        trial.set_user_attr("outcome", REFUSED)
        raise optuna.TrialPruned
    trial.set_user_attr("outcome", FINISHED)
    return x + 1e-12 * trial.user_attrs["seed"]


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
    assert requeue_abandoned(study, running_are_abandoned=True) == 0


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


@pytest.mark.parametrize("kind", ["baseline", "start"])
def test_named_starts_are_queued_once_and_first(kind):
    study = memory_study()
    starts = {"one": {"x": 0.25, "n": 3}, "two": {"x": 0.75, "n": 5}}
    enqueue(study, starts, kind)
    run_trials(study, objective, 0, StopRule(3))
    enqueue(study, starts, kind)
    assert [trial.params for trial in study.trials[:2]] == list(starts.values())
    assert [trial.user_attrs.get(kind) for trial in study.trials] == ["one", "two", *[None] * (len(study.trials) - 2)]
    assert not study.get_trials(states=(TrialState.WAITING,))


def test_starts_of_two_kinds_may_share_a_name():
    study = memory_study()
    for kind in ("baseline", "start"):
        enqueue(study, {"one": {"x": 0.25, "n": 3}}, kind)
    assert [{"baseline", "start"} & set(trial.user_attrs) for trial in study.trials] == [{"baseline"}, {"start"}]


def adopt(study: optuna.Study, x: float) -> None:
    """Add a finished trial of another study."""
    attrs = {"outcome": FINISHED, "origin": "other/7", "seed": 11}
    study.add_trial(
        create_trial(value=x, params={"x": x}, distributions={"x": FloatDistribution(0, 1)}, user_attrs=attrs)
    )


def test_adopted_trials_take_no_place_and_count_as_nothing():
    whole, warm = memory_study("random"), memory_study("random")
    run_trials(whole, objective, 0, StopRule(6))
    adopt(warm, 0.5)
    run_trials(warm, objective, 0, StopRule(2))
    assert n_trained(warm.trials) == 2
    adopt(warm, 0.6)
    run_trials(warm, objective, 0, StopRule(6))
    own = [trial for trial in warm.trials if "origin" not in trial.user_attrs]
    assert len(own) == len(warm.trials) - 2
    # The same proposals and seeds as without them.
    assert [trial.user_attrs["index"] for trial in own] == list(range(len(own)))
    for ours, theirs in zip(own, whole.trials, strict=True):
        assert (ours.params, ours.user_attrs["seed"]) == (theirs.params, theirs.user_attrs["seed"])


def test_sqlite_storage_waits_instead_of_failing_and_does_not_block_readers(tmp_path: Path):
    storage = open_storage(f"sqlite:///{tmp_path}/studies.db")
    with storage.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 60_000


def claim_all(url: str, ready, claimed) -> None:
    """A worker that takes queued trials as fast as it can."""
    study = load_study(open_storage(url), "one")
    mine = []
    ready.wait()
    while "start" in (trial := study.ask()).user_attrs:
        mine.append(trial.user_attrs["start"])
        study.tell(trial, 1.0)
    claimed.put(mine)


@pytest.mark.slow
def test_no_queued_trial_is_claimed_twice(tmp_path: Path):
    url = f"sqlite:///{tmp_path}/studies.db"
    names = [str(number) for number in range(60)]
    enqueue(open_study(open_storage(url), "one", SETTINGS), {name: {} for name in names}, "start")
    context = multiprocessing.get_context("spawn")
    ready, claimed = context.Barrier(3), context.Queue()
    workers = [context.Process(target=claim_all, args=(url, ready, claimed), daemon=True) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(name for _ in workers for name in claimed.get(timeout=10)) == sorted(names)


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
