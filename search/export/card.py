"""The card of an exported network: everything about it as JSON, and the same to be read (README.md)."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from models.cost import compute_cost
from search.data.dataset import Dataset
from search.engine.confusion import Confusion
from search.export.formats.table import FORMATS
from search.export.standalone.framing import framing_for
from search.export.trained_model import SPLIT_NAMES, ModelSource
from search.report.facts import recipe_facts
from search.study.provenance import version_of

_PACKAGES = ("torch", "torchvision", "optuna")
# Of the pairs of classes that are taken for each other, the most frequent.
N_CONFUSIONS = 10


@dataclass(frozen=True)
class Measured:
    """Figures that were measured of the written files.

    scored, test  accuracy of model.py with weights.pt on the scored split and on the test set, in [0, 1]
    mistakes      on the scored split
    formats       by name: files, size, accuracy, agreement and latency of each
    balanced      balanced accuracies on the same two splits; none where classes are balanced and nobody asked
    """

    scored: float
    test: float
    mistakes: Confusion
    formats: Mapping[str, Mapping[str, Any]]
    balanced: tuple[float, ...] = ()


def make_card(source: ModelSource, data: Dataset, measured: Measured, folder: Path) -> dict[str, Any]:
    """The content of card.json; `folder` holds the files that it names. Plain JSON types but for tuples."""
    cost = compute_cost(source.arch)
    last = source.curve[-1]
    splits = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "study": source.study,
        "trial": source.trial,
        "cost": {
            "n_params": cost.n_params,
            # Where every layer has a copy of the weights that it shares.
            "n_stored": cost.n_stored,
            "macs": cost.macs,
            "feature_receptive_field": cost.feature_receptive_field,
            "receptive_field": cost.receptive_field,
            "peak_activation_bytes": cost.peak_activation_bytes,
            "peak_activation_bytes_int8": cost.peak_activation_values,
        },
        "limits": {"max_params": source.max_params, "epochs": source.epochs},
        # Every limit of the search, with where the network stands.
        "limits_met": source.limits,
        "accuracy": {
            "select_on": source.select_on,
            "scored_on": source.scored_on,
            "note": source.selection_note,
            "score": source.score,
            "metric": source.metric,
            "epoch_rule": source.epoch_rule,
            "recorded": source.accuracy,
            "file_on_scored": measured.scored,
            "file_on_test": measured.test,
            # Images that make the difference between the file here and the training, perhaps on another processor.
            "file_differs_by": abs(round((measured.scored - source.state_accuracy) * len(data.scored))),
            **dict(zip(("balanced_on_scored", "balanced_on_test"), measured.balanced, strict=False)),
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
            "framing": asdict(framing_for(data)),
            "mean": data.mean,
            "std": data.std,
            "classes": data.classes,
            "terms": data.terms,
            "n_images": {name: len(split) for name, split in splits.items() if split is not None},
        },
        "versions": {"python": platform.python_version()} | {name: version_of(name) for name in _PACKAGES},
        "sha256": {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("model.py", "weights.pt")
        },
        "confirmation": source.confirmation.facts() if source.confirmation else None,
        # On the scored images; those of `misread` are the tiles of misread.png, in this order.
        "mistakes": measured.mistakes.to_dict(),
        "class_accuracies": {
            # None where the split shows no image of a class.
            name: None if math.isnan(accuracy) else accuracy
            for name, accuracy in zip(data.classes, measured.mistakes.class_accuracies, strict=True)
        },
        "confusions": confusions(measured.mistakes, data.classes),
        # On the test set; milliseconds of one call on one thread, from grey levels or colours to logits, by batch size.
        "formats": measured.formats,
    }


def _test_note(source: ModelSource) -> str:
    if source.network:
        return "nothing but the median of the trainings was chosen by it"
    if source.select_on == "test":
        return "selected on test"
    when = "for this export" if source.scored_on == "val" else "after the last epoch of this training"
    return f"read once, {when}, after the selection"


def confusions(mistakes: Confusion, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """The commonest mistakes: what was shown, what it was taken for, how often."""
    pairs = [
        (n, classes[label], classes[answer])
        for label, row in enumerate(mistakes.confusion)
        for answer, n in enumerate(row)
        if n and label != answer
    ]
    commonest = sorted(pairs, key=lambda pair: -pair[0])[:N_CONFUSIONS]
    return [{"shown": shown, "taken_for": taken_for, "n": n} for n, shown, taken_for in commonest]


def readme(card: Mapping[str, Any], source: ModelSource, data: Dataset) -> str:
    """README.md of the folder; `card` as read back from its JSON."""
    formats: Mapping[str, Any] = card["formats"]
    usages = [
        _jinja().from_string(FORMATS[name].usage).render(card=card, form=form, arch=source.arch)
        for name, form in formats.items()
        if FORMATS[name].usage
    ]
    return (
        _jinja()
        .get_template("export_readme.md")
        .render(
            card=card,
            source=source,
            origin=f"Study {source.study}" + ("" if source.trial is None else f", trial {source.trial}"),
            test_files=data.test_files,
            processors=sorted({form["processor"] for form in formats.values()}),
            usages=usages,
            quantised=[name for name in formats if FORMATS[name].is_quantised],
            split=SPLIT_NAMES[source.scored_on],
            is_folder=data.is_folder,
            recipe="; ".join(f"{name} {value}" for name, value in recipe_facts(source.recipe).items()),
        )
    )


@cache
def _jinja() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 (Markdown, not HTML)
    )
    environment.filters["grouped"] = "{:,}".format
    return environment
