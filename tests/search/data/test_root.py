"""The directory of data sets, from a folder inside a data set."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.config import DataConfig
from search.data.load import is_available, load_dataset, resolve_auto
from search.data.root import root_of
from tests.search.tiny_mnist import FILES, tiny_mnist, write_files

__all__ = ["tiny_mnist"]


@pytest.mark.parametrize("inside", ["", "MNIST", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_the_root_of_a_layout_is_found_from_inside(inside: str, suffix: str, tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / f"images{suffix}").touch()
    assert root_of(tmp_path / inside, ("MNIST/raw/labels", "MNIST/raw/images")) == tmp_path


@pytest.mark.parametrize("directory", ["", "other", "other/raw", "MNIST/other"])
def test_any_other_directory_stays(directory: str, tmp_path: Path) -> None:
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "MNIST" / "raw" / "images").touch()
    assert root_of(tmp_path / directory, ("MNIST/raw/images", "flat")) == tmp_path / directory


@pytest.mark.usefixtures("tiny_mnist")
@pytest.mark.parametrize("inside", ["", "MNIST", "MNIST/raw", "MNIST/raw/"])
def test_mnist_is_found_where_its_files_lie(inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path)
    config, notice = resolve_auto(DataConfig("auto", f"{tmp_path}/{inside}"))
    assert (config.dataset, notice) == ("mnist", None)
    assert is_available(config)
    assert len(load_dataset(config).train) == 60
    monkeypatch.chdir(tmp_path / inside)
    assert len(load_dataset(DataConfig("mnist", ".")).train) == 60


@pytest.mark.usefixtures("tiny_mnist")
@pytest.mark.parametrize("folder", ["anywhere", "anywhere/raw"])
def test_mnist_is_found_without_folders(folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    for name, content in FILES.items():
        (tmp_path / folder / name).write_bytes(content)
    config, notice = resolve_auto(DataConfig("auto", str(tmp_path / "anywhere")))
    assert (config.dataset, notice) == ("mnist", None)
    assert len(load_dataset(config).train) == 60
