"""A tiny MNIST in files, servers that have it or fail, and where the real one lies."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import socket
import struct
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

from search.config import DataConfig
from search.data.dataset import Dataset, Split
from search.data.definitions import load_idx
from search.data.idx import IdxFiles
from search.data.load import DATASETS, definition, load_dataset
from search.errors import InputError

ROOT = Path(__file__).parents[2]
NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


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
    files = partial(load_idx, IdxFiles("MNIST", published))
    is_present = IdxFiles("MNIST", published).is_present
    monkeypatch.setitem(DATASETS, "mnist", replace(definition("mnist"), load=files, is_present=is_present))
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


@pytest.fixture(scope="session")
def real_mnist() -> Path:
    """The data directory that holds the published MNIST."""
    for directory in (os.environ.get("DATA_DIR"), ROOT / "data", ROOT.parent / "shared" / "data"):
        if directory and (Path(directory) / "MNIST" / "raw" / NAMES[0]).exists():
            return Path(directory)
    pytest.skip("MNIST is not here; name the directory that holds MNIST/raw with DATA_DIR")
