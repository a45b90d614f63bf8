"""Test the exported file as a user runs it: on pictures of all kinds, on test sets, and on damaged files."""

from __future__ import annotations

import gzip
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig
from search.data.dataset import Dataset, Split
from search.data.load import load_dataset
from search.engine.train import train
from search.export.export import _load_module
from search.export.standalone.source import model_source
from search.export.trained_model import ModelSource
from search.report.architecture import torchsummary_table

pytestmark = pytest.mark.usefixtures("one_thread")

SPEC = ArchSpec(
    (1, 28, 28),
    10,
    (Stage((Block(8),), pool=2), Stage((Block(12, padding="same"),), pool=2)),
    Head("gap_linear", bias=True),
)
IMAGES, LABELS = "MNIST/raw/t10k-images-idx3-ubyte", "MNIST/raw/t10k-labels-idx1-ubyte"


def idx(values: Tensor) -> bytes:
    return (
        struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape)
        + values.to(torch.uint8).numpy().tobytes()
    )


def write_files(folder: Path, source: ModelSource, data: Dataset) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(model_source(source, data), encoding="utf-8")
    torch.save(dict(source.state), folder / "weights.pt")
    return folder


def source_of(spec: ArchSpec, state: dict[str, Tensor]) -> ModelSource:
    curve = ({"epoch": 1, "train_accuracy": 0.9, "accuracy": 0.9},)
    return ModelSource("study", 1, spec, RecipeConfig(), state, 0, "last", "test", "test", 0.9, curve, 8000, 1)


@pytest.fixture(scope="module")
def data() -> Dataset:
    # The digits can be written as the files of MNIST.
    return replace(load_dataset(DataConfig("digits", "data")), test_files=(IMAGES, LABELS))


