"""Confirmation and noise floor of a finished search as their user runs them: real trainings on the embedded digits."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from optuna.trial import TrialState, create_trial

from models.build import build_model
from models.spec import ArchSpec
from search.config import ConfirmConfig, DataConfig
from search.data.load import load_dataset
from search.engine.train import evaluate
from search.evidence.read import repeats_of
from search.evidence.repeats import CHOOSE, NOISE, REPORT, Repeat
from search.evidence.runner import confirmation_size
from search.storage.open import open_storage
from search.study import training
from search.study.location import StudyLocation
from search.study.study import load_study
from search.study.training import weights_path
from tests.crash.searches import suspend_in_training
from tests.search.digits_confirmations import (
    STUDY,
    card,
    confirm,
    files,
    identities,
    in_training,
    null,
    outcome,
    repeats,
    run,
    started,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    return lambda out: shutil.copytree(out, tmp_path / "copy")


# Confirmation


@pytest.mark.parametrize(
    ("settings", "baseline", "n_trials", "words"),
    [
        (None, True, 9, "confirm  nothing"),
        (
            ConfirmConfig(3, 3, 10),
            True,
            9,
            "confirm  at most 29 trainings: 3 trials from 3 fresh seeds each, then the winner and a hand-designed "
            "network from 10",
        ),
        (
            ConfirmConfig(2, 2),
            False,
            9,
            "confirm  6 trainings: 2 trials from 2 fresh seeds each, then the winner from 2",
        ),
        (
            ConfirmConfig(5, 1),
            False,
            2,
            "confirm  3 trainings: 2 trials from 1 fresh seed each, then the winner from 1",
        ),
        (ConfirmConfig(1, 4), False, 9, "confirm  4 trainings: the winner from 4"),
        (ConfirmConfig(1, 1), False, 9, "confirm  1 training: the winner from 1"),
    ],
)
def test_the_plan_counts_the_trainings_of_a_confirmation(
    settings: ConfirmConfig | None, baseline: bool, n_trials: int, words: str
) -> None:
    trials = [create_trial(state=TrialState.WAITING, user_attrs={"baseline": "s004_net3"} if baseline else {})]
    lines = confirmation_size(settings, trials, n_trials).splitlines()
    assert " ".join(line.strip() for line in lines) == words
    assert max(map(len, lines)) <= 80


@pytest.mark.slow
def test_what_a_confirmation_trains(searched: Path, confirmed: Path) -> None:
    found = repeats(confirmed)
    assert {trial.state for trial in found} == {TrialState.COMPLETE}
    assert [identity[0] for identity in identities(found)][:4] == [CHOOSE] * 4
    assert {identity[0] for identity in identities(found)[4:]} == {REPORT}
    assert {identity[5] for identity in identities(found)} == {"test"}
    assert {trial.user_attrs["n_params"] for trial in found} < {7784, 7108, 6280}
    searching = load_study(open_storage(f"sqlite:///{confirmed}/studies.db"), STUDY).trials
    assert len(searching) == len(load_study(open_storage(f"sqlite:///{searched}/studies.db"), STUDY).trials)
    assert not {trial.user_attrs.get("seed") for trial in searching} & {trial.user_attrs["seed"] for trial in found}
    kept = {path.name for path in (confirmed / STUDY / "repeats").iterdir()}
    assert kept == {weights_path(Path(), trial.number).name for trial in found}


@pytest.mark.slow
def test_the_winner_s_card_and_weights_are_those_of_the_median_network(confirmed: Path) -> None:
    found = card(confirmed)
    facts = found["confirmation"]
    of_winner = {
        identity: value
        for identity, (value, _) in outcome(confirmed).items()
        if identity[:2] == (REPORT, found["trial"])
    }
    assert facts["accuracy"]["n"] == len(of_winner) == 2
    assert facts["accuracy"]["mean"] == pytest.approx(sum(of_winner.values()) / 2)
    accuracy = found["accuracy"]
    assert accuracy["recorded"] == accuracy["file_on_test"] == min(of_winner.values())
    assert found["seed"] in {identity[4] for identity in of_winner if of_winner[identity] == accuracy["recorded"]}
    assert (accuracy["scored_on"], accuracy["select_on"]) == ("test", "test")
    model = build_model(ArchSpec.from_dict(found["arch"]))
    weights = torch.load(confirmed / STUDY / "winner" / "weights.pt", weights_only=True)
    model.load_state_dict(weights)
    data = load_dataset(DataConfig("digits", "unused"))
    assert evaluate(model, data.scored, data) == accuracy["recorded"]


@pytest.mark.slow
def test_a_winner_whose_weights_were_lost_is_trained_again(
    confirmed: Path, copied: Callable[[Path], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(confirmed)
    before = card(out)
    for name in ("repeats", "winner", "weights"):
        shutil.rmtree(out / STUDY / name)
    assert run("export", out / STUDY) == 2
    assert f"; `search.py rerun {STUDY}` trains it again\n" in capsys.readouterr().err
    assert run("rerun", out / STUDY) == 0
    said = capsys.readouterr().out
    assert f"trial {before['trial']} from seed {before['seed']}: " in said
    assert "again: the same\n" in said
    assert run("export", out / STUDY) == 0
    assert card(out)["sha256"] == before["sha256"]
    # Nobody asks for those of the other trainings.
    assert len([*(out / STUDY / "repeats").iterdir()]) == 1
    capsys.readouterr()
    assert run("rerun", out / STUDY) == 0
    assert "there again" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_winner_has_the_highest_mean_of_the_first_round(confirmed: Path) -> None:
    contenders = card(confirmed)["confirmation"]["contenders"]
    best = max(contenders, key=lambda one: one["choice"]["mean"])
    assert (len(contenders), card(confirmed)["trial"]) == (2, best["trial"])
    for one in contenders:
        values = [value for key, (value, _) in outcome(confirmed).items() if key[:2] == (CHOOSE, one["trial"])]
        assert one["choice"]["mean"] == pytest.approx(sum(values) / 2)


@pytest.mark.slow
def test_both_reports_show_the_confirmation(confirmed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", confirmed / STUDY) == 0
    printed = capsys.readouterr().out
    written = (confirmed / STUDY / "report.md").read_text()
    assert "\nConfirmation\n" in printed
    assert "\n## Confirmation\n" in written
    mean = f"{100 * card(confirmed)['confirmation']['accuracy']['mean']:.2f} %, mean of 2 fresh seeds"
    for text in (printed, written):
        assert mean in " ".join(text.split())
    assert "selected on test" in written.split("## Confirmation")[0].split("## Winner")[1]


@pytest.mark.slow
def test_the_same_confirmation_again_trains_nothing_and_writes_the_same(
    confirmed: Path, copied: Callable[[Path], Path], trainings: list[Repeat]
) -> None:
    out = copied(confirmed)
    before = files(out / STUDY)
    assert len(before) >= 6
    assert confirm(out, "2:2") == 0
    assert (trainings, files(out / STUDY)) == ([], before)


@pytest.mark.slow
def test_more_seeds_train_only_what_is_missing(
    confirmed: Path, copied: Callable[[Path], Path], trainings: list[Repeat]
) -> None:
    out = copied(confirmed)
    done = outcome(out)
    assert confirm(out, "2:3") == 0
    assert not {repeat.identity for repeat in trainings} & done.keys()
    assert [repeat.purpose for repeat in trainings[:2]] == [CHOOSE, CHOOSE]
    assert card(out)["confirmation"]["accuracy"]["n"] == 3
    assert done.items() <= outcome(out).items()


@pytest.mark.slow
def test_other_code_does_not_go_on_with_a_confirmation_unless_it_is_told_to(
    confirmed: Path,
    copied: Callable[[Path], Path],
    trainings: list[Repeat],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = copied(confirmed)
    monkeypatch.setattr("search.study.results_version.version_of", lambda _name: "1.2.3")
    for command in (lambda: confirm(out, "2:3"), lambda: null(out, "--runs", 1)):
        capsys.readouterr()
        assert command() == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"study '{STUDY}-repeats' was made with other versions (torch " in said
    assert trainings == []
    assert null(out, "--runs", 1, "--changed-code") == 0
    assert [repeat.purpose for repeat in trainings] == [NOISE]


@pytest.mark.slow
@pytest.mark.parametrize("n_before", [1, 5])
def test_an_interrupted_confirmation_goes_on_where_it_stopped(
    searched: Path,
    confirmed: Path,
    copied: Callable[[Path], Path],
    trainings: list[Repeat],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    n_before: int,
) -> None:
    out = copied(searched)
    train = training.train

    def interrupted(*arguments: Any, **options: Any) -> Any:
        if len(trainings) > n_before:
            raise KeyboardInterrupt
        return train(*arguments, **options)

    with monkeypatch.context() as limited:
        limited.setattr(training, "train", interrupted)
        assert confirm(out, "2:2") == 130
    total = 4 if n_before < 4 else len(outcome(confirmed))
    verb = "is" if n_before == 1 else "are"
    kept = f"{n_before} of {total} trainings {verb} done and kept; repeat the command to continue."
    assert capsys.readouterr().err == f"{kept}\nsearch.py: interrupted\n"
    assert len(outcome(out)) == n_before
    assert card(out)["confirmation"] is None
    trainings.clear()
    assert confirm(out, "2:2") == 0
    assert len(trainings) == len(outcome(confirmed)) - n_before
    assert outcome(out) == outcome(confirmed)
    assert card(out)["confirmation"] == card(confirmed)["confirmation"]


@pytest.mark.slow
def test_a_repeat_lost_with_a_killed_worker_is_trained_again(searched: Path, copied: Callable[[Path], Path]) -> None:
    out = copied(searched)
    with started("confirm", out / STUDY, "--confirm", "1:3", "--jobs", 2) as process:
        (victim,) = suspend_in_training(lambda: in_training(out)[:1])
        os.kill(victim, signal.SIGKILL)
        _, message = process.communicate(timeout=300)
        assert process.returncode == 0, message
    found = repeats(out)
    lost = [trial for trial in found if trial.state == TrialState.FAIL]
    again = [trial for trial in found if "retry_of" in trial.user_attrs]
    assert [trial.user_attrs["retry_of"] for trial in again] == [trial.number for trial in lost] != []
    assert identities(again) == identities(lost)
    assert {trial.state for trial in again} == {TrialState.COMPLETE}
    done = [trial for trial in found if trial.state == TrialState.COMPLETE]
    assert (
        len(set(identities(done)))
        == len(done)
        == card(out)["confirmation"]["accuracy"]["n"] * len({identity[1] for identity in identities(done)})
    )
    assert card(out)["accuracy"]["file_on_test"] == card(out)["accuracy"]["recorded"]


def test_every_candidate_diverged(
    searched: Path,
    copied: Callable[[Path], Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def diverge(*_arguments: object, **_options: object) -> None:
        raise training.TrainingDivergedError("the training loss became nan in epoch 1")

    monkeypatch.setattr(training, "train", diverge)
    assert confirm(copied(searched), "2:2") == 2
    error = capsys.readouterr().err
    assert (error.count("\n"), "every candidate diverged on a fresh seed" in error) == (1, True)


def test_to_confirm_with_nothing_is_refused(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert confirm(searched, "none") == 2
    assert capsys.readouterr().err == "search.py: nothing to confirm with --confirm none; give K:SEEDS\n"


# The noise floor


@pytest.mark.slow
def test_the_noise_floor_is_measured_reported_and_used(
    confirmed: Path, copied: Callable[[Path], Path], trainings: list[Repeat], capsys: pytest.CaptureFixture[str]
) -> None:
    out = copied(confirmed)
    before = {name: content for name, content in files(out / STUDY).items() if "winner" in name}
    assert null(out, "--runs", 2) == 0
    printed, written = capsys.readouterr().out, (out / STUDY / "report.md").read_text()
    table = pd.read_csv(out / STUDY / "trials.csv")
    best = table[table.baseline.notna()].dropna(subset="value").sort_values("value").iloc[-1]
    assert {repeat.identity[:2] for repeat in trainings} == {(NOISE, best.number)}
    assert "\nNoise floor\n" in printed
    assert f"\n## Noise floor\n\n- Trial {best.number} trained 2 times: mean " in written
    assert f"measured here: trial {best.number}, 2 seeds" in written
    assert {name: content for name, content in files(out / STUDY).items() if "winner" in name} == before

    trainings.clear()
    assert null(out, "--runs", 2) == 0
    assert trainings == []
    assert null(out, "--runs", 3) == 0
    assert len(trainings) == 1
    assert "trained 3 times" in (out / STUDY / "report.md").read_text()

    # Of another trial, which takes over when it was trained more often.
    other = next(number for number in table.number[table.value.notna()] if number != best.number)
    assert null(out, "--runs", 4, "--trial", other) == 0
    assert f"- Trial {other} trained 4 times" in (out / STUDY / "report.md").read_text()


def test_noise_of_a_trial_that_has_none(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert null(searched, "--trial", 99) == 2
    assert capsys.readouterr().err == "search.py: trial 99 is not a finished one; those are 0, 1, 2\n"


def test_of_a_study_where_nothing_was_trained_again(searched: Path) -> None:
    assert repeats_of(StudyLocation(searched, STUDY)) == ([], None)
    assert card(searched)["confirmation"] is None
