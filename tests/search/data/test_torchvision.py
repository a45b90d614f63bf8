"""Published data sets, from small files in the formats that torchvision reads, and where they cannot be had."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from torch import Tensor
from torchvision import datasets

from search.config import AFFINE_AUGMENTATIONS, AUGMENTATIONS, DataConfig
from search.data import idx as idx_module
from search.data.dataset import Dataset
from search.data.idx import UnavailableError
from search.data.load import DATASETS, definition, form_of, is_available, load_dataset
from search.data.torchvision import DEFINITIONS
from search.errors import InputError
from tests.search.tiny_mnist import all_files, idx, unused_url

N_TRAIN, N_TEST = 12, 6
# One of MNIST's kind, one in a folder of its own, one read as it is downloaded.
DOWNLOADED = ("fashion", "cifar100", "usps")


def images(shape: tuple[int, ...], n: int, seed: int) -> Tensor:
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def labels(n_classes: int, n: int) -> Tensor:
    """The lowest and the highest among them."""
    return torch.linspace(0, n_classes - 1, n).round().to(torch.uint8)


def parts(name: str) -> Iterator[tuple[str, int, Tensor, Tensor]]:
    """(split, its seed, images (N, C, H, W), labels (N,)) that the files of a data set are made of."""
    known = definition(name)
    for split, n, seed in (("train", N_TRAIN, 1), ("test", N_TEST, 2)):
        yield split, seed, images(known.input_shape, n, seed), labels(known.n_classes, n)


def write_idx(root: Path, name: str, kind: str, prefix: Callable[[str], str], first: int = 0) -> None:
    raw = root / kind / "raw"
    raw.mkdir(parents=True)
    for split, _, pictures, classes in parts(name):
        grey = pictures[:, 0].transpose(1, 2) if kind == "EMNIST" else pictures[:, 0]
        (raw / f"{prefix(split)}-images-idx3-ubyte").write_bytes(idx(grey.contiguous()))
        (raw / f"{prefix(split)}-labels-idx1-ubyte").write_bytes(idx(classes + first))


def write_qmnist(root: Path) -> None:
    raw = root / "QMNIST" / "raw"
    raw.mkdir(parents=True)
    for split, _, pictures, classes in parts("qmnist"):
        table = np.zeros((len(classes), 8), dtype=">i4")
        table[:, 0], table[:, 2] = classes, np.arange(len(classes)) % 3
        (raw / f"qmnist-{split}-images-idx3-ubyte").write_bytes(idx(pictures[:, 0]))
        header = struct.pack(">4B2i", 0, 0, 12, 2, *table.shape)
        (raw / f"qmnist-{split}-labels-idx2-int").write_bytes(header + table.tobytes())


def write_usps(root: Path) -> None:
    for split, _, pictures, classes in parts("usps"):
        lines = []
        for picture, label in zip(pictures, classes, strict=True):
            values = (picture.flatten().double() + 0.5) / 255 * 2 - 1
            pairs = " ".join(f"{i}:{value:.6f}" for i, value in enumerate(values.tolist(), start=1))
            lines.append(f"{label + 1} {pairs} \n")
        name = "usps.bz2" if split == "train" else "usps.t.bz2"
        (root / name).write_bytes(bz2.compress("".join(lines).encode()))


def write_cifar(root: Path, name: str, kind: type, key: str) -> None:
    folder = root / kind.base_folder
    folder.mkdir()
    for split, _, pictures, classes in parts(name):
        files = [entry[0] for entry in (kind.train_list if split == "train" else kind.test_list)]
        rows, numbers = np.array_split(pictures.flatten(1).numpy(), len(files)), np.array_split(classes, len(files))
        for file, data, targets in zip(files, rows, numbers, strict=True):
            (folder / file).write_bytes(pickle.dumps({"data": data, key: [int(one) for one in targets]}))
    (folder / kind.meta["filename"]).write_bytes(pickle.dumps({kind.meta["key"]: list(definition(name).classes)}))


def write_svhn(root: Path) -> None:
    for split, _, pictures, classes in parts("svhn"):
        numbers = torch.where(classes == 0, 10, classes)[:, None].numpy()  # as it is published
        values = {"X": pictures.permute(2, 3, 1, 0).contiguous().numpy(), "y": numbers}
        scipy.io.savemat(root / f"{split}_32x32.mat", values)


def like_mnist(split: str) -> str:
    return {"train": "train", "test": "t10k"}[split]


WRITERS: dict[str, Callable[[Path], None]] = {
    "fashion": lambda root: write_idx(root, "fashion", "FashionMNIST", like_mnist),
    "kmnist": lambda root: write_idx(root, "kmnist", "KMNIST", like_mnist),
    "qmnist": write_qmnist,
    "usps": write_usps,
    "cifar10": lambda root: write_cifar(root, "cifar10", datasets.CIFAR10, "labels"),
    "cifar100": lambda root: write_cifar(root, "cifar100", datasets.CIFAR100, "fine_labels"),
    "svhn": write_svhn,
} | {
    f"emnist-{split}": lambda root, split=split: write_idx(  # type: ignore[misc]
        root, f"emnist-{split}", "EMNIST", lambda part: f"emnist-{split}-{part}", first=int(split == "letters")
    )
    for split in ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def accept(root: Path, patch: pytest.MonkeyPatch) -> None:
    """The small files are the published ones, for torchvision too."""
    for kind in (datasets.CIFAR10, datasets.CIFAR100):
        folder = root / kind.base_folder
        if folder.is_dir():
            for name in ("train_list", "test_list"):
                patch.setattr(kind, name, [[file, md5(folder / file)] for file, _ in getattr(kind, name)])
            patch.setattr(kind, "meta", kind.meta | {"md5": md5(folder / kind.meta["filename"])})
    known = {
        split: [url, name, md5(root / name)]
        for split, (url, name, _) in datasets.SVHN.split_list.items()
        if (root / name).is_file()
    }
    patch.setattr(datasets.SVHN, "split_list", datasets.SVHN.split_list | known)


def load(name: str, root: Path, select_on: str = "test", size: tuple[int, ...] = ()) -> Dataset:
    return load_dataset(DataConfig.named(name, str(root), select_on, size))


def test_every_data_set_has_small_files_here() -> None:
    assert WRITERS.keys() == DEFINITIONS.keys()


@pytest.mark.parametrize("name", WRITERS)
def test_reads_what_was_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = definition(name)
    assert not is_available(DataConfig(name, str(tmp_path)))
    WRITERS[name](tmp_path)
    accept(tmp_path, monkeypatch)
    assert is_available(DataConfig(name, str(tmp_path)))
    data = load(name, tmp_path)
    form = form_of(DataConfig(name, str(tmp_path)))
    assert (data.input_shape, data.classes) == (known.input_shape, known.classes) == (form.input_shape, form.classes)
    assert len(set(known.classes)) == known.n_classes
    for (_, _, pictures, classes), split in zip(parts(name), (data.train, data.test), strict=True):
        assert torch.equal(split.images, pictures)
        assert split.images.is_contiguous()
        assert split.labels.tolist() == classes.tolist()
    assert data.terms


def test_the_writers_of_qmnist_are_known(tmp_path: Path) -> None:
    write_qmnist(tmp_path)
    train = load("qmnist", tmp_path).train
    writers = definition("qmnist").writers(tmp_path, train.labels)
    assert writers is not None
    assert writers.tolist() == [i % 3 for i in range(N_TRAIN)]


def test_augmentations_that_a_search_has_by_itself() -> None:
    mirrored = {name for name, known in DATASETS.items() if "mirror" in known.augmentations}
    assert mirrored == {"fashion", "cifar10", "cifar100"}
    used = {name: set(known.augmentations) for name, known in DATASETS.items()}
    affine = set(AFFINE_AUGMENTATIONS)
    photographs = {"cifar10": set(AUGMENTATIONS), "cifar100": set(AUGMENTATIONS)}
    assert used == dict.fromkeys(DATASETS, affine) | {"fashion": affine | {"mirror"}} | photographs


def test_another_size_of_images(tmp_path: Path) -> None:
    WRITERS["fashion"](tmp_path)
    data, small = load("fashion", tmp_path), load("fashion", tmp_path, size=(14, 20))
    assert (small.input_shape, small.test_files, bool(data.test_files)) == ((1, 14, 20), (), True)
    assert small.checksum != data.checksum
    assert float(small.train.images.float().mean()) == pytest.approx(float(data.train.images.float().mean()), abs=0.5)
    assert form_of(DataConfig("fashion", "", image_size=(14, 20))).input_shape == (1, 14, 20)
    assert load("fashion", tmp_path, size=(28, 28)).checksum == data.checksum


# --- files that are wrong or absent ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file", "content", "fault"),
    [
        ("fashion", "FashionMNIST/raw/t10k-labels-idx1-ubyte", b"", "FashionMNIST in {root} cannot be read ("),
        ("fashion", "FashionMNIST/raw/train-images-idx3-ubyte", b"<html>log in</html>", "cannot be read ("),
        (
            "kmnist",
            "KMNIST/raw/train-labels-idx1-ubyte",
            idx(torch.full((N_TRAIN,), 10, dtype=torch.uint8)),
            "labels must be from 0 to 9",
        ),
        ("kmnist", "KMNIST/raw/t10k-labels-idx1-ubyte", idx(labels(10, 5)), "5 labels and images (6, 1, 28, 28)"),
        ("emnist-letters", "EMNIST/raw/emnist-letters-test-labels-idx1-ubyte", idx(labels(10, 6)), "labels must be"),
        ("cifar10", "cifar-10-batches-py/data_batch_3", b"pickle", "Dataset not found or corrupted"),
        ("svhn", "test_32x32.mat", b"mat", "Dataset not found or corrupted"),
        ("usps", "usps.t.bz2", b"bz2", "USPS in {root} cannot be read (Invalid data stream)"),
    ],
)
def test_a_wrong_file_is_one_line_with_a_way_out(
    name: str, file: str, content: bytes, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    WRITERS[name](tmp_path)
    accept(tmp_path, monkeypatch)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError) as caught:
        load(name, tmp_path)
    message = str(caught.value)
    assert fault.format(root=tmp_path) in message
    assert (
        "there to have it downloaded again, or name a directory that holds it with --data-dir or $DATA_DIR" in message
    )
    assert "\n" not in message


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever torchvision asks for is refused."""
    nowhere = unused_url()
    for kind in (datasets.FashionMNIST, datasets.KMNIST):
        monkeypatch.setattr(kind, "mirrors", [nowhere])
    for kind in (datasets.CIFAR10, datasets.CIFAR100, datasets.EMNIST):
        monkeypatch.setattr(kind, "url", nowhere + "archive.tar.gz")
    for kind in (datasets.USPS, datasets.SVHN):
        refused = {split: [nowhere + name, name, md5] for split, (_, name, md5) in kind.split_list.items()}
        monkeypatch.setattr(kind, "split_list", refused)
    resources = {
        split: [(nowhere + os.path.basename(url), md5) for url, md5 in files]
        for split, files in datasets.QMNIST.resources.items()
    }
    monkeypatch.setattr(datasets.QMNIST, "resources", resources)
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("name", WRITERS)
def test_what_cannot_be_downloaded_is_one_line_and_leaves_nothing(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "new" / "data"
    with pytest.raises(UnavailableError) as caught:
        load(name, root)
    message = str(caught.value)
    assert "is missing and could not be downloaded (" in message
    assert "Connection refused" in message
    assert "with --data-dir or $DATA_DIR, or use --dataset digits" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err.endswith(f"is not in {root}: downloading it\n")


@pytest.mark.parametrize("name", DOWNLOADED)
def test_whole_files_are_kept_of_a_download(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a stand-in for what fetches: torchvision's own code around it runs."""
    made = tmp_path / "made"
    made.mkdir()
    WRITERS[name](made)
    accept(made, monkeypatch)

    def fetch(_url: str, root: str, filename: str, **_: str) -> None:
        Path(root, filename).symlink_to(made / filename)

    def fetch_and_unpack(*where: str, filename: str, download_root: str = "", **_: str) -> None:
        folder = Path(download_root or where[-1])
        (folder / filename).write_bytes(b"archive")
        for file in made.rglob("*"):
            if file.is_file():
                target = folder / (file.name if folder.name == "raw" else file.relative_to(made))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())

    for module in (datasets.mnist, datasets.cifar):
        monkeypatch.setattr(module, "download_and_extract_archive", fetch_and_unpack)
    monkeypatch.setattr(datasets.usps, "download_url", fetch)
    root = tmp_path / "root"
    data = load(name, root)
    assert data.checksum == load(name, made).checksum
    assert all_files(root) == all_files(made)


@pytest.mark.usefixtures("no_network")
def test_archives_put_there_by_hand_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    WRITERS["fashion"](tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    resources = []
    for path in sorted(raw.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        resources.append((f"{path.name}.gz", md5(path.with_name(f"{path.name}.gz"))))
        path.unlink()
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    assert len(load("fashion", tmp_path).train) == N_TRAIN


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(root: str, **_: bool) -> None:
        (Path(root) / "usps.bz2").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets, "USPS", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load("usps", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert idx_module.socket.getdefaulttimeout() is None
