"""Options and fixtures of the whole suite."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import to_pil_image

from search.config import DataConfig
from search.data.load import load_dataset


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


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """How a search of the embedded digits is asked for, whose budget is small and whose winner is not confirmed.

    As files: every process would import scikit-learn, which has them, for longer than it trains. One in three of them:
    nothing that is tested with these depends on how much is learned.
    """
    root: Path = tmp_path_factory.mktemp("data") / "digits"
    data = load_dataset(DataConfig("digits", ""))
    for name, split in (("train", data.train), ("test", data.test)):
        for number, (image, label) in enumerate(zip(split.images[::3], split.labels[::3], strict=True)):
            folder = root / name / str(int(label))
            folder.mkdir(parents=True, exist_ok=True)
            to_pil_image(image).save(folder / f"{number}.png")
    return ("--dataset", f"folder:{root}", "--confirm", "none", "--budget", "1000")
