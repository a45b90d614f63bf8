"""Specs of networks, which describe every layer as frozen, validated data and build nothing.

A network consists of stages and a head. A stage is blocks and an optional pool at its end; the head turns the last map
into logits. A 1x1 transition is a block with kernel_size 1, before or after a pool. The resolution changes at the pools
and at the blocks of stride 2. Shapes are (channels, height, width).
"""

from __future__ import annotations

from dataclasses import dataclass

from models.record import Record, RecordError, check_choice, check_range, check_types, short_repr

BLOCK_KINDS = ("conv", "separable", "residual", "inverted", "shuffle")
# Kinds whose convolutions are always padded.
PADDED_KINDS = ("residual",)
# Kinds whose kernel is that of a depthwise convolution, and which may add their input to their output.
DEPTHWISE_KINDS = ("separable", "inverted", "shuffle")
KERNEL_SIZES = (1, 3, 5, 7)
PADDINGS = ("valid", "same")
STRIDES = (1, 2)
POOL_KINDS = ("max", "avg")
LARGEST_EXPANSION = 16
ORDERS = ("conv-bn-act", "conv-act-bn")
ACTIVATIONS = ("relu", "leaky_relu", "silu", "hardswish", "gelu")
HEAD_KINDS = ("gap_linear", "gap_conv", "conv_gap", "conv", "flatten_linear", "gap")
# Largest number of channels, classes and pixels a side. No larger network could be built, and the costs of this one are
# still readable numbers.
LARGEST = 1_000_000


# See Block.weight_shapes.
WeightShapes = tuple[str | int, ...]


class SpecError(RecordError):
    """Error raised for a network that cannot exist; the message names the layer and the reason."""


