"""Where the data of an existing study is looked for, and how it is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from PIL import Image

from search.config import DataConfig
from search.data.load import load_dataset
from search.study.load import keep_data_dir, locate_data, read_as_recorded
from search.study.location import StudyLocation
from tests.search.tiny_mnist import write_files


@pytest.mark.parametrize(
    ("present", "data_dir", "expected"),
    [
        (("kept", "default"), None, "default"),
        (("kept",), None, "kept"),
        ((), None, "default"),
        (("kept",), "chosen", "chosen"),
    ],
)
def test_data_is_found_where_the_search_read_it(
    present: tuple[str, ...], data_dir: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", "default")
    for name in present:
        write_files(tmp_path / name)
    study = optuna.create_study()
    keep_data_dir(study, DataConfig("mnist", "kept"))
    directory = locate_data(DataConfig("mnist", ""), study, data_dir).directory
    assert Path(directory).name == expected


def test_a_study_that_recorded_no_directory_uses_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA_DIR", raising=False)
    assert locate_data(DataConfig("mnist", ""), optuna.create_study(), None).directory == "data"


def test_a_folder_is_read_as_its_study_read_it(tmp_path: Path) -> None:
    """Studies of earlier versions have the order 1, 10, 2."""
    for name, level in (("1", 40), ("2", 90), ("10", 200)):
        for number in range(5):
            path = tmp_path / "folder" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), level + number).save(path)
    config = DataConfig("folder", str(tmp_path / "folder"))
    location = StudyLocation(tmp_path, "s", f"sqlite:///{tmp_path}/s.db")
    data = load_dataset(config)
    assert read_as_recorded(location, config, data) is data
    form = replace(data.form, classes=("1", "10", "2"), checksum="")
    earlier = load_dataset(replace(config, form=form))
    study = optuna.create_study(storage=location.url, study_name="s")
    keep_data_dir(study, replace(config, form=earlier.form))
    assert earlier.checksum != data.checksum
    assert read_as_recorded(location, config, data).classes == ("1", "10", "2")
    Image.new("L", (8, 8), 7).save(tmp_path / "folder" / "1" / "7.png")
    assert read_as_recorded(location, config, data) is data
