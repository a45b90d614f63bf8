"""Export a network as ONNX, in float32 or quantised to int8 with the ranges of training images."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from search.export.formats.format import Exporting, Format
from search.export.latency import Answer

INPUT, OUTPUT = "images", "logits"
# The oldest version that torch's exporter writes, which every current runtime reads.
OPSET = 18
# Number of images in a step of the calibration; the ranges do not depend on it.
CALIBRATION_BATCH = 100


def write_onnx(
    net: nn.Module, input_shape: tuple[int, ...], path: Path, metadata: Mapping[str, str], batch: int | None = None
) -> None:
    """Write `net`, in evaluation mode, as an ONNX file with the metadata.

    Its input is "images", float32 (n, C, H, W), and its output "logits", (n, classes), for any n, or for n = `batch`
    alone. The same network gives the same bytes.
    """
    import onnx

    example = torch.zeros(batch or 2, *input_shape)
    with _quiet():
        program = torch.onnx.export(
            net,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},) if batch is None else None,
        )
    assert program is not None  # as documented for dynamo=True
    model = program.model_proto
    _remove_notes(model)
    _remove_defaults(model)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def write_int8(
    float_model: Path, path: Path, calibration: Tensor, metadata: Mapping[str, str], batch: int | None = None
) -> None:
    """Quantise an ONNX file to int8, with scales by channel for weights and by range for maps (QDQ).

    calibration: normalised images, float32 (N, C, H, W). The range of a map reaches from its smallest to its largest
    value for these images. Ranges by percentile or entropy were no better: for the network of trial 87 of
    studies/evolve, the squared error of the logits of 10,000 other training images was 0.0046 with the present ranges
    and 0.0046 to 0.0059 with the others.

    batch: number of images that both files take at once; None for any number.
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
            self._batches = iter(_full(calibration, batch or CALIBRATION_BATCH))

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch.numpy()}

    # Weights and maps are both signed: on processors without int8 dot products, the products of unsigned and signed
    # numbers overflow in onnxruntime.
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
    _remove_notes(model)
    _remove_defaults(model)
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.save(model, path)


def open_onnx(path: Path) -> Callable[[Tensor], Tensor]:
    """Return the function that the file computes, on one thread: float32 images (N, C, H, W) to logits (N, classes).

    A file with a fixed batch is run once for each batch.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[0]

    def answer(images: Tensor) -> Tensor:
        batches = _full(images, batch) if isinstance(batch, int) else [images]
        logits = [torch.from_numpy(session.run([OUTPUT], {INPUT: part.numpy()})[0]) for part in batches]
        return torch.cat(logits)[: len(images)]

    return answer


def _full(images: Tensor, batch: int) -> list[Tensor]:
    """Return images in batches of equal size; the last batch is filled up with the last image."""
    missing = -len(images) % batch
    filled = torch.cat([images, images[-1:].expand(missing, *images.shape[1:])])
    return list(filled.split(batch))  # type: ignore[no-untyped-call]


def _remove_defaults(model: Any) -> None:
    """Remove attributes that have the default value of their operator; some readers know only those they support."""
    import onnx

    versions = {opset.domain: opset.version for opset in model.opset_import}
    for node in model.graph.node:
        schema = onnx.defs.get_schema(node.op_type, versions[node.domain], node.domain)
        for attribute in list(node.attribute):
            if attribute == schema.attributes[attribute.name].default_value:
                node.attribute.remove(attribute)


def _remove_notes(model: Any) -> None:
    """Remove the exporter's notes, which are file names and stack traces, twice as large as the network."""
    graph = model.graph
    graph.doc_string = ""
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
    for node in graph.node:
        node.ClearField("doc_string")
    del graph.value_info[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter and the quantiser, whose warnings do not apply to these networks."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _write(exporting: Exporting) -> Mapping[str, Any]:
    batch = exporting.options.onnx_batch
    write_onnx(
        exporting.net, exporting.source.arch.input_shape, exporting.folder / "model.onnx", _metadata(exporting), batch
    )
    return {"batch": batch}


def _write_quantised(exporting: Exporting) -> Mapping[str, Any]:
    path = exporting.folder / "model.onnx"
    metadata, batch = _metadata(exporting), exporting.options.onnx_batch
    if not path.exists():
        path = exporting.folder / "float.onnx"
        write_onnx(exporting.net, exporting.source.arch.input_shape, path, metadata, batch)
    images = exporting.normalised(exporting.calibration)
    write_int8(path, exporting.folder / "model-int8.onnx", images, metadata, batch)
    (exporting.folder / "float.onnx").unlink(missing_ok=True)
    return {"batch": batch, "quantised": f"after training, ranges of {len(images):,} training images"}


def _metadata(exporting: Exporting) -> dict[str, str]:
    """Return the metadata that a user needs who has only the file."""
    data = exporting.data
    return {
        "classes": json.dumps(data.classes),
        "data": data.name,
        "mean": json.dumps(data.mean),
        "std": json.dumps(data.std),
        "preprocessing": "images = (grey levels or colours, 0 to 255, / 255 - mean) / std, per channel, (n, C, H, W)",
        "result": f"{exporting.source.result}. {exporting.source.selection_note}",
    }


def _open(name: str) -> Callable[[Exporting], Answer]:
    return lambda exporting: exporting.answer_with(open_onnx(exporting.folder / name))


_USAGE = """\
`{{ form.files[0] }}` needs onnxruntime and NumPy alone{{ "; its batch size is " ~ form.batch if form.batch }}:

```python
import json, numpy, onnxruntime

session = onnxruntime.InferenceSession("{{ form.files[0] }}")
metadata = session.get_modelmeta().custom_metadata_map
mean, std = (numpy.float32(json.loads(metadata[name])).reshape(-1, 1, 1) for name in ("mean", "std"))
images = numpy.zeros(({{ form.batch or 1 }}, {{ arch.input_shape | join(", ") }}), dtype=numpy.uint8)
(logits,) = session.run(["logits"], {"images": (images / numpy.float32(255) - mean) / std})
print([json.loads(metadata["classes"])[i] for i in logits.argmax(1)])
```
"""
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
ONNX = Format(("model.onnx",), _write, _open("model.onnx"), usage=_USAGE, runtime="onnxruntime", packages=_PACKAGES)
ONNX_INT8 = Format(
    ("model-int8.onnx",),
    _write_quantised,
    _open("model-int8.onnx"),
    usage=_USAGE,
    runtime="onnxruntime",
    packages=_PACKAGES,
    is_quantised=True,
)
