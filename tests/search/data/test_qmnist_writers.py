"""Who wrote MNIST's images: nobody is in both the training and the validation images."""

from __future__ import annotations

import gzip
import hashlib
import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from search.data.dataset import Split
from search.data.load import DATASETS
from tests.search.tiny_mnist import TRAIN, load, refusal, same, write_files

# Twelve writers of five consecutive images each, of classes 0 to 4 or of 5 to 9; in an order in which writers that are
# chosen without a look at the classes do not balance them.
WRITERS = torch.tensor([7, 3, 2100, 0, 11, 610, 2599, 5, 2, 90, 8, 1]).repeat_interleave(5)


def extended_labels(classes: Tensor = TRAIN.labels, n_columns: int = 8) -> bytes:
    """A label file such as QMNIST's."""
    table = torch.full((60, n_columns), 77)
    table[:, 0], table[:, 2] = classes, WRITERS
    return struct.pack(">4B2i", 0, 0, 12, 2, 60, n_columns) + table.numpy().astype(">i4").tobytes()


LABELS = extended_labels()
PACKED = gzip.compress(LABELS, mtime=0)


def write_labels(root: Path, content: bytes = PACKED, suffix: str = ".gz") -> Path:
    path = root / "QMNIST" / "raw" / f"qmnist-train-labels-idx2-int{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def places_in(whole: Split, part: Split) -> list[int]:
    """Where in `whole`, whose images are all different, those of `part` stand."""
    places = {image.numpy().tobytes(): place for place, image in enumerate(whole.images)}
    return [places[image.numpy().tobytes()] for image in part.images]


@pytest.mark.usefixtures("tiny_mnist")
class TestWriters:
    @pytest.mark.parametrize(("content", "suffix"), [(LABELS, ""), (PACKED, ".gz")], ids=["plain", "gzip"])
    def test_nobody_wrote_in_both_parts(self, content: bytes, suffix: str, tmp_path: Path) -> None:
        write_files(tmp_path)
        write_labels(tmp_path, content, suffix)
        dataset = load("mnist", tmp_path, "val")
        assert dataset.held_out == "stratified and writer-disjoint"
        assert dataset.val is not None
        kept, held_out = (places_in(TRAIN, split) for split in (dataset.train, dataset.val))
        assert set(WRITERS[kept].tolist()).isdisjoint(WRITERS[held_out].tolist())
        assert (kept, held_out) == (sorted(kept), sorted(held_out))
        assert sorted(kept + held_out) == list(range(60))
        assert same(dataset.train, TRAIN.take(torch.tensor(kept)))
        assert same(dataset.val, TRAIN.take(torch.tensor(held_out)))
        assert dataset.val.labels.bincount().tolist() == [1] * 10
        again = load("mnist", tmp_path, "val")
        assert again.val is not None
        assert same(again.val, dataset.val)
        assert again.checksum == load("mnist", tmp_path).checksum

    @pytest.mark.parametrize(
        ("name", "select_on", "held_out"), [("mnist", "test", ""), ("digits", "val", "stratified")]
    )
    def test_read_for_validation_images_of_mnist_only(
        self, name: str, select_on: str, held_out: str, tmp_path: Path
    ) -> None:
        write_files(tmp_path)
        write_labels(tmp_path, b"damaged")
        assert load(name, tmp_path, select_on).held_out == held_out

    @pytest.mark.parametrize(
        ("content", "suffix", "fault"),
        [
            (b"", "", "holds 0 bytes, expected 1,932;"),
            (b"", ".gz", "holds 0 bytes, expected 1,932;"),
            (LABELS[:-1], "", "holds 1,931 bytes, expected 1,932;"),
            (gzip.compress(LABELS + b"\0"), ".gz", "holds 1,933 bytes, expected 1,932;"),
            (extended_labels(n_columns=7), "", "holds 1,692 bytes, expected 1,932;"),
            (
                LABELS[:4] + struct.pack(">2i", 30, 16) + LABELS[12:],
                "",
                "is not an IDX file of 60 x 8 integers of 32 bits;",
            ),
            (b"\0\0\x08" + LABELS[3:], "", "is not an IDX file of 60 x 8 integers of 32 bits;"),
            (PACKED[:-20], ".gz", "is damaged: Compressed file ended before"),
            (PACKED[:-8] + b"!" + PACKED[-7:], ".gz", "is damaged: CRC check failed"),
            (PACKED[:10] + b"\xff" + PACKED[11:], ".gz", "is damaged: Error -3 while decompressing"),
            (b"<html>Please log in</html>", ".gz", "is damaged: Not a gzipped file"),
            (extended_labels(TRAIN.labels.flip(0)), "", "gives 60 of 60 images another class than MNIST's labels do;"),
            (
                gzip.compress(extended_labels(TRAIN.labels - (TRAIN.labels == 9) * 1)),
                ".gz",
                "gives 6 of 60 images another class than MNIST's labels do;",
            ),
        ],
        ids=lambda value: f"{len(value)}-bytes" if isinstance(value, bytes) else None,
    )
    def test_wrong_file_is_named(self, content: bytes, suffix: str, fault: str, tmp_path: Path) -> None:
        write_files(tmp_path)
        path = write_labels(tmp_path, content, suffix)
        message = refusal("mnist", tmp_path, "val")
        assert message.startswith(f"{path} {fault}")
        assert "; replace it by the one from https://github.com/facebookresearch/qmnist, or remove it to" in message
        path.unlink()
        assert load("mnist", tmp_path, "val").held_out == "stratified"

    def test_directory_in_place_of_the_file(self, tmp_path: Path) -> None:
        write_files(tmp_path)
        path = write_labels(tmp_path)
        path.unlink()
        path.mkdir()
        assert refusal("mnist", tmp_path, "val").startswith(f"cannot read {path}: Is a directory; replace it by")


def test_real_writers_are_held_out_whole(real_mnist: Path) -> None:
    """A change of these figures means that results on held-out images before and after are not comparable."""
    whole = load("mnist", real_mnist).train
    writers = DATASETS["mnist"].writers(real_mnist, whole.labels)
    if writers is None:
        pytest.skip("QMNIST's labels are not here; put qmnist-train-labels-idx2-int.gz into QMNIST/raw beside MNIST")
    dataset = load("mnist", real_mnist, "val")
    assert dataset.val is not None
    kept, held_out = (places_in(whole, split) for split in (dataset.train, dataset.val))
    assert set(writers[kept].tolist()).isdisjoint(writers[held_out].tolist())
    assert sorted(kept + held_out) == list(range(60_000))
    assert (len(writers.unique()), len(writers[held_out].unique()), len(held_out)) == (539, 91, 10_063)
    shares = [split.labels.bincount() / len(split) for split in (whole, dataset.val)]
    assert (shares[1] - shares[0]).abs().max() < 0.002
    assert hashlib.sha256(str(held_out).encode()).hexdigest()[:16] == "b712f3b871c9cd8f"
