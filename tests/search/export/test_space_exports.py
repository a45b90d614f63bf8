"""Test that random points of the space have an int8 and a C form, and an ONNX file of int8."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from models.cost import compute_cost
from models.spec import ArchSpec
from search.export.formats.onnx import open_onnx, write_int8, write_onnx
from search.export.int8.arena import plan_arena
from search.export.int8.c_file import run_c
from search.export.int8.reference import run
from space import assemble, whole_space
from tests.search.export.int8.test_c_file import extreme_images, needs_compiler, texts
from tests.search.made_up_networks import float_logits, made_up_images, made_up_model, normalised, quantised

SHAPES = ((1, 28, 28), (3, 32, 32), (3, 96, 96))
N_POINTS, N_AT_ONCE = 30, 10

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
for_every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["28", "32", "96"])


def point(shape: tuple[int, int, int], seed: int) -> ArchSpec:
    return assemble(whole_space(shape).sample(random.Random(seed)), shape, 10).arch


@needs_compiler
@for_every_shape
@pytest.mark.parametrize("start", range(0, N_POINTS, N_AT_ONCE))
def test_c_computes_the_logits_of_the_reference(start: int, shape: tuple[int, int, int]) -> None:
    images = extreme_images(shape)[[0, 7, -1]]  # soft spots, noise and white
    for seed in range(start, start + N_AT_ONCE):
        spec = point(shape, seed)
        network = quantised.__wrapped__(spec, n_images=3)
        logits = run_c(*texts(network), images, network.n_classes, ("-std=c99", "-O1"))
        np.testing.assert_array_equal(logits, run(network, images), f"point {seed}")
        assert plan_arena(network).n_bytes == compute_cost(spec).peak_activation_bytes_int8, f"point {seed}"


@for_every_shape
@pytest.mark.parametrize("seed", range(4))
def test_onnx_of_int8_is_close_to_the_network(seed: int, shape: tuple[int, int, int], tmp_path: Path) -> None:
    spec = point(shape, seed)
    model, images = made_up_model(spec), made_up_images(shape, 16)
    write_onnx(model, shape, tmp_path / "float.onnx", {})
    write_int8(tmp_path / "float.onnx", tmp_path / "int8.onnx", normalised(images), {})
    expected = float_logits(model, images)
    logits = open_onnx(tmp_path / "int8.onnx")(normalised(images))
    assert (logits - expected).square().mean().sqrt() < 0.05 * expected.abs().max()
    assert torch.isfinite(logits).all()
