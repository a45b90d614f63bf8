"""Layers of the hand-designed networks, written as one constant a network.

The sources and the results are in models.baselines. A log_softmax at the end of a source network is left out, because
cross entropy has the same value with and without it. An average pool over the whole map is called global average
pooling.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from models.spec import ArchSpec, Block, Head, Stage


def _net(*stages: Stage, head: Head) -> ArchSpec:
    return ArchSpec(input_shape=(1, 28, 28), n_classes=10, stages=stages, head=head)


def _convs(*widths: int, **settings: Any) -> tuple[Block, ...]:
    """Return a 3x3 conv-bn-act block of each width, without padding and bias unless `settings` say otherwise."""
    return tuple(Block(width, **settings) for width in widths)


_same = partial(_convs, padding="same")
_1x1 = partial(_convs, kernel_size=1)
_bare = partial(_convs, kernel_size=1, batch_norm=False, activation=None)
_act_bn = partial(_convs, order="conv-act-bn")

S000_NET = _net(
    Stage(_convs(14, 14, 16, bias=True), pool=2),
    Stage(_convs(18, 20, bias=True), pool=2),
    Stage(_same(22, bias=True) + _convs(22, bias=True)),
    head=Head("gap_linear", bias=True),
)
S001_MODEL1 = _net(
    Stage(_act_bn(16, 32, dropout=0.1) + _bare(10), pool=2),
    Stage(_act_bn(16, 16, 16, dropout=0.1) + _act_bn(16, dropout=0.1, padding="same")),
    head=Head("gap_conv"),
)
S001_MODEL2 = _net(
    Stage(_same(16, 16, bias=True), pool=2),
    Stage(_bare(12, bias=True, dropout=0.05) + _same(20, 20, bias=True), pool=2),
    Stage(_bare(24, bias=True, dropout=0.05)),
    head=Head("gap_conv", bias=True),
)
S001_MODEL3 = _net(
    Stage(_convs(7, 7, 10), pool=2),
    Stage(_convs(10, 12), pool=2),
    Stage(_same(16, 18)),
    head=Head("gap_linear", bias=True),
)
S002_MODEL1 = _net(
    Stage(_convs(4, 4, 8), pool=2),
    Stage(_1x1(4) + _convs(8, 16)),
    head=Head("conv", hidden=_1x1(10)),
)
S002_MODEL2 = _net(
    Stage(_convs(8, 8) + _convs(16, dropout=0.25), pool=2),
    Stage(_1x1(8) + _convs(8) + _convs(16, dropout=0.25) + _convs(16)),
    head=Head("conv_gap"),
)
S002_MODEL3 = _net(
    Stage(_act_bn(8, dropout=0.05) + _act_bn(16) + _bare(8), pool=2),
    Stage(_act_bn(16, 16) + _act_bn(16, padding="same")),
    head=Head("gap_conv"),
)
S003_ITER1 = _net(
    Stage(_same(16, 16, 32, bias=True, batch_norm=False), pool=2),
    Stage(_1x1(16, bias=True, batch_norm=False) + _same(32, bias=True, batch_norm=False), pool=2),
    Stage(_1x1(16, bias=True, batch_norm=False) + _convs(16, bias=True, batch_norm=False)),
    head=Head("flatten_linear", bias=True),
)
S003_NORMALISED = _net(
    Stage(_same(16, 16, 32, bias=True), pool=2),
    # The source defines a batch norm for this 1x1 convolution and never calls it.
    Stage(_1x1(16, bias=True, batch_norm=False) + _same(32, bias=True), pool=2),
    Stage(_1x1(16, bias=True) + _convs(16, bias=True)),
    head=Head("flatten_linear", bias=True, dropout=0.1),
)
S004_NET1 = _net(
    Stage(_convs(10, 10, 20), pool=2),
    Stage(_1x1(10) + _convs(10, 20)),
    head=Head("conv", hidden=_1x1(10)),
)
S004_NET2 = _net(
    Stage(_convs(8, 16, dropout=0.05) + _1x1(8, dropout=0.05), pool=2),
    Stage(_convs(8, 16, 16, dropout=0.05) + _same(16, dropout=0.05)),
    head=Head("gap_conv"),
)
S004_NET3 = _net(
    Stage(_act_bn(8, 16, dropout=0.025), pool=2),
    Stage(_act_bn(8, kernel_size=1) + _act_bn(12, 16, 20, dropout=0.025)),
    head=Head("gap_conv", hidden=_act_bn(16, kernel_size=1, dropout=0.025)),
)
