"""Write the source of a stand-alone model.py: the network layer by layer, with torch as its only requirement.

The layers are read from the module that `build_model` makes, so that every kind of block is covered. Equal arguments
give equal bytes.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from models import module_table
from models.build import blank_model, shared_names
from models.layers import FirstChannels, Residual, SqueezeExcite, UnscaledBatchNorm2d
from models.spec import ArchSpec
from search.config import NPZ
from search.data.dataset import Dataset
from search.data.own import copies, folder_rules, naming, npz_rules, pictures
from search.data.own.folder_rules import fingerprint
from search.export.standalone import folder_test_set, idx_test_set, npz_test_set, runtime
from search.export.standalone.docstring import model_docstring
from search.export.standalone.framing import framing_for
from search.export.trained_model import ModelSource

# Longest line of the exported file.
LINE_LENGTH = 120

# Layers of this project, not of torch: the exported file holds a copy of their source.
_COPIED = (Residual, UnscaledBatchNorm2d, SqueezeExcite, FirstChannels)
# Layers whose constructor arguments can be read from attributes of the same names.
_LAYERS = (
    FirstChannels,
    SqueezeExcite,
    UnscaledBatchNorm2d,
    nn.AdaptiveAvgPool2d,
    nn.AvgPool2d,
    nn.BatchNorm2d,
    nn.ChannelShuffle,
    nn.Conv2d,
    nn.Dropout,
    nn.Flatten,
    nn.GELU,
    nn.Hardswish,
    nn.Identity,
    nn.LeakyReLU,
    nn.Linear,
    nn.MaxPool2d,
    nn.ReLU,
    nn.SiLU,
)
_SHAPE_CHANGING = (FirstChannels, nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.Conv2d, nn.Linear, nn.MaxPool2d)
# Modules whose constructor arguments are their children.
_CONTAINERS = (nn.Sequential, Residual)


def model_source(source: ModelSource, data: Dataset) -> str:
    """Return the text of model.py for a trained network.

    Its Net has the state_dict keys of build_model(source.arch) and, with the same weights, the same logits. Layers that
    share weights also share them in Net, so that the number of parameters is the same.
    Raises TypeError for a layer of an unknown type.
    """
    model = blank_model(source.arch)
    kinds = {type(module) for module in model.modules()}
    test_set: tuple[ModuleType, ...] = (folder_test_set, folder_rules, naming, copies)
    if data.test_files:
        test_set = (idx_test_set,)
    elif _is_archive(data):
        test_set = (npz_test_set, npz_rules, naming)
    layers = [inspect.getsource(kind).strip() for kind in _COPIED if kind in kinds]
    modules = [_body(module) for module in (runtime, module_table, pictures, *test_set)]
    code = "\n\n\n".join([*layers, _net(model, source.arch), *modules, _LAST])
    constants = _constants(data)
    header = "\n\n".join([model_docstring(source, data), _imports(f"{constants}\n{code}"), constants])
    return f"{header}\n\n\n{code}"


def _is_archive(data: Dataset) -> bool:
    return data.name.startswith(f"{NPZ}:")


# Names of the standard library that the copied modules import: modules, and names of modules.
_MODULES = {
    "argparse",
    "contextlib",
    "ctypes",
    "functools",
    "gzip",
    "hashlib",
    "math",
    "os",
    "random",
    "re",
    "sys",
    "unicodedata",
    "warnings",
    "zlib",
}
_NAMES = {
    "collections": ("Counter",),
    "collections.abc": ("Iterable", "Iterator", "Mapping", "Sequence"),
    "pathlib": ("Path",),
    "typing": ("Any",),
}


def _imports(code: str) -> str:
    """Return the imports that `code` needs, in the order of a formatter."""
    used = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    lines = [f"import {module}" for module in sorted(_MODULES & used)]
    for module, names in _NAMES.items():
        if needed := [name for name in names if name in used]:
            lines.append(f"from {module} import {', '.join(needed)}")
    return "\n".join([*lines, "", "import torch", "from torch import Tensor, nn"])


def _body(module: ModuleType) -> str:
    """Return the source of a module below its imports."""
    text = inspect.getsource(module)
    tree = ast.parse(text)
    last_line = max(node.end_lineno or 0 for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom))
    return "\n".join(text.splitlines()[last_line:]).strip()


_LAST = """\
if __name__ == "__main__":
    sys.exit(main())
