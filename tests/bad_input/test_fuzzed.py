"""Whatever is read either means something, which reads back as the same, or is refused in one line."""

from __future__ import annotations

import hashlib
import json
from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.baselines import BASELINES
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.record import Record, RecordError
from models.spec import ArchSpec
from search.cli import values
from search.config import DataConfig, SearchConfig
from search.data.idx import IdxFiles
from search.engine.confusion import Confusion, Misread
from search.errors import InputError
from search.evidence.confirm import ConfirmPlan
from search.export.standalone.idx_test_set import read_idx
from search.files import MAX_BYTES
from search.report.architecture import describe_json, layer_table
from search.search_space.network_file import read_spec
from search.search_space.space_file import as_file, read_changes
from search.storage.url import parse_url, shown_url, without_secrets
from search.study.card import read_card
from space import WHOLE, space_of
from tests.bad_input.damage import damaged, damaged_bytes, fuzzed, json_like
from tests.bad_input.refusals import PASSWORD
from tests.bad_input.test_data_files import PUBLISHED
from tests.bad_input.test_networks import TOML
from tests.bad_input.test_study_files import GOOD_CARD

SPEC = BASELINES["s001_model3"].spec.to_dict()
RECIPE = next(iter(BASELINES["s004_net3"].recipes.values())).to_dict()
SETTINGS = SearchConfig(
    DataConfig("mnist", "data"), 8000, 10**6, 10**5, 10**4, 9, "int8", 1.5, dimensions=("stages = 2", "dropout = 0.1")
).settings()
PLAN = ConfirmPlan((8, 9, 0), (0.9945, 0.9937, 0.9931), 0, 3).to_dict()
MISTAKES = Confusion(((5, 1), (0, 4)), (Misread(3, 0, 1),)).to_dict()


def names(value: Any) -> list[str]:
    """All keys and texts in a document."""
    if isinstance(value, dict):
        return sorted({*value, *(name for item in value.values() for name in names(item))})
    if isinstance(value, list):
        return sorted({name for item in value for name in names(item)})
    return [value] if isinstance(value, str) else []


def check_refusal(error: Exception, words: str = "") -> None:
    message = str(error)
    assert message.strip()
    assert words in message
    assert "\n" not in message
    assert len(message) < 2000


def from_settings(data: Any) -> SearchConfig:
    return SearchConfig.from_settings(data, "data")


# A valid document, what reads it, and what it is read back from.
READERS: dict[str, tuple[dict[str, Any], Callable[[Any], Record], Callable[[Any], Any]]] = {
    "network": (SPEC, ArchSpec.from_dict, ArchSpec.to_dict),
    "recipe": (RECIPE, RecipeConfig.from_dict, RecipeConfig.to_dict),
    "settings": (SETTINGS, from_settings, SearchConfig.settings),
    "plan": (PLAN, ConfirmPlan.from_dict, ConfirmPlan.to_dict),
    "mistakes": (MISTAKES, Confusion.from_dict, Confusion.to_dict),
}


@pytest.mark.parametrize("kind", READERS)
def test_documents(kind: str) -> None:
    valid, read, write = READERS[kind]
    words = names(valid)
    assert write(read(valid)) == valid

    @fuzzed
    @given(damaged(valid, words) | json_like(words))
    def check(data: Any) -> None:
        try:
            record = read(data)
        except RecordError as error:
            check_refusal(error)
            return
        assert read(json.loads(json.dumps(write(record), allow_nan=False))) == record
        record.key()

    check()


@pytest.mark.parametrize(("name", "valid"), [("a.json", json.dumps(SPEC)), ("a.toml", TOML)], ids=["json", "toml"])
def test_network_files(tmp_path: Path, name: str, valid: str) -> None:
    path = tmp_path / name

    @fuzzed
    @given(damaged_bytes(valid.encode()) | damaged(SPEC, names(SPEC)).map(_as_json) | st.binary(max_size=40))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            spec = read_spec(path)
        except (InputError, RecordError) as error:
            check_refusal(error)
            return
        cost = compute_cost(spec)
        assert layer_table(cost)
        path.write_text(json.dumps(describe_json(spec, cost)))
        assert read_spec(path.rename(tmp_path / "again.json")) == spec

    check()


def _as_json(data: Any) -> bytes:
    try:
        return json.dumps(data).encode()
    except ValueError:  # a number that Python writes no more
        return b"1" * 5000


SPACE = """
stages = 2
stages.1.width = 16
stages.2.width = { low = 8, high = 24 }
"stages.*.kind" = ["conv", "separable"]
head.kind = "gap_linear"
sgd.lr = { high = 0.5 }
[transitions.1]
place = "before"
bare = true
"""


