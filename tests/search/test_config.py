"""The settings of a run: what is refused and how it is named, and the way to plain data and back."""

import json
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from models.baselines import BASELINES
from models.recipe import INTERPOLATIONS, OPTIMIZERS, SCHEDULES, Augmentation, RecipeConfig, Schedule
from models.record import Record, RecordError
from search.config import METRICS, PRUNERS, SAMPLERS, SCORES, SELECT_ON, DataConfig, SearchConfig

DATA = DataConfig("mnist", "/data")
NAN = float("nan")


def search(data: Any = DATA, max_params: Any = 8000, **values: Any) -> SearchConfig:
    return SearchConfig(data, max_params, **values)


def data(dataset: Any = "mnist", directory: Any = "/data", **values: Any) -> DataConfig:
    return DataConfig(dataset, directory, **values)


# --- what is refused ------------------------------------------------------------------------------------------------

# Record, field, lowest and highest value that is accepted, name in the message (the command line's, if it has one).
RANGES: list[tuple[Callable[..., Record], str, float, float, str]] = [
    (Augmentation, "rotation", 0.0, 180.0, "rotation"),
    (Augmentation, "shift", 0.0, 1.0, "shift"),
    (Augmentation, "scale", 0.0, 0.9, "scale"),
    (Augmentation, "shear", 0.0, 80.0, "shear"),
    (Augmentation, "fill", 0.0, 1.0, "fill"),
    (Augmentation, "brightness", 0.0, 1.0, "brightness"),
    (Augmentation, "contrast", 0.0, 1.0, "contrast"),
    (Augmentation, "erase_p", 0.0, 1.0, "erase_p"),
    (Augmentation, "mirror_p", 0.0, 1.0, "mirror_p"),
    (Augmentation, "crop_padding", 0.0, 1.0, "crop_padding"),
    (lambda crop_p: Augmentation(crop_p=crop_p, crop_side=22), "crop_p", 0.0, 1.0, "crop_p"),
    (Augmentation, "crop_side", 0, 10**6, "crop_side"),
    (lambda crop_side: Augmentation(crop_p=0.1, crop_side=crop_side), "crop_side", 1, 10**6, "crop_side"),
    (lambda high: Augmentation(erase_area=(0.1, high)), "high", 0.1, 1.0, r"erase_area\[1\]"),
    (lambda high: Augmentation(erase_ratio=(0.1, high)), "high", 0.1, math.inf, r"erase_ratio\[1\]"),
    (Schedule, "epochs", 0, 10**6, "schedule epochs"),
    (Schedule, "div_factor", 1.0, math.inf, "div_factor"),
    (Schedule, "final_div_factor", 1.0, math.inf, "final_div_factor"),
    (Schedule, "base_momentum", 0.0, 1.0, "base_momentum"),
    (Schedule, "max_momentum", 0.0, 1.0, "max_momentum"),
    (Schedule, "step_size", 1, 10**6, "step_size"),
    (Schedule, "gamma", 0.0, 1.0, "gamma"),
    (RecipeConfig, "epochs", 1, 10_000, "epochs"),
    (RecipeConfig, "batch_size", 2, 10**6, "batch_size"),
    (RecipeConfig, "lr", 1e-8, 100.0, "lr"),
    (RecipeConfig, "momentum", 0.0, 0.9999, "momentum"),
    (RecipeConfig, "weight_decay", 0.0, 1.0, "weight_decay"),
    (RecipeConfig, "label_smoothing", 0.0, 0.9, "label_smoothing"),
    (RecipeConfig, "ema_decay", 0.0, 0.99999, "ema_decay"),
    (search, "max_params", 1, 10**15, "budget"),
    (search, "max_macs", 1, 10**15, "max-macs"),
    (search, "max_memory", 1, 10**15, "max-memory"),
    (search, "max_weights_bytes", 1, 10**15, "max-weights-bytes"),
    (search, "min_rf", 1, 10**15, "min-rf"),
    (search, "max_latency", 1e-3, 1e6, "max-latency"),
    (search, "epochs", 1, 10_000, "epochs"),
    (search, "seed", 0, 2**32 - 1, "seed"),
]


