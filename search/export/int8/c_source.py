"""The text of model.c and model.h: an integer network as C99 that needs nothing but stdint.h.

The same network gives the same bytes. What its constants take is counted on the tables that are written.
"""

from __future__ import annotations

import string
import textwrap
from collections import Counter
from collections.abc import Sequence

from search.export.int8.c_calls import (
    BIASES,
    FACTORS,
    LINE_LENGTH,
    TABLES,
    WEIGHTS,
    Arena,
    Call,
    by_x,
    calls_of,
    plan_arena,
)
from search.export.int8.c_layers import ARITHMETIC, LAYERS, MAIN
from search.export.int8.network import Int8Network

NAMES = "class names"


def c_header(network: Int8Network, classes: Sequence[str]) -> str:
    """model.h: shapes, names and the two functions."""
    channels, height, width = network.input_shape
    return _HEADER.format(
        channels=channels,
        height=height,
        width=width,
        n_classes=network.n_classes,
        scale=repr(network.logit_scale),
        name_bytes=_name_bytes(classes),
    )


def c_source(network: Int8Network, classes: Sequence[str]) -> str:
    """model.c: constants, layers and the network, and a program that scores it on IDX files behind MODEL_MAIN.

    classes: the name of every class, in the order of the logits. Raises ValueError where they are not as many.
    """
    if len(classes) != network.n_classes:
        raise ValueError(f"{network.n_classes} classes have {len(classes)} names")
    arena = plan_arena(network)
    calls = list(calls_of(network, arena))
    used = {call.function for call in calls}
    parts = [
        _opening(network, classes, arena),
        '#include "model.h"',
        _names(classes),
        *(constant.text for call in calls for constant in call.constants),
        f"/* All maps between the layers. */\nstatic int8_t arena[{arena.n_bytes}];",
        ARITHMETIC,
        *(text for name, text in LAYERS.items() if name in used),
        _network(calls),
        _PREDICT,
        MAIN.replace("IMAGE_AXES", ", ".join(map(str, _axes(network)))).replace("IMAGES_NAME", by_x(_axes(network))),
    ]
    return "\n\n".join(parts) + "\n"


def flash_bytes(network: Int8Network, classes: Sequence[str]) -> dict[str, int]:
    """Bytes of constants in model.c by kind, the machine code not among them."""
    counts = Counter({NAMES: len(classes) * _name_bytes(classes)})
    for call in calls_of(network, plan_arena(network)):
        for constant in call.constants:
            counts[constant.kind] += constant.values.nbytes
    return {kind: counts[kind] for kind in (WEIGHTS, BIASES, FACTORS, TABLES, NAMES) if counts[kind]}


def _axes(network: Int8Network) -> tuple[int, ...]:
    """Return the axes of an image in an IDX file: grey ones have no axis for their channel."""
    return network.input_shape[1:] if network.input_shape[0] == 1 else network.input_shape


_HEADER = """\
/* The network of model.c: images to logits in integers. See there for what it needs. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_CHANNELS {channels}
#define MODEL_HEIGHT {height}
#define MODEL_WIDTH {width}
#define MODEL_N_CLASSES {n_classes}
/* A logit of the network in floating point is about its integer times this. */
#define MODEL_LOGIT_SCALE {scale}

#ifdef __cplusplus
extern "C" {{
#endif

/* The names of the classes, in the order of the logits. */
extern const char MODEL_CLASSES[MODEL_N_CLASSES][{name_bytes}];

/* Grey levels 0 to 255, channel by channel, row by row, to logits. Not to be called twice at the same time. */
void model_logits(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH], int32_t logits[MODEL_N_CLASSES]);

/* The class with the largest logit, the first of equals; from 0. */
int model_predict(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH]);

#ifdef __cplusplus
}}
#endif

#endif
"""

_PREDICT = """\
int model_predict(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH])
{
    int32_t logits[MODEL_N_CLASSES];
    int best = 0;
    model_logits(image, logits);
    for (int k = 1; k < MODEL_N_CLASSES; k++)
        if (logits[k] > logits[best])
            best = k;
    return best;
}"""


def _opening(network: Int8Network, classes: Sequence[str], arena: Arena) -> str:
    """The comment at the top: what the file is and needs."""
    flash = flash_bytes(network, classes)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in flash.items())
    copies = " Layers that share weights have a copy each, with their batch norm in it." if network.shares else ""
    paragraphs = [
        f"{network.n_params:,} parameters as int8, for {by_x(network.input_shape)} images of uint8 and "
        f"{network.n_classes} classes: C99 with no floating point, no allocation and no library.{copies}",
        f"Flash: {sum(flash.values()):,} bytes of constants ({kinds}), and the machine code.",
        f"RAM: {arena.n_bytes:,} bytes of static memory for all maps between the layers, and little stack. The image "
        "and the logits are the caller's and not among them.",
        f"Quantised {network.method}: int8 weights with a scale for each filter, int8 maps, int32 sums (Jacob et al., "
        "arXiv 1712.05877).",
        "To score it on IDX files, the format of MNIST:",
        "    cc -O2 -DMODEL_MAIN model.c -o model && ./model IMAGES LABELS",
    ]
    lines = "\n\n".join("\n".join(textwrap.wrap(text, LINE_LENGTH - 3)) for text in paragraphs).splitlines()
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def _network(calls: Sequence[Call]) -> str:
    """The function that makes the calls in order."""
    lines = []
    for number, call in enumerate(calls, start=1):
        text = f"{call.function}({', '.join(map(str, call.arguments))});"
        lines.append(f"    /* {number}: {call.remark} */")
        lines += textwrap.wrap(text, LINE_LENGTH, initial_indent=" " * 4, subsequent_indent=" " * 8)
    signature = _PREDICT.partition("(")[2].partition(")")[0]
    return "\n".join([f"void model_logits({signature}, int32_t logits[MODEL_N_CLASSES])", "{", *lines, "}"])


def _name_bytes(classes: Sequence[str]) -> int:
    """Return the bytes of one row in the table of names: the longest name and its end."""
    return max(len(name.encode()) for name in classes) + 1


def _names(classes: Sequence[str]) -> str:
    rows = [f'    "{_escaped(name)}",' for name in classes]
    return "\n".join([f"const char MODEL_CLASSES[MODEL_N_CLASSES][{_name_bytes(classes)}] = {{", *rows, "};"])


def _escaped(name: str) -> str:
    """A name inside a C string; octal escapes end after three digits, whatever follows."""
    plain = set(map(ord, string.ascii_letters + string.digits + " _-+.,:;/()"))
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in name.encode())
