"""Published data sets that torchvision finds, downloads, verifies and reads, converted to one form."""

from __future__ import annotations

import http.client
import os
import shutil
import string
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.config import AFFINE_AUGMENTATIONS, AUGMENTATIONS
from search.data.dataset import Definition, Split
from search.data.definitions import DIGITS
from search.data.idx import UnavailableError, created, last_line, quiet_download
from search.data.qmnist_writers import read_writers
from search.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    ImagesAndLabels = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TorchvisionFiles:
    """Data set that torchvision stores and reads.

    kind         name of the class in torchvision.datasets
    train, test  arguments of that class for either split
    files        all files that are read, below the data directory
    archives     archives that torchvision unpacks the files from; empty where it reads what it downloads
    arrange      function of torchvision's images and labels that returns uint8 (N, C, H, W) and int64 (N,) from 0
    """

    kind: str
    train: Mapping[str, Any]
    test: Mapping[str, Any]
    files: tuple[str, ...]
    archives: tuple[str, ...]
    arrange: Callable[[Tensor, Tensor], ImagesAndLabels]

    def is_present(self, root: Path) -> bool:
        """Return whether every file exists, without verifying or downloading any."""
        return all((root / name).is_file() for name in self.files)

    def load(self, input_shape: tuple[int, int, int], n_classes: int, root: Path) -> tuple[Split, Split]:
        """Return (train, test) after downloading the files if any is absent.

        Raises UnavailableError if the download fails, another InputError if a file is wrong.
        """
        if not self.is_present(root):
            self._download(root)
        try:
            from torchvision import datasets

            kind = getattr(datasets, self.kind)
            splits = [
                Split(*self.arrange(*_tensors(kind(str(root), **arguments)))) for arguments in (self.train, self.test)
            ]
            for split in splits:
                _check_split(split, input_shape, n_classes)
        except Exception as error:  # torchvision and pickle raise almost anything for a damaged file
            raise InputError(
                f"{self.kind} in {root} cannot be read ({last_line(error)}); delete {self.files[0]} there to have it "
                "downloaded again, or name a directory that holds it with --data-dir or $DATA_DIR"
            ) from error
        return splits[0], splits[1]

    def _download(self, root: Path) -> None:
        """Download into a scratch folder, then move the files to `root`.

        An interrupted download therefore leaves no partial file.
        """
        try:
            from torchvision import datasets

            print(f"{self.kind} is not in {root}: downloading it", file=sys.stderr)
            with created(root), tempfile.TemporaryDirectory(dir=root, prefix="download-") as scratch:
                for name in self.archives or self.files:  # torchvision checks these first, and may then need no network
                    if (root / name).is_file():
                        (Path(scratch) / name).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copyfile(root / name, Path(scratch) / name)
                with quiet_download():
                    for arguments in (self.train, self.test):
                        getattr(datasets, self.kind)(scratch, download=True, **arguments)
                self._move_files(Path(scratch), root)
        except (ImportError, RuntimeError, OSError, http.client.HTTPException) as error:
            missing = next((name for name in self.files if not (root / name).is_file()), self.files[0])
            names = self.archives or self.files
            raise UnavailableError(
                f"{self.kind} is not in {root}: {missing} is missing and could not be downloaded ({last_line(error)}); "
                f"put {', '.join(names)} there, name a directory that holds the data with --data-dir or $DATA_DIR, "
                "or use --dataset digits"
            ) from error

    def _move_files(self, scratch: Path, root: Path) -> None:
        for path in sorted(scratch.rglob("*")):
            name = path.relative_to(scratch).as_posix()
            if path.is_file() and name not in self.archives:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(path, root / name)


def _tensors(dataset: Any) -> ImagesAndLabels:
    """Return the images and labels of a data set of torchvision, which stores labels under one of two names."""
    import torch

    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    return torch.as_tensor(dataset.data), torch.as_tensor(labels).long()


def _check_split(split: Split, input_shape: tuple[int, int, int], n_classes: int) -> None:
    """Raise ValueError for images or labels that no file of this data set can contain."""
    import torch

    images, labels = split.images, split.labels
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != input_shape or len(images) != len(labels):
        shape = tuple(images.shape)
        raise ValueError(f"{len(labels):,} labels and images {shape} of {images.dtype}, expected (N, *{input_shape})")
    if not len(labels) or labels.min() < 0 or labels.max() >= n_classes:
        raise ValueError(f"labels must be from 0 to {n_classes - 1}")


def _grey(images: Tensor, labels: Tensor) -> ImagesAndLabels:
    return images.unsqueeze(1), labels


def _first_column(images: Tensor, labels: Tensor) -> ImagesAndLabels:
    """Return the images and the classes of QMNIST, whose labels also contain writers and places of origin."""
    return images.unsqueeze(1), labels[:, 0].contiguous()


def _upright(images: Tensor, labels: Tensor, first: int = 0) -> ImagesAndLabels:
    """Return EMNIST's images upright, as they are stored transposed; `first` is the number of the first class."""
    return images.transpose(1, 2).unsqueeze(1).contiguous(), labels - first


def _channels_last(images: Tensor, labels: Tensor) -> ImagesAndLabels:
    return images.permute(0, 3, 1, 2).contiguous(), labels


