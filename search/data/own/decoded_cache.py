"""Keep decoded images on disk, so that a large folder is decoded once.

The files lie where a cache belongs (https://specifications.freedesktop.org/basedir-spec): below $XDG_CACHE_HOME or
~/.cache. Each holds the images, their facts as JSON, the length of this text, and the SHA-256 of all of that. A file is
complete from the moment that it has its name, and any number of processes may use it, also while it is deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Largest size of all files together, in bytes. The files that were not used for longest are deleted.
MOST_BYTES = 4 * 2**30
_SUFFIX, _PARTIAL = ".images", ".partial"
# Age, in seconds, from which an incomplete file is taken to be that of a process that was killed.
_ABANDONED_SECONDS = 3600
_END = struct.Struct("<Q32s")


def cache_folder() -> Path | None:
    """Return the folder of the cache, which need not exist; None where the user has no home."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (base if base.is_absolute() else Path.home() / ".cache") / "architecture-search" / "images"
    except RuntimeError:
        return None


def find_images(key: str) -> tuple[Tensor, dict[str, Any]] | None:
    """Return the images, uint8 (N, C, H, W), and their facts that were kept under a key, or None.

    A damaged file is deleted. The file is read and not mapped into memory, because another machine with the same home
    may delete it.
    """
    folder = cache_folder()
    if folder is None:
        return None
    path = folder / f"{key}{_SUFFIX}"
    try:
        with path.open("rb") as file:
            content = torch.empty(os.fstat(file.fileno()).st_size, dtype=torch.uint8)
            memory = content.numpy().data
            n_read = file.readinto(memory)
        with suppress(OSError):  # the time of use is the file's
            os.utime(path)
    except OSError:
        return None
    try:
        length, digest = _END.unpack_from(memory, len(memory) - _END.size)
        start = len(memory) - _END.size - length
        if n_read < len(memory) or start < 0 or hashlib.sha256(memory[: start + length]).digest() != digest:
            raise ValueError("damaged")
        facts: dict[str, Any] = json.loads(bytes(memory[start : start + length]))
        return content[:start].view(facts.pop("shape")), facts
    except (ValueError, struct.error):
        with suppress(OSError):
            path.unlink()
        return None


def keep_images(key: str, images: Tensor, facts: Mapping[str, Any]) -> bool:
    """Keep images, uint8 (N, C, H, W), and facts that JSON can hold; return whether there was room for them."""
    folder = cache_folder()
    text = json.dumps({**facts, "shape": list(images.shape)}).encode()
    size = images.numel() + len(text) + _END.size
    if folder is None or size > MOST_BYTES:
        return False
    partial = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(_PARTIAL, dir=folder)
        with open(descriptor, "wb") as file:
            if hasattr(os, "posix_fallocate"):  # a disk without room is then not filled first
                os.posix_fallocate(descriptor, 0, size)
            digest = hashlib.sha256()
            for part in (images.contiguous().numpy().data.cast("B") if images.numel() else b"", text):
                digest.update(part)
                file.write(part)
            file.write(_END.pack(len(text), digest.digest()))
            file.flush()
            os.fsync(descriptor)  # else a file of zeros could be left by a loss of power
        Path(partial).replace(folder / f"{key}{_SUFFIX}")
    except OSError:  # the disk is full, read-only, or not there
        if partial:
            with suppress(OSError):
                Path(partial).unlink()
        return False
    _make_room(folder, newest=key)
    return True


def _make_room(folder: Path, newest: str) -> None:
    """Delete the files that were not used for longest until MOST_BYTES suffice, and those of killed processes."""
    ages = sorted(_used(folder, _SUFFIX), reverse=True)
    total = 0
    for _, size, path in ages:
        total += size
        if total > MOST_BYTES and path.stem != newest:
            with suppress(OSError):
                path.unlink()
    for used, _, path in _used(folder, _PARTIAL):
        if used < time.time() - _ABANDONED_SECONDS:
            with suppress(OSError):
                path.unlink()


def _used(folder: Path, suffix: str) -> Iterator[tuple[float, int, Path]]:
    """Yield the time of use, the size and the path of the files with a suffix."""
    for path in folder.glob(f"*{suffix}"):
        with suppress(OSError):
            status = path.stat()
            yield status.st_mtime, status.st_size, path
