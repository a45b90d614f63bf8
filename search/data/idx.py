"""Data sets in IDX files, the format of MNIST: find, download, verify, read."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import io
import os
import shutil
import socket
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from search.errors import InputError

# Seconds without an answer from a server. A download itself may take longer.
DOWNLOAD_TIMEOUT = 10.0


class UnavailableError(InputError):
    """A data set that is not on disk and cannot be downloaded."""


@dataclass(frozen=True)
class IdxFiles:
    """A data set in four IDX files (http://yann.lecun.com/exdb/mnist), laid out as torchvision does: ROOT/<name>/raw/.

    name    the class in torchvision.datasets, and its folder
    files   file name -> (bytes, SHA-256), uncompressed: training images and labels, test images and labels
    """

    name: str
    files: Mapping[str, tuple[int, str]]

    def read(self, root: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Training images (N, H, W) and labels (N,), test images and labels, all uint8; what is absent is downloaded.

        Raises UnavailableError for what cannot be downloaded, another InputError for files that are wrong.
        """
        raw = root / self.name / "raw"
        try:
            for path in (root, raw.parent, raw):
                if path.exists() and not path.is_dir():
                    raise InputError(f"{path} is not a directory; {self._elsewhere}")
            missing = [name for name in self.files if not (raw / name).exists()]
            if missing:
                self._verify(raw, [name for name in self.files if name not in missing])
                self._check_archives(raw, missing)
                self._download(root, raw, missing)
            images, labels, test_images, test_labels = map(_parse_idx, self._verify(raw, list(self.files)))
            return images, labels, test_images, test_labels
        except OSError as error:
            raise InputError(f"cannot read {error.filename or raw}: {error.strerror}; {self._elsewhere}") from error

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files below the data directory."""
        return tuple(f"{self.name}/raw/{name}" for name in self.files)

    def is_at(self, root: Path) -> bool:
        """Return whether every file is there, right or wrong; nothing is downloaded."""
        return all((root / self.name / "raw" / name).is_file() for name in self.files)

    @property
    def _elsewhere(self) -> str:
        return f"name a directory that holds {self.name}/raw with --data-dir or $DATA_DIR"

    def _verify(self, raw: Path, names: list[str]) -> list[bytes]:
        """The content of the named files. Raises InputError for the first that is not as published."""
        contents = []
        for name in names:
            content = (raw / name).read_bytes()
            if fault := self._fault(name, content):
                raise InputError(f"{raw / name} {fault}; delete it to have it downloaded again, or {self._elsewhere}")
            contents.append(content)
        return contents

    def _check_archives(self, raw: Path, names: list[str]) -> None:
        """Raise InputError for a .gz that does not hold the file: a download in its stead would hide the fault."""
        for name in names:
            archive = raw / f"{name}.gz"
            if archive.exists():
                try:
                    with gzip.open(archive) as file:
                        fault = self._fault(name, file.read(self.files[name][0] + 1))
                except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                    fault = f"is damaged: {error}"
                if fault:
                    raise InputError(f"{archive} {fault}; delete it to have it downloaded, or {self._elsewhere}")

    def _fault(self, name: str, content: bytes) -> str | None:
        size, checksum = self.files[name]
        found = hashlib.sha256(content).hexdigest()
        if found == checksum:
            return None
        if not content:
            return f"is empty, expected {size:,} bytes"
        for other, (_, other_checksum) in self.files.items():
            if found == other_checksum:
                return f"holds the content of {other}"
        if len(content) != size:
            return f"has {len(content):,} bytes, expected {size:,}"
        return f"is corrupt: its SHA-256 begins {found[:8]}, expected {checksum[:8]}"

    def _download(self, root: Path, raw: Path, missing: list[str]) -> None:
        """Fetch into a scratch folder and move whole files: an interrupted download leaves nothing to be misread."""
        try:
            from torchvision import datasets

            root.mkdir(parents=True, exist_ok=True)
            print(f"{self.name} is not in {root}: downloading it", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=root, prefix="download-") as scratch:
                fetched = Path(scratch) / self.name / "raw"
                fetched.mkdir(parents=True)
                for archive in raw.glob("*.gz"):  # torchvision checks these first, and may then need no network
                    shutil.copyfile(archive, fetched / archive.name)
                with quiet_download():
                    getattr(datasets, self.name)(scratch, download=True)
                raw.mkdir(parents=True, exist_ok=True)
                for name in missing:
                    os.replace(fetched / name, raw / name)
        except (ImportError, RuntimeError, OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"{self.name} is not in {root}: {missing[0]} is missing and could not be downloaded ({brief(error)}); "
                f"put {', '.join(self.files)}, plain or .gz, into {raw}, {self._elsewhere}, or use --dataset digits"
            ) from error


def brief(error: Exception) -> str:
    """The last line of an error: torchvision lists every mirror it tried, and they mostly fail alike."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].removeprefix("<urlopen error ").removesuffix(">")


@contextlib.contextmanager
def quiet_download() -> Iterator[None]:
    """A limit on every wait for a server, and no progress bar where nobody watches. torchvision offers neither."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)


def _parse_idx(content: bytes) -> Tensor:
    """An IDX file of unsigned bytes: two zeros, type 8, number of axes, the axes as big-endian int32, the values."""
    n_axes = content[3]
    shape = struct.unpack_from(f">{n_axes}i", content, 4)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * n_axes).reshape(shape)
