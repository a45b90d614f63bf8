"""Random points of the space, and what every network of the space has to be."""

import random

import torch

from models.build import build_model
from models.cost import compute_cost
from models.spec import ArchSpec
from space import DIMENSIONS, WHOLE

NAMES = [dimension.name for dimension in DIMENSIONS]
POINTS = [WHOLE.sample(random.Random(seed)) for seed in range(1000)]

# Input shape and number of classes.
DATA = [((1, 28, 28), 10), ((3, 32, 32), 7), ((1, 8, 8), 10), ((1, 28, 20), 10)]


def check_network(spec: ArchSpec, label: str) -> None:
    """The network can be built and run, and has as many parameters as was worked out."""
    with torch.device("meta"):
        model = build_model(spec).eval()
    assert model(torch.empty(2, *spec.input_shape, device="meta")).shape == (2, spec.n_classes), label
    assert compute_cost(spec).n_params == sum(parameter.numel() for parameter in model.parameters()), label
