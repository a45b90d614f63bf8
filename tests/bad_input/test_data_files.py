"""Files that a user hands in: data that are none."""

from __future__ import annotations

import gzip
import hashlib
import struct
from dataclasses import replace
from functools import partial

import pytest

from search.data.definitions import load_idx
from search.data.idx import IdxFiles
from search.data.load import DATASETS, definition
from tests.bad_input.handed_in import write
from tests.bad_input.refusals import RUN, Refuses, short


def idx(*axes: int, kind: int = 8) -> bytes:
    """A file of zeros."""
    n_bytes = 1
    for axis in axes:
        n_bytes *= axis
    return struct.pack(f">HBB{len(axes)}i", 0, kind, len(axes), *axes) + bytes(n_bytes)


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
PUBLISHED = {
    TRAIN_IMAGES: idx(60, 28, 28),
    TRAIN_LABELS: idx(60),
    TEST_IMAGES: idx(20, 28, 28),
    TEST_LABELS: idx(20),
}
DELETE = (
    "; delete it to have it downloaded again, or name a directory that holds MNIST/raw with --data-dir or $DATA_DIR"
)


@pytest.fixture
def small_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "mnist" means the files above."""
    files = IdxFiles("MNIST", {name: (len(text), hashlib.sha256(text).hexdigest()) for name, text in PUBLISHED.items()})
    known = replace(definition("mnist"), load=partial(load_idx, files), is_present=files.is_present)
    monkeypatch.setitem(DATASETS, "mnist", known)


def corrupted(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


# Which file holds what instead, and what is said of it.
DATA: list[tuple[str, bytes | None, str]] = [
    (TRAIN_IMAGES, b"", f"{TRAIN_IMAGES} is empty, expected 47,056 bytes{DELETE}"),
    (TRAIN_IMAGES, PUBLISHED[TRAIN_IMAGES][:-1], "has 47,055 bytes, expected 47,056"),
    (TRAIN_IMAGES, PUBLISHED[TRAIN_IMAGES][:16], "has 16 bytes, expected 47,056"),
    (TRAIN_IMAGES, PUBLISHED[TRAIN_IMAGES] + b"\n", "has 47,057 bytes"),
    (TRAIN_IMAGES, corrupted(PUBLISHED[TRAIN_IMAGES]), f"{TRAIN_IMAGES} is corrupt: its SHA-256 begins"),
    (TRAIN_IMAGES, PUBLISHED[TRAIN_LABELS], f"holds the content of {TRAIN_LABELS}"),
    (TRAIN_IMAGES, PUBLISHED[TEST_IMAGES], f"holds the content of {TEST_IMAGES}"),
    (TRAIN_IMAGES, idx(60, 28, 28, kind=0x0D), "is corrupt"),
    (TRAIN_IMAGES, b"\x08" + PUBLISHED[TRAIN_IMAGES][1:], "is corrupt"),
    (TRAIN_IMAGES, gzip.compress(PUBLISHED[TRAIN_IMAGES], mtime=0), "bytes, expected 47,056"),
    (TRAIN_IMAGES, None, "Is a directory; name a directory that holds MNIST/raw"),
    (TRAIN_LABELS, PUBLISHED[TEST_LABELS], f"{TRAIN_LABELS} holds the content of {TEST_LABELS}"),
    (TRAIN_LABELS, idx(60, 1), "has 72 bytes, expected 68"),
    (TRAIN_LABELS, b"<html>Please log in</html>", "has 26 bytes, expected 68"),
    (TEST_IMAGES, PUBLISHED[TEST_LABELS], f"holds the content of {TEST_LABELS}"),
    (TEST_IMAGES, idx(20, 28, 27), "bytes, expected 15,696"),
    (TEST_LABELS, PUBLISHED[TRAIN_LABELS], f"{TEST_LABELS} holds the content of {TRAIN_LABELS}"),
    (TEST_LABELS, corrupted(PUBLISHED[TEST_LABELS]), f"{TEST_LABELS} is corrupt"),
    (f"{TEST_LABELS}.gz", b"no archive", f"{TEST_LABELS}.gz is damaged: Not a gzipped file"),
    (f"{TEST_LABELS}.gz", gzip.compress(PUBLISHED[TEST_LABELS], mtime=0)[:-9], "is damaged: Compressed file ended"),
    (
        f"{TEST_LABELS}.gz",
        gzip.compress(PUBLISHED[TRAIN_LABELS], mtime=0),
        "; delete it to have it downloaded, or name a",
    ),
    (f"{TEST_LABELS}.gz", gzip.compress(bytes(10**6), mtime=0), "has 29 bytes, expected 28"),
    (f"{TEST_LABELS}.gz", None, "Is a directory; name a directory that holds MNIST/raw"),
]


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize(("name", "content", "words"), DATA, ids=short)
def test_data_files_that_are_wrong(refuses: Refuses, name: str, content: bytes | None, words: str) -> None:
    raw = refuses.folder / "images" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for other, text in PUBLISHED.items():
        if other != name.removesuffix(".gz"):
            write(raw, other, text)
    write(raw, name, content)
    for known in ("mnist", "auto"):
        refuses([*RUN, "--dataset", known, "--data-dir", "images"], words)
    refuses(["baselines", "--data-dir", "images"], words)


@pytest.mark.usefixtures("small_mnist")
@pytest.mark.parametrize("path", ["images", "images/MNIST", "images/MNIST/raw"])
def test_a_file_in_place_of_a_data_folder(refuses: Refuses, path: str) -> None:
    (refuses.folder / path).parent.mkdir(parents=True, exist_ok=True)
    (refuses.folder / path).write_text("precious")
    words = f"{path} is not a directory; name a directory that holds MNIST/raw with --data-dir or $DATA_DIR"
    refuses([*RUN, "--dataset", "mnist", "--data-dir", "images"], words)


@pytest.mark.usefixtures("small_mnist")
def test_the_variable_of_the_environment_is_an_option_too(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    write(refuses.folder, "images", "precious")
    monkeypatch.setenv("DATA_DIR", "images")
    refuses([*RUN, "--dataset", "mnist"], "images is not a directory; name a directory")
