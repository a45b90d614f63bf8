"""Options and fixtures for all tests."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from search.config import DataConfig
from search.data.load import load_dataset

N_LEFT_OUT = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden from the code; read the diff")


def pytest_configure() -> None:
    # With pytest-xdist each core runs one test, so that no test may use several cores.
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    stash = items[0].config.stash
    stash[N_LEFT_OUT] = stash.get(N_LEFT_OUT, 0) + len(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["n_left_out"] = config.stash.get(N_LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # Every worker of pytest-xdist collects all tests, so their numbers are equal. One that crashed has no output.
    output = getattr(node, "workeroutput", {})
    node.config.stash[N_LEFT_OUT] = output.get("n_left_out", node.config.stash.get(N_LEFT_OUT, 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if n_left_out := config.stash.get(N_LEFT_OUT, 0):
        terminalreporter.write_line(f'Tests left out: {n_left_out}; run all with: pytest -m ""')


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Return whether golden tables are rewritten before they are compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Run the tests of a module on one thread, because results repeat exactly only then."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def threads_as_before() -> Iterator[None]:
    """Restore the number of threads after the tests of a module, which may change it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return the arguments for a search of the embedded digits with a small budget and without confirmation.

    The digits are written to files, because otherwise each process would import scikit-learn, which takes longer than
    its training. Every third digit is enough, because no test that uses them depends on the accuracy.
    """
    root: Path = tmp_path_factory.mktemp("data") / "digits"
    data = load_dataset(DataConfig("digits", ""))
    for name, split in (("train", data.train), ("test", data.test)):
        for number, (image, label) in enumerate(zip(split.images[::3], split.labels[::3], strict=True)):
            folder = root / name / str(int(label))
            folder.mkdir(parents=True, exist_ok=True)
            to_pil_image(image).save(folder / f"{number}.png")
    return ("--dataset", f"folder:{root}", "--confirm", "none", "--budget", "1000")
