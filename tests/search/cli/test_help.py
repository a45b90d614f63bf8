"""The help of every command, the version, and what is said of an unknown option."""

from __future__ import annotations

import platform
from argparse import _HelpAction
from importlib import metadata

import pytest

from search.cli.main import COMMANDS, main, make_parser
from search.config import VERSION


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_ends_with_an_example_that_is_accepted(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([name, "--help"])
    example = capsys.readouterr().out.splitlines()[-1].strip()
    program, *arguments = example.split()
    assert (program, arguments[:2]) == ("python", ["search.py", name])
    assert make_parser().parse_args(arguments[1:]).name == name


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    versions = f"Python {platform.python_version()}, torch {metadata.version('torch')}, numpy "
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"search.py {VERSION} ({versions}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_option_states_its_default(name: str) -> None:
    parser = next(action.choices for action in make_parser()._actions if isinstance(action.choices, dict))[name]
    options = [action for action in parser._actions if action.option_strings and not isinstance(action, _HelpAction)]
    optional = [action for action in options if not action.required]
    assert [action.option_strings[0] for action in optional if "(default: " not in str(action.help)] == []


def test_the_options_of_a_search_are_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--help"])
    titles = [line for line in capsys.readouterr().out.splitlines() if line.endswith(":") and not line.startswith(" ")]
    groups = ["study:", "data:", "limits:", "space and sampler:", "training:", "confirmation:"]
    assert titles == ["options:", *groups, "example:"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trials", "3"], "run: the following arguments are required: --budget (see"),
        (["-b", "8000"], "unrecognized arguments: -b; did you mean --budget?; the following arguments are required"),
        (["--bugdet", "8000"], "unrecognized arguments: --bugdet; did you mean --budget?"),
        (["--bugdet=8k"], "unrecognized arguments: --bugdet=8k; did you mean --budget?"),
        (["--budget", "8k", "-s", "3"], "unrecognized arguments: -s 3; did you mean --study?"),
        (["--budget", "8k", "--tri", "3"], "unrecognized arguments: --tri 3; did you mean --trials?"),
        (["export", "--net", "x", "mine"], "unrecognized arguments: --net mine; did you mean --network?"),
        (["--budget", "8k", "stray"], "unrecognized arguments: stray (see"),
    ],
)
def test_an_unknown_option_and_a_missing_one_are_distinguished(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "command"), [(["--budget", "8k", "--trails", "3"], "run"), (["report", "a", "--b"], "report")]
)
def test_an_unknown_option_is_answered_with_the_help_of_its_command(
    arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.endswith(f"(see search.py {command} --help)\n")