@pytest.mark.parametrize(("make", "field", "low", "high", "name"), RANGES)
def test_ranges_hold_their_ends_and_no_more(
    make: Callable[..., Record], field: str, low: float, high: float, name: str
) -> None:
    whole = isinstance(low, int)
    make(**{field: low})
    below: list[float] = [low - 1] if whole else [math.nextafter(low, -math.inf), -math.inf, NAN]
    above: list[float] = []
    if high < math.inf:
        make(**{field: high})
        above = [high + 1] if whole else [math.nextafter(high, math.inf), math.inf]
    elif not whole:
        above = [math.inf]
    for value in below + above:
        with pytest.raises(RecordError, match=f"^{name} must be .*got {value!r}"):
            make(**{field: value})


@pytest.mark.parametrize(
    ("make", "field", "choices", "name"),
    [
        (Augmentation, "interpolation", INTERPOLATIONS, "interpolation"),
        (Schedule, "kind", SCHEDULES, "schedule kind"),
        (Schedule, "anneal", ("cos", "linear"), "anneal"),
        (RecipeConfig, "optimizer", OPTIMIZERS, "optimizer"),
        (data, "select_on", SELECT_ON, "select-on"),
        (search, "score", SCORES, "score"),
        (search, "sampler", tuple(SAMPLERS), "sampler"),
        (search, "pruner", tuple(PRUNERS), "pruner"),
        (search, "metric", METRICS, "metric"),
    ],
)
def test_choices(make: Callable[..., Record], field: str, choices: tuple[str, ...], name: str) -> None:
    for choice in choices:
        make(**{field: choice})
    for wrong in ("", choices[0].upper(), "other"):
        with pytest.raises(RecordError, match=f"^{name} must be one of {', '.join(choices)}, got {wrong!r}"):
            make(**{field: wrong})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Augmentation(erase_area=(0.0, 0.1)), r"erase_area\[0\] must be at least 1e-06, got 0.0"),
        (lambda: Augmentation(erase_area=(0.5, 0.2)), r"erase_area\[1\] must be between 0.5 and 1, got 0.2"),
        (lambda: Augmentation(erase_ratio=(3.3, 0.3)), r"erase_ratio\[1\] must be at least 3.3, got 0.3"),
        (lambda: Augmentation(crop_p=0.1), "crop_side must be between 1 and 1,000,000, got 0"),
        (lambda: Schedule(pct_start=-0.1), "pct_start must be .* got -0.1"),
        (lambda: Schedule(pct_start=NAN), "pct_start must be .* got nan"),
        # Nothing would be left to come down in.
        (lambda: Schedule(pct_start=1.0), "pct_start must be .* got 1.0"),
        (lambda: RecipeConfig(epochs=15, schedule=Schedule(epochs=14)), "schedule epochs must be at least 15, got 14"),
        (lambda: RecipeConfig(nesterov=True, momentum=0.0), "nesterov .*momentum"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], Record], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        make()


@pytest.mark.parametrize("epochs", [0, 15, 20])
def test_a_schedule_may_be_longer_than_the_training(epochs: int) -> None:
    assert RecipeConfig(epochs=15, schedule=Schedule(epochs=epochs)).schedule.epochs == epochs


