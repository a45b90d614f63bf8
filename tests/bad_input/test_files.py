"""Files that a user hands in: networks, spaces and data that are none."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from models.baselines import BASELINES
from search.data import DATASETS, definition
from search.definitions import load_idx
from search.idx import IdxFiles
from tests.bad_input.refusals import RUN, Refuses, short

SPEC = BASELINES["s004_net3"].spec.to_dict()
TOML = """
input_shape = [1, 28, 28]
n_classes = 10
stages = [{ blocks = [{ out_channels = 8 }], pool = 2 }]
head = { kind = "gap_linear" }
"""
EXAMPLE = "; describe ID --json prints one"


def changed(**changes: Any) -> str:
    """A network as JSON with other fields."""
    return json.dumps(SPEC | changes)


def block(**fields: Any) -> str:
    """A network of one block as JSON."""
    return changed(stages=[{"blocks": [{"out_channels": 8} | fields]}])


# --- networks -------------------------------------------------------------------------------------------------------

# Name of the file, what is in it (None: a folder), what is said of it.
NETWORKS: list[tuple[str, str | bytes | None, str]] = [
    ("a.json", "", "a.json is not a JSON file: Expecting value: line 1 column 1 (char 0)" + EXAMPLE),
    ("a.json", "\0\0\0", "is not a JSON file"),
    ("a.json", "[1, 2", "is not a JSON file"),
    ("a.json", changed()[:-20], "is not a JSON file"),
    ("a.json", changed() + "}", "is not a JSON file: Extra data"),
    ("a.json", TOML, "is not a JSON file"),
    ("a.toml", changed(), "is not a TOML file"),
    ("a.json", "'" + changed() + "'", "is not a JSON file"),
    ("a.json", "\ufeff" + changed(), "is not a JSON file: Unexpected UTF-8 BOM"),
    ("a.json", b"\xff\xfe" + changed().encode("utf-16-le"), "a.json is not text: 'utf-8' codec can't decode"),
    ("a.json", gzip.compress(changed().encode(), mtime=0), "is not text"),
    ("a.json", b" " * 1_000_001, "is not text: it has more than 1,000,000 bytes"),
    ("a.json", None, "no hand-designed network or readable file 'a.json'; the networks are s000_net"),
    ("a.json", "[" * 100_000, "a.json is nested too deeply to be a network" + EXAMPLE),
    ("a.json", "[" * 700 + "]" * 700, "ArchSpec must be a mapping of field names to values, got"),
    ("a.json", '{"arch": ' * 700 + "1" + "}" * 700, "unknown key 'arch' in ArchSpec"),
    ("a.json", '{"n_classes": 1' + "0" * 5000 + "}", "is not a JSON file: Exceeds the limit"),
    ("a.json", '{"n_classes": 10, "n_classes": 12}', "is not a JSON file: the key 'n_classes' stands twice"),
    ("a.json", "null", "ArchSpec must be a mapping of field names to values, got None"),
    ("a.json", "3", "got 3"),
    ("a.json", "NaN", "got nan"),
    ("a.json", '"s004_net3"', "got 's004_net3'"),
    ("a.json", "[]", "got []"),
    ("a.json", "{}", "a.json: ArchSpec needs the key 'input_shape'"),
    ("a.json", '{"arch": null}', "got None"),
    ("a.json", '{"arch": []}', "got []"),
    ("a.json", changed(input_shap=[1]), "unknown key 'input_shap' in ArchSpec; the nearest is 'input_shape'"),
    ("a.json", changed(stage=[]), "unknown key 'stage' in ArchSpec; the nearest is 'stages'"),
    ("a.json", changed(**{"x" * 5000: 1}), "unknown key 'xxxx"),
    ("a.json", changed(stem=3), "its keys are input_shape, n_classes, stages, head"),
    ("a.json", block(kernal_size=3), "unknown key 'kernal_size' in Block; the nearest is 'kernel_size'"),
    ("a.json", block(out_channels=0), "out_channels must be between 1 and 1,000,000, got 0"),
    ("a.json", block(out_channels=-1), "got -1"),
    ("a.json", block(out_channels=10**30), "out_channels must be between 1 and 1,000,000, got 1000"),
    ("a.json", block(out_channels=8.5), "Block.out_channels must be a whole number, got 8.5"),
    ("a.json", block(out_channels="8"), "must be a whole number, got '8'"),
    ("a.json", block(out_channels=True), "must be a whole number, got True"),
    ("a.json", block(out_channels=None), "must be a whole number, got None"),
    ("a.json", block(kernel_size=4), "kernel_size must be one of 1, 3, 5, 7, got 4"),
    ("a.json", block(kernel_size=10**30), "kernel_size must be one of"),
    ("a.json", block(kind="dense"), "block kind must be one of conv, separable, residual, got 'dense'"),
    ("a.json", block(kind=""), "got ''"),
    ("a.json", block(padding="SAME"), "padding must be one of valid, same, got 'SAME'"),
    ("a.json", block(kind="residual"), "its padding must be 'same', got 'valid'"),
    ("a.json", block(activation="tanh"), "activation must be one of relu"),
    ("a.json", block(dropout=1.0), "dropout must be at least 0 and below 1, got 1.0"),
    ("a.json", block(dropout=float("nan")), "got nan"),
    ("a.json", block(dropout=float("inf")), "got inf"),
    ("a.json", block(dropout=-0.5), "got -0.5"),
    ("a.json", block(bias="yes"), "Block.bias must be true or false, got 'yes'"),
    ("a.json", block(order="bn-conv-act"), "order must be one of"),
    ("a.json", changed(n_classes=0), "n_classes must be between 1 and 1,000,000, got 0"),
    ("a.json", changed(n_classes=1e3), "ArchSpec.n_classes must be a whole number, got 1000.0"),
    ("a.json", changed(input_shape=[28, 28]), "ArchSpec.input_shape must have 3 entries, got 2"),
    ("a.json", changed(input_shape=[1, 0, 28]), "all at least 1, got (1, 0, 28)"),
    ("a.json", changed(input_shape=[1, 10**30, 28]), "input_shape's largest number must be between 1 and 1,000,000"),
    ("a.json", changed(input_shape="1x28x28"), "ArchSpec.input_shape must be a list, got '1x28x28'"),
    ("a.json", changed(stages={}), "ArchSpec.stages must be a list, got {}"),
    ("a.json", changed(stages=[{}]), "Stage needs the key 'blocks'"),
    ("a.json", changed(stages=[{"blocks": []}]), "a stage needs at least one block or a pool"),
    ("a.json", changed(stages=[{"blocks": [], "pool": 1}]), "pool must be 0 (none) or from 2 to 1,000,000, got 1"),
    ("a.json", changed(stages=[{"blocks": [], "pool": 40}]), "stage 1: a 40x40 pool does not fit a map of 28x28"),
    ("a.json", changed(stages=[{"blocks": [{"out_channels": 4}] * 20}]), "does not fit a map of 2x2"),
    ("a.json", changed(head={}), "Head needs the key 'kind'"),
    ("a.json", changed(head="gap"), "Head must be a mapping of field names to values, got 'gap'"),
    ("a.json", changed(head={"kind": "softmax"}), "head kind must be one of gap_linear"),
    ("a.json", changed(head={"kind": "conv", "kernel_size": 10**20}), "a head's kernel_size must be between 1 and"),
    ("a.json", changed(head={"kind": "conv", "kernel_size": 3}), "the 3x3 head does not cover its map"),
    ("a.toml", TOML.replace("8 }", "8 "), "a.toml is not a TOML file: "),
    ("a.toml", TOML + "n_classes = 12", "is not a TOML file: Cannot overwrite a value"),
    (
        "a.toml",
        TOML.replace("10", "0x" + "f" * 9000),
        "ArchSpec.n_classes is too large, got a int that is too large to be shown",
    ),
    ("a.toml", TOML.replace("= 10", "= 2020-01-01"), "n_classes must be a whole number, got datetime.date(2020, 1, 1)"),
    ("a.toml", TOML.replace("= 10", "= 2020-13-01"), "is not a TOML file"),
    ("a.toml", "x = " + "[" * 5000, "a.toml is nested too deeply to be a network"),
    ("a.toml", ".".join("a" * 2000) + " = 1", "a.toml"),
    ("a.toml", TOML.replace("= 8", "= nan"), "Block.out_channels must be a whole number, got nan"),
    ("s000_net.json", changed(), "s000_net.json is not the hand-designed network s000_net; rename the file"),
]


def write(folder: Path, name: str, content: str | bytes | None) -> None:
    if content is None:
        (folder / name).mkdir()
    else:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize(("name", "content", "words"), NETWORKS, ids=short)
def test_networks_that_are_none(refuses: Refuses, name: str, content: str | bytes | None, words: str) -> None:
    write(refuses.folder, name, content)
    refuses(["describe", name], name, words)


# The command reads them with the same function, before anything else.
@pytest.mark.parametrize(("name", "content", "words"), NETWORKS[:3] + NETWORKS[26:27], ids=short)
def test_no_search_begins_with_them(refuses: Refuses, name: str, content: str | bytes | None, words: str) -> None:
    write(refuses.folder, name, content)
    refuses([*RUN, "--baseline", name], name, words)
    refuses(["frontier", "--baseline", name], name, words)


def test_networks_that_do_not_go_together(refuses: Refuses) -> None:
    write(refuses.folder, "small.json", changed(input_shape=[1, 20, 20], stages=[], head={"kind": "gap_linear"}))
    refuses([*RUN, "--baseline", "small.json"], "network small takes (1, 20, 20) images of 10 classes; those of digits")
    write(refuses.folder, "small.toml", TOML)
    twice = [*RUN, "--baseline", "small.json", "--baseline", "small.toml"]
    refuses(twice, "two networks are named small; rename one of the files")


def test_devices_and_dangling_links(refuses: Refuses) -> None:
    (refuses.folder / "a.json").symlink_to("nowhere")
    (refuses.folder / "b.json").symlink_to("b.json")
    for name in ("a.json", "b.json"):
        refuses(["describe", name], f"no hand-designed network or readable file '{name}'")
    if os.path.exists("/dev/zero"):
        refuses(["describe", "/dev/zero"], "/dev/zero is not text: it has more than 1,000,000 bytes")
        refuses(["space", "--space", "/dev/zero"], "/dev/zero: not TOML: it has more than 1,000,000 bytes")


# --- spaces ---------------------------------------------------------------------------------------------------------

SPACES: list[tuple[str | bytes | None, str]] = [
    ("", "changes no dimension; python search.py space lists them"),
    ("# nothing", "changes no dimension"),
    (None, "cannot read the space file: Is a directory; name another with --space"),
    (b"\xff\xfe", "not TOML: 'utf-8' codec can't decode"),
    (gzip.compress(b"stages = 2", mtime=0), "not TOML: "),
    (b"#" * 1_000_001, "not TOML: it has more than 1,000,000 bytes"),
    ('{"stages": 2}', "not TOML: "),
    ("stages = ", "not TOML: "),
    ("stages = 2\nstages = 3", "not TOML: Cannot overwrite a value"),
    ("dropout = 0.1\ndropout = 0.2", "not TOML: Cannot overwrite a value"),
    ("stages.1.widht = 16", "unknown dimension 'stages.1.widht'; the nearest is 'stages.1.width'"),
    ("x" * 5000 + " = 1", "unknown dimension 'xxxx"),
    ('"" = 1', "unknown dimension ''; the nearest is"),
    ("stages.4.depth = 2", "unknown dimension 'stages.4.depth'"),
    ("sgd = 1", "unknown dimension 'sgd'; the nearest is"),
    ("stages.1.width.1 = {low = 3, hgih = 4}", "unknown dimension 'stages.1.width.1."),
    ("stages = 0", "stages must be from 1 to 3, got 0"),
    ("stages = 4", "stages must be from 1 to 3, got 4; nothing else can be built"),
    ("stages = -1", "got -1"),
    ("stages = 2.0", "stages must be from 1 to 3, got 2.0"),
    ("stages = '2'", 'got "2"'),
    ("stages = true", "got true"),
    ("stages = []", "stages needs at least one choice, got []"),
    ("stages = [[2]]", "got [2]"),
    ("stages = 1" + "0" * 30, "stages must be from 1 to 3, got 1000"),
    ("stages = 0x" + "f" * 9000, "stages must be from 1 to 3, got a int that is too large to be shown"),
    ("dropout = 1" + "0" * 400, "dropout must be from 0 to 0.9, got 1000"),
    ("dropout = nan", "dropout must be from 0 to 0.9, got NaN"),
    ("dropout = inf", "got Infinity"),
    ("dropout = -0.1", "got -0.1"),
    ("dropout = 2020-01-01", 'got "2020-01-01"'),
    ("dropout = {low = 0.5, high = 0.1}", "dropout: low must not be above high, got 0.5 to 0.1"),
    ("dropout = {low = nan}", "got NaN"),
    ("head.kind = 'softmax'", "head.kind must be one of"),
    ("head.kind = {low = 'conv'}", "head.kind takes a value or a list of choices, not a range"),
    ("batch_size = 1", "batch_size must be from 2 to 4096, got 1"),
    ("sgd.lr = 0", "sgd.lr must be from 1e-08 to 100, got 0"),
    ("x = " + "[" * 5000, "nested too deeply; a name has at most four parts"),
    ("stages.1.kernel = " + "[" * 200 + "]" * 200, "stages.1.kernel must be one of 3, 5, 7, got [[["),
    (".".join("a" * 3000) + " = 1", "my.toml: "),
]


@pytest.mark.parametrize(("content", "words"), SPACES, ids=short)
def test_spaces_that_are_none(refuses: Refuses, content: str | bytes | None, words: str) -> None:
    write(refuses.folder, "my.toml", content)
    refuses(["space", "--space", "my.toml"], "my.toml: ", words)


@pytest.mark.parametrize(("content", "words"), SPACES[7:12], ids=short)
def test_no_search_begins_in_them(refuses: Refuses, content: str | bytes | None, words: str) -> None:
    write(refuses.folder, "my.toml", content)
    refuses([*RUN, "--space", "my.toml"], "my.toml: ", words)


# --- data -----------------------------------------------------------------------------------------------------------


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
    known = replace(definition("mnist"), load=partial(load_idx, files), is_at=files.is_at)
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


def test_a_terminal_that_knows_no_such_letters(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    refuses(["describe", "s004_net3"], "the output cannot hold '·' in ascii; set PYTHONIOENCODING=utf-8")
