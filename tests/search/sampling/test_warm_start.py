"""Trials taken over from other studies: which, with what, and that they are no proposals of who takes them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import space
from models.baselines import BASELINES
from models.cost import compute_cost
from search.cli.main import main
from search.config import AUGMENTATIONS
from search.errors import InputError
from search.limits import refusal
from search.report.summary import summarise
from search.sampling.samplers import make_sampler
from search.sampling.warm_start import warm_start
from search.storage.open import open_storage
from search.study import training
from search.study.location import StudyLocation
from search.study.loop import StopRule, n_trained, run_trials
from search.study.seeds import derived_seed
from search.study.study import enqueue, open_study
from search.study.trials import DIVERGED, FINISHED, REFUSED, REPEATED, STOPPED, read_trials
from search.workers.recovery import requeue_abandoned
from space import Params
from tests.search.made_up_trials import CONFIG

SETTINGS = CONFIG.settings() | {"data_checksum": "abc", "space": space.SPACE_KEY}
BIG, SMALL = (space.to_params(BASELINES[name].spec) for name in ("s001_model3", "s002_model2"))  # 7,784 and 6,280


def with_lr(point: Params, lr: float) -> Params:
    return point | {"sgd.lr": lr}


def study(out: Path, name: str, **settings: Any) -> optuna.Study:
    found = open_study(open_storage(f"sqlite:///{out}/studies.db"), name, SETTINGS | settings)
    found.sampler = make_sampler("random", 0)
    return found


def add(
    study: optuna.Study, point: Params, value: float | None = None, outcome: str = FINISHED, **attrs: Any
) -> FrozenTrial:
    """A trial as the objective leaves it."""
    study.enqueue_trial(point)
    trial = study.ask()
    candidate = space.suggest(trial)
    cost = compute_cost(candidate.arch)
    for name, excess in refusal(cost, CONFIG)[0].items():
        trial.set_constraint(name, excess)
    facts = {"outcome": outcome, "n_params": cost.n_params, "macs": cost.macs, "index": trial.number, "seed": 5}
    if outcome not in (REFUSED, REPEATED):
        facts |= {"candidate": candidate.key(), "arch": candidate.arch.to_dict(), "recipe": candidate.recipe.to_dict()}
    for name, fact in (facts | attrs).items():
        trial.set_user_attr(name, fact)
    trial.report(0.5, 1)
    states = {FINISHED: TrialState.COMPLETE, REPEATED: TrialState.COMPLETE, DIVERGED: TrialState.FAIL}
    study.tell(trial, value, state=states.get(outcome, TrialState.PRUNED))
    return study.trials[-1]


def adopt(study: optuna.Study, out: Path, *names: str, **limits: Any) -> list[FrozenTrial]:
    """The trials that `study` adopts within `limits`."""
    before = len(study.trials)
    n_adopted = warm_start(study, replace(CONFIG, **limits), [StudyLocation(out, name) for name in names])
    found = study.trials[before:]
    assert len(found) == n_adopted
    return found


# What is adopted


def test_only_finished_trials_are_adopted(tmp_path: Path) -> None:
    source = study(tmp_path, "source")
    kept = [add(source, with_lr(SMALL, 0.1), 0.991), add(source, with_lr(SMALL, 0.2), 0.993)]
    add(source, with_lr(SMALL, 0.1), 0.991, REPEATED)
    for i, outcome in enumerate((STOPPED, DIVERGED, REFUSED)):
        add(source, with_lr(SMALL, 0.3 + i / 10), None, outcome)
    source.ask()  # running
    source.enqueue_trial(SMALL)
    found = adopt(study(tmp_path, "new"), tmp_path, "source")
    assert [trial.value for trial in found] == [0.991, 0.993]
    assert [trial.user_attrs["candidate"] for trial in found] == [trial.user_attrs["candidate"] for trial in kept]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "n_adopted"),
    [
        ({"max_params": 8000}, 2),
        ({"max_params": 7784}, 2),
        ({"max_params": 7783}, 1),
        ({"max_params": 6279}, 0),
        ({"max_params": 8000, "max_macs": 800_000}, 1),
        ({"max_params": 8000, "max_memory": 1}, 0),
    ],
    ids=str,
)
def test_only_what_fits_is_adopted_with_the_constraints_of_the_new_limits(
    tmp_path: Path, limits: dict[str, int], n_adopted: int
) -> None:
    source = study(tmp_path, "source")
    add(source, BIG, 0.992)
    add(source, SMALL, 0.991)
    found = adopt(study(tmp_path, "new"), tmp_path, "source", **limits)
    assert len(found) == n_adopted
    for trial in found:
        assert trial.constraints["parameters"] == trial.user_attrs["n_params"] / limits["max_params"] - 1
        assert set(trial.constraints) == {"parameters"} | ({"multiply-adds"} if "max_macs" in limits else set())
        assert max(trial.constraints.values()) <= 0


def test_an_adopted_trial_is_as_it_was_but_for_its_place(tmp_path: Path) -> None:
    source = study(tmp_path, "source")
    add(source, BIG, 0.992)
    own = {"worker": 1, "retry_of": 0, "retries": 1, "start": "separable-sgd", "baseline": "s002_model2"}
    old = add(source, SMALL, 0.991, **own)
    new = study(tmp_path, "new")
    add(new, with_lr(SMALL, 0.9), 0.5)
    found = adopt(new, tmp_path, "source", max_params=7000)[0]
    for name in ("value", "params", "distributions", "intermediate_values", "state"):
        assert getattr(found, name) == getattr(old, name)
    left = {name: fact for name, fact in old.user_attrs.items() if name not in {*own, "index"}}
    assert found.user_attrs == left | {"origin": "source/1", "baseline": "s002_model2"}


def test_a_candidate_is_adopted_once(tmp_path: Path) -> None:
    for name, value in (("one", 0.991), ("two", 0.992)):
        source = study(tmp_path, name)
        add(source, SMALL, value)
        add(source, BIG, value)
    new = study(tmp_path, "new")
    add(new, BIG, None, STOPPED)  # was tried here
    found = adopt(new, tmp_path, "one", "two")
    assert [(trial.value, trial.user_attrs["origin"]) for trial in found] == [(0.991, "one/0")]
    assert adopt(new, tmp_path, "one", "two") == []
    add(study(tmp_path, "one"), with_lr(SMALL, 0.7), 0.993)
    assert [trial.user_attrs["origin"] for trial in adopt(new, tmp_path, "two", "one")] == ["one/2"]
    assert adopt(new, tmp_path, "new") == []


def test_one_that_was_adopted_keeps_its_origin(tmp_path: Path) -> None:
    add(study(tmp_path, "one"), SMALL, 0.991)
    adopt(study(tmp_path, "two"), tmp_path, "one")
    found = adopt(study(tmp_path, "three"), tmp_path, "two")
    assert [trial.user_attrs["origin"] for trial in found] == ["one/0"]


@pytest.mark.parametrize(
    ("forgotten", "changed", "n_adopted"),
    [
        # Dimensions that this space has and the other had not: at their defaults they change nothing ...
        (("stages.1.shared", "norm_scale"), {}, 1),
        # ... and elsewhere it would be another network or recipe.
        (("norm_scale",), {"norm_scale": False}, 0),
        (("label_smoothing",), {"label_smoothing": 0.1}, 0),
    ],
    ids=str,
)
def test_of_another_space_what_is_a_point_of_this_one_is_adopted_as_that(
    tmp_path: Path, forgotten: tuple[str, ...], changed: Params, n_adopted: int
) -> None:
    source, older = study(tmp_path, "source"), study(tmp_path, "older", space="another")
    trial = add(source, SMALL | changed, 0.991)
    older.add_trial(
        optuna.trial.create_trial(
            value=trial.value,
            params={name: value for name, value in trial.params.items() if name not in forgotten} | {"gone": 1},
            distributions={name: one for name, one in trial.distributions.items() if name not in forgotten}
            | {"gone": optuna.distributions.IntDistribution(1, 2)},
            user_attrs=trial.user_attrs,
        )
    )
    found = adopt(study(tmp_path, "new"), tmp_path, "older")
    assert len(found) == n_adopted
    for one in found:
        assert one.params == SMALL
        assert one.distributions == trial.distributions


@pytest.mark.parametrize("mirror_p", [0.0, 0.5])
def test_trials_of_studies_without_some_augmentations_are_adopted_with_those_of_their_recipes(
    tmp_path: Path, mirror_p: float
) -> None:
    source = study(tmp_path, "source", **({"mirror": True} if mirror_p else {}))
    recipe = space.assemble(SMALL).recipe
    recipe = replace(recipe, augmentation=replace(recipe.augmentation, mirror_p=mirror_p))
    add(source, SMALL, 0.991, recipe=recipe.to_dict())
    (found,) = adopt(study(tmp_path, "new"), tmp_path, "source", augmentations=AUGMENTATIONS)
    further = {dimension.name: 0.0 for dimension in space.FURTHER_AUGMENTATIONS}
    assert found.params == SMALL | further | {"mirror_p": mirror_p}
    assert adopt(study(tmp_path, "plain"), tmp_path, "source", augmentations=()) == []


def test_what_a_narrower_space_has_no_room_for_is_not_adopted(tmp_path: Path) -> None:
    add(study(tmp_path, "source"), with_lr(SMALL, 0.1), 0.991)
    assert adopt(study(tmp_path, "new"), tmp_path, "source", dimensions=("sgd.lr = {low = 0.2, high = 1.0}",)) == []


# What is refused


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "dataset",
        "data_checksum",
        "select_on",
        "held_out",
        "epochs",
        "score",
        "metric",
        "image_size",
    ],
)
def test_values_that_mean_something_else_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    source = study(tmp_path, "source", **{name: "other"})
    add(source, SMALL, 0.991)
    new = study(tmp_path, "new")
    with pytest.raises(InputError) as caught:
        adopt(new, tmp_path, "source")
    expected = f"study 'source' cannot start 'new': its {name} is other, here {SETTINGS.get(name)}; name another --warm"
    assert str(caught.value) == expected
    assert new.trials == []


@pytest.mark.parametrize(("limit", "n_adopted"), [(None, 3), (2.0, 1), (1.5, 1), (1.4, 0)])
def test_only_what_was_fast_enough_is_adopted(tmp_path: Path, limit: float | None, n_adopted: int) -> None:
    source = study(tmp_path, "source")
    for lr, attrs in ((0.1, {"latency_ms": 1.5}), (0.2, {"latency_ms": 2.5}), (0.3, {})):
        add(source, with_lr(SMALL, lr), 0.991, **attrs)
    found = adopt(study(tmp_path, "new"), tmp_path, "source", max_latency=limit)
    assert len(found) == n_adopted
    assert all(("latency" in trial.constraints) == (limit is not None) for trial in found)


@pytest.mark.parametrize(
    "settings", [{"budget": 9000}, {"seed": 5}, {"sampler": "random"}, {"pruner": "none"}, {"max_macs": 10**7}], ids=str
)
def test_other_settings_do_not_matter(tmp_path: Path, settings: Mapping[str, Any]) -> None:
    add(study(tmp_path, "source", **settings), SMALL, 0.991)
    assert len(adopt(study(tmp_path, "new"), tmp_path, "source")) == 1


def test_a_study_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no study 'nowhere' here; there are: new"):
        adopt(study(tmp_path, "new"), tmp_path, "nowhere")


# What it is to the study


def fake_objective(trial: optuna.Trial) -> float:
    """As the real one, but for the training."""
    candidate = space.suggest(trial)
    trial.set_user_attr("candidate", candidate.key())
    trial.set_user_attr("outcome", FINISHED)
    return random.Random(trial.user_attrs["seed"]).random()


def test_adopted_trials_neither_count_nor_take_a_place(tmp_path: Path) -> None:
    source = study(tmp_path, "source")
    for i in range(3):
        add(source, with_lr(SMALL, 0.1 + i / 10), 0.99)
    alone, warm = study(tmp_path, "alone"), study(tmp_path, "warm")
    run_trials(alone, fake_objective, 0, StopRule(5))

    adopt(warm, tmp_path, "source")
    assert n_trained(warm.trials) == 0
    run_trials(warm, fake_objective, 0, StopRule(2))
    add(source, with_lr(SMALL, 0.8), 0.99)
    assert len(adopt(warm, tmp_path, "source")) == 1
    warm.ask()  # lost, with the place it had
    requeue_abandoned(warm, running_are_abandoned=True)
    run_trials(warm, fake_objective, 0, StopRule(5))

    own = [trial for trial in warm.trials if "origin" not in trial.user_attrs and trial.value is not None]
    assert [trial.user_attrs["index"] for trial in own] == list(range(5))
    assert [trial.user_attrs["seed"] for trial in own] == [derived_seed(0, "training", i) for i in range(5)]
    # A random search proposes what it would have proposed without them.
    assert [trial.params for trial in own] == [trial.params for trial in alone.trials]
    assert n_trained(warm.trials) == 5


def test_a_hand_designed_network_that_was_adopted_is_not_trained_again_but_shown(tmp_path: Path) -> None:
    add(study(tmp_path, "source"), SMALL, 0.9912, baseline="s002_model2")
    new = study(tmp_path, "new")
    adopt(new, tmp_path, "source")
    enqueue(new, {"s002_model2": SMALL, "s001_model3": BIG}, "baseline")
    waiting = new.get_trials(states=(TrialState.WAITING,))
    assert [trial.user_attrs["baseline"] for trial in waiting] == ["s001_model3"]
    summary = summarise("new", CONFIG, read_trials(new.trials))
    assert {one.id: one.value for one in summary.baselines}["s002_model2"] == 0.9912
    assert (summary.counts.adopted, summary.counts.feasible, summary.counts.proposed) == (1, 0, 0)


def test_the_starting_points_of_a_larger_budget_are_still_tried(tmp_path: Path) -> None:
    add(study(tmp_path, "source"), SMALL, 0.991, start="separable-sgd")
    new = study(tmp_path, "new")
    adopt(new, tmp_path, "source")
    enqueue(new, {"separable-sgd": BIG}, "start")
    assert len(new.get_trials(states=(TrialState.WAITING,))) == 1


# As its user has it


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_search_that_starts_from_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in arguments])
        return status, *capsys.readouterr()

    digits = ("--dataset", "digits", "--epochs", 1, "--jobs", 1, "--out", tmp_path, "--confirm", "none")
    assert run("--budget", 8000, "--trials", 1, *digits)[0] == 0

    def diverge(*_arguments: object, **_options: object) -> None:
        raise training.TrainingDivergedError("the training loss became nan in epoch 1")

    smaller = ("--budget", 7999, "--trials", 1, *digits, "--warm", tmp_path / "digits-8000")
    with monkeypatch.context() as failing:
        # So the adopted trial is the best for certain.
        failing.setattr(training, "train", diverge)
        status, out, err = run(*smaller)
    assert (status, err) == (0, "")
    assert "adopted  1 finished trial of other studies\n" in out
    assert "adopted from other studies: 1\n" in out
    assert "feasible / proposed: 1 / 1 " in out
    assert "Written to " in out
    assert not (tmp_path / "digits-7999" / "winner").exists()
    assert "digits-8000/0" in (tmp_path / "digits-7999" / "trials.csv").read_text()

    # A study that has all its trials stays as it is.
    assert run("--budget", 8000, "--trials", 3, *digits)[0] == 0
    status, out, _ = run(*smaller)
    assert (status, "adopted  " in out) == (0, False)

    status, _, err = run("export", tmp_path / "digits-7999")
    assert status == 2
    assert err == "search.py: trial 0 was adopted from digits-8000/0; export it there, or confirm digits-7999\n"

    status, _, err = run("--budget", 7998, "--trials", 1, *digits, "--seed", 1, "--warm", tmp_path / "digits-7999")
    assert (status, err) == (0, "")
    status, _, err = run("--budget", 7997, *digits, "--score", "best", "--warm", tmp_path / "digits-8000")
    assert (status, err.count("\n")) == (2, 1)
    assert "study 'digits-8000' cannot start 'digits-7997': its score is last, here best" in err


@pytest.mark.usefixtures("one_thread")
def test_a_search_finds_a_study_to_start_from_in_its_own_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = f"sqlite:///{tmp_path}/own.db"
    common = ["--dataset", "digits", "--epochs", "1", "--jobs", "1", "--confirm", "none", "--trials", "1"]
    common += ["--out", str(tmp_path), "--storage", storage]
    assert main(["--budget", "8000", *common]) == 0
    assert main(["--budget", "7999", *common, "--warm", "digits-8000"]) == 0
    assert "adopted  1 finished trial of other studies\n" in capsys.readouterr().out
    assert main(["--budget", "7999", *common, "--warm", "digits-80000"]) == 2
    assert "there is no study 'digits-80000' here; the nearest is 'digits-8000'" in capsys.readouterr().err
