from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from models.baselines import BASELINES
from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.spec import ACTIVATIONS, ArchSpec, Block, Head, Stage
from search.data.dataset import Dataset, Split
from search.engine.train import evaluate, predict
from search.export.standalone import source as module_under_test
from search.export.standalone.source import model_source
from search.export.trained_model import ModelSource
from search.report.architecture import torchsummary_table
from tests.search.made_up_networks import thrifty_spec

ROOT = Path(__file__).parents[4]
GAP = Head("gap_linear", bias=True)


def network(
    *blocks: Block,
    head: Head = GAP,
    pool: int = 2,
    pool_kind: str = "max",
    shape: tuple[int, int, int] = (1, 14, 14),
    n_classes: int = 10,
) -> ArchSpec:
    return ArchSpec(shape, n_classes, (Stage(blocks, pool, pool_kind), Stage((Block(6, padding="same"),))), head)


# A shared residual block shares all convolutions with an earlier block, with their biases and the shortcut.
WIDER = Block(6, kind="residual", padding="same", bias=True)
HIDDEN = (Block(5, 1, dropout=0.2), Block(4, 1, activation=None))
SPECS = {
    "conv": network(Block(4), Block(5, bias=True), Block(6, padding="same")),
    "kernels": network(Block(4, 1), Block(4, 5, padding="same"), Block(4, 7)),
    "bare": network(Block(4, batch_norm=False, activation=None), Block(4, bias=True, batch_norm=False)),
    "conv-act-bn": network(Block(4, order="conv-act-bn", dropout=0.1)),
    "dropout": network(Block(4, dropout=0.1), Block(4, dropout=0.5)),
    "separable": network(Block(4), Block(6, kind="separable"), Block(5, 5, "separable", "same", bias=True)),
    "residual": network(Block(4, kind="residual", padding="same"), Block(4, 5, "residual", "same", dropout=0.1)),
    "residual conv-act-bn": network(Block(4), Block(6, kind="residual", padding="same", order="conv-act-bn")),
    "unscaled": network(Block(4, norm_scale=False), Block(4, order="conv-act-bn", norm_scale=False)),
    "inverted": network(
        Block(4, 5, "inverted", "same", expansion=3, squeeze=2, bias=True), Block(4, 3, "inverted", "same", skip=True)
    ),
    "shuffle": network(Block(4), Block(6, 3, "shuffle", groups=2), Block(6, 3, "shuffle", "same", skip=True, groups=3)),
    "strides": network(
        *(Block(4, stride=2), Block(6, kind="residual", padding="same", stride=2, squeeze=4)), pool_kind="avg"
    ),
    "gap": network(Block(4), head=Head("gap", dropout=0.1), n_classes=6),
    "shared": network(Block(4), Block(4), Block(4, shared=True), Block(4, shared=True, batch_norm=False)),
    "shared residual": network(Block(4), WIDER, Block(4), replace(WIDER, shared=True)),
    "thrifty": thrifty_spec(),
    "large pool": network(Block(4), pool=3),
    "pool alone": network(),
    "no stages": ArchSpec((1, 6, 6), 3, (), Head("flatten_linear")),
    "colour": network(Block(4), head=Head("conv", bias=True), shape=(3, 12, 16)),
    "gap_linear": network(Block(4), head=Head("gap_linear", dropout=0.1)),
    "gap_conv": network(Block(4), head=Head("gap_conv", HIDDEN, bias=True, dropout=0.1)),
    "conv_gap": network(Block(4), head=Head("conv_gap", dropout=0.1)),
    "conv head": network(Block(4), head=Head("conv", HIDDEN, dropout=0.1)),
    "flatten_linear": network(Block(4), head=Head("flatten_linear", bias=True, dropout=0.1)),
    **{activation: network(Block(4, activation=activation)) for activation in ACTIVATIONS},
    **{name: baseline.spec for name, baseline in BASELINES.items()},
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def random_data(spec: ArchSpec, classes: tuple[str, ...] = ()) -> Dataset:
    channels = spec.input_shape[0]
    images = torch.randint(256, (7, *spec.input_shape), dtype=torch.uint8)
    split = Split(images, torch.randint(spec.n_classes, (7,)))
    classes = classes or tuple(map(str, range(spec.n_classes)))
    return Dataset("noise", classes, split, None, split, (0.1307, 0.2, 0.7)[:channels], (0.3, 0.1, 0.9)[:channels], "0")


def source_of(spec: ArchSpec) -> ModelSource:
    curve = ({"epoch": 1, "train_accuracy": 0.9, "accuracy": 0.96},)
    return ModelSource("study", 7, spec, RecipeConfig(), {}, 3, "last", "test", "test", 0.96, curve, 8000, 15)


def random_model(spec: ArchSpec) -> nn.Module:
    """Return a network with random batch-norm statistics."""
    model = build_model(spec)
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model


def import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("generated", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_module(folder: Path, source: ModelSource, data: Dataset) -> ModuleType:
    path = folder / "model.py"
    path.write_text(model_source(source, data), encoding="utf-8")
    return import_file(path)


@every_spec
def test_network_is_the_one_that_build_model_makes(spec: ArchSpec, tmp_path: Path) -> None:
    torch.manual_seed(0)
    data, model = random_data(spec), random_model(spec)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    module = write_module(tmp_path, source_of(spec), data)
    net = module.load()
    # repr shows the type and arguments of each layer, also of those without effect in evaluation.
    assert [(name, repr(part)) for name, part in net.named_children()] == [
        (name, repr(part)) for name, part in model.named_children()
    ]
    assert {name: tensor.shape for name, tensor in net.state_dict().items()} == {
        name: tensor.shape for name, tensor in model.state_dict().items()
    }
    assert sum(parameter.numel() for parameter in net.parameters()) == compute_cost(spec).n_params
    assert not net.training
    assert module.summary(net) == torchsummary_table(spec, compute_cost(spec))
    with torch.inference_mode():
        logits = net(module.preprocess(data.test.images))
    assert torch.equal(logits, predict(model, data.test, data))
    for batch_size in (1000, 3):
        accuracy = module.accuracy(net, data.test.images, data.test.labels, batch_size)
        assert accuracy == evaluate(model, data.test, data)


def test_text_of_a_network() -> None:
    spec = network(Block(4, 5), Block(6, kind="residual", padding="same", dropout=0.5), shape=(3, 9, 9))
    text = model_source(source_of(spec), random_data(spec))
    assert NET in text


NET = '''
class Net(nn.Module):
    """Network from images (N, 3, 9, 9), as `preprocess` returns them, to logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            nn.Conv2d(3, 4, 5, bias=False),  # 4x5x5
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            Residual(
                nn.Sequential(
                    nn.Conv2d(4, 6, 3, padding=1, bias=False),  # 6x5x5
                    nn.BatchNorm2d(6),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(6, 6, 3, padding=1, bias=False),  # 6x5x5
                    nn.BatchNorm2d(6),
                ),
                nn.Conv2d(4, 6, 1, bias=False),  # 6x5x5
            ),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.MaxPool2d(2),  # 6x2x2
        )
        self.stage2 = nn.Sequential(
            nn.Conv2d(6, 6, 3, padding=1, bias=False),  # 6x2x2
            nn.BatchNorm2d(6),
            nn.ReLU(inplace=True),
        )
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),  # 6x1x1
            nn.Flatten(),
            nn.Linear(6, 10),  # 10
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, 10) of images (N, 3, 9, 9)."""
        x = self.stage1(x)
        x = self.stage2(x)
        return self.head(x)
'''


def test_text_of_shared_weights() -> None:
    spec = SPECS["shared residual"]
    assert TIES in model_source(source_of(spec), random_data(spec))


TIES = """
            nn.Linear(6, 10),  # 10
        )
        # Layers that share the weights of an earlier layer.
        self.stage1[8].main[0].weight = self.stage1[3].main[0].weight
        self.stage1[8].main[0].bias = self.stage1[3].main[0].bias
        self.stage1[8].main[3].weight = self.stage1[3].main[3].weight
        self.stage1[8].main[3].bias = self.stage1[3].main[3].bias
        self.stage1[8].shortcut.weight = self.stage1[3].shortcut.weight

    def forward(self, x: Tensor) -> Tensor:
"""


def test_same_network_same_bytes() -> None:
    for spec in SPECS.values():
        data = random_data(spec)
        again = ArchSpec.from_dict(spec.to_dict())
        assert model_source(source_of(spec), data) == model_source(source_of(again), data)


def test_only_torch_and_the_standard_library_are_imported() -> None:
    for spec in SPECS.values():
        tree = ast.parse(model_source(source_of(spec), random_data(spec)))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        needed_sometimes = {"PIL", "safetensors"}
        assert {name.split(".")[0] for name in names} <= {"torch", *sys.stdlib_module_names} | needed_sometimes
        at_once = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
        at_once |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert at_once.isdisjoint({"PIL", "PIL.Image", "safetensors", "safetensors.torch"})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "class Residual",
            {"residual", "residual conv-act-bn", "shared residual", "inverted", "shuffle", "strides", "resnet8"},
        ),
        ("class SqueezeExcite", {"inverted", "strides"}),
        ("class UnscaledBatchNorm2d", {"unscaled", "thrifty"}),
        ("class FirstChannels", {"gap", "thrifty"}),
        ("Layers that share the weights of", {"shared", "shared residual", "thrifty"}),
    ],
)
def test_nothing_is_written_that_the_network_does_not_need(text: str, names: set[str]) -> None:
    matches = {name for name, spec in SPECS.items() if text in model_source(source_of(spec), random_data(spec))}
    assert matches == names


