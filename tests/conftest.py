"""Options and fixtures of the whole suite."""

import os
from collections.abc import Iterator

import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from the code; read the diff")


def pytest_configure() -> None:
    # Where pytest-xdist runs tests side by side, one a core, none of them may take all cores.
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden tables are to be rewritten before they are compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Results repeat exactly with one thread only."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def threads_as_before() -> Iterator[None]:
    """The tests may set the number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
