"""A trained network as a folder that runs without this project: the network in every format that is wanted, its card.

Nothing is put in place before the written files, loaded from outside, have repeated the recorded accuracy.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from search.data.dataset import Dataset, Split
from search.engine.confusion import confusion_of_state
from search.engine.metrics import balanced_accuracy, is_imbalanced
from search.engine.train import training_device
from search.errors import FailureError, InputError
from search.export.card import Measured, make_card, readme
from search.export.folder import check_folder, whole_folder
from search.export.formats.format import Exporting, Format
from search.export.formats.table import FORMATS, TORCH, check_formats, in_order
from search.export.latency import Answer, Latencies, milliseconds
from search.export.standalone.source import model_source
from search.export.trained_model import ModelSource
from search.report.images import sprite
from search.study.card import CARD, MISREAD

# Images answered at once where only the answers count.
BATCH_SIZE = 250
# Largest difference of a logit that rounding explains, as a share of the largest logit: float32 has seven digits, a few
# of which are lost in sums of some hundred products.
TOLERANCE = 1e-4
# Largest share of the images that another processor may answer differently, which rounds differently in the last digit.
MAX_DIFFERING = 5e-4


def max_differing(n_images: int) -> int:
    """Return how many of n images the exported files may answer right more, or less, than the training recorded."""
    return max(1, round(MAX_DIFFERING * n_images))


class ExportMismatchError(FailureError):
    """The exported files do not repeat the recorded accuracy, or one file not what another computes."""


def export_model(
    source: ModelSource,
    data: Dataset,
    folder: Path,
    formats: Sequence[str] = (),
    *,
    force: bool = False,
    latencies: Latencies | None = None,
) -> dict[str, Any]:
    """Write `folder` and return its card. The folder appears whole or, on any error, not at all.

    formats: beside model.py and weights.pt, names of search.config.FORMATS. force: replace an earlier export.
    latencies: those that are known already, and where to keep new ones; None measures all.
    Raises InputError where `folder` is taken or cannot be written, where `data` is not what the network was made for or
    a format's packages are missing; ExportMismatchError where the files do not repeat the recorded accuracy.
    """
    try:
        folder = folder.resolve()
    except RuntimeError as error:
        raise InputError(f"{folder} is a link to itself; name another folder with --out") from error
    _check_data(source, data)
    check_formats(formats)
    check_folder(folder, force=force)
    with whole_folder(folder) as new:
        return _write(source, data, new, in_order(formats), latencies or Latencies())


def _check_data(source: ModelSource, data: Dataset) -> None:
    arch = source.arch
    if (data.input_shape, data.n_classes) != (arch.input_shape, arch.n_classes):
        raise InputError(
            f"the network takes {arch.input_shape} and tells {arch.n_classes} classes apart, but {data.name} has "
            f"{data.input_shape} and {data.n_classes}"
        )
    if (source.scored_on == "val") != (data.val is not None):
        raise InputError(f"the network was scored on {source.scored_on}; load {data.name} split for that")


def _write(
    source: ModelSource, data: Dataset, folder: Path, formats: Sequence[str], latencies: Latencies
) -> dict[str, Any]:
    (folder / "model.py").write_text(model_source(source, data), encoding="utf-8")
    (folder / "weights.pt").write_bytes(_serialised(source.state))
    module = _load_module(folder / "model.py")
    scored, test = _accuracies(module, source, data)
    mistakes = confusion_of_state(source.arch, source.state, data)
    (folder / MISREAD).write_bytes(sprite(mistakes, data.scored.images))
    balanced = tuple(_balanced(module, split) for split in (data.scored, data.test)) if _is_shown(source, data) else ()
    forms = _write_formats(Exporting(source, data, module, folder), formats, latencies)
    measured = Measured(scored, test, mistakes, forms, balanced)
    text = json.dumps(make_card(source, data, measured, folder), indent=2, allow_nan=False)
    card: dict[str, Any] = json.loads(text)
    (folder / "README.md").write_text(readme(card, source, data), encoding="utf-8")
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return card


def _serialised(state: Mapping[str, Tensor]) -> bytes:
    """A plain state_dict on the CPU, each tensor with a storage of its own: a view would drag a larger one along."""
    plain = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    buffer = io.BytesIO()
    torch.save(plain, buffer)
    return buffer.getvalue()


def _accuracies(module: ModuleType, source: ModelSource, data: Dataset) -> tuple[float, float]:
    """Measure the accuracies of the written files on the scored split and on test. Raises ExportMismatchError."""
    # Where the search trains if it can: another kind of processor rounds otherwise, which can change an answer.
    device = training_device()
    net = module.load().to(device)

    def accuracy(split: Split) -> float:
        return float(module.accuracy(net, split.images.to(device), split.labels.to(device)))

    scored = accuracy(data.scored)
    n_images = len(data.scored)
    n_differing = abs(round((scored - source.state_accuracy) * n_images))
    if n_differing > max_differing(n_images):
        raise ExportMismatchError(
            f"the exported files reach {scored:.4%} on {source.scored_on}, recorded was {source.state_accuracy:.4%}: "
            f"{n_differing} of {n_images:,} images are more than another processor explains, so the weights or the "
            "data are not those of the training"
        )
    return scored, scored if data.val is None else accuracy(data.test)


def _is_shown(source: ModelSource, data: Dataset) -> bool:
    """Return whether balanced accuracy goes with the accuracy."""
    return source.is_balanced or is_imbalanced(data.scored.labels) or is_imbalanced(data.test.labels)


def _balanced(module: ModuleType, split: Split) -> float:
    net = module.load()
    answers = _logits(lambda images: module.probabilities(net, images), split.images).argmax(1)
    return balanced_accuracy(answers, split.labels)


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None  # any path that ends in .py has one, with a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    return module


def _write_formats(exporting: Exporting, names: Sequence[str], latencies: Latencies) -> dict[str, dict[str, Any]]:
    """Write each, open it again, and measure it on the test set."""
    test = exporting.data.test
    expected = _logits(FORMATS[TORCH].open(exporting), test.images)
    network = exporting.source.arch.key()
    found = {}
    for name in names:
        form = FORMATS[name]
        extra = form.write(exporting)
        answer = form.open(exporting)
        agreement = _agreement(name, form, _logits(answer, test.images), expected, test)
        latency = latencies.of(network, name, form.runtime_version, partial(milliseconds, answer, test.images))
        found[name] = {
            "files": list(form.files),
            "bytes": sum((exporting.folder / file).stat().st_size for file in form.files),
            "runtime": latency["runtime"],
            "processor": latency["processor"],
            "milliseconds": latency["milliseconds"],
            **agreement,
            **extra,
        }
    return found


def _logits(answer: Answer, images: Tensor) -> Tensor:
    return torch.cat([answer(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)])


def _agreement(name: str, form: Format, logits: Tensor, expected: Tensor, split: Split) -> dict[str, Any]:
    """Measure a format's accuracy and distance from the network. Raises ExportMismatchError where that is too far."""
    difference = float((logits - expected).abs().max())
    largest = float(expected.abs().max())
    if not form.is_quantised and not difference <= TOLERANCE * max(1.0, largest):
        raise ExportMismatchError(
            f"format {name} computes something else than the network: a logit differs by {difference:.3g}"
        )
    answers = logits.argmax(1)
    balanced = {"test_balanced_accuracy": balanced_accuracy(answers, split.labels)}
    return {
        "test_accuracy": int((answers == split.labels).sum()) / len(split),
        **(balanced if is_imbalanced(split.labels) else {}),
        "other_answers": int((answers != expected.argmax(1)).sum()),
        "largest_logit_difference": float(f"{difference:.1e}"),
    }
