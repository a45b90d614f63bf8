"""Files that change the space: what they may say, what becomes of it, and how it is kept with a study."""

from __future__ import annotations

import json
import random
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FixedTrial

import space
from models.cost import compute_cost
from search.config import AUGMENTATIONS, DataConfig, SearchConfig
from search.errors import InputError
from search.sampling.starting_points import starting_points
from search.search_space import space_file
from search.search_space.buildable import BUILDABLE
from search.search_space.dimensions import Choice, Dimension, FloatRange, IntRange
from search.search_space.space import NotInSpaceError
from search.search_space.space_file import as_file, read_changes
from space import space_of

CONFIG = SearchConfig(DataConfig("mnist", "data"), max_params=8000, share_weights=True)
WIDTH = IntRange("stages.1.width.1", 3, 64, 12, log=True)


def changes(tmp_path: Path, text: str) -> tuple[str, ...]:
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    return read_changes(tmp_path / "my.toml", space.WIDEST)


def changed(tmp_path: Path, text: str) -> dict[str, Dimension]:
    """The dimensions that are unlike the usual ones, by name; how weights are shared is left out beside widths."""
    config = replace(CONFIG, dimensions=changes(tmp_path, text), augmentations=AUGMENTATIONS)
    dimensions = space_of(config).dimensions
    assert [one.name for one in dimensions] == [one.name for one in space.WIDEST.dimensions]
    pairs = zip(dimensions, space.WIDEST.dimensions, strict=True)
    return {
        one.name: one for one, usual in pairs if one != usual and (".shared" not in one.name or "width" not in text)
    }


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("stages.1.width.1 = 16", replace(WIDTH, low=16, high=16, default=16)),
        ("[stages.1.width]\n1 = 16", replace(WIDTH, low=16, high=16, default=16)),
        ('"stages.1.width.1" = 16', replace(WIDTH, low=16, high=16, default=16)),
        ("stages.1.width.1 = {low = 8, high = 24}", replace(WIDTH, low=8, high=24)),
        ("stages.1.width.1 = {low = 20}", replace(WIDTH, low=20, default=20)),
        ("stages.1.width.1 = {high = 100}", replace(WIDTH, high=100)),
        ("[stages.1.width.1]\nlow = 1\nhigh = 4", replace(WIDTH, low=1, high=4, default=4)),
        ("stages.1.width.1 = [8, 16, 8]", Choice("stages.1.width.1", (8, 16), 8)),
        ("stages.1.width.1 = [8, 12]", Choice("stages.1.width.1", (8, 12), 12)),
        ("stages = 1", IntRange("stages", 1, 1, 1)),
        ("stages.2.kernel = [3, 7]", Choice("stages.2.kernel", (3, 7), 3)),
        ("head.kind = 'conv'", Choice("head.kind", ("conv",), "conv")),
        ("head.hidden = true", Choice("head.hidden", (True,), True)),
        ("batch_size = [16, 256]", Choice("batch_size", (16, 256), 16)),
        ("dropout = 0", FloatRange("dropout", 0.0, 0.0, 0.0)),
        ("sgd.lr = {high = 0.1}", FloatRange("sgd.lr", 0.02, 0.1, 0.1, log=True)),
        ("sgd.lr = [0.1, 0.2]", Choice("sgd.lr", (0.1, 0.2), 0.1)),
    ],
)
def test_a_value_fixes_a_list_chooses_and_a_table_is_a_range(tmp_path: Path, text: str, dimension: Dimension) -> None:
    assert changed(tmp_path, text) == {dimension.name: dimension}
    (found,) = changed(tmp_path, text).values()
    assert type(found.default) is type(dimension.default)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("stages.2.width = 8", [f"stages.2.width.{i}" for i in range(1, 7)]),
        ('"stages.*.kernel" = 5', [f"stages.{i}.kernel" for i in (1, 2, 3)]),
        ('"stages.*.width.1" = 8', [f"stages.{i}.width.1" for i in (1, 2, 3)]),
        ('"stages.*.width" = 8', [f"stages.{i}.width.{j}" for i in (1, 2, 3) for j in range(1, 7)]),
        ('"*.lr" = 0.02', ["sgd.lr", "adamw.lr", "soap.lr"]),
    ],
)
def test_a_name_may_stand_for_several(tmp_path: Path, text: str, names: list[str]) -> None:
    found = changed(tmp_path, text)
    assert list(found) == names
    assert len({str(one) for one in found.values()}) == 1


