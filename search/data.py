"""Data sets in memory: find or download, verify, split. Images stay uint8; training scales and normalises them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from search.config import DataConfig, InputError
from search.idx import IdxFiles, UnavailableError
from search.writers import read_writers

# Part of the training images that is held out for `select_on == "val"`: about 10,000 of MNIST's 60,000.
VAL_PARTS = 6
# How they are chosen. Results on one kind of split do not compare with those on the other.
STRATIFIED, WRITER_DISJOINT = "stratified", "stratified and writer-disjoint"
# Of the fixed splits. Another seed makes other data sets: results before and after are not comparable.
SPLIT_SEED = 0


@dataclass(frozen=True, eq=False)
class Split:
    """images: uint8 (N, C, H, W); labels: int64 (N,), from 0."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Split:
        """The images and labels at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """All images of a data set, and what the training needs to know of them.

    val         held out of the training images, or None where the search is scored on the test set
    mean, std   per channel, of `train.images` scaled to [0, 1]
    checksum    SHA-256 of all images and labels, whatever is held out
    held_out    how the validation images were chosen, STRATIFIED or WRITER_DISJOINT; empty where there are none
    test_files  as in Definition, as is terms
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    val: Split | None
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    checksum: str
    held_out: str = ""
    test_files: tuple[str, ...] = ()
    terms: str = ""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def scored(self) -> Split:
        """What the search is scored on: validation images where there are any, else the test set."""
        return self.test if self.val is None else self.val


@dataclass(frozen=True)
class Definition:
    """What is known of a data set before it is read.

    load       takes the data directory and returns (train, test)
    writers    takes the data directory and the training labels, (N,), and returns who wrote each training image, int64
               (N,), or None where that is not known
    is_at      takes the data directory and returns whether the data is there, so that nothing would be downloaded
    test_files files below the data directory with the test images and labels; none where they are not IDX files
    terms      where the images come from and on what terms, for those who publish a network trained on them
    """

    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    load: Callable[[Path], tuple[Split, Split]]
    writers: Callable[[Path, Tensor], Tensor | None] = lambda _root, _labels: None
    is_at: Callable[[Path], bool] = lambda _root: True
    test_files: tuple[str, ...] = ()
    terms: str = ""

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)


def definition(name: str) -> Definition:
    """Look up a data set; touches no file. Raises InputError for an unknown name."""
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r:.80}; the known ones are {', '.join(DATASETS)}")
    return DATASETS[name]


def resolve_auto(config: DataConfig) -> tuple[DataConfig, str | None]:
    """Replace "auto" by "mnist", or by "digits" and a notice to show where MNIST is absent and cannot be downloaded.

    Any other name comes back as it is. Raises InputError for an unknown name, and for MNIST files that are there but
    wrong: to go on with other data would hide the fault.
    """
    if config.dataset != "auto":
        definition(config.dataset)
        return config, None
    try:
        definition("mnist").load(_root(config))
    except UnavailableError as error:
        notice = "THIS IS NOT MNIST but scikit-learn's 1,797 small digits; accuracies do not compare with MNIST's."
        return replace(config, dataset="digits"), f"{notice}\n{error}"
    return replace(config, dataset="mnist"), None


def _root(config: DataConfig) -> Path:
    try:
        return Path(config.directory).expanduser()
    except RuntimeError as error:
        raise InputError(
            f"there is no such user: {config.directory}; name another directory with --data-dir"
        ) from error


def is_at_hand(config: DataConfig) -> bool:
    """Whether load_dataset would read it without a download."""
    return definition(config.dataset).is_at(_root(config))


