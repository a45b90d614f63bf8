"""Test every format: the file computes the network, runs without this project, and names what it needs."""

from __future__ import annotations

import json
import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx as onnx_package
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.spec import ACTIVATIONS, ArchSpec, Block, Head, Stage
from search.config import FORMATS as NAMES
from search.data.dataset import Dataset, Split
from search.errors import InputError
from search.export.embedded.origin import LICENCE
from search.export.embedded.picture_input import input_note
from search.export.export import ExportMismatchError, _load_module, export_model
from search.export.formats import onnx
from search.export.formats.format import DEFAULT_OPTIONS, Exporting, FormatOptions
from search.export.formats.onnx import OPSET
from search.export.formats.table import FORMATS, TORCH, check_formats, in_order, installed_formats
from search.export.latency import Latencies
from search.export.standalone.framing import framing_for
from search.export.trained_model import ModelSource
from tests.search.made_up_networks import thrifty_spec

pytestmark = pytest.mark.usefixtures("one_thread")

EXACT = [name for name, form in FORMATS.items() if not form.is_quantised]
SPECS = {
    "residual": ArchSpec(
        (1, 10, 10),
        3,
        (Stage((Block(4), Block(5, kind="residual", padding="same", dropout=0.1)), 2),),
        Head("gap_conv", (Block(4, 1),), bias=True),
    ),
    "mean": ArchSpec((1, 8, 8), 2, (Stage((Block(3),)),), Head("conv_gap")),
    "separable": ArchSpec(
        (3, 9, 12),
        4,
        (Stage((Block(4, activation="silu", order="conv-act-bn"), Block(6, kind="separable", padding="same")), 3),),
        Head("conv", dropout=0.1),
    ),
    "thrifty": thrifty_spec((1, 12, 12), 4),
    "other blocks": ArchSpec(
        (3, 16, 18),
        3,
        (
            Stage((Block(4, stride=2), Block(4, 3, "inverted", "same", skip=True, expansion=2, squeeze=2))),
            Stage((Block(6, 3, "shuffle", "same", groups=2), Block(6, 3, "separable", "same", skip=True)), 2, "avg"),
        ),
        Head("gap_linear"),
    ),
}


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def pattern_data(spec: ArchSpec) -> Dataset:
    """Return a data set of coarse patterns, because independent pixels all look the same to a network that averages."""
    generator = torch.Generator().manual_seed(0)
    channels, height, width = spec.input_shape
    coarse = 255 * torch.rand((300, channels, 3, 3), generator=generator)
    images = nn.functional.interpolate(coarse, size=(height, width)).to(torch.uint8)
    split = Split(images, torch.zeros(300, dtype=torch.int64))
    mean, std = (0.13, 0.2, 0.7)[:channels], (0.3, 0.1, 0.9)[:channels]
    return Dataset("noise", tuple("abcd")[: spec.n_classes], split, None, split, mean, std, "0")


def random_model(spec: ArchSpec, seed: int, inputs: torch.Tensor) -> nn.Module:
    """Return a network with random batch-norm factors and with the batch-norm statistics of inputs (N, C, H, W)."""
    torch.manual_seed(seed)
    model = build_model(spec)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1 and "bias" not in name:
            nn.init.uniform_(parameter, 0.5, 1.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all batches
    model(inputs)
    return model.eval()


def self_labelled(spec: ArchSpec) -> tuple[ModelSource, Dataset]:
    """Return a random network with patterns that are labelled by its own answers, so that it is always correct."""
    data = pattern_data(spec)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    for seed in range(100):
        with torch.inference_mode():
            inputs = (data.test.images / 255 - mean) / std
            model = random_model(spec, seed, inputs)
            answers = model(inputs).argmax(1)
        if answers.bincount().sort().values[-2:-1].sum() > 50:  # several classes must occur
            break
    data.test.labels.copy_(answers)
    curve = ({"epoch": 1, "train_accuracy": 0.9, "accuracy": 1.0},)
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    source = ModelSource("study", 7, spec, RecipeConfig(), state, 3, "last", "test", "test", 1.0, curve, 8000, 15)
    return source, data


@pytest.fixture(scope="module", params=SPECS)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Dataset, ModelSource]:
    source, data = self_labelled(SPECS[request.param])
    folder = tmp_path_factory.mktemp("all") / "model"
    export_model(source, data, folder, NAMES)
    return folder, data, source