def test_of_two_lines_on_one_dimension_the_later_counts(tmp_path: Path) -> None:
    found = changed(tmp_path, 'stages.1.width = 8\n"stages.1.width.2" = 9')
    assert [str(one) for one in found.values()] == ["8", "9", "8", "8", "8", "8"]


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("stages.2.kernel = 5", ("none", "stage", "before")),
        ("stages.1.width = 8", ("none", "stage", "before")),
        ("transitions.1.width = 8", ("none", "stage", "before")),
        ("stages.2.width.6 = {low = 8, high = 24}", ("none",)),
        ('stages.2.width = 8\nstages.2.shared = ["stage", "none"]', ("stage", "none")),
    ],
)
def test_a_stage_whose_widths_are_wanted_shares_only_on_request(
    tmp_path: Path, text: str, choices: tuple[str, ...]
) -> None:
    found = {one.name: one for one in space_of(replace(CONFIG, dimensions=changes(tmp_path, text))).dimensions}
    assert getattr(found["stages.2.shared"], "choices") == choices  # noqa: B009 (mypy: of a Choice)


@pytest.mark.parametrize("stages", ["stages = 2", '"stages"=2', "'stages' = 2  # of them"])
@pytest.mark.parametrize("depth", ["stages.1.depth = 3", '"stages.1.depth" = 3', "[stages.1]\ndepth = 3"])
def test_the_number_of_stages_may_stand_beside_what_is_in_them(tmp_path: Path, stages: str, depth: str) -> None:
    assert changes(tmp_path, f"# mine\n{stages}\n{depth}") == ("stages = 2", "stages.1.depth = 3")


def test_what_is_as_usual_is_no_change(tmp_path: Path) -> None:
    text = "stages.1.width.1 = {low = 3, high = 64}\nstages.1.kernel = [3, 5, 7]\ndropout = 0.1"
    assert changes(tmp_path, text) == ("dropout = 0.1",)


def test_changes_are_in_the_order_of_the_dimensions_and_come_back_from_settings_and_file(tmp_path: Path) -> None:
    text = 'optimizer = "sgd"\n"stages" = 3\nsgd.lr = {low = 1e-5, high = 1.0}\nbatch_size = [32, 16]'
    config = replace(CONFIG, dimensions=changes(tmp_path, text))
    assert config.dimensions == (
        "stages = 3",
        'optimizer = "sgd"',
        "sgd.lr = {low = 1e-05, high = 1.0}",
        "batch_size = [32, 16]",
    )
    settings = json.loads(json.dumps(config.settings()))
    assert settings["dimensions"]["batch_size"] == "[32, 16]"
    assert SearchConfig.from_settings(settings, "data") == config
    assert changes(tmp_path, as_file(config)) == config.dimensions
    tomllib.loads(as_file(replace(CONFIG, dimensions=("stages = 3", "stages.1.depth = 2"))))


