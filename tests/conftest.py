"""Options and fixtures for all tests."""

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
    # With pytest-xdist each core runs one test, so that no test may use several cores.
    if "PYTEST_XDIST_WORKER" in os.environ:
        torch.set_num_threads(1)


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
