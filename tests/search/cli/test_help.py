"""The help of every command, the version, and what is said of an unknown option."""

from __future__ import annotations

import pytest

from search.cli.main import COMMANDS, VERSION, main, make_parser


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
    assert (caught.value.code, capsys.readouterr().out) == (0, f"search.py {VERSION}\n")


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
