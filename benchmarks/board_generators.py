"""Write a network as C with other generators, for the comparison in benchmarks.board."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from search.data.dataset import Dataset


@dataclass(frozen=True)
class Program:
    """C files with a function that maps an image to integer logits.

    cores  names of the cores that it is measured on
    flags  further flags of the compiler
    """

    name: str
    files: Mapping[str, str]
    function: str = "model_logits"
    cores: tuple[str, ...] = ("cortex-m4", "cortex-m0plus")
    flags: tuple[str, ...] = ()


FLOATING_POINT_UNIT = ("-mfpu=fpv4-sp-d16", "-mfloat-abi=hard")
# BakeNN quantises in Python, a second for each image. The number of instructions does not depend on the ranges.
N_BAKENN_IMAGES = 20

_EMX_CALL = """\
#include <stdint.h>
void emx_network(const float *images, float *logits);
void call_emx(const uint8_t *image, int32_t *logits)
{{
    static const float mean[] = {{{mean}}}, std[] = {{{std}}};
    static float input[{channels} * {pixels}];
    float output[{n_classes}];
    for (int c = 0; c < {channels}; c++)
        for (int i = c * {pixels}; i < (c + 1) * {pixels}; i++)
            input[i] = (image[i] * (1 / 255.0f) - mean[c]) / std[c];
    emx_network(input, output);
    for (int k = 0; k < {n_classes}; k++)
        logits[k] = (int32_t)(output[k] * 65536);
}}
"""


def emx_program(command: str, folder: Path, card: Mapping[str, Any]) -> Program:
    """Return the C that emx-onnx-cgen writes for model.onnx, with maps on the stack instead of the heap."""
    channels, height, width = card["arch"]["input_shape"]
    call = _EMX_CALL.format(
        mean=", ".join(map(str, card["data"]["mean"])),
        std=", ".join(map(str, card["data"]["std"])),
        channels=channels,
        pixels=height * width,
        n_classes=len(card["data"]["classes"]),
    )
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "emx.c"
        options = ["--large-temp-threshold", "0", "--large-weight-threshold", "0", "--input-dim", "n=1"]
        names = ["--model-name", "emx_network", str(folder / "model.onnx"), str(target)]
        subprocess.run([command, "compile", *options, *names], check=True, capture_output=True)
        files = {"emx.c": target.read_text(encoding="utf-8"), "call.c": call}
    return Program("emx-onnx-cgen, float", files, "call_emx", ("cortex-m4",), FLOATING_POINT_UNIT)


_BAKENN_CALL = """\
#include "bknn_net.h"
void call_bakenn(const uint8_t *image, int32_t *logits)
{{
    static uint8_t arena[BKNN_NET_ARENA_SIZE] __attribute__((aligned(BKNN_NET_ARENA_ALIGNMENT)));
    static int8_t input[BKNN_NET_INPUT_BYTES], output[BKNN_NET_OUTPUT_BYTES];
    static const int8_t levels[{channels}][256] = {{{levels}}};
    for (int c = 0; c < {channels}; c++)
        for (int i = 0; i < {pixels}; i++)
            input[i * {channels} + c] = levels[c][image[c * {pixels} + i]];
    bknn_net_infer(arena, input, output);
    for (int k = 0; k < {n_classes}; k++)
        logits[k] = output[k];
}}
"""


class _FirstMeans(nn.Module):
    """Head `gap` without its factor, in the operations that BakeNN takes."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.n_classes = n_classes

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))[:, : self.n_classes]


def bakenn_program(site: Path, folder: Path, card: Mapping[str, Any], data: Dataset, scratch: Path) -> Program:
    """Return the C that BakeNN writes with the kernels of CMSIS-NN, quantised with a few training images.

    site     folder where BakeNN is installed; it needs PyTorch, which this project has
    scratch  folder for its files, which must remain until they are compiled

    A head `gap` is computed without its factor, which BakeNN does not take.
    """
    sys.path.append(str(site))
    bakenn = importlib.import_module("bakenn")
    spec = importlib.util.spec_from_file_location("exported", folder / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.load()
    if card["arch"]["head"]["kind"] == "gap":
        net.head = _FirstMeans(data.n_classes)
    images = module.preprocess(data.train.images[:N_BAKENN_IMAGES])
    options = bakenn.CBackendOptions(
        kernel_policy=bakenn.KernelPolicy.STATIC_PRIORITY, enable_cmsis_nn=True, target=bakenn.CORTEX_M4
    )
    compiled = bakenn.compile_torch_ptq(
        net.eval(), images[:1], list(images.split(1)), scratch, name="net", backend_options=options
    )
    read = compiled.plan.tensors[compiled.plan.inputs[0]].tensor_type.qparams
    greys = torch.arange(256, dtype=torch.uint8).view(256, 1, 1, 1).expand(-1, *card["arch"]["input_shape"])
    inputs = module.preprocess(greys)[:, :, 0, 0]
    levels = (inputs / read.scale + read.zero_point).round().clip(-128, 127).int().T.tolist()
    channels, height, width = card["arch"]["input_shape"]
    call = _BAKENN_CALL.format(
        channels=channels,
        pixels=height * width,
        n_classes=data.n_classes,
        levels=", ".join(f"{{{', '.join(map(str, row))}}}" for row in levels),
    )
    files = {path.name: path.read_text(encoding="utf-8") for path in scratch.rglob("*.c")}
    third_party = [scratch / "third_party" / name / "Include" for name in ("cmsis_nn", "cmsis_core")]
    flags = ("-DBAKENN_CMSIS_NN_BUILTIN_MEMORY", *(f"-I{path}" for path in (scratch, *third_party)))
    return Program("BakeNN, CMSIS-NN, int8", files | {"call.c": call}, "call_bakenn", ("cortex-m4",), flags)
