"""Where the data of an existing study is looked for."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from search.config import DataConfig
from search.study.load import keep_data_dir, locate_data
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
