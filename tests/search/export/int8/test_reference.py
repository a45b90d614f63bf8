"""Test the arithmetic of each step against results by hand and by torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from search.export.int8.network import (
    Add,
    Affine,
    AveragePool,
    Classify,
    Convolution,
    Int8Array,
    Int32Array,
    MaxPool,
    Mean,
    ReadImage,
    Scale,
    Step,
    Table,
)
from search.export.int8.reference import classify, run, run_step
from tests.search.made_up_networks import SPECS, made_up_images, quantised

pytestmark = pytest.mark.usefixtures("one_thread")

NONE = np.empty(0, np.uint8)


def int32(*values: int) -> Int32Array:
    return np.array(values, np.int32)


def levels(*values: int) -> Int8Array:
    """Return one image of one row and one channel."""
    return np.array(values, np.int8).reshape(1, 1, 1, -1)


def result(step: Step, maps: dict[int, Int8Array]) -> list[int]:
    run_step(step, maps, NONE)
    values: list[int] = maps[step.target].ravel().tolist()
    return values


def random_levels(*shape: int) -> Int8Array:
    return np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)


def test_grey_levels() -> None:
    images = np.array([[[[0, 100, 255]], [[0, 100, 255]]]], np.uint8)
    maps: dict[int, Int8Array] = {}
    run_step(ReadImage(0, int32(4, 2), int32(-510, 1), 2), maps, images)
    assert maps[0].ravel().tolist() == [-128, -28, 127, 0, 50, 127]


def test_batch_norm_after_an_activation() -> None:
    # The half in the offset turns rounding down into rounding to nearest.
    assert result(Affine(0, int32(-3), int32(2), 2), {0: levels(-128, -1, 0, 1, 2, 127)}) == [96, 1, 0, -1, -1, -95]


def test_table() -> None:
    values = np.arange(127, -129, -1).astype(np.int8)
    assert result(Table(0, values), {0: levels(-128, 0, 127)}) == [127, -1, -128]


def test_max_pool_ignores_rows_and_columns_that_fill_no_window() -> None:
    source = np.arange(-10, 10, dtype=np.int8).reshape(1, 1, 4, 5)
    assert result(MaxPool(0, 1, 2), {0: source}) == [-4, -2, 6, 8]
    source = random_levels(2, 3, 11, 8)
    expected = functional.max_pool2d(torch.from_numpy(source).float(), 3).numpy()
    run_step(MaxPool(0, 1, 3), maps := {0: source}, NONE)
    np.testing.assert_array_equal(maps[1], expected)


def test_average_pool() -> None:
    source = np.arange(-10, 10, dtype=np.int8).reshape(1, 1, 4, 5)
    sums = [-28, -20, 12, 20]
    assert result(AveragePool(0, 1, 2, 3, 4 + (9 << 3), 3), {0: source}) == [(n * 3 + 4 >> 3) + 9 for n in sums]
    assert result(AveragePool(0, 1, 2, 1 << 30, 0, 30), {0: np.full((1, 1, 2, 2), -100, np.int8)}) == [-128]


def test_mean() -> None:
    assert result(Mean(0, 1, 3, 4, 3), {0: levels(1, 2, -10)}) == [(-7 * 3 + 4) >> 3]
    assert result(Mean(0, 1, 3, 5 << 40, 3), {0: levels(1)}) == [127]


def test_sum_of_a_block_overwrites_the_shortcut() -> None:
    maps = {0: levels(1, -128, 127), 1: levels(1, -128, 127)}
    assert result(Add(1, 0, 2, 3, 1, 1), maps) == [3, -128, 127]
    assert maps[1].ravel().tolist() == [1, -128, 127]


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("side", "padding"), [(1, 0), (3, 0), (3, 1), (5, 2)])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolution(stride: int, side: int, padding: int, depthwise: bool) -> None:
    source = random_levels(3, 4, 7, 6)
    groups = 4 if depthwise else 1
    weight = random_levels(4, 4 // groups, side, side)
    bias = int32(5, -700, 0, 12345)
    multiplier = int32(1 << 20, 1 << 19, 3 << 17, 1 << 18)
    step = Convolution(0, 1, weight, bias, multiplier, 30, -7, 11, padding, stride, groups)
    inputs = torch.from_numpy(source).double() + 7
    filters = torch.from_numpy(weight).double(), torch.from_numpy(bias).double()
    exact = functional.conv2d(inputs, *filters, stride=stride, padding=padding, groups=groups).numpy()
    scaled = np.floor(exact * multiplier.reshape(-1, 1, 1) / 2.0**30 + 0.5) + 11
    run_step(step, maps := {0: source}, NONE)
    assert maps[1].dtype == np.int8
    np.testing.assert_array_equal(maps[1], scaled.clip(-128, 127))


def test_the_filters_of_groups_are_in_shuffled_order() -> None:
    source, weight, groups = random_levels(2, 6, 3, 5), random_levels(9, 2, 1, 1), 3
    step = Convolution(0, 1, weight, np.zeros(9, np.int32), np.full(9, 1 << 22, np.int32), 30, 0, 0, 0, 1, groups)
    run_step(step, maps := {0: source}, NONE)
    in_order = torch.from_numpy(weight).double().reshape(3, groups, 2, 1, 1).transpose(0, 1).reshape(9, 2, 1, 1)
    sums = functional.conv2d(torch.from_numpy(source).double(), in_order, groups=groups)
    expected = np.floor(functional.channel_shuffle(sums, groups).numpy() / 2.0**8 + 0.5)
    np.testing.assert_array_equal(maps[1], expected)


def test_factors_of_channels() -> None:
    maps = {0: np.array([-128, 127], np.int8).reshape(1, 2, 1, 1), 1: np.array([[[[-10, 90]], [[-10, 90]]]], np.int8)}
    # (q - 10) * 0 and (q - 10) * 255 as halves of 255, plus 3.
    assert result(Scale(0, 1, 10, 257, (3 << 17) + (1 << 16), 17), maps) == [3, 3, -7, 43]


@pytest.mark.parametrize("pooled", [False, True])
def test_logits(pooled: bool) -> None:
    source = random_levels(5, 3, 2, 4)
    weight = random_levels(6, 3, *((1, 1) if pooled else (2, 4)))
    bias, multiplier = np.arange(6, dtype=np.int32) * 1000, np.full(6, 3, np.int32)
    inputs = source.astype(np.int64) - 9
    inputs = inputs.sum((2, 3)) if pooled else inputs.reshape(5, -1)
    expected = ((inputs @ weight.reshape(6, -1).T.astype(np.int64) + bias) * 3 + 2) >> 2
    logits = classify(Classify(0, weight, bias, multiplier, 2, 9, pooled), source)
    assert logits.dtype == np.int32
    np.testing.assert_array_equal(logits, expected)


def test_logits_of_an_image_do_not_depend_on_the_batch() -> None:
    name, spec = next(iter(SPECS.items()))
    network, images = quantised(spec), made_up_images(spec.input_shape, 101).numpy()
    together = run(network, images)
    assert together.shape == (101, spec.n_classes), name
    np.testing.assert_array_equal(
        together[[0, 50, 100]], np.concatenate([run(network, images[i : i + 1]) for i in (0, 50, 100)])
    )
    assert run(network, images[:0]).shape == (0, spec.n_classes)


@pytest.mark.parametrize("change", [lambda images: images.astype(np.float32), lambda images: images[:, :, 1:]])
def test_images_of_another_kind_are_refused(change: object) -> None:
    spec = next(iter(SPECS.values()))
    images = made_up_images(spec.input_shape, 2).numpy()
    with pytest.raises(ValueError, match="images must be uint8"):
        run(quantised(spec), change(images))  # type: ignore[operator]