@pytest.fixture(scope="module")
def folder(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    recipe = RecipeConfig(epochs=4, batch_size=64, lr=0.3, ema_decay=0.9)
    result = train(build_model(SPEC), data, recipe, seed=1, every_epoch=False)
    return write_files(tmp_path_factory.mktemp("exported"), source_of(SPEC, dict(result.last_state)), data)


@pytest.fixture(scope="module")
def module(folder: Path) -> ModuleType:
    return _load_module(folder / "model.py")


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the file in a folder and returns its status, output and errors.

    It runs in this process, because importing torch takes long.
    """

    def call(folder: Path, *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = _load_module(folder / "model.py").main(list(map(str, arguments)))
        return status, *capsys.readouterr()

    return call


# --- pictures -------------------------------------------------------------------------------------------------------


def on_a_page(digit: Image.Image) -> Image.Image:
    page = Image.new("L", (320, 240), 255)
    page.paste(ImageOps.invert(digit).resize((120, 120), Image.Resampling.BICUBIC), (180, 20))
    return page


def photographed(digit: Image.Image) -> Image.Image:
    page = on_a_page(digit).point(lambda level: 70 + level // 2)
    shadow = np.linspace(0, 20, page.width).astype(np.uint8)
    return Image.fromarray((np.asarray(page) - shadow).astype(np.uint8))


def painted(level: int) -> Callable[[Image.Image], Image.Image]:
    return lambda digit: Image.merge("RGBA", [Image.new("L", digit.size, level)] * 3 + [digit])


# Changes of a digit, and whether the changed picture is read as exactly the same levels.
KINDS: dict[str, tuple[Callable[[Image.Image], Image.Image], bool]] = {
    "as it is": (lambda digit: digit, True),
    "inverted": (ImageOps.invert, True),
    "colour": (lambda digit: digit.convert("RGB"), True),
    "indexed": (lambda digit: digit.convert("P"), True),
    "enlarged": (lambda digit: digit.resize((280, 280), Image.Resampling.BICUBIC), False),
    "inverted and enlarged": (lambda digit: ImageOps.invert(digit).resize((56, 56), Image.Resampling.BICUBIC), False),
    "small on a page": (on_a_page, False),
    "photographed": (photographed, False),
    "black on nothing": (painted(0), True),
    "white on nothing": (painted(255), True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_digits_are_read_like_the_digits(
    kind: str, module: ModuleType, data: Dataset, tmp_path: Path
) -> None:
    change, is_equal = KINDS[kind]
    images = data.test.images[:40]
    read = []
    for image in images:
        change(Image.fromarray(image[0].numpy())).save(tmp_path / "digit.png")
        read.append(module.read_picture(tmp_path / "digit.png"))
    pictures = torch.cat(read)
    if is_equal:
        assert torch.equal(pictures, images)
    else:
        correlations = [
            torch.corrcoef(torch.stack([a.flatten(), b.flatten()]).float())[0, 1]
            for a, b in zip(pictures, images, strict=True)
        ]
        assert sorted(correlations)[len(correlations) // 2] > 0.9


def test_an_object_is_moved_and_scaled_like_those_in_training(module: ModuleType, tmp_path: Path) -> None:
    page = np.full((300, 500), 230, dtype=np.uint8)
    page[200:260, 30:60] = 40
    Image.fromarray(page).save(tmp_path / "box.png")
    (image,) = module.read_picture(tmp_path / "box.png")[0]
    rows, columns = (image.max(axis).values.nonzero().flatten().tolist() for axis in (1, 0))
    assert (rows, columns) == (list(range(4, 24)), list(range(9, 19)))
    assert int(image.max()) == 255


def test_light_training_images_are_matched_too(data: Dataset, tmp_path: Path) -> None:
    inverted = Split(255 - data.train.images, data.train.labels)
    state = build_model(SPEC).state_dict()
    light = write_files(tmp_path / "light", source_of(SPEC, state), replace(data, train=inverted, test=inverted))
    module = _load_module(light / "model.py")
    image = 255 - data.test.images[:1]
    for change in (lambda digit: digit, ImageOps.invert):
        change(Image.fromarray(image[0, 0].numpy())).save(tmp_path / "digit.png")
        assert torch.equal(module.read_picture(tmp_path / "digit.png"), image)
    on_a_page(ImageOps.invert(Image.fromarray(image[0, 0].numpy()))).save(tmp_path / "digit.png")
    picture = module.read_picture(tmp_path / "digit.png")
    assert (int(picture.max()), int(picture[..., 0].min())) == (255, 255)
    assert int((picture.int() - image.int()).abs().float().mean()) < 12


def test_colour_pictures_are_cut_and_scaled(tmp_path: Path) -> None:
    spec = ArchSpec((3, 8, 12), 4, (), Head("flatten_linear"))
    generator = torch.Generator().manual_seed(0)
    split = Split(torch.randint(256, (9, 3, 8, 12), dtype=torch.uint8, generator=generator), torch.arange(9) % 4)
    data = Dataset("noise", tuple("abcd"), split, None, split, (0.5,) * 3, (0.2,) * 3, "0")
    folder = write_files(tmp_path / "colour", source_of(spec, build_model(spec).state_dict()), data)
    module = _load_module(folder / "model.py")
    Image.fromarray(split.images[0].permute(1, 2, 0).numpy()).save(tmp_path / "same.png")
    assert torch.equal(module.read_picture(tmp_path / "same.png"), split.images[:1])
    Image.new("RGB", (100, 30), (10, 200, 60)).save(tmp_path / "wide.jpg", quality=100)
    picture = module.read_picture(tmp_path / "wide.jpg")
    assert picture.shape == (1, 3, 8, 12)
    assert (picture[0].float().mean((1, 2)) - torch.tensor([10.0, 200.0, 60.0])).abs().max() < 4


def test_the_command_names_the_class_and_its_probability(
    run: Run, folder: Path, data: Dataset, module: ModuleType, tmp_path: Path
) -> None:
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(data.test.images[i, 0].numpy()).save(paths[-1])
    status, out, err = run(folder, *paths)
    assert (status, err) == (0, "")
    shares = module.probabilities(module.load(), data.test.images[:2])
    for line, path, share in zip(out.splitlines(), paths, shares, strict=True):
        best, second = share.topk(2).indices.tolist()
        assert line == f"{path}: {best} ({share[best]:.2%}), else {second} ({share[second]:.2%})"


# --- test sets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_a_test_set_is_scored(
    run: Run, packed: bool, folder: Path, module: ModuleType, data: Dataset, tmp_path: Path
) -> None:
    for name, values in ((IMAGES, data.test.images[:, 0]), (LABELS, data.test.labels)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if packed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(values)))
        else:
            path.write_bytes(idx(values))
    expected = module.accuracy(module.load(), data.test.images, data.test.labels)
    for inside in (".", "MNIST", "MNIST/raw"):
        done = run(folder, "--test", tmp_path / inside)
        assert done == (0, f"{expected:.2%} of {len(data.test):,} test images\n", "")


def test_the_summary_is_that_of_torchsummary(run: Run, folder: Path) -> None:
    cost = compute_cost(SPEC)
    assert run(folder, "--summary") == (0, f"{torchsummary_table(SPEC, cost)}\n", "")


def broken_files() -> dict[str, tuple[dict[str, bytes], str]]:
    images, labels = idx(torch.zeros(3, 28, 28)), idx(torch.zeros(3))
    return {
        "absent": ({}, "holds no MNIST/raw/t10k-images-idx3-ubyte; name the folder that holds the test set of digits"),
        "cut off": ({IMAGES: images[:-1], LABELS: labels}, "is not a whole IDX file of bytes"),
        "empty": ({IMAGES: b"", LABELS: labels}, "is not a whole IDX file of bytes"),
        "of floats": ({IMAGES: b"\0\0\x0d" + images[3:], LABELS: labels}, "is not a whole IDX file of bytes"),
        "swapped": ({IMAGES: labels, LABELS: images}, "holds images (3,) and labels (3, 28, 28), not digits"),
        "too few labels": ({IMAGES: images, LABELS: idx(torch.zeros(2))}, "and labels (2,), not digits"),
        "of another size": ({IMAGES: idx(torch.zeros(3, 8, 8)), LABELS: labels}, "holds images (3, 8, 8)"),
        "no gzip": ({f"{IMAGES}.gz": b"no", LABELS: labels}, "Not a gzipped file"),
    }


@pytest.mark.parametrize("damage", broken_files())
def test_a_damaged_test_set(run: Run, damage: str, folder: Path, tmp_path: Path) -> None:
    files, message = broken_files()[damage]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    check_refused(run(folder, "--test", tmp_path), message)


def check_refused(done: tuple[int, str, str], message: str) -> None:
    status, out, err = done
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("model.py: ")
    assert message in err


def test_a_data_set_without_files_is_scored_on_folders_of_pictures(run: Run, data: Dataset, tmp_path: Path) -> None:
    folder = write_files(tmp_path, source_of(SPEC, build_model(SPEC).state_dict()), replace(data, test_files=()))
    check_refused(run(folder, "--test", tmp_path), "has no folder of pictures that is named after a class: 0, 1, 2, 3")
    (tmp_path / "3").mkdir()
    Image.fromarray(data.test.images[0, 0].numpy()).save(tmp_path / "3" / "a.png")
    status, out, err = run(folder, "--test", tmp_path)
    assert (status, err) == (0, "")
    notes = f"of 1 images: all images in {tmp_path}\nleft out: 1 .pt, 1 .py\n"
    assert out in (f"0.00% {notes}", f"100.00% {notes}")
    (tmp_path / "3" / "b.png").write_text("no picture")
    check_refused(run(folder, "--test", tmp_path), "1 of 2 image files cannot be read: ")


# --- damaged files -------------------------------------------------------------------------------------------------


def test_files_that_are_no_pictures(run: Run, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    check_refused(run(folder, tmp_path / "text.png"), "cannot identify image file")
    check_refused(run(folder, tmp_path / "absent.png"), "No such file or directory")
    check_refused(run(folder, tmp_path), "Is a directory")
    Image.new("L", (40, 40), 200).save(tmp_path / "blank.png")
    check_refused(run(folder, tmp_path / "blank.png"), "the picture is blank")
    Image.effect_noise((90, 90), 50).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-200])
    check_refused(run(folder, tmp_path / "cut.png"), "truncated")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "is damaged or does not hold this network's weights"),
        (b"not weights", "is damaged or does not hold this network's weights"),
        (b"PK\3\4", "is damaged or does not hold this network's weights"),
        (pickle.dumps({}), "is damaged or does not hold this network's weights"),
    ],
    ids=["absent", "empty", "text", "cut off", "of nothing"],
)
def test_files_that_are_no_weights(
    run: Run, content: bytes | None, message: str, folder: Path, data: Dataset, tmp_path: Path
) -> None:
    shutil.copy(folder / "model.py", tmp_path)
    if content is not None:
        (tmp_path / "weights.pt").write_bytes(content)
    Image.fromarray(data.test.images[0, 0].numpy()).save(tmp_path / "digit.png")
    check_refused(run(tmp_path, "digit.png"), message)


@pytest.mark.slow
def test_it_runs_from_a_shell_and_names_a_package_that_is_missing(folder: Path, data: Dataset, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    Image.fromarray(data.test.images[0, 0].numpy()).save(tmp_path / "digit.png")
    code = (
        "import sys; sys.modules['PIL'] = None; sys.path[:0] = ['.']; import model; sys.exit(model.main(['digit.png']))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "model.py", "digit.png"], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"digit.png: ")
    refused = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    check_refused((refused.returncode, refused.stdout, refused.stderr), "PIL is needed for that: pip install pillow")