def load_dataset(config: DataConfig) -> Dataset:
    """Read, verify and split a data set; MNIST is downloaded where it is absent.

    Where the writers of the images are known, none of them has images in both the validation and the training images.
    Raises InputError for an unknown name and for files that are wrong, unreadable, or absent and not to be downloaded.
    """
    known = definition(config.dataset)
    root = _root(config)
    train, test = known.load(root)
    checksum = _checksum(train, test)
    val, held_out = None, ""
    if config.select_on == "val":
        writers = known.writers(root, train.labels)
        held_out = STRATIFIED if writers is None else WRITER_DISJOINT
        train, val = _hold_out(train, VAL_PARTS, writers)
    mean, std = _channel_statistics(train.images)
    facts = (known.test_files, known.terms)
    return Dataset(config.dataset, known.classes, train, val, test, mean, std, checksum, held_out, *facts)


def _hold_out(split: Split, n_parts: int, writers: Tensor | None = None) -> tuple[Split, Split]:
    """Split off one of `n_parts`, stratified by class and always the same; both parts keep the original order.

    With `writers`, (N,), each has all images in one part; classes and size are then met as nearly as that allows.
    """
    from sklearn.model_selection import StratifiedGroupKFold, train_test_split

    labels = split.labels.numpy()
    if writers is None:
        kept, held_out = train_test_split(
            range(len(split)), test_size=len(split) // n_parts, stratify=labels, random_state=SPLIT_SEED
        )
    else:
        folds = StratifiedGroupKFold(n_parts, shuffle=True, random_state=SPLIT_SEED)
        kept, held_out = next(folds.split(labels, labels, groups=writers.numpy()))
    return split.take(torch.tensor(sorted(kept))), split.take(torch.tensor(sorted(held_out)))


def _checksum(*splits: Split) -> str:
    digest = hashlib.sha256()
    for split in splits:
        for tensor in (split.images, split.labels):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and (population) standard deviation per channel; by counting levels, which is exact and needs no copy."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(channel.reshape(-1), minlength=256) for channel in images.unbind(1)])
    share = counts.double() / counts.sum(1, keepdim=True)
    mean = share @ levels
    std = (share * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    return tuple(mean.tolist()), tuple(std.tolist())


def _load_idx(files: IdxFiles, root: Path) -> tuple[Split, Split]:
    """(train, test) of grey images in IDX files."""
    images, labels, test_images, test_labels = files.read(root)
    return Split(images.unsqueeze(1), labels.long()), Split(test_images.unsqueeze(1), test_labels.long())


def _load_digits(_: Path) -> tuple[Split, Split]:
    """scikit-learn's embedded digits, 8x8 with levels 0..16, brought to MNIST's form: 20x20 in a frame of 28x28."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).unsqueeze(1) * (255 / 16)
    images = torch.nn.functional.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    # The small constant settles exact halves, which rounding errors would decide differently on different machines.
    images = torch.nn.functional.pad((images + 1e-6).round().to(torch.uint8), (4, 4, 4, 4))
    everything = Split(images, torch.from_numpy(digits.target).long())
    return _hold_out(everything, n_parts=5)


# Yann LeCun's MNIST, http://yann.lecun.com/exdb/mnist, uncompressed.
_MNIST = IdxFiles(
    "MNIST",
    {
        "train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        "train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        "t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        "t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    },
)
_DIGITS = tuple("0123456789")

# As the packages that hand them out state it: keras.io/api/datasets/mnist, archive.ics.uci.edu/dataset/80.
_MNIST_TERMS = (
    "MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges (http://yann.lecun.com/exdb/mnist), derived from "
    "NIST's special databases 1 and 3; made available under CC BY-SA 3.0."
)
_DIGITS_TERMS = (
    "The test set of Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak, UCI Machine Learning "
    "Repository, CC BY 4.0, as scikit-learn embeds it."
)

DATASETS: Mapping[str, Definition] = {
    "mnist": Definition(
        (1, 28, 28),
        _DIGITS,
        partial(_load_idx, _MNIST),
        read_writers,
        _MNIST.is_at,
        test_files=_MNIST.paths[2:],
        terms=_MNIST_TERMS,
    ),
    "digits": Definition((1, 28, 28), _DIGITS, _load_digits, terms=_DIGITS_TERMS),
}
