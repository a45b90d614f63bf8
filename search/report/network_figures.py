"""Draw the architecture, the parameters by layer and the confusion matrix of a network, each on one pair of axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from models.blocks import BLOCKS
from models.cost import compute_cost
from models.spec import ArchSpec, Block
from search.engine.confusion import Confusion
from search.report.plot import BLUE, GREY, ORANGE

# Longer class names would overlap if they were not rotated.
LONG_NAME = 3


@dataclass(frozen=True)
class Part:
    """Part of a network that is drawn as one box: a block, a pool or a layer of the head.

    side   rows of the output map
    width  columns of the output map
    rf     receptive field in pixels
    """

    name: str
    kind: str
    channels: int
    side: int
    width: int
    rf: int
    n_params: int

    @property
    def shape(self) -> str:
        """Return channels and sides of the output map, such as "16 × 26²" or "16 × 26×30"."""
        if self.side == self.width:
            return f"{self.channels}" if self.side == 1 else f"{self.channels} × {self.side}²"
        return f"{self.channels} × {self.side}×{self.width}"


def parts(arch: ArchSpec) -> list[Part]:
    """Return the parts of the network in order, with the layers of a block combined."""
    blocks = {
        f"stage{i}.block{j}": block for i, stage in enumerate(arch.stages, 1) for j, block in enumerate(stage.blocks, 1)
    }
    blocks |= {f"head.hidden{i}": block for i, block in enumerate(arch.head.hidden, 1)}
    network_parts = []
    for name, group in groupby(compute_cost(arch).layers, key=lambda row: ".".join(row.name.split(".")[:2])):
        rows = list(group)
        last = rows[-1]
        n_params = sum(row.n_params for row in rows)
        kind = _block_label(blocks[name]) if name in blocks else _short(last.kind)
        network_parts.append(Part(name, kind, last.channels, last.height, last.width, last.receptive_field, n_params))
    return network_parts


def _block_label(block: Block) -> str:
    reduction = ", stride 2" * (block.stride == 2)
    return BLOCKS[block.kind].label(block) + reduction + ", shared" * block.shared


def _short(kind: str) -> str:
    return kind.replace("max pool", "pool").replace("global average pool", "average").replace("average pool", "avgpool")


def draw_architecture(axes: Axes, arch: ArchSpec) -> None:
    """Draw the network from left to right, with boxes as high as their maps and the growing receptive field."""
    image = Part("image", "image", *arch.input_shape, 1, 0)
    drawn_parts = [image, *parts(arch)]
    half = max(max(part.rf, part.side) for part in drawn_parts) / 2
    fields = [part.rf / 2 for part in drawn_parts]
    columns = range(len(drawn_parts))
    axes.fill_between(columns, [-field for field in fields], fields, color=ORANGE, alpha=0.12, linewidth=0)
    for sign in (-1, 1):
        axes.plot(columns, [sign * field for field in fields], color=ORANGE, linewidth=1)
    for column, part in enumerate(drawn_parts):
        width = 0.14 + 0.5 * min(1.0, part.channels / 48)
        color = GREY if part.n_params == 0 else BLUE
        axes.add_patch(Rectangle((column - width / 2, -part.side / 2), width, part.side, color=color))
        # One word per line, as there is little space between the parts.
        lines = [
            part.kind.replace(",", "").replace(" ", "\n"),
            part.shape,
            f"{part.n_params:,}" if part.n_params else "",
        ]
        axes.text(column, -half - 3, "\n".join(lines), ha="center", va="top", fontsize=8)
        axes.text(column, half + 2, f"{part.rf}", ha="center", va="bottom", fontsize=8, color=ORANGE)
    axes.text(-0.6, half + 2, "RF", ha="right", va="bottom", fontsize=8, color=ORANGE)
    axes.set_xlim(-0.9, len(drawn_parts) - 0.4)
    axes.set_ylim(-half - 26, half + 8)
    axes.axis("off")


def draw_parameters(axes: Axes, arch: ArchSpec) -> None:
    """Draw one bar for each part that has parameters, with their number."""
    drawn_parts = [part for part in parts(arch) if part.n_params]
    bars = axes.barh(
        [f"{part.name}: {part.kind}" for part in drawn_parts], [part.n_params for part in drawn_parts], color=BLUE
    )
    axes.bar_label(bars, labels=[f"{part.n_params:,}" for part in drawn_parts], padding=3, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("parameters")


def has_long_names(classes: Sequence[str]) -> bool:
    """Return whether the class names are too long to be drawn side by side."""
    return max(map(len, classes)) > LONG_NAME


def draw_confusion(axes: Axes, mistakes: Confusion, classes: Sequence[str]) -> None:
    """Draw the confusion matrix, with the accuracy of each class on the right."""
    highest = max([count for i, row in enumerate(mistakes.confusion) for j, count in enumerate(row) if i != j] or [1])
    for label, row in enumerate(mistakes.confusion):
        for answer, count in enumerate(row):
            if label == answer:
                axes.add_patch(Rectangle((answer - 0.5, label - 0.5), 1, 1, color=GREY, alpha=0.25, linewidth=0))
            elif count:
                shade = 0.15 + 0.75 * count / max(highest, 1)
                square = Rectangle((answer - 0.5, label - 0.5), 1, 1, color=ORANGE, alpha=shade, linewidth=0)
                axes.add_patch(square)
                axes.text(answer, label, str(count), ha="center", va="center", fontsize=9)
        axes.annotate(
            f"{100 * mistakes.class_accuracies[label]:.1f} %",
            (len(classes) - 0.5, label),
            xytext=(8, 0),  # a fixed distance, whatever the width of a class
            textcoords="offset points",
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    axes.set_xlim(-0.5, len(classes) - 0.5)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xticks(range(len(classes)), classes, rotation=90 if has_long_names(classes) else 0)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_aspect("equal")
    axes.set_xlabel("taken for")
    axes.set_ylabel("shows")
    axes.tick_params(length=0)
