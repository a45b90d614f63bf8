"""A trained network as a folder that runs without this project: the network, its weights, its card, what it misreads.

Nothing is put in place before the written files, loaded from outside, have repeated the recorded accuracy.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from models.cost import compute_cost
from search.config import FailureError, InputError
from search.data import Dataset, Split
from search.mistakes import Mistakes, mistakes_of_state, sprite
from search.model_source import model_source
from search.train import training_device
from search.trained_model import ModelSource, source_from_confirmation, source_from_trial

__all__ = ["ExportMismatchError", "ModelSource", "export_model", "source_from_confirmation", "source_from_trial"]


MISREAD = "misread.png"


class ExportMismatchError(FailureError):
    """The exported files do not repeat the recorded accuracy."""


def export_model(source: ModelSource, data: Dataset, folder: Path) -> dict[str, Any]:
    """Write `folder` and return its card. The folder appears whole or, on any error, not at all.

    An earlier export in its place is replaced. Raises InputError where `folder` holds anything else or cannot be
    written, or where `data` is not what the network was made for; ExportMismatchError where the files do not repeat
    the recorded accuracy.
    """
    folder = folder.resolve()
    _check_data(source, data)
    _check_place(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{folder.name}-", dir=folder.parent, ignore_cleanup_errors=True
        ) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            card = _write(source, data, new)
            _put_in_place(new, folder, aside=Path(scratch) / "old")
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror or error}") from error
    return card


def _check_data(source: ModelSource, data: Dataset) -> None:
    arch = source.arch
    if (data.input_shape, data.n_classes) != (arch.input_shape, arch.n_classes):
        raise InputError(
            f"the network takes {arch.input_shape} and tells {arch.n_classes} classes apart, but {data.name} has "
            f"{data.input_shape} and {data.n_classes}"
        )
    if (source.scored_on == "val") != (data.val is not None):
        raise InputError(f"the network was scored on {source.scored_on}; load {data.name} split for that")


def _check_place(folder: Path) -> None:
    """Whatever is not an earlier export is somebody's work, and not to be replaced."""
    if folder.exists() and not (folder / "card.json").is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} exists and is not an exported model; name another folder")


def _put_in_place(new: Path, folder: Path, aside: Path) -> None:
    """Rename `new` to `folder`, and what was there to `aside`; back again if that is interrupted."""
    try:
        if folder.exists():
            os.rename(folder, aside)
        os.rename(new, folder)
    except BaseException:
        if aside.exists() and not folder.exists():
            os.rename(aside, folder)
        raise


