"""The main job as processes of its own: killed, side by side, without a compiler, a network or MNIST."""

import json
import os
import signal
import sqlite3
import subprocess

import pandas as pd
import pytest

from benchmarks.kills import children, servers
from search.search_space.space_file import as_file
from search.study.trials import TRAINED
from tests.crash.searches import command, is_alive, started, suspend_in_training, wait_until
from tests.search.digits_runs import MNIST, in_training, search, trials, wait_for_training
from tests.search.sampling.test_exhaustion import config_of


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_trial_run_again(tmp_path, inside, digits):
    arguments = (*digits, "--study", "s", "--trials", 6, "--jobs", 2, "--epochs", 1)
    with started(tmp_path, *arguments) as process:
        (victim,) = suspend_in_training(lambda: in_training(tmp_path, "s", 2)[:1])
        os.kill(victim, signal.SIGKILL)
        _, message = process.communicate(timeout=240)
        assert process.returncode == 0, message
    found = trials(tmp_path, "s")
    lost = [trial.number for trial in found if trial.state.name == "FAIL"]
    assert [trial.user_attrs["retry_of"] for trial in found if "retry_of" in trial.user_attrs] == lost != []
    assert 6 <= sum(trial.user_attrs.get("outcome") in TRAINED for trial in found) <= 7
    # More starting points are queued than trials were asked for.
    ended = [trial for trial in found if trial.state.name not in ("FAIL", "WAITING")]
    assert len({trial.user_attrs["index"] for trial in ended if "outcome" in trial.user_attrs}) == len(ended)
    with sqlite3.connect(tmp_path / "studies" / "studies.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()
    # Trained beside others, and again alone.
    assert inside(tmp_path, "rerun", "s")[0] == 0


@pytest.mark.slow
def test_workers_end_when_the_space_has_no_further_candidate(tmp_path, digits):
    (tmp_path / "point.toml").write_text(as_file(config_of({"activation": '["relu", "silu"]'})))
    arguments = ("--study", "s", "--space", "point.toml", "--trials", 50, "--jobs", 2, "--confirm", "1:1")
    result = search(tmp_path, *digits, *arguments, "--budget", 8000)
    assert result.returncode == 0, result.stderr
    assert "The search ended early: the space has 2 candidates within the budget" in result.stdout
    assert "mean of 1 fresh seed" in result.stdout


@pytest.mark.slow
def test_workers_end_with_the_server_they_come_from_and_with_a_killed_main_process(tmp_path, digits):
    def are_gone(workers):
        return wait_until(lambda: not any(map(is_alive, workers)), "workers are left", patience=30)

    # Trainings so long that the workers cannot simply have come to their end.
    with started(tmp_path, *digits, "--study", "s", "--trials", 50, "--jobs", 2, "--epochs", 1000) as process:
        first = wait_for_training(process, tmp_path, "s", 2)
        (server,) = servers(process.pid)
        os.kill(server, signal.SIGKILL)
        assert are_gone(first)
        second = wait_until(lambda: len(found := children(process.pid)) == 2 and found, "none took their place")
        second += servers(process.pid)
        assert set(second).isdisjoint([*first, server])
        assert process.poll() is None
        wait_for_training(process, tmp_path, "s", 4)
        found = trials(tmp_path, "s")
        lost = {trial.number for trial in found if trial.state.name == "FAIL"}
        assert {trial.user_attrs["retry_of"] for trial in found if "retry_of" in trial.user_attrs} == lost != set()
        process.kill()
        process.wait()
    assert are_gone(second)


@pytest.mark.slow
def test_one_study_is_run_by_one_process_at_a_time(tmp_path, digits):
    arguments = (*digits, "--study", "s", "--trials", 50, "--jobs", 1, "--epochs", 1)
    with started(tmp_path, *arguments) as process:
        wait_for_training(process, tmp_path, "s", 1)
        done = search(tmp_path, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is being run by another process" in done.stderr


@pytest.mark.slow
def test_without_a_compiler_pytorch_trains_and_the_plan_says_why(tmp_path, digits):
    arguments = (*digits, "--study", "s", "--trials", 1, "--jobs", 1, "--epochs", 1)
    environment = {**os.environ, "CXX": "/no/such/compiler"}
    done = subprocess.run(
        command(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "PyTorch's operators ([Errno 2] No such file or directory: '/no/such/compiler')" in done.stdout
    assert set(pd.read_csv(tmp_path / "studies" / "s" / "trials.csv").engine.dropna()) == {"torch"}


@pytest.mark.slow
@pytest.mark.skipif(not (MNIST / "MNIST").is_dir(), reason="no MNIST in ../shared/data")
def test_two_workers_on_mnist(tmp_path):
    small = ("--budget", 2000, "--max-macs", 100_000, "--confirm", "none")
    done = search(tmp_path, *small, "--trials", 2, "--jobs", 2, "--epochs", 1, "--data-dir", MNIST)
    assert (done.returncode, done.stderr) == (0, "")
    study = tmp_path / "studies" / "mnist-2000"
    card = json.loads((study / "winner" / "card.json").read_text())
    assert card["data"]["n_images"] == {"train": 60_000, "test": 10_000}
    assert card["accuracy"]["file_on_test"] == card["accuracy"]["recorded"] > 0.5
    assert pd.read_csv(study / "trials.csv").n_params.notna().all()
    assert card["cost"]["n_params"] <= 2000
    assert card["cost"]["macs"] <= 100_000


@pytest.mark.slow
def test_without_mnist_and_network_digits_stand_in_and_nobody_can_overlook_it(tmp_path):
    # A proxy that is not there: every download fails at once.
    environment = os.environ | dict.fromkeys(
        ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://[::1]:9"
    )
    environment.pop("DATA_DIR", None)
    arguments = ("--budget", 8000, "--trials", 1, "--jobs", 1, "--epochs", 1, "--confirm", "none", "--study", "mine")
    done = subprocess.run(
        command(*arguments), cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "THIS IS NOT MNIST" in done.stderr
    assert "THIS IS NOT MNIST" in done.stdout
    assert "THIS IS NOT MNIST" in (tmp_path / "studies" / "mine-digits" / "report.md").read_text()
