import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from search.cli.main import COMMANDS, main, make_parser
from search.config import ConfirmConfig
from search.storage.open import open_storage
from search.study.study import open_study

ROOT = Path(__file__).resolve().parents[3]
SEARCH = ["--budget", "8000", "--dataset", "digits", "--trials", "1", "--epochs", "1"]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of one command."""
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse's own way out
        status = stop.code if isinstance(stop.code, int) else 1
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--budget"),
        (["--budget"], "--budget: expected one argument"),
        (["--budget", "8000", "--budgets", "3"], "unrecognized arguments: --budgets"),
        (["--budget", "8000", "--tri", "3"], "unrecognized arguments: --tri 3"),
        (["--budget", "8000", "--bytes-in", "int8"], "bytes-in int8 counts for max-memory and max-weights-bytes"),
        ([*SEARCH, "--warm", "nowhere"], "there is no study 'nowhere'"),
        ([*SEARCH, "--study", "a/b"], "a study's name is made of"),
        ([*SEARCH, "--storage", "nodb://user:hunter2@host/x"], "got one that begins with 'nodb'"),
        ([*SEARCH, "--space", "nowhere.toml"], "nowhere.toml: cannot read the space file: No such file"),
        ([*SEARCH, "--baseline", "s004_net9"], "no hand-designed network or readable file 's004_net9'"),
        (["train"], "invalid choice: 'train'"),
        (["descirbe", "s004_net3"], "'dashboard'); did you mean describe? (see search.py --help)"),
        (["runn", "--budget", "8000"], "; did you mean run? (see"),
        (["xyz"], "'dashboard') (see search.py --help)"),
        ([*SEARCH, "--sampler", "evolved"], "; did you mean evolve? (see search.py run --help)"),
        (["describe"], "ID|FILE"),
        (["describe", "."], "no hand-designed network or readable file '.'"),
        (["report"], "STUDY"),
        (["report", "nowhere"], "there is no study 'nowhere'"),
        (["report", "a/b"], "a study's name is made of"),
        (["export", "nowhere"], "there is no study 'nowhere'"),
        (["frontier", "--budget", "2000"], "unrecognized arguments: --budget 2000"),
        (["frontier", "--baseline", "."], "no hand-designed network or readable file '.'"),
        (["confirm"], "STUDY"),
        (["confirm", "nowhere"], "there is no study 'nowhere'"),
        (["confirm", "nowhere", "--confirm", "none"], "nothing to confirm with --confirm none; give K:SEEDS"),
        (["null", "nowhere"], "there is no study 'nowhere'"),
        (["dashboard"], "nothing to browse yet"),
        (["space", "--max-latency", "1"], "unrecognized arguments: --max-latency 1"),
        (["space", "--space", "nowhere.toml"], "nowhere.toml: cannot read the space file: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert words in err
    assert err.count("\n") == 1
    assert out == ""
    assert "hunter2" not in err
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"] == []


@pytest.mark.parametrize("out", ["a file", "a file/below"])
def test_an_output_folder_that_is_a_file(capsys, tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").write_text("precious")
    status, _, err = run(capsys, *SEARCH, "--out", out)
    assert (status, err.count("\n")) == (2, 1)
    assert "cannot write to a file" in err
    assert "--out" in err
    assert (tmp_path / "a file").read_text() == "precious"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_output_folder_without_the_right_to_write(capsys, tmp_path):
    tmp_path.chmod(0o555)
    status, _, err = run(capsys, *SEARCH, "--out", str(tmp_path))
    assert (status, err.count("\n")) == (2, 1)
    assert "Permission denied" in err


def test_a_corrupt_data_file_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)  # it would be looked at before data/
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{part}-ubyte").write_bytes(b"\0" * 100)
    for dataset in ("auto", "mnist"):
        status, _, err = run(capsys, "--budget", "8000", "--dataset", dataset)
        assert (status, err.count("\n")) == (2, 1)
        assert "train-images-idx3-ubyte" in err
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a JSON file"),
        ("[1, 2", "not a JSON file"),
        ("[1, 2]", "ArchSpec must be a mapping"),
        ("{}", "ArchSpec needs the key"),
        (
            '{"input_shape": [1, 28, 28], "n_classes": 10, "stages": [], "head": {"kind": "gap_mlp"}}',
            "head kind must be one",
        ),
        ('{"input_shape": [1, 28, 28], "n_classes": 10, "stages": [], "tail": {}}', "unknown key 'tail'"),
    ],
)
def test_a_spec_file_that_is_none(capsys, tmp_path, text, words):
    (tmp_path / "spec.json").write_text(text)
    status, _, err = run(capsys, "describe", str(tmp_path / "spec.json"))
    assert (status, err.count("\n")) == (2, 1)
    assert words in err


def test_describe_for_people_and_for_programs(capsys, tmp_path):
    status, out, _ = run(capsys, "describe", "s004_net3")
    assert status == 0
    assert "7,496" in out
    status, out, _ = run(capsys, "describe", "s004_net3", "--json")
    described = json.loads(out)
    (tmp_path / "spec.json").write_text(json.dumps({"arch": described["arch"]}))
    _, again, _ = run(capsys, "describe", str(tmp_path / "spec.json"), "--json")
    assert json.loads(again)["n_params"] == described["n_params"] == 7496


def test_space_shows_every_dimension(capsys):
    status, out, _ = run(capsys, "space", "--budget", "50")
    assert status == 0
    assert "stages.1.width.1" in out
    assert "0 of 2,000 random candidates" in out


def test_a_changed_space_is_shown_beside_the_usual_one(capsys, tmp_path):
    (tmp_path / "my.toml").write_text("stages.1.width = 16\nstages = 2")
    status, out, _ = run(capsys, "space", "--space", str(tmp_path / "my.toml"), "--max-macs", "1k")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert status == 0
    assert "stages.1.width.6 16 instead of 3 to 64, log scale" in lines
    assert "stages 2 instead of 2 to 3" in lines
    assert "stages.2.width.6 3 to 64, log scale" in lines
    # 2 * (6 * 62^6 * 3 * 7 * 5 * 2 * 8)^3 * (3 * 3 * 22 * 2)^2 * 2 * 5 * 2 * 5 * 2 * 29 * 2^4 * 3^2 without
    # the 2 stages, and of the first stage 62^6 widths.
    assert "62 dimensions: 10^45 points of whole numbers and choices, and 12 of real numbers" in out
    assert "for the budget of 8,000 parameters, 1,000 multiply-adds" in out
    assert "0 of 2,000 random candidates" in out


def test_two_networks_of_one_name_are_refused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for id_ in ("s000_net", "s004_net1"):
        (tmp_path / id_).mkdir()
        _, out, _ = run(capsys, "describe", id_, "--json")
        (tmp_path / id_ / "mine.json").write_text(out)
    files = [f"{id_}/mine.json" for id_ in ("s000_net", "s004_net1")]
    status, out, err = run(capsys, *SEARCH, "--baseline", files[0], "--baseline", files[1])
    assert (status, out) == (2, "")
    assert err == "search.py: two networks are named mine; rename one of the files\n"


@pytest.mark.parametrize("text", ["1.5", "1.5ms", "1.5 ms"])
def test_a_latency_is_in_milliseconds(text):
    assert make_parser().parse_args(["frontier", "--max-latency", text]).max_latency == 1.5


@pytest.mark.parametrize(
    "command", [["run", "--budget", "8000"], ["frontier"], ["confirm", "mine"]], ids=lambda c: c[0]
)
@pytest.mark.parametrize(
    ("given", "confirming"),
    [
        ([], ConfirmConfig(5, 5)),
        (["--confirm", "3:10"], ConfirmConfig(3, 10)),
        (["--confirm", "1:1"], ConfirmConfig(1, 1)),
        (["--confirm", "3:5:10"], ConfirmConfig(3, 5, 10)),
        (["--confirm", "none"], None),
    ],
)
def test_how_the_winner_is_confirmed(command, given, confirming):
    assert make_parser().parse_args([*command, *given]).confirm == confirming


@pytest.mark.parametrize(
    ("given", "budgets"),
    [
        ([], (1000, 2000, 4000, 6000, 8000)),
        (["--budgets", "8000"], (8000,)),
        (["--budgets", "8000,500,2000,500"], (500, 2000, 8000)),
    ],
)
def test_budgets_of_a_frontier_come_in_order_and_once(given, budgets):
    assert make_parser().parse_args(["frontier", *given]).budgets == budgets


@pytest.mark.parametrize("command", [["run", "--budget", "8000"], ["frontier"]], ids=lambda c: c[0])
def test_studies_to_start_from_may_be_many(command):
    parse = make_parser().parse_args
    assert parse([*command, "--warm", "one", "--warm", "two"]).warm == ["one", "two"]
    assert parse(command).warm == []


@pytest.mark.parametrize("arguments", [["--help"], ["-h"]])
def test_help_shows_the_main_job_first(capsys, arguments):
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert "--budget 8000 --trials 100" in out
    assert all(command in out for command in COMMANDS)


def test_a_closed_pipe_is_no_error():
    shell = f"{sys.executable} search.py describe s004_net3 | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_dashboard_answers_on_loopback(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (tmp_path / "studies").mkdir()
    open_study(open_storage(f"sqlite:///{tmp_path}/studies/studies.db"), "seen-in-the-dashboard", {})
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "search.py"), "dashboard", "--port", str(port)],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "drawing the notes and figures" in server.stderr.readline()
        assert f"http://127.0.0.1:{port}/" in server.stderr.readline()
        page = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        body = ""
        for _ in range(100):
            with contextlib.suppress(OSError):  # not listening yet
                body = page.open(f"http://127.0.0.1:{port}/api/studies", timeout=10).read().decode()
                break
            time.sleep(0.2)
        assert "seen-in-the-dashboard" in body
    finally:
        server.terminate()
        server.communicate()
