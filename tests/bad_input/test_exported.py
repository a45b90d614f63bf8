"""The exported model.py: options, pictures, test sets and weights that are none."""

from __future__ import annotations

import gzip
import pickle
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import ModuleType

import pytest
import torch
from PIL import Image

from models.build import build_model
from models.recipe import RecipeConfig
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig
from search.data.load import load_dataset
from search.export.export import _load_module
from search.export.standalone.source import model_source
from search.export.trained_model import ModelSource
from tests.bad_input.refusals import check_line, short, tree
from tests.bad_input.test_data_files import idx
from tests.bad_input.test_study_files import Bomb

SPEC = ArchSpec((1, 28, 28), 10, (Stage((Block(3),), pool=2),), Head("gap_linear"))
IMAGES, LABELS = "MNIST/raw/t10k-images-idx3-ubyte", "MNIST/raw/t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """model.py with its weights, of a data set that lies in two files."""
    folder = tmp_path_factory.mktemp("exported")
    data = replace(load_dataset(DataConfig("digits", "data")), test_files=(IMAGES, LABELS))
    state = build_model(SPEC).state_dict()
    curve = ({"epoch": 1, "train_accuracy": 0.9, "accuracy": 0.9},)
    source = ModelSource("study", 1, SPEC, RecipeConfig(), state, 0, "last", "test", "test", 0.9, curve, 8000, 1)
    (folder / "model.py").write_text(model_source(source, data), encoding="utf-8")
    torch.save(state, folder / "weights.pt")
    return _load_module(folder / "model.py")


@pytest.fixture
def refuses(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)

    def refuse(arguments: list[str], *words: str) -> None:
        before = tree(tmp_path)
        capsys.readouterr()
        status = module.main(arguments)
        out, err = capsys.readouterr()
        assert (status, out) == (2, ""), err
        assert err.startswith("model.py: ")
        check_line(err, *words)
        assert tree(tmp_path) == before

    return refuse


def picture(form: str = "PNG", size: tuple[int, int] = (40, 40)) -> bytes:
    buffer = BytesIO()
    Image.effect_noise(size, 80).save(buffer, form)
    return buffer.getvalue()


def huge() -> bytes:
    """The header of a picture that would fill the memory."""
    content = bytearray(picture())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    return bytes(content)


ARGUMENTS: list[tuple[list[str], str]] = [
    (["--nonsense"], "there is no option --nonsense; --help lists those there are"),
    (["-x", "a.png"], "there is no option -x"),
    (["--test"], "argument --test: expected one argument; --help lists the options"),
    (["--test", ""], f"holds no {IMAGES}; name the folder that holds the test set of "),
    (["--test", "nowhere"], f"model.py: nowhere holds no {IMAGES}; name the folder that holds the test set of "),
    (["nowhere.png"], "model.py: nowhere.png: No such file or directory"),
    ([""], "No such file or directory"),
    (["."], "model.py: .: Is a directory"),
    (["x" * 300], "File name too long"),
]


@pytest.mark.parametrize(("arguments", "words"), ARGUMENTS, ids=short)
def test_arguments_that_it_cannot_take(refuses: Callable[..., None], arguments: list[str], words: str) -> None:
    refuses(arguments, words)


PICTURES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "a.png: cannot identify image file"),
    "text": (lambda: b"a picture", "cannot identify image file"),
    "gzip": (lambda: gzip.compress(picture()), "cannot identify image file"),
    "cut off": (lambda: picture()[:-300], "a.png: "),
    "its beginning": (lambda: picture()[:40], "a.png: "),
    "a broken JPEG": (lambda: picture("JPEG")[:200], "a.png: "),
    "a broken GIF": (lambda: picture("GIF")[:60], "a.png: "),
    "a broken TIFF": (lambda: picture("TIFF")[:60], "a.png"),
    "flipped bits": (lambda: picture()[:60] + b"\xff" * 20 + picture()[80:], "a.png: "),
    "too large": (huge, "a.png: 3,600 megapixels, more than the 268 that are read; scale it down"),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "cannot identify image file"),
    "a pickle bomb": (lambda: pickle.dumps(Bomb()), "cannot identify image file"),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_that_are_none(refuses: Callable[..., None], tmp_path: Path, kind: str) -> None:
    make, words = PICTURES[kind]
    (tmp_path / "a.png").write_bytes(make())
    refuses(["a.png"], words)
    assert not (tmp_path / "marker").exists()


def test_a_blank_picture_is_named(refuses: Callable[..., None], tmp_path: Path) -> None:
    Image.new("L", (40, 40), 200).save(tmp_path / "blank.png")
    refuses(["blank.png"], "blank.png: the picture is blank: all of it has one grey level; give one that shows")


NOT_WHOLE = f"{IMAGES} is not a whole IDX file of bytes"
GOOD = {IMAGES: idx(3, 28, 28), LABELS: idx(3)}
TEST_SETS: dict[str, tuple[dict[str, bytes], str]] = {
    "no labels": ({IMAGES: GOOD[IMAGES]}, f"data holds no {LABELS}; name the folder"),
    "empty": ({IMAGES: b"", LABELS: b""}, NOT_WHOLE),
    "its magic number alone": (GOOD | {IMAGES: GOOD[IMAGES][:4]}, NOT_WHOLE),
    "half a header": (GOOD | {IMAGES: GOOD[IMAGES][:9]}, NOT_WHOLE),
    "cut off": (GOOD | {IMAGES: GOOD[IMAGES][:-1]}, NOT_WHOLE),
    "too long": (GOOD | {IMAGES: GOOD[IMAGES] + b"\0"}, NOT_WHOLE),
    "of floats": (GOOD | {IMAGES: idx(3, 28, 28, kind=0x0D)}, NOT_WHOLE),
    "wrong magic number": (GOOD | {IMAGES: b"\1" + GOOD[IMAGES][1:]}, NOT_WHOLE),
    "no axes": (GOOD | {IMAGES: idx() + b"\0"}, NOT_WHOLE),
    "of no image": ({IMAGES: idx(0, 28, 28), LABELS: idx(0)}, NOT_WHOLE),
    "axes beyond all memory": (GOOD | {IMAGES: b"\0\0\x08\x03" + b"\xff" * 12}, NOT_WHOLE),
    "of 255 axes": (GOOD | {IMAGES: b"\0\0\x08\xff" + b"\0" * 1020}, NOT_WHOLE),
    "swapped": ({IMAGES: GOOD[LABELS], LABELS: GOOD[IMAGES]}, "holds images (3,) and labels (3, 28, 28), not digits"),
    "labels for images": (GOOD | {IMAGES: GOOD[LABELS]}, "holds images (3,)"),
    "too few labels": (GOOD | {LABELS: idx(2)}, "and labels (2,), not digits"),
    "of another size": (GOOD | {IMAGES: idx(3, 28, 27)}, "holds images (3, 28, 27)"),
    "no gzip": ({f"{IMAGES}.gz": b"no", LABELS: GOOD[LABELS]}, f"{IMAGES}.gz is damaged: Not a gzipped file"),
    "gzip cut off": ({f"{IMAGES}.gz": gzip.compress(GOOD[IMAGES], mtime=0)[:-9]}, "is damaged: Compressed file ended"),
    "gzip with a flipped byte": (
        {f"{IMAGES}.gz": gzip.compress(GOOD[IMAGES], mtime=0)[:10] + b"\xff" + gzip.compress(GOOD[IMAGES])[11:]},
        ".gz is damaged: ",
    ),
}


@pytest.mark.parametrize("kind", TEST_SETS)
def test_test_sets_that_are_none(refuses: Callable[..., None], tmp_path: Path, kind: str) -> None:
    files, words = TEST_SETS[kind]
    for name, content in files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    refuses(["--test", "data"], words)


def test_weights_that_are_a_bomb_do_not_go_off(
    refuses: Callable[..., None], module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(picture())
    old = BytesIO()
    torch.save(Bomb(), old, _use_new_zipfile_serialization=False)
    for name in ("weights.pt", "weights.safetensors"):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path / name)
        monkeypatch.setattr(module.load, "__defaults__", (tmp_path / name,))
        for content in (pickle.dumps(Bomb()), old.getvalue(), b"", b"\xff" * 100):
            (tmp_path / name).write_bytes(content)
            refuses(["a.png"], f"{name} is damaged or does not hold this network's weights; take those it came with")
    assert not (tmp_path / "marker").exists()
