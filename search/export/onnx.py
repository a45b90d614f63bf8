"""ONNX files: of the network in float32, and quantised to int8 with ranges read off training images."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

INPUT, OUTPUT = "images", "logits"
# The oldest version that torch's exporter writes: whatever reads ONNX today reads it.
OPSET = 18
# Images that are quantised by in one go; the ranges do not depend on it.
CALIBRATION_BATCH = 100


def write_onnx(net: nn.Module, input_shape: tuple[int, ...], path: Path, metadata: Mapping[str, str]) -> None:
    """Write `net` in evaluation mode: input "images" (n, C, H, W) float32, output "logits" (n, classes), n free.

    metadata goes into the file as it is. The same network gives the same bytes.
    """
    import onnx

    example = torch.zeros(2, *input_shape)
    with _quiet():
        program = torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        )
    assert program is not None  # as documented where dynamo is used
    model = program.model_proto
    _forget_origin(model)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def write_int8(float_model: Path, path: Path, calibration: Tensor, metadata: Mapping[str, str]) -> None:
    """Write the quantised form of an ONNX file: weights in int8 by channel, maps in int8 by range (QDQ).

    calibration: what the network is given, float32 (N, C, H, W); the ranges are the smallest and largest values that
    these images lead to. On a training of the network of trial 87 of studies/evolve, percentiles and entropy in their
    place changed the squared error of the logits of 10,000 other training images from 0.0046 to between 0.0046 and
    0.0059.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Images(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self._batches = iter(calibration.split(CALIBRATION_BATCH))  # type: ignore[no-untyped-call]

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    # Both signed: on processors without int8 dot products, unsigned by signed products overflow in onnxruntime.
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        quantised = Path(scratch) / "int8.onnx"
        quantize_static(
            str(float_model),
            str(quantised),
            Images(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        model = onnx.load(quantised)
    _forget_origin(model)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


def open_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """Return the function that the file computes, on one thread: float32 images (N, C, H, W) to logits (N, classes)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def answer(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])

    return answer


def _forget_origin(model: Any) -> None:
    """Drop the exporter's notes: file names and stack traces of this machine, twice as large as the network."""
    graph = model.graph
    graph.doc_string = ""
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("doc_string")
    del graph.value_info[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter and the quantiser warn of their own insides, and log advice that does not concern these networks."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