def test_without_a_file_the_space_is_as_it_was() -> None:
    assert space_of(CONFIG).dimensions == space.DIMENSIONS
    assert "dimensions" not in CONFIG.settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages.1.widht = 16", "unknown dimension 'stages.1.widht'; the nearest is 'stages.1.width'"),
        ("stages.4.depth = 2", "unknown dimension 'stages.4.depth'; the nearest is 'stages."),
        ("stages.1 = 2", "unknown dimension 'stages.1'; the nearest is"),
        ("width = 3", "unknown dimension 'width'"),
        ("head.bottom = 3", "unknown dimension 'head.bottom'"),
        ("stages.1.width.1 = 0", "stages.1.width.1 must be from 1 to 1024, got 0; nothing else can be built"),
        ("stages.1.width.1 = {low = 8, high = 2000}", "must be from 1 to 1024, got 2000"),
        ("stages.1.width.1 = 8.5", "must be from 1 to 1024, got 8.5"),
        ("stages.1.width.1 = true", "must be from 1 to 1024, got true"),
        ("stages.1.width.1 = '8 to 16'", 'must be from 1 to 1024, got "8 to 16"'),
        ("stages.1.width.1 = 2020-01-01", "must be from 1 to 1024, got"),
        ("stages.1.width.1 = {low = 20, high = 8}", "low must not be above high, got 20 to 8"),
        ("stages.1.width.1 = {low = 70}", "low must not be above high, got 70 to 64"),
        ("stages.1.width.1 = []", "needs at least one choice, got []"),
        ("stages = 4", "stages must be from 1 to 3, got 4"),
        ("stages.1.depth = 7", "must be from 1 to 6, got 7"),
        ("stages.1.kernel = [3, 4]", "stages.1.kernel must be one of 3, 5, 7, got 4"),
        ("stages.1.kernel = {low = 3}", "stages.1.kernel takes a value or a list of choices, not a range"),
        ("head.hidden = 1", "head.hidden must be one of false, true, got 1"),
        ("optimizer = 'adam'", 'optimizer must be one of "sgd", "adamw", "soap", got "adam"'),
        ("sgd.lr = 0", "sgd.lr must be from 1e-08 to 100, got 0"),
        ("sgd.lr = nan", "sgd.lr must be from 1e-08 to 100, got NaN"),
        ("stages.1.depth = ", "not TOML: Invalid value (at"),
        ("stages = 2\nstages = 3", "not TOML: Cannot overwrite a value"),
        ("", "changes no dimension"),
        ("[stages.1]", "changes no dimension"),
        ("dropout = {low = 0.0, high = 0.25}", "changes no dimension"),
    ],
)
def test_what_cannot_be_is_one_line_with_the_file_and_the_way_out(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        changes(tmp_path, text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path / 'my.toml'}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read the space file: No such file"):
        read_changes(tmp_path / "nowhere.toml", space.WHOLE)
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not TOML: "):
        read_changes(tmp_path / "my.toml", space.WHOLE)


# --- how far it may go ----------------------------------------------------------------------------------------------


def ends(dimension: Dimension) -> tuple[Any, ...]:
    return dimension.choices if isinstance(dimension, Choice) else (dimension.low, dimension.high)


def test_all_that_is_searched_can_be_built(tmp_path: Path) -> None:
    for one in space.WIDEST.dimensions:
        text = "\n".join(f"{json.dumps(one.name)} = {json.dumps(end)}" for end in ends(one)[:1])
        assert set(changed(tmp_path, text)) == {one.name}


@pytest.mark.parametrize("widest", BUILDABLE, ids=lambda one: one.name)
def test_both_ends_of_what_can_be_built_are_networks(tmp_path: Path, widest: Dimension) -> None:
    quoted, path = json.dumps(widest.name), tmp_path / "my.toml"
    for end in ends(widest):
        path.write_text(f"{quoted} = {json.dumps(end)}", encoding="utf-8")
        searched = space_file.changed(space.LARGEST, read_changes(path, space.LARGEST))
        for seed in range(3):
            candidate = space.assemble(searched.sample(random.Random(seed)), (3, 64, 64))
            assert compute_cost(candidate.arch).n_params > 0


@pytest.mark.parametrize("text", ["stages = 4", "stages = {low = 1, high = 5}", "stages = [2, 4]"])
def test_stages_that_the_images_do_not_allow_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"stages must be from 1 to 3, got [45]; images of this size allow no more"):
        changes(tmp_path, text)
    (tmp_path / "my.toml").write_text(text, encoding="utf-8")
    assert read_changes(tmp_path / "my.toml", space.LARGEST)


def test_a_changed_space_is_searched_and_takes_only_what_it_holds(tmp_path: Path) -> None:
    text = (
        '"stages" = 2\nstages.1.width = [8, 16]\nstages.2.width = {low = 5, high = 6}\nbatch_size = 64\ndropout = 0.1'
    )
    searched = space_of(replace(CONFIG, dimensions=changes(tmp_path, text)))
    points = [searched.sample(random.Random(seed)) for seed in range(30)]
    assert {point["stages.1.width.3"] for point in points} == {8, 16}
    assert {point["stages.2.width.3"] for point in points} == {5, 6}
    assert {(point["stages"], point["batch_size"], point["dropout"]) for point in points} == {(2, 64, 0.1)}
    assert all(searched.holds(point) for point in points)
    assert not searched.holds(space.DEFAULTS)
    candidate = space.suggest(FixedTrial(points[0]), space=searched)
    assert candidate == space.assemble(points[0])
    assert searched.to_params(candidate.arch, candidate.recipe).keys() == points[0].keys()
    with pytest.raises(NotInSpaceError):
        searched.to_params(space.assemble(space.DEFAULTS).arch)
    assert starting_points(searched) == []
    assert space.baseline_params((1, 28, 28), 10, searched) == {}
