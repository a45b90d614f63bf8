"""Export a quantised network as C code, which is compared with the reference before it is written."""

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
from search.export.board.facts import board_facts
from search.export.embedded.origin import origin_notes
from search.export.embedded.picture_input import input_header, input_note
from search.export.embedded.projects import write_projects
from search.export.embedded.self_test import self_test_header
from search.export.formats.format import Exporting, Format
from search.export.int8.arena import plan_arena
from search.export.int8.c_file import check_c, open_c
from search.export.int8.c_source import PREFIX, c_header, c_source, flash_bytes
from search.export.int8.layer_table import layer_table
from search.export.int8.network import Int8Network, QuantisationError
from search.export.int8.quantise import quantise
from search.export.latency import Answer
from search.export.standalone.framing import framing_for


def int8_network(
    arch: ArchSpec, state: Mapping[str, Tensor], images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Int8Network:
    """Quantise a network with search.export.int8.quantise. Raises InputError for a network without an int8 form."""
    try:
        return quantise(arch, state, images, mean, std)
    except QuantisationError as error:
        raise InputError(f"there is no int8 form of this network: {error}") from error


def write_c(network: Int8Network, exporting: Exporting) -> dict[str, Any]:
    """Write the C files and the projects that build them, and return their facts for the card.

    These are the bytes of flash and RAM, the layers and the quantisation. Where the compiler for microcontrollers is
    installed, the facts of `board_facts` are added.

    The compiled code must give the logits of the reference for the test images, to the last bit. Raises CMismatchError
    if it does not, and InputError if there is no compiler or a sum may exceed 32 bits.
    """
    data, folder, prefix = exporting.data, exporting.folder, exporting.options.prefix
    classes, images, framing = data.classes, data.test.images.numpy(), framing_for(data)
    try:
        source = c_source(network, classes, prefix, origin_notes(exporting.source, folder / "weights.pt"))
        header = c_header(network, classes, prefix, input_note(framing, data.train.images))
        logits = check_c(network, source, header, images, prefix)
    except QuantisationError as error:
        raise InputError(f"there is no int8 form of this network: {error}") from error
    except NoCompilerError as error:
        raise InputError(f"format c is checked with a C compiler ({error}); install one, or name it in $CC") from error
    files = {f"{prefix}.c": source, f"{prefix}.h": header}
    beside = {f"{prefix}_test.h": self_test_header(images, logits, data.test.labels.tolist(), classes, prefix)}
    if network.input_shape[0] == 1:
        beside[f"{prefix}_input.h"] = input_header(framing, prefix)
    for name, text in (files | beside).items():
        (folder / name).write_text(text, encoding="utf-8")
    write_projects(folder, prefix)
    flash = flash_bytes(network, classes)
    return {
        "prefix": prefix,
        "flash_bytes": sum(flash.values()),
        "flash_bytes_by_kind": flash,
        "ram_bytes": plan_arena(network).n_bytes,
        "logit_scale": network.logit_scale,
        "quantised": network.method,
        "layers": layer_table(network),
        **board_facts(files, images, logits, f"{prefix}_logits"),
    }


def open_folder(folder: Path, n_classes: int, prefix: str = PREFIX) -> Callable[[Tensor], Tensor]:
    """Return the function that the files compute: uint8 images (N, C, H, W) to real logits (N, classes)."""
    source, header = ((folder / name).read_text(encoding="utf-8") for name in (f"{prefix}.c", f"{prefix}.h"))
    logits_of = open_c(source, header, n_classes, prefix=prefix)
    match = re.search(r"_LOGIT_SCALE\s+(\S+)f\n", header)
    assert match  # write_c wrote the header
    scale = float(match[1])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(logits_of(images.numpy())).double() * scale

    return answer


def _write(exporting: Exporting) -> Mapping[str, Any]:
    source, data = exporting.source, exporting.data
    network = int8_network(source.arch, source.state, exporting.calibration, data.mean, data.std)
    return write_c(network, exporting)


def _open(exporting: Exporting) -> Answer:
    return open_folder(exporting.folder, exporting.source.arch.n_classes, exporting.options.prefix)


C = Format(
    ("{prefix}.c", "{prefix}.h"),
    _write,
    _open,
    runtime="C with -O3",
    is_quantised=True,
    usage=(Path(__file__).parents[1] / "templates" / "c_usage.md").read_text(encoding="utf-8"),
)
