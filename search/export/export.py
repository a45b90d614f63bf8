"""Export a trained network as a folder that runs without this project, with the requested formats and a card.

The folder is put in place only after its files, loaded without the project, have repeated the recorded accuracy.
"""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from models.build import blank_model, shared_names
from models.spec import ArchSpec
from search.data.dataset import Dataset, Split
from search.engine.confusion import confusion_of_state
from search.engine.metrics import balanced_accuracy, is_imbalanced
from search.engine.train import training_device
from search.errors import FailureError, InputError
from search.export.card import Measured, make_card, readme
from search.export.folder import check_folder, whole_folder
from search.export.formats.format import DEFAULT_OPTIONS, Exporting, Format, FormatOptions
from search.export.formats.table import FORMATS, TORCH, check_formats, in_order
from search.export.latency import Answer, Latencies, milliseconds
from search.export.standalone.source import model_source
from search.export.trained_model import ModelSource
from search.report.images import sprite
from search.study.card import CARD, MISREAD
from search.text import counted

# Number of images in a batch when only the answers matter, not the time they take.
BATCH_SIZE = 250
# Largest difference of a logit that rounding explains, as a share of the largest logit. float32 has seven digits, and
# sums of some hundred products lose a few of them.
TOLERANCE = 1e-4
# Largest share of the images whose answer may change on another processor, which rounds the last digit differently.
MAX_DIFFERING = 5e-4


def max_differing(n_images: int) -> int:
    """Return by how many of `n_images` the correct answers of the exported files may differ from the recorded ones."""
    return max(1, round(MAX_DIFFERING * n_images))


class ExportMismatchError(FailureError):
    """Error for exported files that do not repeat the recorded accuracy, or that compute different results."""


Announce = Callable[[str], None]


def ignore(_line: str) -> None:
    """Do nothing, where nobody waits for the export."""


def export_model(
    source: ModelSource,
    data: Dataset,
    folder: Path,
    formats: Sequence[str] = (),
    *,
    force: bool = False,
    latencies: Latencies | None = None,
    announce: Announce = ignore,
    options: FormatOptions = DEFAULT_OPTIONS,
) -> dict[str, Any]:
    """Write the folder of an exported network, complete or on any error not at all, and return its card.

    formats    formats to write besides model.py and weights.pt, names of search.config.FORMATS
    force      True to replace an earlier export
    latencies  latencies of earlier exports, to which new ones are added; None measures all
    announce   function that is called with a line before each step that takes long
    options    options of the formats

    Raises InputError if `folder` exists or cannot be written, if the network was made for other data, or if packages of
    a format are missing. Raises ExportMismatchError if the files do not repeat the recorded accuracy.
    """
    try:
        folder = folder.resolve()
    except RuntimeError as error:
        raise InputError(f"{folder} is a link to itself; name another folder with --out") from error
    _check_data(source, data)
    check_formats(formats)
    check_folder(folder, force=force)
    with whole_folder(folder) as new_folder:
        return _write(source, data, new_folder, in_order(formats), latencies or Latencies(), announce, options)


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
    source: ModelSource,
    data: Dataset,
    folder: Path,
    formats: Sequence[str],
    latencies: Latencies,
    announce: Announce,
    options: FormatOptions,
) -> dict[str, Any]:
    announce(f"writing model.py and weights.pt, and scoring them on {counted(len(data.scored), 'image')}")
    (folder / "model.py").write_text(model_source(source, data), encoding="utf-8")
    (folder / "weights.pt").write_bytes(_serialise(source.state, source.arch))
    module = _load_module(folder / "model.py")
    scored, test = _accuracies(module, source, data)
    confusion = confusion_of_state(source.arch, source.state, data)
    (folder / MISREAD).write_bytes(sprite(confusion, data.scored.images))
    balanced = (
        tuple(_balanced(module, split) for split in (data.scored, data.test)) if _shows_balanced(source, data) else ()
    )
    formats_by_name = _write_formats(Exporting(source, data, module, folder, options), formats, latencies, announce)
    measured = Measured(scored, test, confusion, formats_by_name, balanced)
    text = json.dumps(make_card(source, data, measured, folder), indent=2, allow_nan=False)
    card: dict[str, Any] = json.loads(text)
    (folder / "README.md").write_text(readme(card, source, data), encoding="utf-8")
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return card


def _serialise(state: Mapping[str, Tensor], arch: ArchSpec) -> bytes:
    """Serialise the state_dict of a network on the CPU; weights that layers share are stored once.

    Tensors are copied, because a view would include the tensor it is part of.
    """
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state.items()
    }
    copies |= {name: copies[owner] for name, owner in shared_names(blank_model(arch)).items()}
    buffer = io.BytesIO()
    torch.save(copies, buffer)
    return buffer.getvalue()


def _accuracies(module: ModuleType, source: ModelSource, data: Dataset) -> tuple[float, float]:
    """Measure the accuracies of the written files on the scored split and on test. Raises ExportMismatchError."""
    # The device of the training if possible: another kind of processor rounds differently, which can change an answer.
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


def _shows_balanced(source: ModelSource, data: Dataset) -> bool:
    """Return whether the card shows balanced accuracy besides accuracy."""
    return source.is_balanced or is_imbalanced(data.scored.labels) or is_imbalanced(data.test.labels)


def _balanced(module: ModuleType, split: Split) -> float:
    net = module.load()
    answers = _logits(lambda images: module.probabilities(net, images), split.images).argmax(1)
    return balanced_accuracy(answers, split.labels)


def _load_module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("model", path)
    assert spec is not None  # any path that ends in .py has a spec with a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)
    return module


def _write_formats(
    exporting: Exporting, names: Sequence[str], latencies: Latencies, announce: Announce
) -> dict[str, dict[str, Any]]:
    """Write the named formats, open them again, and return the card's entry for each, measured on the test set."""
    test = exporting.data.test
    expected = _logits(FORMATS[TORCH].open(exporting), test.images)
    network = exporting.source.arch.key()
    entries = {}
    for name in names:
        form = FORMATS[name]
        if name != TORCH:
            announce(f"writing {name}, and comparing it with the network on {counted(len(test), 'test image')}")
        format_facts = form.write(exporting)
        answer = form.open(exporting)
        file_names = form.file_names(exporting.options)
        agreement = _agreement(name, form, _logits(answer, test.images), expected, test)
        variant = exporting.options.variant(name)
        latency = latencies.of(network, variant, form.runtime_version, partial(milliseconds, answer, test.images))
        entries[name] = {
            "files": list(file_names),
            "bytes": sum((exporting.folder / file).stat().st_size for file in file_names),
            "runtime": latency["runtime"],
            "processor": latency["processor"],
            "milliseconds": latency["milliseconds"],
            **agreement,
            **format_facts,
        }
    return entries


def _logits(answer: Answer, images: Tensor) -> Tensor:
    return torch.cat([answer(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)])


def _agreement(name: str, form: Format, logits: Tensor, expected: Tensor, split: Split) -> dict[str, Any]:
    """Return a format's accuracy and differences from the network. Raises ExportMismatchError if they are too large."""
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
