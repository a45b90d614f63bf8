"""Data for searches that are processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from torchvision.transforms.functional import to_pil_image

from search.config import DataConfig
from search.data import load_dataset


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """How a search of the embedded digits is asked for, whose budget is small and whose winner is not confirmed.

    As files: every process would import scikit-learn, which has them, for longer than it trains.
    """
    root: Path = tmp_path_factory.mktemp("data") / "digits"
    data = load_dataset(DataConfig("digits", ""))
    for name, split in (("train", data.train), ("test", data.test)):
        for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            folder = root / name / str(int(label))
            folder.mkdir(parents=True, exist_ok=True)
            to_pil_image(image).save(folder / f"{number}.png")
    return ("--dataset", f"folder:{root}", "--confirm", "none", "--budget", "1000")
