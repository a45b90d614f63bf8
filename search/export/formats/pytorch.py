"""Export a network for PyTorch: model.py with weights.pt or .safetensors, and a program of torch.export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from search.export.formats.format import Exporting, Format
from search.export.latency import Answer


def _write_nothing(_: Exporting) -> Mapping[str, Any]:
    """Write nothing: every other format is made from model.py and weights.pt, so they are there already."""
    return {}


def _open_torch(exporting: Exporting) -> Answer:
    return exporting.answer_with(exporting.net)


# The template of README.md begins with how model.py is used.
TORCH = Format(("model.py", "weights.pt"), _write_nothing, _open_torch, usage="")


def _write_safetensors(exporting: Exporting) -> Mapping[str, Any]:
    from safetensors.torch import save

    # It takes no two names for one tensor: weights that layers share are written out for each of them.
    state = {name: tensor.clone() for name, tensor in exporting.net.state_dict().items()}
    # Not its save_file, whose file only its owner may read.
    (exporting.folder / "weights.safetensors").write_bytes(save(state, {"format": "pt"}))
    return {}


def _open_safetensors(exporting: Exporting) -> Answer:
    return exporting.answer_with(exporting.module.load(exporting.folder / "weights.safetensors"))


SAFETENSORS = Format(
    ("weights.safetensors",),
    _write_safetensors,
    _open_safetensors,
    packages=("safetensors",),
    usage="""\
`weights.safetensors` holds the same weights: `model.load("weights.safetensors")`, with the package safetensors.
""",
)


def _write_program(exporting: Exporting) -> Mapping[str, Any]:
    example = torch.zeros(2, *exporting.source.arch.input_shape)
    program = torch.export.export(exporting.net, (example,), dynamic_shapes=({0: torch.export.Dim("n", min=1)},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names files of this machine
    torch.export.save(program, exporting.folder / "model.pt2")
    return {}


def _open_program(exporting: Exporting) -> Answer:
    program = torch.export.load(exporting.folder / "model.pt2")
    return exporting.answer_with(program.module())


PT2 = Format(
    ("model.pt2",),
    _write_program,
    _open_program,
    usage="""\
`model.pt2` needs torch and not model.py:

```python
import torch

MEAN, STD = torch.tensor({{card.data.mean}}).view(-1, 1, 1), torch.tensor({{card.data.std}}).view(-1, 1, 1)
images = torch.zeros(1, {{ arch.input_shape | join(", ") }}, dtype=torch.uint8)
net = torch.export.load("model.pt2").module()
print(net((images / 255 - MEAN) / STD).argmax(1))
```
""",
)