"""


def _constants(data: Dataset) -> str:
    framing = framing_for(data)
    lines = [
        f"DATASET = {_literal(data.name)}",
        _tuple_constant("CLASSES", data.classes),
        f"INPUT_SHAPE = {data.input_shape}  # channels, height, width",
        "# Mean and standard deviation of each channel of the training images, scaled to [0, 1].",
        _tuple_constant("MEAN", data.mean),
        _tuple_constant("STD", data.std),
        "# Framing of the training images: grey level around the object (None: no plain background), longer side in",
        "# pixels, and row and column of its centre, which is its centre of mass or the middle of its bounding box.",
        f"BACKGROUND = {framing.background}",
        f"EXTENT = {framing.extent}",
        f"CENTRE = {framing.centre}",
        f"BY_MASS = {framing.by_mass}",
        "# Ranges of levels, of pictures with more than eight bits, that the training images were scaled from.",
        _level_ranges(data.level_ranges),
        "# Paths of the test images and labels in a folder with the layout of torchvision.",
        _tuple_constant("TEST_FILES", data.test_files),
        *([] if data.test_files or _is_archive(data) else _searched(data)),
        'WEIGHTS = Path(__file__).with_name("weights.pt")',
    ]
    return "\n".join(lines)


def _level_ranges(ranges: Mapping[str, tuple[float, float]]) -> str:
    items = ", ".join(f"{_literal(kind)}: {limits}" for kind, limits in ranges.items())
    return f"LEVEL_RANGES: dict[str, tuple[float, float]] = {{{items}}}"


def _searched(data: Dataset) -> list[str]:
    """Return the lines that identify the folder of the search, of whose images only some are test images."""
    comment = "# SHA-256 of the images of the searched folder, if some of these were chosen as test images."
    return [comment, f'SEARCHED = "{fingerprint(data.files) if data.files else ""}"']


def _tuple_constant(name: str, values: tuple[Any, ...]) -> str:
    """Return the assignment of a tuple to a name, on one line if it fits."""
    items = [_literal(value) for value in values]
    line = f"{name} = ({', '.join(items)}{',' if len(items) == 1 else ''})"
    if len(line) <= LINE_LENGTH:
        return line
    return "\n".join([f"{name} = (", *(f"    {item}," for item in items), ")"])


def _literal(value: object) -> str:
    """Return `repr(value)`, but with double quotes around a string that contains none, as formatters write it."""
    text = repr(value)
    return f'"{text[1:-1]}"' if isinstance(value, str) and text[0] == "'" and '"' not in text else text


def _net(model: nn.Sequential, spec: ArchSpec) -> str:
    """Return the source of class Net, which has one attribute for each child of `model` and calls them in order."""
    shapes = _output_shapes(model, spec)
    shape = ", ".join(map(str, spec.input_shape))
    names = [name for name, _ in model.named_children()]
    parts = ["\n".join(_construction(child, shapes, indent=8)).strip(" ,") for child in model.children()]
    lines = [
        "class Net(nn.Module):",
        f'    """Network from images (N, {shape}), as `preprocess` returns them, to logits (N, {spec.n_classes})."""',
        "",
        "    def __init__(self) -> None:",
        "        super().__init__()",
        *(f"        self.{name} = {part}" for name, part in zip(names, parts, strict=True)),
        *(f"        {line}" for line in _ties(model)),
        "",
        "    def forward(self, x: Tensor) -> Tensor:",
        f'        """Return the logits (N, {spec.n_classes}) of images (N, {shape})."""',
        *(f"        x = self.{name}(x)" for name in names[:-1]),
        f"        return self.{names[-1]}(x)",
    ]
    return "\n".join(lines)


def _ties(model: nn.Module) -> list[str]:
    """Return the assignments that make layers share the parameters of an earlier layer.

    One line is, for example, "self.stage2[3].weight = self.stage2[0].weight".
    """
    lines = [
        f"{_attribute_expression(name)} = {_attribute_expression(owner)}" for name, owner in shared_names(model).items()
    ]
    return ["# Layers that share the weights of an earlier layer.", *lines] if lines else []


def _attribute_expression(name: str) -> str:
    """Return the expression in Net for a name in the state_dict: "self.stage1[3].main[0].weight"."""
    return "self" + "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in name.split("."))


def _output_shapes(model: nn.Module, spec: ArchSpec) -> dict[nn.Module, tuple[int, ...]]:
    """Return the output shape of each module for one image, without the batch axis."""
    shapes: dict[nn.Module, tuple[int, ...]] = {}

    def record_shape(module: nn.Module, _: object, output: Tensor) -> None:
        shapes[module] = tuple(output.shape[1:])

    for module in model.modules():
        module.register_forward_hook(record_shape)
    with torch.inference_mode():
        model.eval()(torch.zeros(1, *spec.input_shape))
    return shapes


def _construction(module: nn.Module, shapes: Mapping[nn.Module, tuple[int, ...]], indent: int) -> list[str]:
    """Return the lines that construct `module`; the last ends in a comma."""
    margin = " " * indent
    if type(module) in _CONTAINERS:
        children = [line for child in module.children() for line in _construction(child, shapes, indent + 4)]
        return [f"{margin}{_name(type(module))}(", *children, f"{margin}),"]
    comment = "  # " + "x".join(map(str, shapes[module])) if isinstance(module, _SHAPE_CHANGING) else ""
    return [f"{margin}{_call(module)},{comment}"]


def _call(layer: nn.Module) -> str:
    """Return a constructor call such as `nn.Conv2d(1, 8, 3, bias=False)`, without arguments at their default.

    Raises TypeError for a layer of an unknown type.
    """
    kind = type(layer)
    if kind not in _LAYERS:
        raise TypeError(f"no source is known for a layer of type {kind.__name__}; see _LAYERS in source.py")
    arguments = []
    for name, parameter in inspect.signature(kind).parameters.items():
        if name in ("device", "dtype") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = _argument(layer, name)
        if parameter.default is parameter.empty:
            arguments.append(_literal(value))
        elif value != parameter.default:
            arguments.append(f"{name}={_literal(value)}")
    return f"{_name(kind)}({', '.join(arguments)})"


def _name(kind: type[nn.Module]) -> str:
    """Return the name of a layer class in the exported file."""
    return kind.__name__ if kind in _COPIED else f"nn.{kind.__name__}"


def _argument(layer: nn.Module, name: str) -> Any:
    """Return the value of a constructor argument in its shortest form, such as 3 for (3, 3)."""
    value = getattr(layer, name)
    if name == "bias":
        return value is not None
    if isinstance(layer, nn.AvgPool2d | nn.MaxPool2d) and name == "stride" and value == layer.kernel_size:
        return None  # the default, which torch replaces by the kernel size
    # Torch stores a kernel size of 3 as (3, 3).
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
