"""Data sets: what is known of them, what they hold, how they are split, and which is meant by auto."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from search.config import DataConfig
from search.data.dataset import Definition, Split
from search.data.load import DATASETS, definition, load_dataset, resolve_auto
from search.errors import InputError
from tests.search.tiny_mnist import NAMES, ROOT, load, mirror, same, send, write_files

# --- definitions


@pytest.mark.usefixtures("tiny_mnist")
@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_definition_agrees_with_the_data(name: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    known, dataset = definition(name), load(name, tmp_path)
    assert known.input_shape == dataset.input_shape == (1, 28, 28)
    assert known.n_classes == dataset.n_classes == 10
    assert dataset.name == name
    for split in (dataset.train, dataset.test):
        assert (split.images.dtype, split.labels.dtype) == (torch.uint8, torch.int64)
        assert split.images.shape == (len(split), 1, 28, 28)
        assert sorted(set(split.labels.tolist())) == list(range(10))


@pytest.mark.parametrize("look_up", [definition, load, lambda name: resolve_auto(DataConfig(name, ""))])
def test_unknown_name_is_an_input_error(look_up: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match="unknown data set 'mnits'; the known ones are mnist, digits"):
        look_up("mnits")


def test_import_is_light() -> None:
    program = "import sys, search.data.load; print({'torchvision', 'sklearn'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- what every data set does


@pytest.fixture
def colours(monkeypatch: pytest.MonkeyPatch) -> tuple[Split, Split]:
    """A data set "colours" of another shape: 3 channels, 6 x 9, 2 classes; it takes one entry in the table."""
    source = torch.Generator().manual_seed(3)
    images = torch.stack([torch.randint(0, high, (72, 6, 9), generator=source) for high in (256, 128, 64)], dim=1)
    everything = Split(images.to(torch.uint8), torch.arange(72) % 2)
    splits = everything.take(torch.arange(60)), everything.take(torch.arange(60, 72))
    monkeypatch.setitem(DATASETS, "colours", Definition((3, 6, 9), ("even", "odd"), lambda _: splits))
    return splits


@pytest.mark.usefixtures("colours")
@pytest.mark.parametrize("select_on", ["test", "val"])
@pytest.mark.parametrize("name", ["digits", "colours"])
def test_mean_and_std_are_those_of_the_training_images(name: str, select_on: str) -> None:
    dataset = load(name, select_on=select_on)
    scaled = dataset.train.images.double() / 255
    assert dataset.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist(), abs=1e-9)
    assert dataset.std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist(), abs=1e-9)


@pytest.mark.usefixtures("colours", "tiny_mnist")
@pytest.mark.parametrize(("name", "n_train", "n_val"), [("digits", 1438, 239), ("colours", 60, 10), ("mnist", 60, 10)])
def test_validation_images_are_held_out_of_the_training_images(
    name: str, n_train: int, n_val: int, tmp_path: Path
) -> None:
    write_files(tmp_path)
    whole, held_out = load(name, tmp_path), load(name, tmp_path, "val")
    assert whole.val is None
    assert whole.scored is whole.test
    assert held_out.val is held_out.scored
    assert held_out.val is not None
    assert (whole.held_out, held_out.held_out) == ("", "stratified")
    assert (len(whole.train), len(held_out.train), len(held_out.val)) == (n_train, n_train - n_val, n_val)
    assert same(whole.test, held_out.test)
    assert whole.checksum == held_out.checksum

    def content(*splits: Split) -> list[tuple[list[int], int]]:
        return sorted((i.flatten().tolist(), int(n)) for s in splits for i, n in zip(s.images, s.labels, strict=True))

    assert content(held_out.train, held_out.val) == content(whole.train)
    share = n_val / n_train
    counts = whole.train.labels.bincount()
    assert ((held_out.val.labels.bincount() - share * counts).abs() <= 1).all()
    again = load(name, tmp_path, "val")
    assert again.val is not None
    assert same(again.val, held_out.val)
    assert same(again.train, held_out.train)


@pytest.mark.parametrize("split", [0, 1], ids=["train", "test"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_checksum_covers_every_image_and_label(split: int, part: str, colours: tuple[Split, Split]) -> None:
    before = load("colours").checksum
    assert len(before) == 64
    assert load("colours").checksum == before
    getattr(colours[split], part).view(-1)[-1] ^= 1
    assert load("colours").checksum != before


# --- digits


def test_digits_need_no_network_and_no_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("network used")

    monkeypatch.setattr(socket, "socket", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    dataset = load("digits", tmp_path / "absent")
    assert (len(dataset.train), len(dataset.test)) == (1438, 359)
    assert list(tmp_path.iterdir()) == []


def test_digits_are_always_the_same() -> None:
    """A change of this value means that results on digits before and after are not comparable."""
    assert load("digits").checksum == "36e1c1debf415de699a3b822b684a73d004341d624cec51932d1b40373608f4d"


def test_digits_are_stratified_and_framed_like_mnist() -> None:
    dataset = load("digits")
    test, train = dataset.test.labels.bincount(), dataset.train.labels.bincount()
    assert ((test - (train + test) / 5).abs() <= 1).all()
    inside = dataset.train.images[:, :, 4:24, 4:24]
    assert inside.sum() == dataset.train.images.sum()
    assert (inside.min().item(), inside.max().item()) == (0, 255)


# --- auto


@pytest.mark.usefixtures("tiny_mnist")
class TestAuto:
    @pytest.mark.parametrize("name", ["mnist", "digits"])
    def test_other_names_pass(self, name: str, tmp_path: Path) -> None:
        config = DataConfig(name, str(tmp_path / "absent"), "val")
        assert resolve_auto(config) == (config, None)

    def test_mnist_where_its_files_are(self, tmp_path: Path) -> None:
        write_files(tmp_path)
        expected = DataConfig("mnist", str(tmp_path), "val")
        assert resolve_auto(DataConfig("auto", str(tmp_path), "val")) == (expected, None)

    def test_mnist_where_it_can_be_downloaded(self, tmp_path: Path) -> None:
        with mirror(send):
            config, notice = resolve_auto(DataConfig("auto", str(tmp_path)))
        assert (config.dataset, notice) == ("mnist", None)
        assert len(load_dataset(config).train) == 60

    @pytest.mark.parametrize("absent", [NAMES, NAMES[3:]])
    def test_digits_and_a_notice_where_it_cannot(self, absent: tuple[str, ...], tmp_path: Path) -> None:
        write_files(tmp_path, dict.fromkeys(absent))
        config, notice = resolve_auto(DataConfig("auto", str(tmp_path), "val"))
        assert config == DataConfig("digits", str(tmp_path), "val")
        assert notice is not None
        assert notice.startswith("THIS IS NOT MNIST")
        for part in (absent[0], "Connection refused", f"into {tmp_path / 'MNIST' / 'raw'}", "--data-dir", "$DATA_DIR"):
            assert part in notice
