"""Run a command of the command line, and report errors on one line with an exit status.

Heavy imports are inside the commands, so that --help and the error for a mistyped option appear at once.
"""

from __future__ import annotations

import os
import platform
import sys
from argparse import Action, ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from importlib import metadata
from types import ModuleType

from models.record import RecordError
from search.cli.commands import (
    baselines,
    bench,
    confirm,
    dashboard,
    describe,
    export,
    frontier,
    null,
    report,
    rerun,
    run,
    space,
    studies,
)
from search.cli.parser import CommandParser, Parser
from search.cli.signals import INTERRUPTED, interruptible
from search.config import VERSION
from search.errors import FailureError, InputError, explanation

# Packages whose versions --version prints, because results depend on them.
PACKAGES = ("torch", "numpy", "optuna")
# In the order of --help. Each module has HELP, EXAMPLE, add_arguments(parser) and run(args).
COMMANDS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        run, frontier, studies, report, export, confirm, null, rerun, baselines, describe, space, bench, dashboard
    )
}  # fmt: skip


def make_parser() -> Parser:
    """Return the parser of all commands; the parsed `name` is the command."""
    parser = Parser(
        prog="search.py",
        description="Search for the most accurate small convolutional network within a budget of parameters.",
        epilog="`search.py --budget 8000 --trials 100` is short for `search.py run ...`: see search.py run --help",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the versions of this program and packages")
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", dest="name", required=True, parser_class=CommandParser
    )
    for name, module in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.HELP,
            description=f"{module.HELP[0].upper()}{module.HELP[1:]}.",
            epilog=f"example:\n  python search.py {module.EXAMPLE}",
            formatter_class=RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return its exit status: 0 done, 1 failed, 2 bad usage or input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # `python search.py --budget 8000` is short for `python search.py run --budget 8000`.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments.insert(0, "run")
    args = make_parser().parse_args(arguments)
    try:
        with interruptible():
            status = int(COMMANDS[args.name].run(args))
            if sys.stdout:  # it is None if it was closed
                sys.stdout.flush()
    except (InputError, RecordError) as error:
        return _report_error(str(error), 2)
    except FailureError as error:
        return _report_error(str(error), 1)
    except BrokenPipeError:  # the reader of the output, for example `head`, has ended
        _discard_output()
        return 0
    except KeyboardInterrupt:
        return _report_error("interrupted", INTERRUPTED)
    except Exception as error:
        message = explanation(error)
        if message is None:
            raise
        _discard_output()
        return _report_error(message, 2)
    return status


class _Version(Action):
    """Action that prints the versions of this program and of what its results depend on, and exits."""

    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        packages = ", ".join(f"{name} {_version_of(name)}" for name in PACKAGES)
        print(f"search.py {VERSION} (Python {platform.python_version()}, {packages})")
        parser.exit()


def _version_of(package: str) -> str:
    """Return the version of an installed package without importing it."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _discard_output() -> None:
    """Discard output that could not be written, so that Python does not report another error when it exits."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report_error(message: str, status: int) -> int:
    print(f"search.py: {' '.join(message.split())}", file=sys.stderr)
    return status
