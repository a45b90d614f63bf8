"""Data sets: what they hold, how they are split, and every way in which their files can be absent or wrong."""

from __future__ import annotations

import contextlib
import gc
import gzip
import hashlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision import datasets

from search import data
from search import idx as idx_module
from search.config import DataConfig, InputError
from search.data import DATASETS, Dataset, Definition, Split, definition, load_dataset, resolve_auto
from search.idx import IdxFiles

ROOT = Path(__file__).parents[2]
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


# --- a tiny MNIST in files, and servers that have it or fail


def idx(tensor: Tensor) -> bytes:
    return struct.pack(f">HBB{tensor.dim()}i", 0, 8, tensor.dim(), *tensor.shape) + tensor.numpy().tobytes()


def tiny_split(per_class: int, seed: int) -> Split:
    source = torch.Generator().manual_seed(seed)
    labels = torch.arange(10).repeat(per_class)
    images = torch.randint(0, 256, (len(labels), 1, 28, 28), dtype=torch.uint8, generator=source)
    return Split(images, labels)


TRAIN, TEST = tiny_split(per_class=6, seed=1), tiny_split(per_class=2, seed=2)
FILES = dict(
    zip(
        NAMES,
        (idx(part) for split in (TRAIN, TEST) for part in (split.images.squeeze(1), split.labels.to(torch.uint8))),
        strict=True,
    )
)
ARCHIVES = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}


def unused_url() -> str:
    """A loopback address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/"


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "mnist" means the tiny files, for this project and for torchvision, whose mirrors refuse every connection."""
    published = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in FILES.items()}
    files = partial(data._load_idx, IdxFiles("MNIST", published))
    is_at = IdxFiles("MNIST", published).is_at
    monkeypatch.setitem(DATASETS, "mnist", replace(definition("mnist"), load=files, is_at=is_at))
    archives = [(name, hashlib.md5(content).hexdigest()) for name, content in ARCHIVES.items()]
    monkeypatch.setattr(datasets.MNIST, "resources", archives)
    monkeypatch.setattr(datasets.MNIST, "mirrors", [unused_url()])
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)


Respond = Callable[[BaseHTTPRequestHandler, bytes], object]


