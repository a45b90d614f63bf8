from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.build import build_model
from models.cost import compute_cost
from models.recipe import RecipeConfig
from models.record import RecordError
from models.spec import ArchSpec, Block, Head, Stage
from search.config import DataConfig, SearchConfig
from search.errors import InputError
from search.evidence.confirm import Confirmation, Contender
from search.evidence.repeats import REPORT, Repeat, RepeatResult
from search.evidence.statistics import estimate
from search.export.trained_model import ModelSource, read_weights, source_from_confirmation, source_from_trial
from search.study.trials import DIVERGED, FINISHED, REPEATED, TrialRecord
from tests.search.made_up_networks import thrifty_spec

SPEC = ArchSpec((1, 8, 8), 10, (Stage((Block(4),)),), Head("gap_linear"))
CONFIG = SearchConfig(DataConfig("digits", "data", "val"), max_params=8000, epochs=3, score="best", seed=5)
CURVE: tuple[dict[str, Any], ...] = tuple(
    {"epoch": i, "accuracy": accuracy} for i, accuracy in enumerate((0.8, 0.9, 0.9, 0.7), 1)
)
RECORD = TrialRecord(
    number=12,
    outcome=FINISHED,
    value=0.9,
    params={},
    seed=1,
    arch=SPEC,
    recipe=RecipeConfig(epochs=3),
    curve=CURVE,
    precision="bfloat16",
)


N_PARAMS = compute_cost(SPEC).n_params
LIMITS = {"max_params": {"bound": 8000, "value": N_PARAMS, "slack": 8000 - N_PARAMS, "of": "parameters"}}


def save_weights(path: Path, spec: ArchSpec = SPEC) -> dict[str, torch.Tensor]:
    state = build_model(spec).state_dict()
    torch.save(state, path)
    return state


def test_trial_and_weights_become_a_source(tmp_path: Path) -> None:
    state = save_weights(tmp_path / "trial.pt")
    source = source_from_trial(RECORD, CONFIG, "tiny", tmp_path / "trial.pt")
    assert {name: tensor.tolist() for name, tensor in source.state.items()} == {
        name: tensor.tolist() for name, tensor in state.items()
    }
    expected = ModelSource(
        study="tiny",
        trial=12,
        arch=SPEC,
        recipe=RecipeConfig(epochs=3),
        state=source.state,
        seed=1,
        score="best",
        scored_on="val",
        select_on="val",
        accuracy=0.9,
        curve=CURVE,
        max_params=8000,
        epochs=3,
        precision="bfloat16",
        limits=LIMITS,
        origin="proposed",
    )
    assert vars(source) == vars(expected)


def test_shared_weights_are_stored_under_each_name(tmp_path: Path) -> None:
    spec, path = thrifty_spec((1, 8, 8)), tmp_path / "trial.pt"
    state = save_weights(path, spec)
    source = source_from_trial(replace(RECORD, arch=spec), CONFIG, "tiny", path)
    assert source.state.keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in source.state.items())
    assert torch.equal(source.state["stage1.11.weight"], source.state["stage1.7.weight"])
    del state["stage1.11.weight"]
    torch.save(state, path)
    with pytest.raises(InputError, match="something other than the weights of this trial's network"):
        source_from_trial(replace(RECORD, arch=spec), CONFIG, "tiny", path)


@pytest.mark.parametrize(
    ("score", "accuracy", "state_accuracy", "words"),
    [
        ("last", 0.7, 0.7, "after epoch 4, the last"),
        ("best", 0.9, 0.9, "after epoch 2 of 4, the best"),
        ("last3", 2.5 / 3, 0.7, "as the mean of epochs 2 to 4 (the weights are those after epoch 4)"),
    ],
)
def test_epoch_rules(score: str, accuracy: float, state_accuracy: float, words: str, tmp_path: Path) -> None:
    save_weights(tmp_path / "trial.pt")
    config = replace(CONFIG, score=score)
    source = source_from_trial(replace(RECORD, value=accuracy), config, "tiny", tmp_path / "trial.pt")
    assert source.state_accuracy == state_accuracy
    assert source.epoch_rule == words
    assert source.result == f"{accuracy:.2%} on the validation images {words}, seed 1"


# A training from a fresh seed, on all training images and scored after its last epoch alone.
NETWORK = RepeatResult(
    number=3,
    repeat=Repeat(REPORT, trial=12, seed=77, select_on="test", arch=SPEC, recipe=RecipeConfig(epochs=15)),
    value=0.85,
    misread=(4, 9),
    curve=({"epoch": 15, "train_accuracy": 0.9, "accuracy": 0.85},),
    seconds=60.0,
    precision="float32",
)
CONFIRMED = Confirmation(12, (Contender(12, 0.9, 0.88, None),), estimate([0.84, 0.85, 0.87]), NETWORK, None)


