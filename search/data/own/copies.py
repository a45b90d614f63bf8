"""Find images with the same pixels, which must not lie on both sides of a split.

An exported model.py holds a copy of this source, so that it chooses the test images of a folder as the search did.
Therefore it uses only the standard library and torch.
"""

from __future__ import annotations

import ctypes
import hashlib

import torch
from torch import Tensor


def first_copies(images: Tensor) -> Tensor:
    """Return the index of the first image with the same pixels for each image, int64 (N,).

    Images of one colour everywhere are not compared, because they are alike without being copies.

    images: uint8 (N, C, H, W)
    """
    images = images.contiguous()
    is_plain = (images == images[:, :, :1, :1]).flatten(1).all(1).tolist()
    size = images[:1].numel()
    firsts: dict[bytes, int] = {}
    rows = []
    for row in range(len(images)):
        # The bytes are read from memory, because torch itself gives them only one by one or through numpy.
        digest = hashlib.sha256(ctypes.string_at(images.data_ptr() + row * size, size)).digest()
        rows.append(row if is_plain[row] else firsts.setdefault(digest, row))
    return torch.tensor(rows, dtype=torch.int64)


def copies_of(firsts: Tensor, chosen: Tensor) -> Tensor:
    """Return which images have the same pixels as one of the `chosen` images, those included; both masks, bool (N,)."""
    return torch.isin(firsts, firsts[chosen])


def is_first_copy(firsts: Tensor) -> Tensor:
    """Return which images are the first with their pixels, as a mask, bool (N,)."""
    return firsts == torch.arange(len(firsts))
