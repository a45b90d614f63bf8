"""Write model.c and model.h: an integer network as C99 that needs only stdint.h.

Equal networks give equal bytes. The stated size of the constants is counted on the tables that are written. In the
texts of the functions all public names begin with "model" or "MODEL"; another prefix replaces it at the end.
"""

from __future__ import annotations

import re
import string
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from search.export.int8.arena import Arena, plan_arena
from search.export.int8.c_calls import Call, calls_of, shape_text
from search.export.int8.c_constants import (
    BIASES,
    FACTORS,
    LINE_LENGTH,
    RECORDS,
    TABLES,
    WEIGHTS,
    Constant,
    Record,
)
from search.export.int8.c_layers import layer_texts, template
from search.export.int8.network import Convolution, Int8Network
from search.text import parameter_count

NAMES = "class names"
INPUT_NOTE = "An image has levels from 0 to 255, stored channel by channel and row by row."
PREFIX = "model"


def c_header(network: Int8Network, classes: Sequence[str], prefix: str = PREFIX, input_note: str = INPUT_NOTE) -> str:
    """Return the text of the header, which declares the input shape, the class names and the functions.

    prefix      beginning of all public names, in capitals for macros
    input_note  sentences that say what an image must look like
    """
    channels, height, width = network.input_shape
    text = string.Template(template("model.h")).substitute(
        channels=channels,
        height=height,
        width=width,
        n_classes=network.n_classes,
        input_note=_comment([input_note]),
        scale=f"{np.float32(network.logit_scale)!s}f",
        arena_bytes=plan_arena(network).n_bytes,
        name_bytes=_name_bytes(classes),
    )
    return renamed(text, prefix) + "\n"


def c_source(network: Int8Network, classes: Sequence[str], prefix: str = PREFIX, origin: Sequence[str] = ()) -> str:
    """Return the text of the source: constants, layers, the network, and a program that scores it on IDX files.

    The program is compiled only if MODEL_MAIN is defined.

    classes  the name of each class, in the order of the logits
    prefix   beginning of all public names, in capitals for macros
    origin   paragraphs for the comment at the top, which say where the network comes from

    Raises ValueError if the number of classes differs, and QuantisationError if a sum may exceed 32 bits.
    """
    if len(classes) != network.n_classes:
        raise ValueError(f"{network.n_classes} classes have {len(classes)} names")
    arena = plan_arena(network)
    calls = list(calls_of(network, arena))
    constants = _constants(calls)
    used = {call.function for call in calls}
    axes = _axes(network)
    properties = {
        "image_axes": ", ".join(map(str, axes)),
        "images_name": shape_text(axes),
        "largest_kernel": largest_kernel(network),
    }
    parts = [
        '#include "model.h"',
        *(constant.text for constant in constants if isinstance(constant, Constant)),
        *(string.Template(text).substitute(properties) for text in layer_texts(used)),
        *(constant.text for constant in constants if isinstance(constant, Record)),
        _network(calls),
        template("predict.c"),
        string.Template(template("main.c")).substitute(properties),
    ]
    # Names of studies and classes stay as they are.
    include, *definitions = (renamed(part, prefix) for part in parts)
    texts = [_opening(network, classes, arena, prefix, origin), include, _names(classes, prefix.upper()), *definitions]
    return "\n\n".join(texts) + "\n"


def renamed(text: str, prefix: str) -> str:
    """Return C text whose public names begin with another prefix than "model"."""
    return re.sub(r"\bMODEL(?=_)", prefix.upper(), re.sub(r"\bmodel(?=[_.]|$)", prefix, text))


def flash_bytes(network: Int8Network, classes: Sequence[str]) -> dict[str, int]:
    """Return the bytes of the constants in model.c by kind, without the machine code, with addresses of 32 bits."""
    counts = Counter({NAMES: len(classes) * _name_bytes(classes)})
    for constant in _constants(calls_of(network, plan_arena(network))):
        counts[constant.kind] += constant.n_bytes
    return {kind: counts[kind] for kind in (WEIGHTS, BIASES, FACTORS, TABLES, RECORDS, NAMES) if counts[kind]}