@dataclass(frozen=True)
class Block(Record):
    """Block of layers, with dropout (if any) as its last step.

    kind          conv: one convolution; separable: depthwise then 1x1, nothing between (Chollet, arXiv 1610.02357);
                  residual: two convolutions plus a shortcut, 1x1 where the shape changes (He, arXiv 1512.03385);
                  inverted: 1x1 to `expansion` times the width, depthwise, 1x1 without activation (Sandler, arXiv
                  1801.04381); shuffle: as separable, with a 1x1 convolution in `groups` whose output channels are
                  shuffled (Zhang, arXiv 1707.01083)
    kernel_size   side of the kernel: 1, 3, 5 or 7
    padding       valid: none, the map shrinks by kernel_size - 1; same: kernel_size // 2 zeros on every side
    bias          whether convolutions have a bias
    batch_norm    whether batch normalisation is used
    norm_scale    whether batch normalisation multiplies each channel by a weight; it always adds a bias
    activation    one of ACTIVATIONS, or None for a bare (linear) block
    order         whether batch norm comes before or after the activation
    dropout       probability of zeroing one value at the end of the block
    shared        whether its convolutions use the weights of the nearest earlier block that has equal `weight_shapes`
                  and is not shared itself. Batch norms are never shared
    stride        1 or 2, that of the depthwise convolution of a block that has one, else of the first convolution
    skip          whether the block adds its input to its output; for DEPTHWISE_KINDS, and only where the block does not
                  change the shape
    expansion     width of the depthwise convolution of an inverted block, as a multiple of its input width; with 1 the
                  block has no first 1x1 convolution
    groups        groups of the 1x1 convolution of a shuffle block, at least 2; divides the input and the output width
    squeeze       0, or the ratio by which squeeze-and-excitation reduces the width between its two layers (Hu, arXiv
                  1709.01507). It follows the depthwise convolution of an inverted block (Howard, arXiv 1905.02244), and
                  the last activation or batch norm before the sum of every other block
    """

    out_channels: int
    kernel_size: int = 3
    kind: str = "conv"
    padding: str = "valid"
    bias: bool = False
    batch_norm: bool = True
    activation: str | None = "relu"
    order: str = "conv-bn-act"
    dropout: float = 0.0
    shared: bool = False
    norm_scale: bool = True
    stride: int = 1
    skip: bool = False
    expansion: int = 1
    groups: int = 1
    squeeze: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        # One combined test keeps the common case cheap, because a search creates thousands of blocks a second.
        if (
            1 <= self.out_channels <= LARGEST
            and self.kernel_size in KERNEL_SIZES
            and self.kind in BLOCK_KINDS
            and self.padding in PADDINGS
            and (self.activation is None or self.activation in ACTIVATIONS)
            and self.order in ORDERS
            and 0.0 <= self.dropout < 1.0
            and (self.kind not in PADDED_KINDS or self.padding == "same")
            and self.kind != "shuffle"
            and self.stride == self.expansion == self.groups == 1
            and not self.skip
            and not self.squeeze
        ):
            return
        check_range("out_channels", self.out_channels, 1, LARGEST)
        check_choice("kernel_size", self.kernel_size, KERNEL_SIZES)
        check_choice("block kind", self.kind, BLOCK_KINDS)
        check_choice("padding", self.padding, PADDINGS)
        check_choice("activation", self.activation, (*ACTIVATIONS, None))
        check_choice("order", self.order, ORDERS)
        if not 0.0 <= self.dropout < 1.0:
            raise SpecError(f"dropout must be at least 0 and below 1, got {self.dropout!r}")
        if self.kind in PADDED_KINDS and self.padding != "same":
            raise SpecError("a residual block adds its input to its output, so its padding must be 'same', got 'valid'")
        check_choice("stride", self.stride, STRIDES)
        check_range("expansion", self.expansion, 1, LARGEST_EXPANSION)
        check_range("squeeze", self.squeeze, 0, LARGEST)
        if self.expansion > 1 and self.kind != "inverted":
            raise SpecError(f"expansion belongs to inverted blocks, not to {self.kind}; got {self.expansion}")
        if self.kind != "shuffle" and self.groups != 1:
            raise SpecError(f"groups belong to shuffle blocks, not to {self.kind}; got {self.groups}")
        if self.kind == "shuffle" and (self.groups < 2 or self.out_channels % self.groups):
            widths = f"divide its {self.out_channels} output channels"
            raise SpecError(f"groups of a shuffle block must be at least 2 and {widths}, got {self.groups}")
        if self.skip and (self.kind not in DEPTHWISE_KINDS or self.stride > 1 or self.shrink):
            problem = (
                f"a {self.kind} block has no such choice"
                if self.kind not in DEPTHWISE_KINDS
                else f"the block changes the map, stride {self.stride}, padding {self.padding!r}"
            )
            raise SpecError(f"skip adds the input of a block to its output, but {problem}")

    @property
    def shrink(self) -> int:
        """Return the number of rows and columns that the block cuts off the map, before its stride."""
        return 0 if self.padding == "same" else self.kernel_size - 1

    def side_after(self, side: int) -> int:
        """Return the rows (or columns) of the output map of an input map with `side` rows (or columns)."""
        return (side - self.shrink - 1) // self.stride + 1

    def has_projection(self, in_channels: int) -> bool:
        """Return whether the shortcut of a residual block is a 1x1 convolution, because the block changes the shape."""
        return self.kind == "residual" and (in_channels != self.out_channels or self.stride > 1)

    def squeezed(self, channels: int) -> int:
        """Return the width between the two layers of squeeze-and-excitation of a map of that many channels."""
        return max(1, channels // self.squeeze)

    def weight_shapes(self, in_channels: int) -> WeightShapes:
        """Return the properties that blocks must have in common to share weights: kind, shapes of weights and bias."""
        shapes: WeightShapes = (self.kind, in_channels, self.out_channels, self.kernel_size, self.bias)
        more = (self.expansion, self.groups, self.squeeze, self.has_projection(in_channels))
        return shapes + more


@dataclass(frozen=True)
class Stage(Record):
    """Blocks, followed by a pool of side and stride `pool` (0: no pool) that takes the maximum or the average ("avg").

    Rows and columns that do not fill a window of the pool are dropped.
    """

    blocks: tuple[Block, ...]
    pool: int = 0
    pool_kind: str = "max"

    def __post_init__(self) -> None:
        check_types(self)
        if self.pool != 0 and not 2 <= self.pool <= LARGEST:
            raise SpecError(f"pool must be 0 (none) or from 2 to {LARGEST:,}, got {short_repr(self.pool)}")
        check_choice("pool_kind", self.pool_kind, POOL_KINDS)
        if not self.pool and self.pool_kind != "max":
            raise SpecError(f"a stage without a pool has no pool_kind, got {self.pool_kind!r}")
        if not self.blocks and not self.pool:
            raise SpecError("a stage needs at least one block or a pool")


@dataclass(frozen=True)
class Head(Record):
    """Part of a network that leads from the last map to the logits.

    gap_linear      global average pooling, then a linear layer
    gap_conv        global average pooling, the `hidden` 1x1 blocks, then a 1x1 convolution
    conv_gap        a 1x1 convolution, then global average pooling
    conv            the `hidden` 1x1 blocks, then a convolution over the whole map; kernel_size may state its side
    flatten_linear  flatten, then a linear layer
    gap             global average pooling; the logits are the first channels, one a class, times one factor for all

    `bias` is the bias of the classifying layer; `dropout` comes right before that layer.
    """

    kind: str
    hidden: tuple[Block, ...] = ()
    bias: bool = False
    dropout: float = 0.0
    kernel_size: int | None = None

    def __post_init__(self) -> None:
        check_types(self)
        check_choice("head kind", self.kind, HEAD_KINDS)
        if not 0.0 <= self.dropout < 1.0:
            raise SpecError(f"dropout must be at least 0 and below 1, got {self.dropout!r}")
        if self.hidden and self.kind not in ("gap_conv", "conv"):
            raise SpecError(f"a {self.kind} head has no hidden blocks, got {len(self.hidden)}")
        if self.kind == "gap" and self.bias:
            raise SpecError("a gap head has no layer that could have a bias")
        if any(block.shared for block in self.hidden):
            raise SpecError("the hidden blocks of a head share no weights")
        if any(block.kernel_size != 1 for block in self.hidden):
            raise SpecError("the hidden blocks of a head must have kernel_size 1")
        if any(block.stride != 1 for block in self.hidden):
            raise SpecError("the hidden blocks of a head must have stride 1")
        if self.kernel_size is not None:
            check_range("a head's kernel_size", self.kernel_size, 1, LARGEST)
            if self.kind != "conv":
                raise SpecError(f"kernel_size belongs to the conv head, not to {self.kind}")


@dataclass(frozen=True)
class ArchSpec(Record):
    """Network described by its input, its stages and its head.

    Equal specs build equal networks; `key()` is the hash that identifies them in trials and files. Raises SpecError
    if a map would shrink to nothing or the head does not fit its map.
    """

    input_shape: tuple[int, int, int]
    n_classes: int
    stages: tuple[Stage, ...]
    head: Head

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            shape = short_repr(self.input_shape)
            raise SpecError(f"input_shape must be (channels, height, width), all at least 1, got {shape}")
        check_range("input_shape's largest number", max(self.input_shape), 1, LARGEST)
        check_range("n_classes", self.n_classes, 1, LARGEST)
        channels, height, width = self.input_shape
        earlier_weights: set[WeightShapes] = set()
        for i, stage in enumerate(self.stages, start=1):
            for j, block in enumerate(stage.blocks, start=1):
                if block.shrink >= min(height, width):
                    raise SpecError(
                        f"stage {i} block {j}: a {block.kernel_size}x{block.kernel_size} convolution without padding "
                        f"does not fit a map of {height}x{width}"
                    )
                _check_channels(block, channels, f"stage {i} block {j}")
                height, width = block.side_after(height), block.side_after(width)
                weights = block.weight_shapes(channels)
                if block.shared and weights not in earlier_weights:
                    raise SpecError(
                        f"stage {i} block {j} is shared, but no block before it is a {block.kind} of {channels} to "
                        f"{block.out_channels} channels with kernel_size {block.kernel_size}"
                    )
                earlier_weights.add(weights)
                channels = block.out_channels
            if stage.pool:
                if stage.pool > min(height, width):
                    raise SpecError(
                        f"stage {i}: a {stage.pool}x{stage.pool} pool does not fit a map of {height}x{width}"
                    )
                height, width = height // stage.pool, width // stage.pool
        hidden_channels = channels
        for j, block in enumerate(self.head.hidden, start=1):
            _check_channels(block, hidden_channels, f"hidden block {j} of the head")
            hidden_channels = block.out_channels
        if self.head.kind == "gap" and channels < self.n_classes:
            raise SpecError(f"a gap head needs a channel for each of {self.n_classes} classes, got {channels}")
        side = self.head.kernel_size
        if side is not None and (side, side) != (height, width):
            problem = "is larger than" if side > min(height, width) else "does not cover"
            raise SpecError(f"the {side}x{side} head {problem} its map of {height}x{width}")

    @property
    def shares_weights(self) -> bool:
        """Return whether any layers share weights."""
        return any(block.shared for stage in self.stages for block in stage.blocks)


def _check_channels(block: Block, in_channels: int, name: str) -> None:
    """Raise SpecError if a block cannot read a map of that many channels."""
    if in_channels % block.groups:
        raise SpecError(f"{name}: {block.groups} groups do not divide its {in_channels} input channels")
    if block.skip and in_channels != block.out_channels:
        raise SpecError(
            f"{name}: skip adds the input of a block to its output, but it has {in_channels} input and "
            f"{block.out_channels} output channels"
        )
