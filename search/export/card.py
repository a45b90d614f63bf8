"""Make the card of an exported network, which describes it as JSON, and the README.md with its contents."""

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
from search.export.board.firmware import CORES
from search.export.formats.table import FORMATS
from search.export.standalone.framing import framing_for
from search.export.trained_model import SPLIT_NAMES, ModelSource
from search.report.facts import recipe_facts
from search.study.provenance import version_of
from search.text import parameter_count

_PACKAGES = ("torch", "torchvision", "optuna")
# Number of the most frequent confusions that the card lists.
N_CONFUSIONS = 10


@dataclass(frozen=True)
class Measured:
    """Results that were measured with the written files.

    scored, test  accuracy of model.py with weights.pt on the scored split and on the test set, in [0, 1]
    confusion     confusion on the scored split
    formats       files, size, accuracy, agreement and latency of each format, by name
    balanced      balanced accuracies on the same two splits; empty if classes are balanced and accuracy is the metric
    """

    scored: float
    test: float
    confusion: Confusion
    formats: Mapping[str, Mapping[str, Any]]
    balanced: tuple[float, ...] = ()


def make_card(source: ModelSource, data: Dataset, measured: Measured, folder: Path) -> dict[str, Any]:
    """Return the content of card.json, in JSON types and tuples; `folder` holds the files that it names."""
    cost = compute_cost(source.arch)
    last = source.curve[-1]
    splits = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "study": source.study,
        "trial": source.trial,
        # Hand-designed, starting point, user network, adopted from another study, or proposed by the sampler.
        "origin": source.origin,
        "cost": {
            "n_params": cost.n_params,
            # With a copy of shared weights for every layer that uses them.
            "n_stored": cost.n_stored,
            "macs": cost.macs,
            "feature_receptive_field": cost.feature_receptive_field,
            "receptive_field": cost.receptive_field,
            "peak_activation_bytes": cost.peak_activation_bytes,
            "peak_activation_bytes_int8": cost.peak_activation_bytes_int8,
        },
        "limits": {"max_params": source.max_params, "epochs": source.epochs},
        # Every limit of the search, with the value of the network.
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
            # Difference of correct answers between the file and the training, perhaps on another processor.
            "file_differs_by": abs(round((measured.scored - source.state_accuracy) * len(data.scored))),
            **dict(zip(("balanced_on_scored", "balanced_on_test"), measured.balanced, strict=False)),
            "test_note": _test_note(source),
            "last_epoch_train": last["train_accuracy"],
            "last_epoch_scored": last["accuracy"],
        },
        "seed": source.seed,
        "epochs": source.curve[-1]["epoch"],
        "precision": source.precision,
        # With every default, so that the card can be read without this project.
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
        # Confusion on the scored images. The images of `misread` are the tiles of misread.png, in this order.
        "mistakes": measured.confusion.to_dict(),
        "class_accuracies": {
            # None if the split has no image of a class.
            name: None if math.isnan(accuracy) else accuracy
            for name, accuracy in zip(data.classes, measured.confusion.class_accuracies, strict=True)
        },
        "confusions": confusions(measured.confusion, data.classes),
        # On the test set. Milliseconds are those of one call on one thread, from pixels to logits, by batch size.
        "formats": measured.formats,
    }


def _test_note(source: ModelSource) -> str:
    if source.network:
        return "nothing but the median of the trainings was chosen by it"
    if source.select_on == "test":
        return "selected on test"
    moment = "for this export" if source.scored_on == "val" else "after the last epoch of this training"
    return f"read once, {moment}, after the selection"


def confusions(confusion: Confusion, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the most frequent confusions: the class shown, the class it was taken for, and the number of images."""
    pairs = [
        (n, classes[label], classes[answer])
        for label, row in enumerate(confusion.confusion)
        for answer, n in enumerate(row)
        if n and label != answer
    ]
    most_frequent = sorted(pairs, key=lambda pair: -pair[0])[:N_CONFUSIONS]
    return [{"shown": shown, "taken_for": taken_for, "n": n} for n, shown, taken_for in most_frequent]


def readme(card: Mapping[str, Any], source: ModelSource, data: Dataset) -> str:
    """Return the text of the folder's README.md; `card` is read from its JSON."""
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
            parameters=parameter_count(card["cost"]["n_params"], card["cost"]["n_stored"]),
            source=source,
            origin=_origin(source),
            test_files=data.test_files,
            cores=CORES,
            processors=sorted({form["processor"] for form in formats.values()}),
            usages=usages,
            quantised=[name for name in formats if FORMATS[name].is_quantised],
            split=SPLIT_NAMES[source.scored_on],
            own_kind=data.name.partition(":")[0] if data.is_own else "",
            recipe="; ".join(f"{name} {value}" for name, value in recipe_facts(source.recipe).items()),
        )
    )


def _origin(source: ModelSource) -> str:
    """Return the study, the trial and the origin of a network, in words."""
    if source.trial is None:
        return f"Study {source.study}"
    return f"Study {source.study}, trial {source.trial}" + (f" ({source.origin})" if source.origin else "")


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