def test_files_are_as_a_formatter_would_leave_them(tmp_path: Path) -> None:
    ruff = pytest.importorskip("ruff").find_ruff_bin()
    many = tuple(f"a class whose name is long {i}" for i in range(10))
    for name, spec in SPECS.items():
        data = random_data(spec, classes=many if name == "conv" else ())
        (tmp_path / f"{name.replace(' ', '_')}.py").write_text(model_source(source_of(spec), data))
    rules = "A,ARG,B,C4,D1,E,F,I,PT,RET,RUF,SIM,UP,W"
    options = ["--isolated", "--no-cache", "--line-length=120", "--target-version=py311"]
    for command in (["format", "--diff"], ["check", f"--select={rules}", "--ignore=D102,D105,D107,N999"]):
        done = subprocess.run([ruff, *command, *options, tmp_path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_unknown_layer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module_under_test, "blank_model", lambda _: nn.Sequential(nn.Sequential(nn.Tanh())))
    with pytest.raises(TypeError, match="type Tanh"):
        model_source(source_of(SPECS["conv"]), random_data(SPECS["conv"]))


@pytest.mark.slow
def test_no_tensor_is_made_without_memory() -> None:
    """Tensors on the meta device import a library of symbolic mathematics, which takes most of a second."""
    code = """
import sys
from tests.search.export.standalone.test_source import SPECS, model_source, random_data, source_of
model_source(source_of(SPECS["conv"]), random_data(SPECS["conv"]))
print("sympy" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_class_names_cannot_break_out_of_their_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = ("it's", 'say "so"', "both ' and \"", "\\", "\n", '"""', "é", "%(prog)s", "8", "9")
    data = random_data(SPECS["conv"], classes)
    module = write_module(tmp_path, source_of(SPECS["conv"]), data)
    assert classes == module.CLASSES
    assert module.main([]) == 0
    assert "é, %(prog)s, 8" in " ".join(capsys.readouterr().out.split())


def test_a_percent_sign_in_the_name_of_a_class_is_shown_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    classes = ("50%", *"123456789")
    assert write_module(tmp_path, source_of(SPECS["conv"]), random_data(SPECS["conv"], classes)).main([]) == 0
    assert "Tells 50%, 1, 2" in " ".join(capsys.readouterr().out.split())


class Bomb:
    """Object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_weights_that_are_a_program_are_not_run(tmp_path: Path) -> None:
    module = write_module(tmp_path, source_of(SPECS["conv"]), random_data(SPECS["conv"]))
    torch.save({"weight": Bomb(tmp_path / "exploded")}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="is damaged or does not hold this network's weights"):
        module.load()
    assert not (tmp_path / "exploded").exists()
    torch.load(tmp_path / "weights.pt", weights_only=False)
    assert (tmp_path / "exploded").exists(), "the object is harmless, so that the test shows nothing"


@pytest.mark.parametrize(
    "images",
    [torch.zeros(1, 1, 14, 14), torch.zeros(1, 14, 14, dtype=torch.uint8), torch.zeros(1, 1, 8, 8, dtype=torch.uint8)],
    ids=["float", "no batch axis", "other size"],
)
def test_preprocess_refuses_other_images(images: torch.Tensor, tmp_path: Path) -> None:
    module = write_module(tmp_path, source_of(SPECS["conv"]), random_data(SPECS["conv"]))
    with pytest.raises(ValueError, match=r"must be torch.uint8 of shape \(N, \*\(1, 14, 14\)\), got torch"):
        module.preprocess(images)