def _write(source: ModelSource, data: Dataset, folder: Path) -> dict[str, Any]:
    (folder / "model.py").write_text(model_source(source, data), encoding="utf-8")
    (folder / "weights.pt").write_bytes(_serialised(source.state))
    accuracy = _measure(folder, source, data)
    mistakes = mistakes_of_state(source.arch, source.state, data)
    (folder / MISREAD).write_bytes(sprite(mistakes, data.scored.images))
    text = json.dumps(_card(source, data, accuracy, mistakes, folder), indent=2, allow_nan=False)
    (folder / "card.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(_readme(source, data, accuracy), encoding="utf-8")
    card: dict[str, Any] = json.loads(text)
    return card


def _serialised(state: Mapping[str, Tensor]) -> bytes:
    """A plain state_dict on the CPU, each tensor with a storage of its own: a view would drag a larger one along."""
    plain = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    return buffer.getvalue()


def _measure(folder: Path, source: ModelSource, data: Dataset) -> dict[str, float]:
    """Accuracy of the written files on the scored split and on test. Raises ExportMismatchError."""
    module = _load_module(folder / "model.py")
    # Where the search trains if it can: another kind of processor rounds otherwise, which can change an answer.
    device = training_device()
    net = module.load().to(device)

    def accuracy(split: Split) -> float:
        return float(module.accuracy(net, split.images.to(device), split.labels.to(device)))

    scored = accuracy(data.scored)
    if scored != source.state_accuracy:
        raise ExportMismatchError(
            f"the exported files reach {scored:.4%} on {source.scored_on}, recorded was {source.state_accuracy:.4%}: "
            "these are other weights or data than in the training, or another kind of processor"
        )
    return {"scored": scored, "test": scored if data.val is None else accuracy(data.test)}


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported_model", path)
    assert spec is not None  # any path that ends in .py has one, with a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    return module


def _card(
    source: ModelSource, data: Dataset, accuracy: Mapping[str, float], mistakes: Mistakes, folder: Path
) -> dict[str, Any]:
    cost = compute_cost(source.arch)
    last = source.curve[-1]
    splits = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "study": source.study,
        "trial": source.trial,
        "cost": {
            "n_params": cost.n_params,
            "macs": cost.macs,
            "feature_receptive_field": cost.feature_receptive_field,
            "receptive_field": cost.receptive_field,
            "peak_activation_bytes": cost.peak_activation_bytes,
            "peak_activation_bytes_int8": cost.peak_activation_bytes // 4,
        },
        "limits": {"max_params": source.max_params, "epochs": source.epochs},
        "accuracy": {
            "select_on": source.select_on,
            "scored_on": source.scored_on,
            "note": source.selection_note,
            "score": source.score,
            "epoch_rule": source.epoch_rule,
            "recorded": source.accuracy,
            "file_on_scored": accuracy["scored"],
            "file_on_test": accuracy["test"],
            "test_note": _test_note(source),
            "last_epoch_train": last["train_accuracy"],
            "last_epoch_scored": last["accuracy"],
        },
        "seed": source.seed,
        "epochs": source.curve[-1]["epoch"],
        "precision": source.precision,
        # With every default, so that the card needs no version of this project to be read.
        "arch": asdict(source.arch),
        "recipe": asdict(source.recipe),
        "data": {
            "name": data.name,
            "checksum": data.checksum,
            "mean": data.mean,
            "std": data.std,
            "classes": data.classes,
            "n_images": {name: len(split) for name, split in splits.items() if split is not None},
        },
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.py", "weights.pt")
        },
        "confirmation": source.confirmation.facts() if source.confirmation else None,
        # On the scored images; those of `misread` are the tiles of misread.png, in this order.
        "mistakes": mistakes.to_dict(),
    }


def _test_note(source: ModelSource) -> str:
    if source.select_on == "test":
        return "selected on test"
    when = "for this export" if source.scored_on == "val" else "after the last epoch of this training"
    return f"read once, {when}, after the selection"


_PACKAGES = ("torch", "torchvision", "optuna")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


_README = """\
# {n_params:,} parameters for {dataset}

{origin}: {result}. {note}

```python
import sys, torch
sys.path.insert(0, ".")  # the folder that holds model.py
import model
images = torch.zeros(1, {shape}, dtype=torch.uint8)  # grey levels as in {dataset}
print([model.CLASSES[i] for i in model.load()(model.preprocess(images)).argmax(1)])
```

- `model.py`: the network, its analysis and layer table; needs torch alone
- `weights.pt`: its state_dict, safe to read with `torch.load(..., weights_only=True)`
- `card.json`: origin, settings, accuracies, mistakes, data, versions and checksums
- `misread.png`: the images that it gets wrong
"""


def _readme(source: ModelSource, data: Dataset, accuracy: Mapping[str, float]) -> str:
    origin = f"Study {source.study}" + ("" if source.trial is None else f", trial {source.trial}")
    test = "" if data.val is None else f" {accuracy['test']:.2%} on the test set, read once for this export."
    return _README.format(
        n_params=compute_cost(source.arch).n_params,
        dataset=data.name,
        origin=origin,
        result=source.result,
        note=" ".join(filter(None, (source.evidence, source.selection_note + test))),
        shape=", ".join(map(str, source.arch.input_shape)),
    )
