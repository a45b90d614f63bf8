"""Networks from files: both formats, and what is no network."""

import json
from pathlib import Path

import pytest

from models.baselines import BASELINES
from models.record import RecordError
from models.spec import ArchSpec, Block, Head, Stage
from search.errors import InputError
from search.search_space.network_file import read_network, read_spec

MINE = ArchSpec(
    (1, 28, 28),
    10,
    (
        Stage((Block(8, 7, padding="same"), Block(6, 1, batch_norm=False, activation=None)), 2),
        Stage((Block(10, activation="gelu", dropout=0.1),)),
    ),
    Head("flatten_linear", bias=True),
)
TOML = """
input_shape = [1, 28, 28]
n_classes = 10
[[stages]]
pool = 2
blocks = [
    { out_channels = 8, kernel_size = 7, padding = "same" },
    { out_channels = 6, kernel_size = 1, batch_norm = false, activation = "none" },
]
[[stages]]
blocks = [{ out_channels = 10, activation = "gelu", dropout = 0.1 }]
[head]
kind = "flatten_linear"
bias = true
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("mine.toml", TOML),
        ("mine.json", json.dumps(MINE.to_dict())),
        ("mine.json", json.dumps({"arch": MINE.to_dict(), "study": "a card"})),
        ("mine", json.dumps(MINE.to_dict())),
    ],
)
def test_a_network_comes_from_its_file_with_its_name(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_network(str(tmp_path / name)) == ("mine", MINE)


def test_hand_designed_networks_come_by_their_id(tmp_path: Path) -> None:
    assert read_network("s000_net") == ("s000_net", BASELINES["s000_net"].spec)
    file = tmp_path / "s000_net.json"
    file.write_text(json.dumps(BASELINES["s000_net"].spec.to_dict()), encoding="utf-8")
    assert read_network(str(file)) == ("s000_net", BASELINES["s000_net"].spec)
    file.write_text(json.dumps(MINE.to_dict()), encoding="utf-8")
    with pytest.raises(InputError, match="is not the hand-designed network s000_net; rename the file"):
        read_network(str(file))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.toml", b"input_shape = [1", "a.toml is not a TOML file: "),
        ("a.json", b"{", "a.json is not a JSON file: "),
        ("a.json", b"[" * 100_000, "a.json is nested too deeply"),
        ("a.json", b"\xff\xfe", "a.json is not text: "),
        ("a.toml", b"n_classes = 10", "a.toml: ArchSpec needs the key 'input_shape'"),
        ("a.toml", TOML.replace("flatten_linear", "flat").encode(), "a.toml: ArchSpec.head: head kind must be one of"),
        ("a.toml", TOML.replace("pool = 2", "pool = 40").encode(), "does not fit a map of 28x28"),
    ],
)
def test_what_is_no_network_is_one_line_with_its_file(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((InputError, RecordError)) as caught:
        read_spec(tmp_path / name)
    assert words in str(caught.value)
    assert name in str(caught.value)