@pytest.mark.slow
def test_every_file_is_there_and_measured(exported: tuple[Path, Dataset, ModelSource]) -> None:
    folder, data, source = exported
    card = json.loads((folder / "card.json").read_text())
    files = {file for form in FORMATS.values() for file in form.file_names(DEFAULT_OPTIONS)}
    beside_c = {"model_test.h", "firmware"} | ({"model_input.h"} if source.arch.input_shape[0] == 1 else set())
    assert {path.name for path in folder.iterdir()} == files | beside_c | {"README.md", "card.json", "misread.png"}
    assert list(card["formats"]) == list(FORMATS)
    readme = (folder / "README.md").read_text()
    for name, form in card["formats"].items():
        assert form["bytes"] == sum((folder / file).stat().st_size for file in form["files"])
        assert set(form["milliseconds"]) == {"1", "256"}
        assert min(form["milliseconds"].values()) > 0
        assert f"| {name} | {', '.join(form['files'])} | {form['bytes']:,} |" in readme
        if name in EXACT:
            assert (form["test_accuracy"], form["other_answers"]) == (1.0, 0)
            assert form["largest_logit_difference"] < 1e-4
        else:
            assert form["test_accuracy"] == pytest.approx(1 - form["other_answers"] / len(data.test))
            assert form["test_accuracy"] > 0.9, "int8 has 256 levels, not two"


@pytest.mark.slow
def test_every_text_says_how_shared_weights_are_counted(exported: tuple[Path, Dataset, ModelSource]) -> None:
    folder, _, source = exported
    cost = compute_cost(source.arch)
    shares = cost.n_stored > cost.n_params
    assert shares == (source.arch == SPECS["thrifty"])
    readme = " ".join((folder / "README.md").read_text().split())
    counted = f", {cost.n_stored:,} counted layer by layer" * shares
    assert f"{cost.n_params:,} parameters{counted} (batch norm's included), {cost.macs:,} multiply-adds" in readme
    assert f"{cost.n_params:,} parameters{counted} as int8" in (folder / "model.c").read_text()
    assert f"with {cost.n_params:,} parameters{counted}" in (folder / "model.py").read_text()


