"""Scoring and the statistics of batch norm on the kernels."""

import random
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from models.build import build_model
from search.data.dataset import Split
from search.engine import batch_norm
from search.engine.inputs import inputs_of
from search.engine.native import kernels
from search.engine.native.scoring import NativeStatistics
from tests.models.random_specs import random_spec
from tests.search.made_up_trainings import made_up_data

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(kernels.load() is None, reason=f"no kernels here: {kernels.problem()}"),
]


@pytest.mark.parametrize("seed", range(20))
def test_the_statistics_of_random_networks_are_those_of_pytorch(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_norm, "MOST_IMAGES", 50)
    monkeypatch.setattr(batch_norm, "BATCH", 20)  # batches of 17, 17 and 16, of every third of 150 images
    spec = random_spec(random.Random(seed))
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (150, *spec.input_shape), generator=generator, dtype=torch.uint8)
    channels = spec.input_shape[0]
    split = Split(images, torch.arange(150) % spec.n_classes)
    data = replace(made_up_data(), train=split, mean=(0.5,) * channels, std=(0.3,) * channels)
    torch.manual_seed(seed)
    model = build_model(spec).eval()
    expected = deepcopy(model).double()
    NativeStatistics(model, data).measure()
    batch_norm.estimate_statistics(expected, images, lambda images: inputs_of(images, data).double())
    for (name, own), reference in zip(model.named_buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(own.double(), reference.double(), rtol=1e-3, atol=1e-5, msg=name)
