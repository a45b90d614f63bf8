"""How sizes and augmentations are read, and what is said of data that cannot be had, through the command line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pytest

from search.cli.main import main
from search.cli.values import augmentations, size, switched_off
from search.config import AUGMENTATIONS


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (size, "32", (32, 32)),
        (size, "32x40", (32, 40)),
        (size, "4X1024", (4, 1024)),
        (augmentations, "mirror", ("mirror",)),
        (augmentations, "shift,shear", ("shift", "shear")),
        (switched_off, "rotation", ("rotation",)),
        (switched_off, "all", AUGMENTATIONS),
    ],
)
def test_what_is_read(read: Callable[[str], tuple[object, ...]], text: str, value: tuple[object, ...]) -> None:
    assert read(text) == value


@pytest.mark.parametrize("text", ["", "3", "1025", "32x", "32x40x3", "32,40", "3x40", "32x1025", "-32", "32.5", "big"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"from 4 to 1,024 pixels, got '.*'; write it as 32 or 32x40"):
        size(text)


@pytest.mark.parametrize("text", ["", "flip", "shift,", "all"])
def test_augmentations_that_are_none(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"must be one or more of rotation, shift, .*, erase; got"):
        augmentations(text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--budget", "8k", "--dataset", "folder"],
            "--dataset folder needs the path of a folder of images: folder:PATH",
        ),
        (["--budget", "8k", "--dataset", "folder:nowhere"], "nowhere is not there; --dataset folder:PATH takes"),
        (["space", "--dataset", "folder:nowhere"], "nowhere is not there; --dataset folder:PATH takes"),
        (["frontier", "--dataset", "cifar"], "unknown data set 'cifar'; the known ones are mnist, digits, fashion"),
        (
            ["baselines", "--dataset", "folder:x"],
            "not on a folder of images; use `search.py run`, which trains the hand-designed networks that",
        ),
        (["baselines", "--dataset", "npz:x"], "baselines trains on published data, not on a NumPy archive"),
        (["--budget", "8k", "--dataset", "npz"], "--dataset npz needs the path of a NumPy archive: npz:FILE"),
        (
            ["space", "--dataset", "npz:nowhere.npz"],
            "nowhere.npz is not there; --dataset npz:FILE takes a",
        ),
        (
            ["baselines", "--dataset", "cifar100"],
            "no hand-designed network takes",
        ),
        (["--budget", "8k", "--dataset", "digits", "--augment", "mirror"], "mirror makes no sense for digits"),
        (["--budget", "8k", "--augment", "mirror", "--no-augment", "all"], "given to both --augment and --no-augment"),
        (["--budget", "8k", "--metric", "f1"], "invalid choice: 'f1'"),
        (["--budget", "8k", "--image-size", "0"], "--image-size: must be a side or HEIGHTxWIDTH, from 4 to 1,024"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as stop:  # argparse's own way out
        status = int(str(stop.code))
    captured = capsys.readouterr()
    assert (status, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert words in captured.err
    assert list(tmp_path.iterdir()) == []
