"""What a format is: its files, how they are written and opened again, and how their user runs them."""

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
from search.export.latency import Answer
from search.export.trained_model import ModelSource
from search.study.provenance import version_of

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
        """Return the network with its weights, on the CPU, in evaluation mode."""
        net: nn.Module = self.module.load()
        return net

    def normalised(self, images: Tensor) -> Tensor:
        """Return the network's input for uint8 images (N, C, H, W)."""
        inputs: Tensor = self.module.preprocess(images)
        return inputs

    @cached_property
    def calibration(self) -> Tensor:
        """Return images for calibration, always the same training images, uint8 (N, C, H, W)."""
        generator = torch.Generator().manual_seed(CALIBRATION_SEED)
        images = self.data.train.images
        return images[torch.randperm(len(images), generator=generator)[:N_CALIBRATION]]

    def answer_with(self, net: Callable[[Tensor], Tensor]) -> Answer:
        """Return the function from uint8 images to logits that `net` makes, which takes normalised images."""

        @torch.inference_mode()
        def answer(images: Tensor) -> Tensor:
            return net(self.normalised(images))

        return answer


@dataclass(frozen=True)
class Format:
    """A format that a network can be exported in.

    files         names of its files
    write         writes them and returns what the card says of them beside what it says of every format
    open          opens them again: uint8 images (N, C, H, W) to logits (N, classes)
    usage         how its user runs them: Markdown for the folder's README.md, a Jinja template that is given the card
                  (`card`), the card's entry of this format (`form`) and the network (`arch`)
    runtime       package that runs the files; a latency depends on its version
    packages      packages that it needs beside those of requirements.txt
    is_quantised  whether its logits differ from the network's by more than rounding, because its weights and maps are
                  whole numbers
    """

    files: tuple[str, ...]
    write: Callable[[Exporting], Mapping[str, Any]]
    open: Callable[[Exporting], Answer]
    usage: str
    runtime: str = "torch"
    packages: tuple[str, ...] = ()
    is_quantised: bool = False

    @property
    def runtime_version(self) -> str:
        """Return name and version of the runtime."""
        version = version_of(self.runtime)
        return f"{self.runtime} {version}" if version else self.runtime
