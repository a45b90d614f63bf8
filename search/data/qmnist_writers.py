"""Read the writer of each training image of MNIST from QMNIST's labels."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

# https://github.com/facebookresearch/qmnist: an IDX file, with a row for every training image of MNIST, in its order.
_FOLDER, _FILE = Path("QMNIST", "raw"), "qmnist-train-labels-idx2-int"
_INT32 = 0x0C
_N_COLUMNS, _CLASS, _WRITER = 8, 0, 2
_HINT = (
    "replace it by the one from https://github.com/facebookresearch/qmnist, or remove it to hold out images whoever "
    "wrote them"
)


class _DamageError(Exception):
    """Error raised for a wrong file; the message continues a sentence that begins with the path."""


def read_writers(root: Path, labels: Tensor) -> Tensor | None:
    """Return the writer of every training image, int64 (N,), or None where ROOT/QMNIST/raw does not hold the file.

    The file, plain or .gz, is never downloaded. It has to contain the labels of MNIST, `labels` (N,). Raises InputError
    for a file that is unreadable, damaged, or describes other images.
    """
    plain = root / _FOLDER / _FILE
    for path in (plain, plain.with_name(f"{_FILE}.gz")):
        try:
            if path.exists():
                content = path.read_bytes()
                return _parse(_unpack(content) if path.suffix == ".gz" else content, labels)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}; {_HINT}") from error
        except _DamageError as error:
            raise InputError(f"{path} {error}; {_HINT}") from error
    return None


def _unpack(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _DamageError(f"is damaged: {error}") from error


def _parse(content: bytes, labels: Tensor) -> Tensor:
    import numpy as np
    import torch

    header = struct.pack(">HBBii", 0, _INT32, 2, len(labels), _N_COLUMNS)
    size = len(header) + 4 * len(labels) * _N_COLUMNS
    if len(content) != size:
        raise _DamageError(f"holds {len(content):,} bytes, expected {size:,}")
    if not content.startswith(header):
        raise _DamageError(f"is not an IDX file of {len(labels):,} x {_N_COLUMNS} integers of 32 bits")
    table = np.frombuffer(content, dtype=">i4", offset=len(header)).reshape(-1, _N_COLUMNS).astype(np.int64)
    n_wrong = int((torch.from_numpy(table[:, _CLASS]) != labels).sum())
    if n_wrong:
        raise _DamageError(f"gives {n_wrong:,} of {len(labels):,} images another class than MNIST's labels do")
    return torch.from_numpy(table[:, _WRITER])
