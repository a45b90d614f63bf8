"""A search on a NumPy archive from end to end, with workers that share its images, through the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.cli.main import main
from tests.search.data.own.test_npz import arrays

OPTIONS = ["--budget", "1k", "--trials", "2", "--epochs", "1", "--jobs", "2", "--confirm", "1:1", "--study", "rows"]
OPTIONS += ["--select-on", "val", "--image-size", "12x9"]


@pytest.mark.slow
def test_an_archive_is_searched_reported_exported_and_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = np.array(["fig", "plum", "sloe"])
    np.savez("rows.npz", **arrays(n_val=12), class_names=names)
    assert main(["--dataset", "npz:rows.npz", *OPTIONS]) == 0
    out, err = capfd.readouterr()
    assert "data     npz:rows: 30 training images; selected on 12 held-out training images (the archive's own)" in out
    assert "3 classes, with their numbers of images: fig (20), plum (20), sloe (20)." in out
    assert "Traceback" not in err
    study = tmp_path / "studies" / "rows"
    report = (study / "report.md").read_text(encoding="utf-8")
    assert f"--dataset npz:{tmp_path / 'rows.npz'}" in report
    assert "--image-size 12x9" in report
    card = json.loads((study / "winner" / "card.json").read_text(encoding="utf-8"))
    assert (card["data"]["name"], card["data"]["classes"]) == ("npz:rows", names.tolist())
    readme = (study / "winner" / "README.md").read_text(encoding="utf-8")
    assert "python model.py --test FILE.npz" in readme
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("model.py", "weights.pt"):
        shutil.copy(study / "winner" / name, alone)
    command = [sys.executable, "-I", "-W", "error", "model.py", "--test", str(tmp_path / "rows.npz")]
    done = subprocess.run(command, cwd=alone, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{card['accuracy']['file_on_test']:.2%} of 18 test images: x_test in ")

    Path("rows.npz").rename("moved.npz")
    assert main(["export", "rows", "--out", "again"]) == 2
    assert "say where they are now: --data-dir PATH, or for a search --dataset npz:FILE" in capfd.readouterr().err
    assert main(["export", "rows", "--out", "again", "--data-dir", "moved.npz"]) == 0
    np.savez("moved.npz", **{name: array[::-1] for name, array in arrays(n_val=12).items()}, class_names=names)
    assert main(["export", "rows", "--out", "third", "--data-dir", "moved.npz"]) == 2
    assert "holds other images than npz:rows had" in capfd.readouterr().err
