"""Every command that the README, the pages and --help show is run in a folder that holds the tracked studies alone.

A training of MNIST would take hours, so those commands are run up to the moment at which the workers would start.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.cli.main import COMMANDS, main
from tests.docs.test_pages import DOCS, FENCE, PAGES, ROOT, code_in, text_of

# Study that stands for STUDY. Its first trials are the hand-designed networks.
STUDY = "placeholder"
PREPARED = f"--dataset digits --budget 8000 --trials 6 --epochs 1 --study {STUDY} --jobs 1 --confirm none"
PLACEHOLDERS = {"STUDY": STUDY, "ID": "s004_net3", "FILE": "my.toml", "--budget N": "--budget 8000", "N": "0"}
# Commands that are trained to their end, because later ones use their study.
TRAINED = ("--study first",)
# Commands that the pages show with their error.
REFUSED = ("--budget 50 --dataset digits", "--study first --epochs 4")
# Weights of the hand-designed networks are not in the repository; the message says how to train one again.
WITHOUT_WEIGHTS = "export baselines --network s004_net3"


class BegunError(Exception):
    """Error raised where the workers, a measurement or a server would start."""


def commands_in(page: Path) -> Iterator[str]:
    """Yield the arguments of the commands of search.py that a page shows."""
    for line in code_in(text_of(page)):
        if command := re.search(r"python search\.py +(.+)$", line.strip()):
            yield command[1]


def shown_commands() -> Iterator[str]:
    """Yield the arguments of every command that needs no server, in the order of the pages; getting-started is first.

    `test_postgresql_commands` runs the others.
    """
    pages = sorted(PAGES, key=lambda page: page.name != "getting-started.md")
    commands = [command for page in pages for command in commands_in(page)]
    for command in dict.fromkeys([*commands, *(module.EXAMPLE for module in COMMANDS.values())]):
        if "postgresql://" not in command:
            yield command


def filled(command: str, number: int) -> list[str]:
    """Return the arguments of a command with values for its placeholders; every export gets a folder of its own."""
    for name, value in (PLACEHOLDERS | {"DIR": f"exported-{number}"}).items():
        command = re.sub(rf"(?<!\S){name}(?!\S)", value, command)
    return shlex.split(command)


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with the tracked studies and the files that the pages write."""
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    toml = [code for language, code in FENCE.findall(text_of(DOCS / "space.md")) if language == "toml"]
    for name, code in zip(("my.toml", "mine.toml"), toml, strict=True):
        (tmp_path / name).write_text(code)
    subprocess.run([sys.executable, "-m", "benchmarks.signs", str(tmp_path / "signs")], cwd=ROOT, check=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begun_or_status(command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int | str:
    def begin(*_: object, **__: object) -> None:
        raise BegunError

    hooks = ["search.cli.bench.measure", "search.dashboard.server._serve"]
    if not any(words in command for words in TRAINED):
        hooks += ["search.cli.job.carry_out", "search.evidence.runner.carry_out"]
    # The networks of these commands are trained, or evaluated in every format, on all of MNIST.
    hooks += ["search.cli.verify.prepare_process"] if command.startswith("rerun reference") else []
    hooks += ["search.export.request.export_model"] if "reference" in command else []
    with monkeypatch.context() as patch:
        for name in hooks:
            patch.setattr(name, begin)
        try:
            return main(arguments)
        except BegunError:
            return "begun"
        except SystemExit as stop:
            return int(stop.code or 0)


@pytest.mark.slow
@pytest.mark.usefixtures("threads_as_before", "clone")
def test_every_shown_command_works(
    real_mnist: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATA_DIR", str(real_mnist))
    assert main(shlex.split(PREPARED)) == 0
    failures = []
    commands = list(shown_commands())
    assert len(commands) > 40
    for number, command in enumerate(commands):
        capsys.readouterr()
        status = begun_or_status(command, filled(command, number), monkeypatch)
        error = capsys.readouterr().err.strip()
        is_refused = any(words in command for words in (*REFUSED, WITHOUT_WEIGHTS))
        if status not in ((2,) if is_refused else (0, "begun")):
            failures.append(f"{command}: {status}, {error[-300:]}")
        if command == WITHOUT_WEIGHTS:
            assert "`search.py rerun baselines --trial 41` trains it" in error
    assert not failures, "\n".join(failures)
