"""Find, download, verify and read data sets in IDX files, the format of MNIST.

torchvision reads these files too, but importing it after torch takes 1.2 s and 160 MiB in every process (torchvision
0.29.2, two cores of an AMD EPYC), and it neither verifies what it reads nor says which file is damaged. It is therefore
imported only for a download.
"""

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
from typing import TYPE_CHECKING

from search.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# Longest wait for an answer from a server, in seconds. A whole download may take longer.
DOWNLOAD_TIMEOUT = 10.0


class UnavailableError(InputError):
    """Error raised for a data set that is not on disk and cannot be downloaded."""


@dataclass(frozen=True)
class IdxFiles:
    """Data set in four IDX files (http://yann.lecun.com/exdb/mnist), stored as torchvision does in ROOT/<name>/raw/.

    name    name of the class in torchvision.datasets, and of the folder
    files   file name -> (bytes, SHA-256), uncompressed: training images and labels, test images and labels
    """

    name: str
    files: Mapping[str, tuple[int, str]]

    def read(self, root: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return training images (N, H, W) and labels (N,), test images and labels, all uint8.

        Absent files are downloaded. Raises UnavailableError if that fails, another InputError if a file is wrong.
        """
        raw = self._folder(root)
        try:
            for path in (root, raw.parent, raw):
                if path.exists() and not path.is_dir():
                    raise InputError(f"{path} is not a directory; {self._hint}")
            missing = [name for name in self.files if not (raw / name).exists()]
            if missing:
                self._verify(raw, [name for name in self.files if name not in missing])
                self._check_archives(raw, missing)
                self._download(root, raw, missing)
            images, labels, test_images, test_labels = map(_parse_idx, self._verify(raw, list(self.files)))
            return images, labels, test_images, test_labels
        except OSError as error:
            raise InputError(f"cannot read {error.filename or raw}: {error.strerror}; {self._hint}") from error

    @property
    def paths(self) -> tuple[str, ...]:
        """Return the paths of the files below the data directory."""
        return tuple(f"{self.name}/raw/{name}" for name in self.files)

    def is_present(self, root: Path) -> bool:
        """Return whether every file exists, without verifying or downloading any."""
        folder = self._folder(root)
        return all((folder / name).is_file() for name in self.files)

    def _folder(self, root: Path) -> Path:
        """Return the folder of the files: ROOT/<name>/raw, or `root` or ROOT/raw if it holds some of them instead."""
        folders = [root / self.name / "raw", root / "raw", root]
        names = [f"{name}{suffix}" for name in self.files for suffix in ("", ".gz")]
        return next((folder for folder in folders if any((folder / name).exists() for name in names)), folders[0])

    @property
    def _hint(self) -> str:
        return f"name a directory that holds {self.name}/raw with --data-dir or $DATA_DIR"

    def _verify(self, raw: Path, names: list[str]) -> list[bytes]:
        """Return the content of the named files. Raises InputError for the first that is not as published."""
        contents = []
        for name in names:
            content = (raw / name).read_bytes()
            if problem := self._find_problem(name, content):
                raise InputError(f"{raw / name} {problem}; delete it to have it downloaded again, or {self._hint}")
            contents.append(content)
        return contents

    def _check_archives(self, raw: Path, names: list[str]) -> None:
        """Raise InputError for a .gz that does not hold the published file.

        Downloading the file instead would hide that.
        """
        for name in names:
            archive = raw / f"{name}.gz"
            if archive.exists():
                try:
                    with gzip.open(archive) as file:
                        problem = self._find_problem(name, file.read(self.files[name][0] + 1))
                except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                    problem = f"is damaged: {error}"
                if problem:
                    raise InputError(f"{archive} {problem}; delete it to have it downloaded, or {self._hint}")

    def _find_problem(self, name: str, content: bytes) -> str | None:
        size, checksum = self.files[name]
        digest = hashlib.sha256(content).hexdigest()
        if digest == checksum:
            return None
        if not content:
            return f"is empty, expected {size:,} bytes"
        for other_name, (_, other_checksum) in self.files.items():
            if digest == other_checksum:
                return f"holds the content of {other_name}"
        if len(content) != size:
            return f"has {len(content):,} bytes, expected {size:,}"
        return f"is corrupt: its SHA-256 begins {digest[:8]}, expected {checksum[:8]}"

    def _download(self, root: Path, raw: Path, missing: list[str]) -> None:
        """Download into a scratch folder, then move the missing files to `raw`.

        An interrupted download therefore leaves no partial file.
        """
        try:
            from torchvision import datasets

            print(f"{self.name} is not in {root}: downloading it", file=sys.stderr)
            with created(root), tempfile.TemporaryDirectory(dir=root, prefix="download-") as scratch:
                scratch_raw = Path(scratch) / self.name / "raw"
                scratch_raw.mkdir(parents=True)
                for archive in raw.glob("*.gz"):  # torchvision checks these first, and may then need no network
                    shutil.copyfile(archive, scratch_raw / archive.name)
                with quiet_download():
                    getattr(datasets, self.name)(scratch, download=True)
                raw.mkdir(parents=True, exist_ok=True)
                for name in missing:
                    os.replace(scratch_raw / name, raw / name)
        except (ImportError, RuntimeError, OSError, http.client.HTTPException) as error:
            raise UnavailableError(
                f"{self.name} is not in {root}: {missing[0]} is missing and could not be downloaded "
                f"({last_line(error)}); put {', '.join(self.files)}, plain or .gz, into {raw}, {self._hint}, or use "
                "--dataset digits"
            ) from error


@contextlib.contextmanager
def created(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; if the body fails, remove those that were missing and are still empty."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()
        raise


def last_line(error: Exception) -> str:
    """Return the last line of an error's message.

    torchvision lists every mirror that it tried, and they mostly fail in the same way.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].removeprefix("<urlopen error ").removesuffix(">")


@contextlib.contextmanager
def quiet_download() -> Iterator[None]:
    """Limit every wait for a server, and hide the progress bar unless standard error is a terminal.

    torchvision offers neither.
    """
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(DOWNLOAD_TIMEOUT)
    try:
        with contextlib.nullcontext() if sys.stderr.isatty() else contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(timeout)


def _parse_idx(content: bytes) -> Tensor:
    """Return the values of an IDX file of unsigned bytes.

    The file holds two zeros, type 8, the number of axes, the axes as big-endian int32, and the values.
    """
    import torch

    n_axes = content[3]
    shape = struct.unpack_from(f">{n_axes}i", content, 4)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=4 + 4 * n_axes).reshape(shape)
