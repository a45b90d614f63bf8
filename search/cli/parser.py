"""Parsers of the command line, which report an error on one line and name the nearest option for an unknown one."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from search.cli import values

MAX_MESSAGE = 600
_MISSING = "the following arguments are required"
_INVALID_CHOICE = re.compile(r"invalid choice: '(?P<value>.*)' \(choose from (?P<choices>.*)\)")


class Parser(argparse.ArgumentParser):
    """Argument parser that reports an error on one line and accepts no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        # An abbreviation that is unique now may match a new option later.
        super().__init__(**options, allow_abbrev=False)
        self._arguments: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments, and keep them for the message of an error."""
        self._arguments = tuple(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print an error on one line, without argparse's usage block, and exit with status 2.

        If a required option is missing, an unknown one that may stand for it is named first. For an unknown command or
        choice the nearest one is named.
        """
        if message.startswith(_MISSING) and (unknown := self._unknown_options()):
            message = f"{_unknown_message(unknown, self._option_string_actions)}; {message}"
        if (invalid := _INVALID_CHOICE.search(message)) and (choice := _nearest_choice(invalid)):
            message = f"{message}; did you mean {choice}?"
        self.exit(2, f"{self.prog}: {' '.join(message.split()):.{MAX_MESSAGE}} (see {self.prog} --help)\n")

    def _unknown_options(self) -> list[str]:
        options = [word for word in self._arguments if re.match(r"--?[A-Za-z]", word)]
        return [option for option in options if option.partition("=")[0] not in self._option_string_actions]


class CommandParser(Parser):
    """Parser of one command, which checks the values of options without a type as text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", None, values.text)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; an unknown one is an error of this command, so that its --help is named."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(_unknown_message(unknown, self._option_string_actions))
        return parsed, unknown


def _nearest_choice(invalid: re.Match[str]) -> str:
    """Return the choice that is nearest to an invalid value, or "" if none is similar."""
    choices = re.findall(r"[\w-]+", invalid["choices"])
    return next(iter(difflib.get_close_matches(invalid["value"], choices, 1)), "")


def _unknown_message(arguments: Sequence[str], options: Iterable[str]) -> str:
    """Return the message for unknown arguments, with the option nearest to the first of them."""
    name, names = arguments[0].partition("=")[0], list(options)
    abbreviated = [option for option in names if option.startswith(f"--{name.lstrip('-')}")]
    nearest = (abbreviated or difflib.get_close_matches(name, names, 1))[:1] if name.startswith("-") else []
    return "; ".join([f"unrecognized arguments: {' '.join(arguments)}", *(f"did you mean {name}?" for name in nearest)])
