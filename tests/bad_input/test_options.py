"""Every option of every command, given what it cannot take: refused before any file is touched."""

from __future__ import annotations

import pytest

from search.cli.main import COMMANDS, make_parser
from tests.bad_input.option_values import CASES
from tests.bad_input.refusals import RUN, Refuses, short

LONG = "x" * 300
# Commands that lack something or have too much.
COMMAND_LINES: list[tuple[list[str], str]] = [
    ([], "the following arguments are required: --budget (see search.py run --help)"),
    (["--budget"], "argument --budget: expected one argument"),
    (["--budget", "8000", "--budgets", "3"], "unrecognized arguments: --budgets 3"),
    (["--budget", "8000", "--tri", "3"], "unrecognized arguments: --tri 3"),
    (["--budget", "8000", "a\nb"], "unrecognized arguments: a b"),
    (["--budget", "8000", "x" * 5000], "unrecognized arguments: xxxx"),
    (["train"], "invalid choice: 'train' (choose from "),
    ([""], "invalid choice: ''"),
    (["run", "run"], "the following arguments are required: --budget"),
    (["describe"], "the following arguments are required: ID|FILE"),
    (["describe", ""], "must not be empty"),
    (["describe", "s004_net9"], "no hand-designed network or readable file 's004_net9'; the networks are s000_net"),
    (["describe", "."], "no hand-designed network or readable file '.'"),
    (["describe", LONG], "the networks are s000_net"),
    (["describe", "s004_net3", "s000_net"], "unrecognized arguments: s000_net"),
    (["report"], "the following arguments are required: STUDY"),
    (["report", "nowhere"], "no database studies/studies.db; name another, or its --storage or folder"),
    (["report", "a/b"], "got 'a/b'"),
    (["report", ".."], "got '..'"),
    (["report", "/"], "there is no study ''"),
    (["report", "."], "got '.'"),
    (["report", LONG], "100 at most"),
    (["report", "x'; DROP TABLE studies; --"], "a study's name is made of"),
    (["report", ""], "must not be empty"),
    (["export", "nowhere", "--trial", "1", "--budget", "3"], "argument --budget: not allowed with argument --trial"),
    (["export", "nowhere", "--trial", "1", "--network", "x"], "not allowed with argument --trial"),
    (["rerun"], "the following arguments are required: STUDY"),
    (["rerun", "nowhere"], "there is no study 'nowhere'"),
    (["null"], "the following arguments are required: STUDY"),
    (["null", "nowhere"], "there is no study 'nowhere'"),
    (["confirm", "nowhere"], "there is no study 'nowhere'"),
    (["dashboard", "nowhere"], "there is no study 'nowhere': no database studies/studies.db; name another"),
    (["dashboard", "a/b"], "got 'a/b'"),
    (
        ["baselines", "s004_net9", "--dataset", "digits"],
        "unknown hand-designed network 's004_net9'; the known ones are",
    ),
    (["baselines", "", "--dataset", "digits"], "must not be empty"),
    (["space", "--max-latency", "1"], "unrecognized arguments: --max-latency 1"),
    ([*RUN, "--max-latency", "0.001"], "nothing in the space fits 0.001 ms of latency: the fastest network found has"),
    ([*RUN, "--data-dir", "~nobody-of-that-name/x"], "there is no such user: ~nobody-of-that-name/x; name another"),
]


@pytest.mark.parametrize(("arguments", "words"), CASES + COMMAND_LINES, ids=short)
def test_what_an_option_cannot_take(refuses: Refuses, arguments: list[str], words: str) -> None:
    if "~nobody-of-that-name/x" in arguments:
        arguments = [{"digits": "mnist"}.get(argument, argument) for argument in arguments]
    refuses(arguments, words)


def test_every_command_and_every_option_with_a_value_is_in_the_table() -> None:
    tried = {
        ("run" if not arguments or arguments[0].startswith("-") else arguments[0])
        for arguments, _ in CASES + COMMAND_LINES
    }
    assert tried >= COMMANDS.keys()
    options = {argument for arguments, _ in CASES for argument in arguments if argument.startswith("--")}
    (commands,) = (action.choices for action in make_parser()._actions if action.dest == "name")
    for command in commands.values():
        with_values = {
            action.option_strings[0] for action in command._actions if action.option_strings and action.nargs != 0
        }
        assert with_values - {"--storage"} <= options