def test_space_files(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    config = SearchConfig(DataConfig("mnist", "data"), 8000)

    @fuzzed
    @given(damaged_bytes(SPACE.encode()) | st.text(max_size=40).map(str.encode))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            lines = read_changes(path, WHOLE)
        except InputError as error:
            check_refusal(error)
            return
        changed = SearchConfig(config.data, 8000, dimensions=lines)
        space_of(changed)
        path.write_text(as_file(changed), encoding="utf-8")
        assert read_changes(path, WHOLE) == lines
        assert from_settings(json.loads(json.dumps(changed.settings()))) == changed

    check()


VALUES: dict[str, tuple[Callable[[str], Any], list[str]]] = {
    "count": (values.count, ["8000", "8k", "1.5M", "1_000"]),
    "number_of_bytes": (values.number_of_bytes, ["64KiB", "64 kB", "1.5MB"]),
    "size": (values.size, ["32", "32x40"]),
    "switched_off": (values.switched_off, ["all", "rotation,mirror"]),
    "positive": (values.positive, ["10", "+10", "1_000"]),
    "whole": (values.whole_number, ["-10", "4294967295"]),
    "milliseconds": (values.milliseconds, ["1.5ms", "1e-3", " 2 MS"]),
    "budgets": (values.budgets, ["1k,2k", "8000"]),
    "formats": (values.formats, ["onnx,c", "all"]),
    "confirming": (values.confirmation, ["5:5", "3:5:10", "none"]),
    "jobs": (values.jobs, ["auto", "4"]),
    "port": (values.port, ["8080"]),
    "text": (values.text, ["mnist-8000", "../x"]),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_options(kind: str) -> None:
    read, valid = VALUES[kind]
    letters = st.text("0123456789kKmMgGiIbB.:,_+-eE xX٣²nNaAfF\n\0", max_size=12)

    @fuzzed
    @given(st.sampled_from(valid) | letters | st.text(max_size=8) | st.integers().map(str) | st.floats().map(str))
    def check(given_text: str) -> None:
        try:
            value = read(given_text)
        except ArgumentTypeError as error:
            check_refusal(error)
            return
        if kind in ("count", "number_of_bytes", "positive", "port"):
            assert value >= 1
            assert read(str(value)) == value
        if kind == "confirming" and value is not None:
            again = f"{value.top}:{value.seeds}" + (f":{value.further}" if value.further else "")
            assert read(again) == value

    check()
    for text in valid:
        read(text)


def test_idx_files(tmp_path: Path) -> None:
    published = {name: (len(text), hashlib.sha256(text).hexdigest()) for name, text in PUBLISHED.items()}
    files = IdxFiles("MNIST", published)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, text in PUBLISHED.items():
        (raw / name).write_bytes(text)
    name = list(PUBLISHED)[1]

    @fuzzed
    @given(damaged_bytes(PUBLISHED[name]) | st.sampled_from(list(PUBLISHED.values())) | st.binary(max_size=90))
    def check(content: bytes) -> None:
        (raw / name).write_bytes(content)
        try:
            found = files.read(tmp_path)
        except InputError as error:
            check_refusal(error, name)
            return
        assert content == PUBLISHED[name]
        assert [len(part) for part in found] == [60, 60, 20, 20]

    check()


def test_idx_files_of_the_exported_model(tmp_path: Path) -> None:
    path = tmp_path / "t10k-labels-idx1-ubyte"

    @fuzzed
    @given(damaged_bytes(PUBLISHED[path.name]) | st.binary(max_size=40).map(lambda content: b"\0\0\x08" + content))
    def check(content: bytes) -> None:
        path.write_bytes(content)
        try:
            found = read_idx(path)
        except ValueError as error:
            check_refusal(error)
            return
        assert content.endswith(bytes(found.flatten().tolist()))

    check()


def test_cards(tmp_path: Path) -> None:
    card = GOOD_CARD | {"mistakes": MISTAKES}

    @fuzzed
    @given(damaged(card, names(card)).map(_as_json) | damaged_bytes(json.dumps(card).encode()))
    def check(content: bytes) -> None:
        (tmp_path / "card.json").write_bytes(content)
        try:
            found = read_card(tmp_path)
        except InputError as error:
            check_refusal(error)
            return
        assert found is not None
        assert float(found["accuracy"]["file_on_test"]) == found["accuracy"]["file_on_test"]
        assert isinstance(found["trial"], int | None)

    check()


def test_storages_never_show_a_password() -> None:
    part = st.text("ab:/@?&=%[]{}.1 #", max_size=6)

    @fuzzed
    @given(st.sampled_from(["postgresql", "mysql+x", "sqlite", "", "a b"]), part, part, part)
    def check(scheme: str, before: str, host: str, behind: str) -> None:
        url = f"{scheme}://{before}:{PASSWORD}@{host}/{behind}"
        try:
            shown = shown_url(parse_url(url))
        except InputError as error:
            check_refusal(error)
            shown = str(error)
        if ":" not in before and "/" not in before and "?" not in before:
            assert PASSWORD not in shown
            assert PASSWORD not in "".join(without_secrets(["--storage", url, f"--storage={url}"]))

    check()


def test_a_file_without_an_end_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="more than 1,000,000 bytes"):
        read_spec(tmp_path / "a.json")
