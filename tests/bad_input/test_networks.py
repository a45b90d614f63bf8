"""Files that a user hands in: networks that are none."""

from __future__ import annotations

import gzip
import io
import json
import os
from typing import Any

import pytest

from models.baselines import BASELINES
from models.spec import BLOCK_KINDS
from tests.bad_input.handed_in import write
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
    ("a.json", '{"n_classes": 10, "n_classes": 12}', "is not a JSON file: the key 'n_classes' occurs twice"),
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
    ("a.json", block(kind="dense"), f"block kind must be one of {', '.join(BLOCK_KINDS)}, got 'dense'"),
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


def test_a_terminal_that_knows_no_such_letters(refuses: Refuses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    refuses(["describe", "s004_net3"], "the output cannot hold '·' in ascii; set PYTHONIOENCODING=utf-8")