@pytest.mark.parametrize(
    ("make", "field", "value", "message"),
    [
        (Augmentation, "rotation", "7", "Augmentation.rotation must be a number, got '7'"),
        (Augmentation, "rotation", None, "Augmentation.rotation must be a number, got None"),
        (Augmentation, "shift", True, "Augmentation.shift must be a number, got True"),
        (Augmentation, "interpolation", 0, "Augmentation.interpolation must be a text, got 0"),
        (Augmentation, "crop_side", 22.0, "Augmentation.crop_side must be a whole number, got 22.0"),
        (Augmentation, "erase_area", 0.1, "Augmentation.erase_area must be a tuple, each item a number, got 0.1"),
        (Augmentation, "erase_area", [0.1, 0.2], r"Augmentation.erase_area must be a tuple.* got \[0.1, 0.2\]"),
        (Augmentation, "erase_area", ("0.1", 0.2), "Augmentation.erase_area must be a tuple, each item a number"),
        (Augmentation, "erase_area", (0.1,), "erase_area"),
        (Augmentation, "erase_ratio", (0.3, 1.0, 3.3), "erase_ratio"),
        (Schedule, "kind", None, "Schedule.kind must be a text, got None"),
        (Schedule, "epochs", 20.0, "Schedule.epochs must be a whole number, got 20.0"),
        (Schedule, "cycle_momentum", 1, "Schedule.cycle_momentum must be true or false, got 1"),
        (Schedule, "step_size", True, "Schedule.step_size must be a whole number, got True"),
        (RecipeConfig, "epochs", "15", "RecipeConfig.epochs must be a whole number, got '15'"),
        (RecipeConfig, "batch_size", 128.0, "RecipeConfig.batch_size must be a whole number, got 128.0"),
        (RecipeConfig, "lr", "0.1", "RecipeConfig.lr must be a number, got '0.1'"),
        (RecipeConfig, "nesterov", "yes", "RecipeConfig.nesterov must be true or false, got 'yes'"),
        (RecipeConfig, "schedule", "onecycle", "RecipeConfig.schedule must be Schedule, got 'onecycle'"),
        (RecipeConfig, "augmentation", {}, "RecipeConfig.augmentation must be Augmentation, got {}"),
        (data, "dataset", None, "DataConfig.dataset must be a text, got None"),
        (data, "directory", 3, "DataConfig.directory must be a text, got 3"),
        (search, "data", "mnist", "SearchConfig.data must be DataConfig, got 'mnist'"),
        (search, "max_params", 8e3, "SearchConfig.max_params must be a whole number, got 8000.0"),
        (search, "max_macs", "1e6", "SearchConfig.max_macs must be a whole number or none, got '1e6'"),
        (search, "seed", None, "SearchConfig.seed must be a whole number, got None"),
    ],
)
def test_constructors_refuse_wrong_types(make: Callable[..., Record], field: str, value: Any, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        make(**{field: value})


@pytest.mark.parametrize(
    "record", [Augmentation(), Schedule(), RecipeConfig(), DATA, search()], ids=lambda r: type(r).__name__
)
def test_unknown_keys_are_refused(record: Record) -> None:
    values = record.to_dict()
    assert type(record).from_dict(values) == record
    with pytest.raises(RecordError, match=f"unknown key 'momenta' in {type(record).__name__}"):
        type(record).from_dict(values | {"momenta": 0.9})


@pytest.mark.parametrize("part", ["schedule", "augmentation"])
def test_unknown_keys_are_refused_in_the_parts_of_a_recipe(part: str) -> None:
    with pytest.raises(RecordError, match="unknown key 'momenta'"):
        RecipeConfig.from_dict({part: {"momenta": 0.9}})


@pytest.mark.parametrize(
    "recipe",
    [
        pytest.param(recipe, id=f"{id_}-{key}")
        for id_, baseline in BASELINES.items()
        for key, recipe in baseline.recipes.items()
    ],
)
def test_every_recipe_of_a_hand_designed_network_is_valid(recipe: RecipeConfig) -> None:
    replace(recipe)  # checks once more
    assert RecipeConfig.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


# --- to a study's settings and back ---------------------------------------------------------------------------------

# Nothing at its default.
CONFIG = SearchConfig(
    data=DataConfig("digits", "/data", select_on="val", image_size=(20, 30)),
    max_params=5000,
    max_macs=10**6,
    max_memory=10**5,
    max_weights_bytes=10**4,
    min_rf=12,
    bytes_in="int8",
    max_latency=1.5,
    dimensions=("stages = 2", 'head.kind = "conv"'),
    epochs=3,
    score="best",
    seed=7,
    sampler="random",
    pruner="none",
    metric="balanced_accuracy",
    augmentations=("shift", "mirror"),
    mirror=True,
    starts="none",
)


@pytest.mark.parametrize("config", [CONFIG, search()], ids=["all set", "defaults"])
def test_settings_and_back(config: SearchConfig) -> None:
    settings = json.loads(json.dumps(config.settings()))
    assert SearchConfig.from_settings(settings, "/data") == config
    moved = replace(config, data=replace(config.data, directory="/elsewhere"))
    assert SearchConfig.from_settings(settings, "/elsewhere") == moved


def test_settings_have_the_names_of_the_command_line() -> None:
    assert CONFIG.settings() == {
        "budget": 5000,
        "dataset": "digits",
        "select_on": "val",
        "max_macs": 10**6,
        "max_memory": 10**5,
        "max_weights_bytes": 10**4,
        "min_rf": 12,
        "bytes_in": "int8",
        "max_latency": 1.5,
        "dimensions": {"stages": "2", "head.kind": '"conv"'},
        "epochs": 3,
        "score": "best",
        "seed": 7,
        "sampler": "random",
        "pruner": "none",
        "metric": "balanced_accuracy",
        "augmentations": ["shift", "mirror"],
        "mirror": True,
        "share_weights": False,
        "starts": "none",
        "image_size": "20x30",
    }


def test_the_data_directory_is_no_setting_and_everything_else_is() -> None:
    plain = search()
    assert search(data=replace(DATA, directory="/elsewhere")).settings() == plain.settings()
    assert search(data=replace(DATA, dataset="digits")).settings() != plain.settings()
    assert search(data=replace(DATA, select_on="val")).settings() != plain.settings()
    for field in fields(SearchConfig):
        if field.name != "data":
            limited = replace(plain, max_memory=1)  # without a limit in bytes their kind decides nothing
            changed = replace(limited, **{field.name: getattr(replace(CONFIG, share_weights=True), field.name)})
            assert changed.settings() != limited.settings(), field.name


def test_a_setting_that_older_studies_lack_is_left_out_at_its_default() -> None:
    first_settings = {"budget", "dataset", "select_on", "max_macs", "max_memory", "epochs", "score", "seed"}
    assert search().settings().keys() == first_settings | {"sampler", "pruner", "share_weights"}


def test_a_study_without_the_setting_shares_weights() -> None:
    shared = search(share_weights=True).settings()
    assert shared.keys() == search().settings().keys() - {"share_weights"}
    assert SearchConfig.from_settings(shared, "/data").share_weights
    assert not SearchConfig.from_settings(search().settings(), "/data").share_weights


def test_bytes_of_nothing_are_refused() -> None:
    with pytest.raises(RecordError, match="bytes-in int8 counts for max-memory and max-weights-bytes; give one of"):
        search(bytes_in="int8")


def test_further_facts_beside_the_settings_are_left_alone() -> None:
    assert SearchConfig.from_settings(CONFIG.settings() | {"data_checksum": "ab", "space": "cd"}, "/data") == CONFIG


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "3"}, "SearchConfig.epochs must be a whole number, got '3'"),
        ({"budget": 0}, "budget must be between 1 and 1,000,000,000,000,000, got 0"),
        ({"sampler": "annealing"}, f"sampler must be one of {', '.join(SAMPLERS)}, got 'annealing'"),
        ({"select_on": "train"}, "select-on must be one of test, val, got 'train'"),
    ],
)
def test_wrong_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        SearchConfig.from_settings(CONFIG.settings() | changes, "/data")


@pytest.mark.parametrize("name", ["budget", "dataset"])
def test_missing_settings_are_refused(name: str) -> None:
    settings = CONFIG.settings()
    del settings[name]
    with pytest.raises(RecordError, match="needs the key"):
        SearchConfig.from_settings(settings, "/data")
