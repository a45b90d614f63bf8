"""Export a network for PyTorch, as model.py with weights.pt or .safetensors, or as a program of torch.export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from models.build import shared_names
from search.export.formats.format import Exporting, Format
from search.export.latency import Answer


def _write_nothing(_: Exporting) -> Mapping[str, Any]:
    """Write nothing, because model.py and weights.pt exist already: all other formats are made from them."""
    return {}


def _open_torch(exporting: Exporting) -> Answer:
    return exporting.answer_with(exporting.net)


# The template of README.md already has the usage text of model.py.
TORCH = Format(("model.py", "weights.pt"), _write_nothing, _open_torch, usage="")


def _write_safetensors(exporting: Exporting) -> Mapping[str, Any]:
    from safetensors.torch import save

    # The format does not hold one tensor under two names, so shared weights are written under the first of their
    # names; safetensors.torch.load_model restores the others. Its save_model is not used, because only the owner could
    # read its file, and because it writes the other names into the metadata in random order.
    names = shared_names(exporting.net)
    state = {name: tensor for name, tensor in exporting.net.state_dict().items() if name not in names}
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
        node.meta.pop("stack_trace", None)  # it names files of the machine
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