def _constants(calls: Iterable[Call]) -> list[Constant | Record]:
    """Return the constants of all calls, each once."""
    return list({constant.name: constant for call in calls for constant in call.constants}.values())


def largest_kernel(network: Int8Network) -> int:
    """Return the number of positions in the largest kernel of a convolution; 1 without convolutions."""
    return max([1, *(int(step.weight[0, 0].size) for step in network.steps if isinstance(step, Convolution))])


def _axes(network: Int8Network) -> tuple[int, ...]:
    """Return the sizes of the axes of an image in an IDX file, where grey images have no channel axis."""
    return network.input_shape[1:] if network.input_shape[0] == 1 else network.input_shape


def _opening(network: Int8Network, classes: Sequence[str], arena: Arena, prefix: str, origin: Sequence[str]) -> str:
    """Return the comment at the top of model.c, which says what the file contains and needs."""
    flash = flash_bytes(network, classes)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in flash.items())
    size = parameter_count(network.n_params, network.n_stored)
    shared = " Layers that share weights read the same array." if network.n_stored > network.n_params else ""
    paragraphs = [
        f"{size} as int8, for {shape_text(network.input_shape)} images of uint8 and "
        f"{network.n_classes} classes. C99 without floating point, allocation and the C library. On processors without "
        "instructions for them, compilers take divisions, and products and shifts of 64 bits, from their own library, "
        f"as libgcc.{shared}",
        f"Flash: {sum(flash.values()):,} bytes of constants ({kinds}), plus the machine code. A compiler "
        "may make small tables part of the code.",
        f"RAM: {arena.n_bytes:,} bytes for all maps between the layers, plus about a kilobyte of stack: reserve 2 KB. "
        "The image and the logits belong to the caller and are not counted.",
        f"Quantised {network.method}: int8 weights with a scale for each filter, int8 maps, int32 sums (Jacob et al., "
        "arXiv 1712.05877).",
        "To score it on IDX files, the format of MNIST:",
        f"    cc -O3 -D{prefix.upper()}_MAIN {prefix}.c -o {prefix} && ./{prefix} IMAGES LABELS",
        *origin,
    ]
    return _comment(paragraphs)


def _comment(paragraphs: Iterable[str]) -> str:
    """Return paragraphs as a comment in C."""
    lines = "\n\n".join("\n".join(textwrap.wrap(text, LINE_LENGTH - 3)) for text in paragraphs).splitlines()
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def _network(calls: Sequence[Call]) -> str:
    """Return the source of model_logits_in, which makes the calls in order."""
    lines = []
    for number, call in enumerate(calls, start=1):
        text = f"{call.function}({', '.join(map(str, call.arguments))});"
        lines.append(f"    /* {number}: {call.remark} */")
        lines += textwrap.wrap(text, LINE_LENGTH, initial_indent=" " * 4, subsequent_indent=" " * 8)
    signature = """\
void model_logits_in(int8_t *arena, const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH],
                     int32_t logits[MODEL_N_CLASSES])"""
    return "\n".join([signature, "{", *lines, "}"])


def _name_bytes(classes: Sequence[str]) -> int:
    """Return the bytes of one row in the table of names: those of the longest name and its terminating zero."""
    return max(len(name.encode()) for name in classes) + 1


def _names(classes: Sequence[str], prefix: str) -> str:
    """Return the table of the class names. prefix: beginning of all macros."""
    rows = [f'    "{escaped(name)}",' for name in classes]
    return "\n".join(
        [f"const {prefix}_FLASH char {prefix}_CLASSES[{prefix}_N_CLASSES][{_name_bytes(classes)}] = {{", *rows, "};"]
    )


def escaped(name: str) -> str:
    """Return a name as the content of a C string, with octal escapes, which always end after three digits."""
    plain = set(map(ord, string.ascii_letters + string.digits + " _-+.,:;/()"))
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in name.encode())
