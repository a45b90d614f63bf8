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
from search.export.formats.format import Exporting, Format
from search.export.int8.arena import plan_arena
from search.export.int8.c_file import check_c, open_c
from search.export.int8.c_source import PREFIX, c_header, c_source, flash_bytes
from search.export.int8.layer_table import layer_table
from search.export.int8.network import Int8Network, QuantisationError
from search.export.int8.quantise import quantise
from search.export.latency import Answer


def int8_network(
    arch: ArchSpec, state: Mapping[str, Tensor], images: Tensor, mean: Sequence[float], std: Sequence[float]
) -> Int8Network:
    """Quantise a network with search.export.int8.quantise. Raises InputError for a network without an int8 form."""
    try:
        return quantise(arch, state, images, mean, std)
    except QuantisationError as error:
        raise InputError(f"there is no int8 form of this network: {error}") from error


def write_c(
    network: Int8Network, classes: Sequence[str], folder: Path, images: Tensor, prefix: str = PREFIX
) -> dict[str, Any]:
    """Write source and header, and return their facts for the card: bytes of flash and RAM, layers, and quantisation.

    Where the compiler for microcontrollers is installed, the facts of `board_facts` are added.

    images  uint8 (N, C, H, W), for which the compiled code must give the logits of the reference to the last bit
    prefix  beginning of all public names

    Raises CMismatchError if it does not, and InputError if there is no compiler or a sum may exceed 32 bits.
    """
    try:
        source, header = c_source(network, classes, prefix), c_header(network, classes, prefix)
        logits = check_c(network, source, header, images.numpy(), prefix)
    except QuantisationError as error:
        raise InputError(f"there is no int8 form of this network: {error}") from error
    except NoCompilerError as error:
        raise InputError(f"format c is checked with a C compiler ({error}); install one, or name it in $CC") from error
    files = {f"{prefix}.c": source, f"{prefix}.h": header}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    flash = flash_bytes(network, classes)
    return {
        "prefix": prefix,
        "flash_bytes": sum(flash.values()),
        "flash_bytes_by_kind": flash,
        "ram_bytes": plan_arena(network).n_bytes,
        "logit_scale": network.logit_scale,
        "quantised": network.method,
        "layers": layer_table(network),
        **board_facts(files, images.numpy(), logits, f"{prefix}_logits"),
    }


def open_folder(folder: Path, n_classes: int, prefix: str = PREFIX) -> Callable[[Tensor], Tensor]:
    """Return the function that the files compute: uint8 images (N, C, H, W) to real logits (N, classes)."""
    source, header = ((folder / name).read_text(encoding="utf-8") for name in (f"{prefix}.c", f"{prefix}.h"))
    logits_of = open_c(source, header, n_classes, prefix=prefix)
    match = re.search(r"_LOGIT_SCALE\s+(\S+)", header)
    assert match  # write_c wrote the header
    scale = float(match[1])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(logits_of(images.numpy())).double() * scale

    return answer


def _write(exporting: Exporting) -> Mapping[str, Any]:
    source, data = exporting.source, exporting.data
    network = int8_network(source.arch, source.state, exporting.calibration, data.mean, data.std)
    return write_c(network, data.classes, exporting.folder, data.test.images, exporting.options.prefix)


def _open(exporting: Exporting) -> Answer:
    return open_folder(exporting.folder, exporting.source.arch.n_classes, exporting.options.prefix)


C = Format(
    ("{prefix}.c", "{prefix}.h"),
    _write,
    _open,
    runtime="C with -O3",
    is_quantised=True,
    usage="""\
{% set upper = form.prefix | upper %}
`{{ form.prefix }}.c` and `{{ form.prefix }}.h` need a C99 compiler and nothing else, no heap and no floating point:

```c
#include "{{ form.prefix }}.h"
/* uint8_t image[{{ upper }}_CHANNELS * {{ upper }}_HEIGHT * {{ upper }}_WIDTH], 0 to 255 */
int answer = {{ form.prefix }}_predict(image);
```

`{{ form.prefix }}_predict_in(arena, image)` works in memory of the caller, {{ upper }}_ARENA_BYTES bytes, and is
re-entrant.

To score it on IDX files:
`cc -O3 -D{{ upper }}_MAIN {{ form.prefix }}.c -o {{ form.prefix }} && ./{{ form.prefix }} IMAGES LABELS`.
Constants take {{ form.flash_bytes | grouped }} bytes of flash, beside some kilobytes of code; maps take
{{ form.ram_bytes | grouped }} bytes of RAM (counted before building: {{ card.cost.peak_activation_bytes_int8 | grouped
}}), beside the caller's image.
""",
)
