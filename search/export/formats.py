"""The files that a network can be handed over as: how each is written and opened again, and what that needs.

A format is one entry of FORMATS. Every one is opened as its user would and held against the network it was made from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from search.data.dataset import Dataset
from search.errors import InputError
from search.export import c, onnx
from search.export.latency import Answer
from search.export.trained_model import ModelSource
from search.study.provenance import version_of

REQUIREMENTS = "requirements-export.txt"
# Of the training images, for the ranges of quantised maps.
N_CALIBRATION, CALIBRATION_SEED = 1000, 0


@dataclass(frozen=True, eq=False)
class Exporting:
    """Sources of the files of a folder: the network's origin, its data, and its model.py, imported."""

    source: ModelSource
    data: Dataset
    module: ModuleType
    folder: Path

    @cached_property
    def net(self) -> nn.Module:
        """The network with its weights, on the CPU, in evaluation mode."""
        net: nn.Module = self.module.load()
        return net

    def normalised(self, images: Tensor) -> Tensor:
        """Return the network's input for uint8 images (N, C, H, W)."""
        ready: Tensor = self.module.preprocess(images)
        return ready

    @cached_property
    def calibration(self) -> Tensor:
        """Images for calibration, always the same training images, uint8 (N, C, H, W)."""
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        images = self.data.train.images
        return images[torch.randperm(len(images), generator=generator)[:N_CALIBRATION]]

    def answer_with(self, net: Callable[[Tensor], Tensor]) -> Answer:
        """uint8 images to logits, through a network that takes normalised ones."""

        @torch.inference_mode()
        def answer(images: Tensor) -> Tensor:
            return net(self.normalised(images))

        return answer


@dataclass(frozen=True)
class Format:
    """One way to hand a network over.

    files     that it consists of
    packages  it cannot do without, beside those of requirements.txt
    runtime   package that runs the file; its version is part of what a latency depends on
    is_exact  whether its logits are those of the network, but for rounding
    write     writes the files and returns facts for the card beside those that all formats have
    open      opens them: uint8 images (N, C, H, W) to logits (N, classes)
    """

    files: tuple[str, ...]
    packages: tuple[str, ...]
    runtime: str
    is_exact: bool
    write: Callable[[Exporting], Mapping[str, Any]]
    open: Callable[[Exporting], Answer]

    @property
    def runtime_version(self) -> str:
        """Name and version."""
        version = version_of(self.runtime)
        return f"{self.runtime} {version}" if version else self.runtime


def _write_nothing(_: Exporting) -> Mapping[str, Any]:
    """model.py and weights.pt are what everything else is made from."""
    return {}


def _open_torch(exporting: Exporting) -> Answer:
    return exporting.answer_with(exporting.net)


def _write_safetensors(exporting: Exporting) -> Mapping[str, Any]:
    from safetensors.torch import save

    # It takes no two names for one tensor: weights that layers share are written out for each of them.
    state = {name: tensor.clone() for name, tensor in exporting.net.state_dict().items()}
    # Not its save_file, whose file only its owner may read.
    (exporting.folder / "weights.safetensors").write_bytes(save(state, {"format": "pt"}))
    return {}


def _open_safetensors(exporting: Exporting) -> Answer:
    return exporting.answer_with(exporting.module.load(exporting.folder / "weights.safetensors"))


def _write_pt2(exporting: Exporting) -> Mapping[str, Any]:
    example = torch.zeros(2, *exporting.source.arch.input_shape)
    program = torch.export.export(exporting.net, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
    torch.export.save(program, exporting.folder / "model.pt2")
    return {}


def _open_pt2(exporting: Exporting) -> Answer:
    program = torch.export.load(exporting.folder / "model.pt2")
    return exporting.answer_with(program.module())


def _write_onnx(exporting: Exporting) -> Mapping[str, Any]:
    shape = exporting.source.arch.input_shape
    onnx.write_onnx(exporting.net, shape, exporting.folder / "model.onnx", _onnx_metadata(exporting))
    return {}


def _write_onnx_int8(exporting: Exporting) -> Mapping[str, Any]:
    path = exporting.folder / "model.onnx"
    known = _onnx_metadata(exporting)
    if not path.exists():
        path = exporting.folder / "float.onnx"
        onnx.write_onnx(exporting.net, exporting.source.arch.input_shape, path, known)
    images = exporting.normalised(exporting.calibration)
    onnx.write_int8(path, exporting.folder / "model-int8.onnx", images, known)
    (exporting.folder / "float.onnx").unlink(missing_ok=True)
    return {"quantised": f"after training, ranges of {len(images):,} training images"}


def _onnx_metadata(exporting: Exporting) -> dict[str, str]:
    """Return the metadata that a reader of the file alone needs."""
    data = exporting.data
    return {
        "classes": json.dumps(data.classes),
        "data": data.name,
        "mean": json.dumps(data.mean),
        "std": json.dumps(data.std),
        "preprocessing": "images = (grey levels or colours, 0 to 255, / 255 - mean) / std, per channel, (n, C, H, W)",
        "result": f"{exporting.source.result}. {exporting.source.selection_note}",
    }


def _open_onnx(name: str) -> Callable[[Exporting], Answer]:
    return lambda exporting: exporting.answer_with(onnx.open_onnx(exporting.folder / name))


def _write_c(exporting: Exporting) -> Mapping[str, Any]:
    source, data = exporting.source, exporting.data
    network = c.int8_network(source.arch, source.state, exporting.calibration, data.mean, data.std)
    return c.write_c(network, data.classes, exporting.folder, data.test.images)


def _open_c(exporting: Exporting) -> Answer:
    return c.open_folder(exporting.folder, exporting.source.arch.n_classes)


TORCH = "torch"
_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS: Mapping[str, Format] = {
    TORCH: Format(("model.py", "weights.pt"), (), "torch", True, _write_nothing, _open_torch),
    "safetensors": Format(
        ("weights.safetensors",), ("safetensors",), "torch", True, _write_safetensors, _open_safetensors
    ),
    "pt2": Format(("model.pt2",), (), "torch", True, _write_pt2, _open_pt2),
    "onnx": Format(("model.onnx",), _ONNX, "onnxruntime", True, _write_onnx, _open_onnx("model.onnx")),
    "onnx-int8": Format(
        ("model-int8.onnx",), _ONNX, "onnxruntime", False, _write_onnx_int8, _open_onnx("model-int8.onnx")
    ),
    "c": Format(("model.c", "model.h"), (), "C with -O2", False, _write_c, _open_c),
}


def check_formats(names: Iterable[str]) -> None:
    """Raise InputError for a format whose packages are not installed; nothing is imported."""
    for name in names:
        missing = [package for package in FORMATS[name].packages if find_spec(package) is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise InputError(
                f"format {name} needs {' and '.join(missing)}, which {verb} not installed: "
                f"pip install -r {REQUIREMENTS}"
            )


def possible(names: Iterable[str]) -> list[str]:
    """Return the formats whose packages are installed."""
    return [name for name in FORMATS if name in names and all(map(find_spec, FORMATS[name].packages))]


def in_order(names: Sequence[str]) -> list[str]:
    """The formats to write, each once: torch first, which the others are made from and held against."""
    return [name for name in FORMATS if name == TORCH or name in names]