@pytest.mark.slow
def test_shared_weights_are_stored_once(exported: tuple[Path, Dataset, ModelSource]) -> None:
    """Batch norm's statistics are buffers, and the int8 files hold biases, scales and tables besides the weights."""
    folder, _, source = exported
    n_params = compute_cost(source.arch).n_params
    n_buffers = sum(t.numel() for name, t in source.state.items() if name.endswith(("running_mean", "running_var")))
    state = torch.load(folder / "weights.pt", weights_only=True)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in state.values() if t.dim()}
    assert sum(storages.values()) == 4 * (n_params + n_buffers)
    tensors = load_file(folder / "weights.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values() if tensor.dim()) == n_params + n_buffers
    for weights in ("weights.pt", "weights.safetensors"):
        assert sum(p.numel() for p in _load_module(folder / "model.py").load(folder / weights).parameters()) == n_params
    # The exporter may fold a batch norm into its layer or not.
    held = [math.prod(one.dims) for one in onnx_package.load(folder / "model.onnx").graph.initializer]
    assert n_params - n_buffers <= sum(held) <= n_params + n_buffers + 10
    quantised = onnx_package.load(folder / "model-int8.onnx").graph.initializer
    int8 = [one for one in quantised if one.data_type == onnx_package.TensorProto.INT8]
    assert sum(math.prod(one.dims) for one in int8 if len(one.dims) > 1) <= n_params


@pytest.mark.slow
def test_files_have_the_usual_permissions(exported: tuple[Path, Dataset, ModelSource]) -> None:
    folder, _, _ = exported
    assert {path.stat().st_mode for path in files_in(folder)} == {(folder / "model.py").stat().st_mode}


@pytest.mark.slow
def test_no_path_of_this_machine_is_in_the_files(exported: tuple[Path, Dataset, ModelSource]) -> None:
    folder, _, _ = exported
    for path in files_in(folder):
        content = path.read_bytes()
        for word in (b"/tmp", b"/root", b"/home", str(Path.cwd()).encode(), b"site-packages"):
            assert word not in content, f"{word!r} is in {path.name}"


RUNS = {
    "weights.safetensors": ({"onnx", "onnxruntime", "search", "models"}, "model.load"),
    "model.pt2": ({"model", "onnx", "onnxruntime", "search", "models"}, "torch.export.load"),
    "model.onnx": ({"torch", "model", "onnx", "search", "models"}, "onnxruntime"),
    "model-int8.onnx": ({"torch", "model", "onnx", "search", "models"}, "onnxruntime"),
}


def test_every_format_for_python_has_an_example_that_is_run() -> None:
    python_files = {form.files[0] for form in FORMATS.values() if form.usage and "```c" not in form.usage}
    assert python_files == set(RUNS)


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["separable"], indirect=True)
@pytest.mark.parametrize("name", RUNS)
def test_the_readmes_example_runs_with_the_formats_runtime_alone(
    name: str, exported: tuple[Path, Dataset, ModelSource], tmp_path: Path
) -> None:
    """The example runs on the test images, in an empty folder, while other packages cannot be imported."""
    folder, data, _ = exported
    hidden, _ = RUNS[name]
    card = json.loads((folder / "card.json").read_text())
    form = next(form for form in card["formats"].values() if name in form["files"])
    for file in {name, *({"model.py"} if name == "weights.safetensors" else set())}:
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    np.save(tmp_path / "images.npy", data.test.images.numpy())
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), flags=re.DOTALL)
    if name == "weights.safetensors":
        code = blocks[0].replace("model.load()", 'model.load("weights.safetensors")')
    else:
        code = next(block for block in blocks if f'"{name}"' in block)
    load_images = (
        "numpy.load('images.npy')" if "numpy" in code else "torch.from_numpy(__import__('numpy').load('images.npy'))"
    )
    code = re.sub(r"^images = .*$", f"images = {load_images}", code, flags=re.MULTILINE)
    code = code.replace("print(", "answers = list(")
    hide = f"import sys; sys.modules.update(dict.fromkeys({sorted(hidden)}))\n"
    command = [sys.executable, "-I", "-c", f"{hide}{code}\nprint(*map(str, answers))"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [word.removeprefix("tensor(").removesuffix(")") for word in done.stdout.split()]
    labels = [data.classes[label] if name != "model.pt2" else str(label) for label in data.test.labels.tolist()]
    n_correct = sum(answer == label for answer, label in zip(answers, labels, strict=True))
    assert n_correct / len(labels) == form["test_accuracy"]


@pytest.mark.slow
def test_the_c_file_scores_idx_files_with_a_compiler_alone(
    exported: tuple[Path, Dataset, ModelSource], tmp_path: Path
) -> None:
    folder, data, source = exported
    form = json.loads((folder / "card.json").read_text())["formats"]["c"]
    for name in ("model.c", "model.h"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    images = data.test.images if source.arch.input_shape[0] > 1 else data.test.images[:, 0]
    for name, values in (("images", images), ("labels", data.test.labels)):
        head = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape)
        (tmp_path / name).write_bytes(head + values.to(torch.uint8).numpy().tobytes())
    readme = (folder / "README.md").read_text()
    command = re.search(r"`(cc .*) IMAGES LABELS`", readme)
    assert command
    line = f"{command[1]} images labels"
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{form['test_accuracy']:.2%}".rstrip("%") in done.stdout
    assert form["ram_bytes"] == compute_cost(source.arch).peak_activation_bytes_int8
    assert form["flash_bytes"] == sum(form["flash_bytes_by_kind"].values())
    n_bytes = form["flash_bytes"] - sum(row["constant_bytes"] for row in form["layers"])
    assert f"The names of the classes take another {n_bytes} bytes." in readme
    assert ("; this file has fewer, " in readme) == (source.arch.head.kind == "conv_gap")


@pytest.mark.slow
def test_the_c_files_describe_themselves_and_pass_their_self_test(
    exported: tuple[Path, Dataset, ModelSource], tmp_path: Path
) -> None:
    folder, data, source = exported
    opening, header = (
        " ".join((folder / name).read_text().replace("\n *", "\n").split()) for name in ("model.c", "model.h")
    )
    checksum = json.loads((folder / "card.json").read_text())["sha256"]["weights.pt"]
    assert f"from study {source.study}, trial {source.trial}. In floating point: {source.result}. " in opening
    assert source.selection_note in opening
    assert checksum in opening
    assert LICENCE in opening
    assert input_note(framing_for(data), data.train.images) in header
    (tmp_path / "main.c").write_text('#include "model_test.h"\nint main(void) { return model_self_test(); }\n')
    command = ["cc", "-std=c99", f"-I{folder}", "main.c", str(folder / "model.c"), "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    assert subprocess.run([tmp_path / "main"], check=False, timeout=60).returncode == 0


@pytest.mark.slow
def test_onnx_describes_its_input_and_output(exported: tuple[Path, Dataset, ModelSource]) -> None:
    onnx = pytest.importorskip("onnx")
    folder, data, source = exported
    for name in ("model.onnx", "model-int8.onnx"):
        model = onnx.load(folder / name)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert json.loads(metadata["classes"]) == list(data.classes)
        assert (json.loads(metadata["mean"]), json.loads(metadata["std"])) == (list(data.mean), list(data.std))
        assert "255 - mean) / std" in metadata["preprocessing"]
        assert source.selection_note in metadata["result"]
        (images,), (logits,) = model.graph.input, model.graph.output
        shape = [axis.dim_param or axis.dim_value for axis in images.type.tensor_type.shape.dim]
        assert (images.name, shape) == ("images", ["n", *source.arch.input_shape])
        shape = [axis.dim_param or axis.dim_value for axis in logits.type.tensor_type.shape.dim]
        assert (logits.name, shape) == ("logits", ["n", source.arch.n_classes])
        assert [(opset.domain, opset.version) for opset in model.opset_import if not opset.domain] == [("", OPSET)]


@pytest.mark.slow
def test_no_onnx_node_has_an_attribute_at_its_default(exported: tuple[Path, Dataset, ModelSource]) -> None:
    folder, _, _ = exported
    for name in ("model.onnx", "model-int8.onnx"):
        model = onnx_package.load(folder / name)
        onnx_package.checker.check_model(model, full_check=True)
        versions = {opset.domain: opset.version for opset in model.opset_import}
        for node in model.graph.node:
            schema = onnx_package.defs.get_schema(node.op_type, versions[node.domain], node.domain)
            defaults = [schema.attributes[attribute.name].default_value for attribute in node.attribute]
            assert [value for value in node.attribute if value in defaults] == [], f"{name}: {node.op_type}"


@pytest.mark.slow
def test_an_onnx_file_of_a_fixed_batch(tmp_path: Path) -> None:
    """300 images are no multiple of 7, so the last batch is filled up."""
    source, data = self_labelled(SPECS["residual"])
    names, batch = ("onnx", "onnx-int8"), 7
    latencies = Latencies(tmp_path / "latencies.json")
    free = export_model(source, data, tmp_path / "free", names, latencies=latencies)
    options = FormatOptions(onnx_batch=batch)
    card = export_model(source, data, tmp_path / "model", names, latencies=latencies, options=options)
    for name in names:
        path = tmp_path / "model" / FORMATS[name].files[0]
        graph = onnx_package.load(path).graph
        shapes = [
            [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in (*graph.input, *graph.output)
        ]
        assert shapes == [[batch, *source.arch.input_shape], [batch, source.arch.n_classes]]
        assert (free["formats"][name]["batch"], card["formats"][name]["batch"]) == (None, batch)
        for figure in ("test_accuracy", "other_answers"):
            assert card["formats"][name][figure] == free["formats"][name][figure]
        assert f"`{path.name}` needs onnxruntime and NumPy alone; its batch size is {batch}:" in (
            tmp_path / "model" / "README.md"
        ).read_text(encoding="utf-8")
    assert card["formats"]["onnx"]["other_answers"] == 0
    measured = [entry["format"] for entry in json.loads((tmp_path / "latencies.json").read_text())]
    assert measured == ["torch", *names, *(f"{name}, batch {batch}" for name in names)]


@pytest.mark.slow
def test_int8_keeps_weights_in_int8(exported: tuple[Path, Dataset, ModelSource]) -> None:
    onnx = pytest.importorskip("onnx")
    folder, _, _ = exported
    tensors = onnx.load(folder / "model-int8.onnx").graph.initializer
    sizes = {kind: sum(int(np.prod(t.dims)) for t in tensors if t.data_type == kind) for kind in (1, 3)}
    assert sizes[onnx.TensorProto.INT8] > 2 * sizes[onnx.TensorProto.FLOAT]


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_in_onnx(activation: str, tmp_path: Path) -> None:
    spec = ArchSpec((1, 8, 8), 3, (Stage((Block(4, activation=activation),)),), Head("flatten_linear"))
    torch.manual_seed(0)
    net = build_model(spec).eval()
    images = torch.randn(5, 1, 8, 8)
    onnx.write_onnx(net, spec.input_shape, tmp_path / "net.onnx", {})
    with torch.inference_mode():
        assert torch.allclose(onnx.open_onnx(tmp_path / "net.onnx")(images), net(images), atol=1e-5)


@pytest.mark.slow
def test_two_exports_are_equal(tmp_path: Path) -> None:
    """Two exports give the same bytes. Only the archives of model.pt2 differ, but they give the same logits."""
    source, data = self_labelled(SPECS["residual"])
    latencies = Latencies(tmp_path / "latencies.json")
    for name in ("first", "second"):
        export_model(source, data, tmp_path / name, NAMES, latencies=latencies)
    for path in files_in(tmp_path / "first"):
        if path.suffix != ".pt2":
            name = path.relative_to(tmp_path / "first")
            assert path.read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    programs = [torch.export.load(tmp_path / name / "model.pt2").module() for name in ("first", "second")]
    images = torch.randn(4, *source.arch.input_shape)
    assert torch.equal(programs[0](images), programs[1](images))


@pytest.mark.parametrize("name", [name for name in EXACT if name != TORCH])
def test_a_file_that_computes_other_logits_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, data = self_labelled(SPECS["residual"])
    form = FORMATS[name]

    def slightly_off(exporting: Exporting) -> Callable[[torch.Tensor], torch.Tensor]:
        answer = form.open(exporting)
        return lambda images: answer(images) * 1.01

    monkeypatch.setattr("search.export.export.FORMATS", {**FORMATS, name: replace(form, open=slightly_off)})
    with pytest.raises(ExportMismatchError, match=f"format {name} computes something else than the network"):
        export_model(source, data, tmp_path / "model", [name])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> object:
        return None if name in ("onnxscript", "onnxruntime") else object()

    monkeypatch.setattr("search.export.formats.table.find_spec", find)
    source, data = self_labelled(SPECS["residual"])
    message = (
        "format onnx needs onnxscript and onnxruntime, which are not installed: pip install -r requirements-export.txt"
    )
    with pytest.raises(InputError, match=re.escape(message)):
        export_model(source, data, tmp_path / "model", ["pt2", "onnx"])
    assert list(tmp_path.iterdir()) == []
    check_formats(["torch", "pt2", "safetensors"])
    assert installed_formats(NAMES) == [name for name in NAMES if not name.startswith("onnx")]


def test_without_a_compiler_there_is_no_c_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, data = self_labelled(SPECS["residual"])
    monkeypatch.setenv("CC", str(tmp_path / "absent"))
    with pytest.raises(
        InputError, match=r"format c is checked with a C compiler \(.*absent.*\); install one, or name it"
    ):
        export_model(source, data, tmp_path / "model", ["c"])
    assert list(tmp_path.iterdir()) == []


def test_requirements_name_every_package() -> None:
    root = Path(__file__).parents[3]
    named = set(re.findall(r"^([a-z]+)==", (root / "requirements-export.txt").read_text(), flags=re.MULTILINE))
    assert named == {package for form in FORMATS.values() for package in form.packages}
    assert "-r requirements-export.txt" in (root / "requirements-dev.txt").read_text()


def test_torch_comes_first_and_always() -> None:
    assert in_order(["onnx", "pt2", "onnx"]) == ["torch", "pt2", "onnx"]
    assert in_order([]) == ["torch"]
