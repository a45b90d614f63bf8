"""Fixtures of the tests of what is refused."""

from pathlib import Path

import pytest

from tests.bad_input.refusals import Refuses


@pytest.fixture
def refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuses:
    """Refusals in an empty folder, whatever the environment names."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    for module in ("search.cli.job", "search.evidence.runner"):
        monkeypatch.setattr(f"{module}.carry_out", _train)
    monkeypatch.setattr("search.cli.bench.measure", _train)
    monkeypatch.setattr("search.dashboard.server._serve", _train)
    return Refuses(tmp_path, capsys)


def _train(*_: object) -> None:
    raise AssertionError("it was taken, and would be trained or served")
