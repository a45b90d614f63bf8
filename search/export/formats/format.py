"""Format of an exported network, with its files, the functions that write and open them, and its usage text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from search.data.dataset import Dataset
from search.export.int8.c_source import PREFIX
from search.export.latency import Answer
from search.export.trained_model import ModelSource
from search.study.provenance import version_of

# Number and seed of the training images that set the ranges of quantised maps.
N_CALIBRATION, CALIBRATION_SEED = 1000, 0


@dataclass(frozen=True)
class FormatOptions:
    """Options of single formats, which the others ignore.

    onnx_batch  number of images that an ONNX file takes at once; None for any number
    prefix      beginning of the names of C files, functions and, in capitals, macros
    """

    onnx_batch: int | None = None
    prefix: str = PREFIX

    def variant(self, name: str) -> str:
        """Return the name of a format, followed by the options that change how fast its files run."""
        is_fixed = self.onnx_batch is not None and name.startswith("onnx")
        return f"{name}, batch {self.onnx_batch}" if is_fixed else name


DEFAULT_OPTIONS = FormatOptions()


@dataclass(frozen=True, eq=False)
class Exporting:
    """Export in progress: the source of the network, its data, its imported model.py, the folder and the options."""

    source: ModelSource
    data: Dataset
    module: ModuleType
    folder: Path
    options: FormatOptions = DEFAULT_OPTIONS

    @cached_property
    def net(self) -> nn.Module:
        """Return the network with its weights, on the CPU, in evaluation mode."""
        net: nn.Module = self.module.load()
        return net

    def normalised(self, images: Tensor) -> Tensor:
        """Return the network's input for uint8 images (N, C, H, W)."""
        inputs: Tensor = self.module.preprocess(images)
        return inputs

    @cached_property
    def calibration(self) -> Tensor:
        """Return the calibration images, uint8 (N, C, H, W): a fixed sample of the training images."""
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        images = self.data.train.images
        return images[torch.randperm(len(images), generator=generator)[:N_CALIBRATION]]

    def answer_with(self, net: Callable[[Tensor], Tensor]) -> Answer:
        """Return a function from uint8 images to logits, based on `net`, which takes normalised images."""

        @torch.inference_mode()
        def answer(images: Tensor) -> Tensor:
            return net(self.normalised(images))

        return answer


@dataclass(frozen=True)
class Format:
    """Format that a network can be exported in.

    files         names of its files; "{prefix}" stands for that of FormatOptions
    write         function that writes the files and returns their facts for the card, besides those of every format
    open          function that opens the files and returns a function from uint8 images (N, C, H, W) to logits
                  (N, classes)
    usage         usage text: Markdown for the folder's README.md, as a Jinja template with the card (`card`), its entry
                  of this format (`form`) and the network (`arch`)
    runtime       package that runs the files; latencies depend on its version
    packages      packages that it needs besides those of requirements.txt
    is_quantised  True if weights and maps are whole numbers, so that logits differ by more than rounding
    """

    files: tuple[str, ...]
    write: Callable[[Exporting], Mapping[str, Any]]
    open: Callable[[Exporting], Answer]
    usage: str
    runtime: str = "torch"
    packages: tuple[str, ...] = ()
    is_quantised: bool = False

    def file_names(self, options: FormatOptions) -> tuple[str, ...]:
        """Return the names of the files that it writes with these options."""
        return tuple(name.format(prefix=options.prefix) for name in self.files)

    @property
    def runtime_version(self) -> str:
        """Return the name and the version of the runtime."""
        version = version_of(self.runtime)
        return f"{self.runtime} {version}" if version else self.runtime
