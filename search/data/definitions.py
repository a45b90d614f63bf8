"""Definitions of the data sets that this package reads itself: MNIST and scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from search.data.dataset import Definition, Split, hold_out
from search.data.idx import IdxFiles
from search.data.qmnist_writers import read_writers


def load_idx(files: IdxFiles, root: Path) -> tuple[Split, Split]:
    """Return (train, test) of grey images in IDX files."""
    images, labels, test_images, test_labels = files.read(root)
    return Split(images.unsqueeze(1), labels.long()), Split(test_images.unsqueeze(1), test_labels.long())


def _load_digits(_: Path) -> tuple[Split, Split]:
    """Return (train, test) of the digits that scikit-learn embeds, in the form of MNIST.

    The images, 8x8 with levels 0..16, are scaled to 20x20 in a frame of 28x28.
    """
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).unsqueeze(1) * (255 / 16)
    images = torch.nn.functional.interpolate(images, size=(20, 20), mode="bilinear", align_corners=False)
    # The small constant rounds exact halves up; rounding errors would decide differently on different machines.
    images = torch.nn.functional.pad((images + 1e-6).round().to(torch.uint8), (4, 4, 4, 4))
    all_images = Split(images, torch.from_numpy(digits.target).long())
    return hold_out(all_images, n_parts=5)


# Yann LeCun's MNIST, http://yann.lecun.com/exdb/mnist, uncompressed.
MNIST_FILES = IdxFiles(
    "MNIST",
    {
        "train-images-idx3-ubyte": (47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        "train-labels-idx1-ubyte": (60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
        "t10k-images-idx3-ubyte": (7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        "t10k-labels-idx1-ubyte": (10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    },
)
DIGITS = tuple("0123456789")

# As their publishers state it: keras.io/api/datasets/mnist, archive.ics.uci.edu/dataset/80.
_MNIST_TERMS = (
    "MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges (http://yann.lecun.com/exdb/mnist), derived from "
    "NIST's special databases 1 and 3; made available under CC BY-SA 3.0."
)
_DIGITS_TERMS = (
    "The test set of Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak, UCI Machine Learning "
    "Repository, CC BY 4.0, as scikit-learn embeds it."
)

BUILT_IN: Mapping[str, Definition] = {
    "mnist": Definition(
        (1, 28, 28),
        DIGITS,
        partial(load_idx, MNIST_FILES),
        read_writers,
        MNIST_FILES.is_present,
        files=MNIST_FILES.paths,
        test_files=MNIST_FILES.paths[2:],
        terms=_MNIST_TERMS,
    ),
    "digits": Definition((1, 28, 28), DIGITS, _load_digits, terms=_DIGITS_TERMS),
}