def send(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    send_part(handler, content, len(content))


def send_part(handler: BaseHTTPRequestHandler, content: bytes, size: int) -> None:
    """Announce the whole content, send its first `size` bytes."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    if handler.command == "GET":
        handler.wfile.write(content[:size])


def fall_silent(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    """Send half of it and then nothing for longer than anybody waits."""
    send_part(handler, content, len(content) // 2)
    if handler.command == "GET":
        handler.wfile.flush()
        time.sleep(1.5)


FAILURES: dict[str, tuple[Respond, str]] = {
    "not found": (lambda handler, _: handler.send_error(404), "HTTP Error 404: Not Found"),
    "server error": (lambda handler, _: handler.send_error(503), "HTTP Error 503: Service Unavailable"),
    "login page": (lambda handler, _: send(handler, b"<html>Please log in</html>"), "File not found or corrupted"),
    "flipped byte": (lambda handler, content: send(handler, content[:-9] + b"!" + content[-8:]), "corrupted"),
    "cut off": (lambda handler, content: send_part(handler, content, len(content) // 2), "corrupted"),
    "silence": (fall_silent, "timed out"),
    "hang up": (lambda handler, _: handler.connection.shutdown(socket.SHUT_RDWR), "Remote end closed connection"),
    "not http": (lambda handler, _: handler.wfile.write(b"NONSENSE\r\n\r\n"), "NONSENSE"),
}


@contextlib.contextmanager
def mirror(respond: Respond, failing: str = "") -> Iterator[None]:
    """Serve the archives on loopback as torchvision's only mirror. `respond` answers for those named `failing`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            (respond if failing in name else send)(self, ARCHIVES[name])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, pytest.MonkeyPatch.context() as patch:
        server.daemon_threads = True
        patch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_address[1]}/"])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def write_files(root: Path, changes: dict[str, bytes | None] | None = None) -> Path:
    """Lay the tiny files out under `root` with some replaced, or left out for None. Returns their folder."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in (FILES | (changes or {})).items():
        if content is not None:
            (raw / name).write_bytes(content)
    return raw


def all_files(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def load(name: str, directory: Path | str = "", select_on: str = "test") -> Dataset:
    return load_dataset(DataConfig(name, str(directory), select_on))


def refusal(name: str, directory: Path, select_on: str = "test") -> str:
    """The message with which a data set is refused; checks that it is one line."""
    with pytest.raises(InputError) as caught:
        load(name, directory, select_on)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(a: Split, b: Split) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)


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
    program = "import sys, search.data; print([name for name in ('torchvision', 'sklearn') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


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


# --- MNIST from files


@pytest.fixture(scope="session")
def real_mnist() -> Path:
    """The data directory that holds the published MNIST."""
    for directory in (os.environ.get("DATA_DIR"), ROOT / "data", ROOT.parent / "shared" / "data"):
        if directory and (Path(directory) / "MNIST" / "raw" / NAMES[0]).exists():
            return Path(directory)
    pytest.skip("MNIST is not here; name the directory that holds MNIST/raw with DATA_DIR")


def test_real_mnist_is_accepted_and_read_as_torchvision_reads_it(real_mnist: Path) -> None:
    dataset = load("mnist", real_mnist)
    for split, train in ((dataset.train, True), (dataset.test, False)):
        reference = datasets.MNIST(str(real_mnist), train=train)
        assert torch.equal(split.images.squeeze(1), reference.data)
        assert torch.equal(split.labels, reference.targets)
    # The values in general use.
    assert dataset.mean == pytest.approx([0.1307], abs=5e-5)
    assert dataset.std == pytest.approx([0.3081], abs=5e-5)


def test_real_mnist_with_a_flipped_byte_is_refused(real_mnist: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in NAMES:
        (raw / name).symlink_to((real_mnist / "MNIST" / "raw" / name).resolve())
    content = bytearray((raw / NAMES[2]).read_bytes())
    content[5_000_000] ^= 1
    (raw / NAMES[2]).unlink()
    (raw / NAMES[2]).write_bytes(content)
    assert f"{raw / NAMES[2]} is corrupt" in refusal("mnist", tmp_path)


@pytest.mark.usefixtures("tiny_mnist")
class TestMnistFiles:
    def test_reads_what_was_written(self, tmp_path: Path) -> None:
        write_files(tmp_path)
        dataset = load("mnist", tmp_path)
        assert same(dataset.train, TRAIN)
        assert same(dataset.test, TEST)

    def test_read_only_directory_is_enough(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path)
        folders = (raw, raw.parent, tmp_path)
        for folder in folders:
            folder.chmod(0o555)
        try:
            assert len(load("mnist", tmp_path).train) == 60
        finally:
            for folder in folders:
                folder.chmod(0o755)
        assert all_files(tmp_path) == {f"MNIST/raw/{name}" for name in NAMES}

    @pytest.mark.parametrize("missing", [None, NAMES[2]])
    def test_whether_it_is_at_hand_is_told_without_reading_or_fetching_it(
        self, tmp_path: Path, missing: str | None
    ) -> None:
        raw = write_files(tmp_path)
        if missing:
            (raw / missing).unlink()
        before = all_files(tmp_path)
        assert data.is_at_hand(DataConfig("mnist", str(tmp_path))) == (missing is None)
        assert not data.is_at_hand(DataConfig("mnist", str(tmp_path / "nowhere")))
        assert data.is_at_hand(DataConfig("digits", str(tmp_path / "nowhere")))
        assert all_files(tmp_path) == before

    def test_home_directory_is_expanded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_files(tmp_path / "data")
        monkeypatch.setenv("HOME", str(tmp_path))
        assert len(load("mnist", "~/data").train) == 60

    def test_old_processed_files_are_not_read(self, tmp_path: Path) -> None:
        """torchvision prefers MNIST/processed/*.pt, which nothing verifies."""
        write_files(tmp_path)
        processed = tmp_path / "MNIST" / "processed"
        processed.mkdir()
        for name in ("training.pt", "test.pt"):
            torch.save((torch.zeros(5, 28, 28, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)), processed / name)
        assert len(load("mnist", tmp_path).train) == 60

    @pytest.mark.parametrize(
        ("name", "content", "fault"),
        [
            (NAMES[0], b"", "is empty, expected 47,056 bytes"),
            (NAMES[0], FILES[NAMES[0]][:10_000], "has 10,000 bytes, expected 47,056"),
            (NAMES[0], FILES[NAMES[0]] + b"\0", "has 47,057 bytes, expected 47,056"),
            (NAMES[0], FILES[NAMES[0]][:-1] + b"\1", "is corrupt: its SHA-256 begins"),
            (NAMES[0], b"\1" + FILES[NAMES[0]][1:], "is corrupt: its SHA-256 begins"),
            (NAMES[0], FILES[NAMES[1]], "holds the content of train-labels-idx1-ubyte"),
            (NAMES[0], ARCHIVES[f"{NAMES[0]}.gz"], "bytes, expected 47,056"),
            (NAMES[1], FILES[NAMES[3]], "holds the content of t10k-labels-idx1-ubyte"),
            (NAMES[1], b"", "is empty, expected 68 bytes"),
            (NAMES[2], FILES[NAMES[2]][:4], "has 4 bytes, expected 15,696"),
            (NAMES[3], b"<html>Please log in</html>", "has 26 bytes, expected 28"),
            (NAMES[3], FILES[NAMES[3]][:-1] + b"\0", "is corrupt: its SHA-256 begins"),
        ],
        ids=lambda value: f"{len(value)}-bytes" if isinstance(value, bytes) else None,
    )
    @pytest.mark.parametrize("dataset", ["mnist", "auto"])
    def test_wrong_file_is_named(self, dataset: str, name: str, content: bytes, fault: str, tmp_path: Path) -> None:
        raw = write_files(tmp_path, {name: content})
        with pytest.raises(InputError) as caught:
            load_dataset(resolve_auto(DataConfig(dataset, str(tmp_path)))[0])
        message = str(caught.value)
        assert message.startswith(f"{raw / name} ")
        assert fault in message
        assert "delete it to have it downloaded again, or name a directory" in message
        assert "\n" not in message
        assert (raw / name).read_bytes() == content

    def test_wrong_file_beside_a_missing_one_is_not_passed_over(self, tmp_path: Path) -> None:
        write_files(tmp_path, {NAMES[0]: None, NAMES[3]: b""})
        with pytest.raises(InputError, match="t10k-labels-idx1-ubyte is empty"):
            resolve_auto(DataConfig("auto", str(tmp_path)))

    @pytest.mark.parametrize("path", ["", "MNIST", "MNIST/raw"])
    @pytest.mark.parametrize("dataset", ["mnist", "auto"])
    def test_file_in_place_of_a_directory(self, dataset: str, path: str, tmp_path: Path) -> None:
        root = tmp_path / "data"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
        with pytest.raises(InputError) as caught:
            load_dataset(resolve_auto(DataConfig(dataset, str(root)))[0])
        assert str(caught.value).startswith(f"{root / path} is not a directory; name a directory that holds MNIST/raw")

    def test_directory_in_place_of_a_file(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path, {NAMES[1]: None})
        (raw / NAMES[1]).mkdir()
        assert refusal("mnist", tmp_path).startswith(f"cannot read {raw / NAMES[1]}: Is a directory; name a directory")

    def test_unreadable_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """By a stand-in: permissions do not bind the superuser, as whom tests may run."""

        def denied(path: Path) -> bytes:
            raise PermissionError(13, "Permission denied", str(path))

        raw = write_files(tmp_path)
        monkeypatch.setattr(Path, "read_bytes", denied)
        assert refusal("mnist", tmp_path).startswith(
            f"cannot read {raw / NAMES[0]}: Permission denied; name a directory"
        )


# --- MNIST and its writers


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


# --- MNIST from the network


@pytest.mark.usefixtures("tiny_mnist")
class TestDownload:
    def test_fetches_what_is_absent(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        root = tmp_path / "new" / "data"
        with mirror(send):
            dataset = load("mnist", root)
        assert same(dataset.train, TRAIN)
        assert same(dataset.test, TEST)
        assert all_files(root) == {f"MNIST/raw/{name}" for name in NAMES}
        assert capfd.readouterr() == ("", f"MNIST is not in {root}: downloading it\n")
        assert socket.getdefaulttimeout() is None
        assert same(load("mnist", root).train, TRAIN)

    def test_keeps_the_files_that_are_there(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path, {NAMES[2]: None})
        before = {name: (raw / name).stat().st_ino for name in NAMES if name != NAMES[2]}
        with mirror(send):
            load("mnist", tmp_path)
        assert {name: (raw / name).stat().st_ino for name in before} == before
        assert all_files(tmp_path) == {f"MNIST/raw/{name}" for name in NAMES}

    def test_unpacks_archives_put_there_by_hand(self, tmp_path: Path) -> None:
        raw = write_files(tmp_path, dict.fromkeys(NAMES))
        for name, content in ARCHIVES.items():
            (raw / name).write_bytes(content)
        assert same(load("mnist", tmp_path).train, TRAIN)

    # torchvision leaves the response of a failed request to the garbage collector.
    @pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
    @pytest.mark.parametrize("failing", [NAMES[0], NAMES[3]])
    @pytest.mark.parametrize("failure", FAILURES)
    def test_failure_is_explained_and_leaves_nothing(
        self, failure: str, failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        respond, reason = FAILURES[failure]
        if failure == "silence":
            monkeypatch.setattr(idx_module, "DOWNLOAD_TIMEOUT", 0.2)
        with mirror(respond, failing):
            message = refusal("mnist", tmp_path)
        gc.collect()
        assert message.startswith(f"MNIST is not in {tmp_path}: {NAMES[0]} is missing and could not be downloaded (")
        assert reason in message
        for way_out in (f"into {tmp_path / 'MNIST' / 'raw'}", "--data-dir", "$DATA_DIR", "--dataset digits"):
            assert way_out in message
        assert list(tmp_path.iterdir()) == []
        assert socket.getdefaulttimeout() is None

    def test_interruption_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(root: str, **_: bool) -> None:
            (Path(root) / "MNIST" / "raw" / NAMES[0]).write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(datasets, "MNIST", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load("mnist", tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert socket.getdefaulttimeout() is None

    def test_no_connection(self, tmp_path: Path) -> None:
        message = refusal("mnist", tmp_path)
        assert re.search(r"could not be downloaded \(\[Errno \d+\] Connection refused\); ", message)

    def test_torchvision_that_cannot_be_imported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A torchvision that does not fit torch fails at import; the files themselves need none."""
        monkeypatch.setitem(sys.modules, "torchvision", None)
        assert "could not be downloaded (import of torchvision halted" in refusal("mnist", tmp_path / "absent")
        write_files(tmp_path)
        assert len(load("mnist", tmp_path).train) == 60

    def test_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert "could not be downloaded ([Errno 20] Not a directory" in refusal("mnist", tmp_path / "file" / "data")


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
