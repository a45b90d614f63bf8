"""Write model.c and model.h: an integer network as C99 that needs only stdint.h.

Equal networks give equal bytes. The stated size of the constants is counted on the tables that are written.
"""

from __future__ import annotations

import string
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from search.export.int8.c_calls import (
    BIASES,
    FACTORS,
    LINE_LENGTH,
    TABLES,
    WEIGHTS,
    Arena,
    Call,
    Constant,
    calls_of,
    plan_arena,
    shape_text,
)
from search.export.int8.c_layers import ARITHMETIC, LAYERS, MAIN
from search.export.int8.network import Int8Network
from search.text import parameter_count

NAMES = "class names"


def c_header(network: Int8Network, classes: Sequence[str]) -> str:
    """Return the text of model.h, which declares the input shape, the class names and the two functions."""
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
    """Return the text of model.c: constants, layers, the network, and a program that scores it on IDX files.

    The program is compiled only if MODEL_MAIN is defined.

    classes: the name of each class, in the order of the logits. Raises ValueError if their number differs.
    """
    if len(classes) != network.n_classes:
        raise ValueError(f"{network.n_classes} classes have {len(classes)} names")
    arena = plan_arena(network)
    calls = list(calls_of(network, arena))
    used = {call.function for call in calls}
    axes = _axes(network)
    parts = [
        _opening(network, classes, arena),
        '#include "model.h"',
        _names(classes),
        *(constant.text for constant in _constants(calls)),
        f"/* Memory of all maps between the layers. */\nstatic int8_t arena[{arena.n_bytes}];",
        ARITHMETIC,
        *(text for name, text in LAYERS.items() if name in used),
        _network(calls),
        _PREDICT,
        MAIN.replace("IMAGE_AXES", ", ".join(map(str, axes))).replace("IMAGES_NAME", shape_text(axes)),
    ]
    return "\n\n".join(parts) + "\n"


def flash_bytes(network: Int8Network, classes: Sequence[str]) -> dict[str, int]:
    """Return the bytes of the constants in model.c by kind, without the machine code."""
    counts = Counter({NAMES: len(classes) * _name_bytes(classes)})
    for constant in _constants(calls_of(network, plan_arena(network))):
        counts[constant.kind] += constant.values.nbytes
    return {kind: counts[kind] for kind in (WEIGHTS, BIASES, FACTORS, TABLES, NAMES) if counts[kind]}


def _constants(calls: Iterable[Call]) -> list[Constant]:
    """Return the constants of all calls, each once."""
    return list({constant.name: constant for call in calls for constant in call.constants}.values())


def _axes(network: Int8Network) -> tuple[int, ...]:
    """Return the sizes of the axes of an image in an IDX file, where grey images have no channel axis."""
    return network.input_shape[1:] if network.input_shape[0] == 1 else network.input_shape


_HEADER = """\
/* Integer network that maps images to logits. The comment in model.c states what it needs. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#define MODEL_CHANNELS {channels}
#define MODEL_HEIGHT {height}
#define MODEL_WIDTH {width}
#define MODEL_N_CLASSES {n_classes}
/* An integer logit times this is approximately the logit of the network in floating point. */
#define MODEL_LOGIT_SCALE {scale}

#ifdef __cplusplus
extern "C" {{
#endif

/* Names of the classes, in the order of the logits. */
extern const char MODEL_CLASSES[MODEL_N_CLASSES][{name_bytes}];

/* Computes the logits of an image: grey levels 0 to 255, stored channel by channel and row by row. Not reentrant,
 * because the maps are in static memory. */
void model_logits(const uint8_t image[MODEL_CHANNELS * MODEL_HEIGHT * MODEL_WIDTH], int32_t logits[MODEL_N_CLASSES]);

/* Returns the index of the class with the largest logit, from 0; of equal logits the first. */
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
    """Return the comment at the top of model.c, which says what the file contains and needs."""
    flash = flash_bytes(network, classes)
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in flash.items())
    size = parameter_count(network.n_params, network.n_stored)
    shared = " Layers that share weights read the same array." if network.n_stored > network.n_params else ""
    paragraphs = [
        f"{size} as int8, for {shape_text(network.input_shape)} images of uint8 and "
        f"{network.n_classes} classes. C99 without floating point, allocation and libraries.{shared}",
        f"Flash: {sum(flash.values()):,} bytes of constants ({kinds}), plus the machine code.",
        f"RAM: {arena.n_bytes:,} bytes of static memory for all maps between the layers, plus a little stack. The "
        "image and the logits belong to the caller and are not counted.",
        f"Quantised {network.method}: int8 weights with a scale for each filter, int8 maps, int32 sums (Jacob et al., "
        "arXiv 1712.05877).",
        "To score it on IDX files, the format of MNIST:",
        "    cc -O2 -DMODEL_MAIN model.c -o model && ./model IMAGES LABELS",
    ]
    lines = "\n\n".join("\n".join(textwrap.wrap(text, LINE_LENGTH - 3)) for text in paragraphs).splitlines()
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def _network(calls: Sequence[Call]) -> str:
    """Return the source of model_logits, which makes the calls in order."""
    lines = []
    for number, call in enumerate(calls, start=1):
        text = f"{call.function}({', '.join(map(str, call.arguments))});"
        lines.append(f"    /* {number}: {call.remark} */")
        lines += textwrap.wrap(text, LINE_LENGTH, initial_indent=" " * 4, subsequent_indent=" " * 8)
    signature = _PREDICT.partition("(")[2].partition(")")[0]
    return "\n".join([f"void model_logits({signature}, int32_t logits[MODEL_N_CLASSES])", "{", *lines, "}"])


def _name_bytes(classes: Sequence[str]) -> int:
    """Return the bytes of one row in the table of names: those of the longest name and its terminating zero."""
    return max(len(name.encode()) for name in classes) + 1


def _names(classes: Sequence[str]) -> str:
    rows = [f'    "{_escaped(name)}",' for name in classes]
    return "\n".join([f"const char MODEL_CLASSES[MODEL_N_CLASSES][{_name_bytes(classes)}] = {{", *rows, "};"])


def _escaped(name: str) -> str:
    """Return a name as the content of a C string, with octal escapes, which always end after three digits."""
    plain = set(map(ord, string.ascii_letters + string.digits + " _-+.,:;/()"))
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in name.encode())
