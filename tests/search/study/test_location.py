"""The right to write in a study's folder, and what is found there."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from search.errors import InputError
from search.study.location import StudyLocation, hold_folder, hold_study

SERVER = "postgresql://me@host/db"


def test_a_study_of_one_machine_is_held_by_one_process(tmp_path: Path) -> None:
    location = StudyLocation(tmp_path, "one")
    location.folder.mkdir()
    with hold_study(location), hold_folder(location):
        with pytest.raises(InputError, match="study one is being run by another process"), hold_study(location):
            pass
        with only_one_of_another(tmp_path):
            pass
    with hold_study(location):
        pass


def only_one_of_another(out: Path) -> AbstractContextManager[None]:
    other = StudyLocation(out, "other")
    other.folder.mkdir()
    return hold_study(other)


def test_of_a_shared_study_only_the_files_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.study.location.WRITER_SECONDS", 0)
    location = StudyLocation(tmp_path, "one", SERVER)
    location.folder.mkdir()
    refused = pytest.raises(InputError, match="another process has been writing to")
    with hold_study(location), hold_study(location), hold_folder(location), refused, hold_folder(location):
        pass


@pytest.mark.parametrize(("storage", "is_swept"), [(None, True), (SERVER, False)])
def test_what_killed_processes_left_is_swept_where_nobody_else_writes(
    tmp_path: Path, storage: str | None, is_swept: bool
) -> None:
    location = StudyLocation(tmp_path, "one", storage)
    left = ["weights/trial-00001.12.partial", "report.md.12.partial", ".writable-12", ".winner-abc/new/model.py"]
    kept = ["weights/trial-00001.pt", "report.md", "winner/model.py"]
    for name in (*left, *kept):
        (location.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (location.folder / name).touch()
    with hold_study(location):
        assert [(location.folder / name).exists() for name in left] == [not is_swept] * len(left)
        assert all((location.folder / name).exists() for name in kept)