def test_a_confirmed_network_and_its_weights_become_a_source(tmp_path: Path) -> None:
    save_weights(tmp_path / "trial.pt")
    source = source_from_confirmation(CONFIRMED, CONFIG, "tiny", tmp_path / "trial.pt")
    expected = ModelSource(
        study="tiny",
        trial=12,
        arch=SPEC,
        recipe=RecipeConfig(epochs=15),
        state=source.state,
        seed=77,
        score="last",  # whatever the rule of the search
        scored_on="test",
        select_on="val",
        accuracy=0.85,
        curve=NETWORK.curve,
        max_params=8000,
        epochs=3,
        precision="float32",
        confirmation=CONFIRMED,
        limits=LIMITS,
    )
    assert vars(source) == vars(expected)
    assert source.state_accuracy == 0.85
    assert source.result == "85.00% on the test set after epoch 15, the last, seed 77"


@pytest.mark.parametrize(
    ("select_on", "scored_on", "starts", "ends"),
    [
        ("test", "test", "Selected on test: the search chose by these same images,", "a little less on new ones."),
        ("val", "val", "Selected on val: the search chose by images held out", "and never saw the test set."),
        (
            "val",
            "test",
            "Selected on val: the search chose by images held out",
            "The winner was then trained again on all training images, and the test set read once, after the last "
            "epoch.",
        ),
    ],
)
def test_the_selection_note_says_which_images_chose(
    select_on: str, scored_on: str, starts: str, ends: str, tmp_path: Path
) -> None:
    save_weights(tmp_path / "trial.pt")
    source = source_from_confirmation(CONFIRMED, CONFIG, "tiny", tmp_path / "trial.pt")
    note = replace(source, select_on=select_on, scored_on=scored_on).selection_note
    assert note.startswith(starts)
    assert note.endswith(ends)
    assert note.count("Selected on") == 1


@pytest.mark.parametrize("changes", [{"score": "first"}, {"scored_on": "train"}, {"select_on": "train"}])
def test_unknown_rule_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    save_weights(tmp_path / "trial.pt")
    source = source_from_trial(RECORD, CONFIG, "tiny", tmp_path / "trial.pt")
    with pytest.raises(RecordError, match=next(iter(changes.values()))):
        replace(source, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outcome": DIVERGED, "value": None}, "trial 12 cannot be exported, its outcome is 'diverged'$"),
        ({"outcome": REPEATED, "repeats": 3}, "'repeated'; export trial 3, which it repeats$"),
    ],
)
def test_trial_without_a_result_of_its_own(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        source_from_trial(replace(RECORD, **changes), CONFIG, "tiny", Path("trial.pt"))


class Bomb:
    """Object that creates a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def write_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(Bomb(path.with_name("mark"))))


def write_torch_pickle(path: Path) -> None:
    torch.save(Bomb(path.with_name("mark")), path)


def write_half(path: Path) -> None:
    save_weights(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write_other_network(path: Path) -> None:
    save_weights(path, replace(SPEC, n_classes=4))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (str, "cannot read the weights file .*: No such file"),
        (Path.mkdir, "cannot read the weights file .*: Is a directory"),
        (Path.touch, "is damaged or not a weights file"),
        (lambda path: path.write_text("weights"), "is damaged or not a weights file"),
        (write_half, "is damaged or not a weights file"),
        (write_pickle, "is damaged or not a weights file"),
        (write_torch_pickle, "is damaged or not a weights file"),
        (lambda path: torch.save([1, 2], path), "something other than the weights of this trial's network"),
        (lambda path: torch.save({"stage1.0.weight": 3}, path), "something other than the weights"),
        (write_other_network, "something other than the weights"),
    ],
    ids=["missing", "folder", "empty", "text", "half", "pickle", "torch pickle", "list", "number", "other network"],
)
def test_bad_weights_file(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "trial-00012.pt"
    write(path)
    with pytest.raises(InputError, match=message) as raised:
        source_from_trial(RECORD, CONFIG, "tiny", path)
    assert str(path) in str(raised.value)
    with pytest.raises(InputError, match=message):
        source_from_confirmation(CONFIRMED, CONFIG, "tiny", path)
    assert not (tmp_path / "mark").exists(), "the file was executed"


def test_weights_of_1_that_earlier_versions_stored_are_left_out(tmp_path: Path) -> None:
    """Batch norm without scale had a weight of 1 in the files of version 0.1."""
    spec = thrifty_spec((1, 12, 12), 4)
    state = build_model(spec).state_dict()
    names = [name.replace("bias", "weight") for name in state if name.replace("bias", "weight") not in state]
    assert names
    torch.save(state | {name: torch.ones(8) for name in names}, tmp_path / "weights.pt")
    assert read_weights(tmp_path / "weights.pt", spec).keys() == state.keys()
    torch.save(state | {names[0]: torch.full((8,), 2.0)}, tmp_path / "weights.pt")
    with pytest.raises(InputError, match="holds something other than the weights"):
        read_weights(tmp_path / "weights.pt", spec)
