"""Export a network as C in its folder: write it, compare it with the reference, open it again."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.spec import ArchSpec
from search.engine.native.compiler import NoCompilerError
from search.errors import InputError
from search.export.int8.c_calls import plan_arena
from search.export.int8.c_file import HEADER, SOURCE, check_c, open_c
from search.export.int8.c_source import c_header, c_source, flash_bytes
from search.export.int8.network import Int8Network, QuantisationError
from search.export.int8.quantise import quantise


def int8_network(
    arch: ArchSpec, state: Mapping[str, Tensor], images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Int8Network:
    """Quantise a network as search.export.int8.quantise does. Raises InputError where there is no int8 form."""
    try:
        return quantise(arch, state, images, mean, std)
    except QuantisationError as error:
        raise InputError(f"there is no int8 form of this network: {error}") from error


def write_c(network: Int8Network, classes: Sequence[str], folder: Path, images: Tensor) -> dict[str, Any]:
    """Write both files and return what the card says of them: bytes of flash and RAM, and how it was quantised.

    images: uint8 (N, C, H, W), on which the compiled file repeats the reference to the last bit. Raises CMismatchError
    where it does not, and InputError where there is no compiler to tell.
    """
    source, header = c_source(network, classes), c_header(network, classes)
    try:
        check_c(network, source, header, images.numpy())
    except NoCompilerError as error:
        raise InputError(f"format c is checked with a C compiler ({error}); install one, or name it in $CC") from error
    (folder / SOURCE).write_text(source, encoding="utf-8")
    (folder / HEADER).write_text(header, encoding="utf-8")
    flash = flash_bytes(network, classes)
    return {
        "flash_bytes": sum(flash.values()),
        "flash_bytes_by_kind": flash,
        "ram_bytes": plan_arena(network).n_bytes,
        "logit_scale": network.logit_scale,
        "quantised": network.method,
    }


def open_folder(folder: Path, n_classes: int) -> Callable[[Tensor], Tensor]:
    """Return the function that the files compute: uint8 images (N, C, H, W) to real logits (N, classes)."""
    source, header = ((folder / name).read_text(encoding="utf-8") for name in (SOURCE, HEADER))
    logits_of = open_c(source, header, n_classes)
    found = re.search(r"MODEL_LOGIT_SCALE\s+(\S+)", header)
    assert found  # the header was written here
    scale = float(found[1])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(logits_of(images.numpy())).double() * scale

    return answer