def _unchanged(images: Tensor, labels: Tensor) -> ImagesAndLabels:
    return images.contiguous(), labels


def _define(
    files: TorchvisionFiles, input_shape: tuple[int, int, int], classes: tuple[str, ...], terms: str, **facts: Any
) -> Definition:
    load = partial(files.load, input_shape, len(classes))
    return Definition(input_shape, classes, load, is_present=files.is_present, files=files.files, terms=terms, **facts)


_SPLITS: tuple[Mapping[str, Any], Mapping[str, Any]] = ({"train": True}, {"train": False})
_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def _like_mnist(kind: str, classes: tuple[str, ...], terms: str, **facts: Any) -> Definition:
    """Return the definition of a data set in four IDX files with the names and the form of MNIST's."""
    paths = tuple(f"{kind}/raw/{name}" for name in _IDX)
    files = TorchvisionFiles(kind, *_SPLITS, paths, tuple(f"{path}.gz" for path in paths), _grey)
    return _define(files, (1, 28, 28), classes, terms, test_files=paths[2:], **facts)


def _emnist(split: str, classes: str, first: int = 0) -> Definition:
    parts = [f"{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")]
    paths = tuple(f"EMNIST/raw/emnist-{split}-{part}" for part in parts)
    train, test = ({"split": split, **arguments} for arguments in _SPLITS)
    files = TorchvisionFiles("EMNIST", train, test, paths, ("EMNIST/raw/gzip.zip",), partial(_upright, first=first))
    terms = (
        "EMNIST by G. Cohen, S. Afshar, J. Tapson and A. van Schaik (arXiv 1702.05373), derived from NIST's special "
        "database 19."
    )
    return _define(files, (1, 28, 28), tuple(classes), terms)


def _qmnist() -> Definition:
    parts = [f"{part}-{kind}" for part in ("train", "test") for kind in ("images-idx3-ubyte", "labels-idx2-int")]
    paths = tuple(f"QMNIST/raw/qmnist-{part}" for part in parts)
    files = TorchvisionFiles("QMNIST", *_SPLITS, paths, tuple(f"{path}.gz" for path in paths), _first_column)
    terms = "QMNIST by C. Yadav and L. Bottou (https://github.com/facebookresearch/qmnist)."
    return _define(files, (1, 28, 28), DIGITS, terms, writers=read_writers)


def _cifar(kind: str, folder: str, names: tuple[str, ...], archive: str, classes: tuple[str, ...]) -> Definition:
    paths = tuple(f"{folder}/{name}" for name in names)
    files = TorchvisionFiles(kind, *_SPLITS, paths, (archive,), _channels_last)
    terms = "CIFAR by A. Krizhevsky, V. Nair and G. Hinton (https://www.cs.toronto.edu/~kriz/cifar.html)."
    return _define(files, (3, 32, 32), classes, terms, augmentations=AUGMENTATIONS)


_MERGED = "".join(sorted(set(string.digits + string.ascii_letters) - set("cijklmopsuvwxyz")))
_CIFAR10_FILES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
_USPS = TorchvisionFiles("USPS", *_SPLITS, ("usps.bz2", "usps.t.bz2"), (), _grey)
_SVHN = TorchvisionFiles(
    "SVHN", {"split": "train"}, {"split": "test"}, ("train_32x32.mat", "test_32x32.mat"), (), _unchanged
)

FASHION = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
KMNIST = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""
CIFAR100 = tuple(_CIFAR100.split())

DEFINITIONS: Mapping[str, Definition] = {
    "fashion": _like_mnist(
        "FashionMNIST",
        FASHION,
        "Fashion-MNIST by Zalando Research (https://github.com/zalandoresearch/fashion-mnist), MIT licence.",
        augmentations=(*AFFINE_AUGMENTATIONS, "mirror"),
    ),
    "kmnist": _like_mnist(
        "KMNIST", KMNIST, "KMNIST by CODH (https://github.com/rois-codh/kmnist, doi 10.20676/00000341), CC BY-SA 4.0."
    ),
    "emnist-byclass": _emnist("byclass", string.digits + string.ascii_uppercase + string.ascii_lowercase),
    "emnist-bymerge": _emnist("bymerge", _MERGED),
    "emnist-balanced": _emnist("balanced", _MERGED),
    "emnist-letters": _emnist("letters", string.ascii_lowercase, first=1),
    "emnist-digits": _emnist("digits", string.digits),
    "emnist-mnist": _emnist("mnist", string.digits),
    "qmnist": _qmnist(),
    "usps": _define(
        _USPS,
        (1, 16, 16),
        DIGITS,
        "USPS by J. J. Hull (IEEE TPAMI 16, 1994), as https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets has it.",
    ),
    "cifar10": _cifar("CIFAR10", "cifar-10-batches-py", _CIFAR10_FILES, "cifar-10-python.tar.gz", CIFAR10),
    "cifar100": _cifar("CIFAR100", "cifar-100-python", ("train", "test", "meta"), "cifar-100-python.tar.gz", CIFAR100),
    "svhn": _define(
        _SVHN,
        (3, 32, 32),
        DIGITS,
        "SVHN by Y. Netzer and others (http://ufldl.stanford.edu/housenumbers), for non-commercial use only.",
    ),
}
