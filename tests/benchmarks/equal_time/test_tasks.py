from dataclasses import replace

import pytest
import torch

from benchmarks.equal_time.tasks import TASKS, Sources, Task, images_of, search_config, without_scored
from search.data.load import load_dataset
from search.errors import InputError
from space import space_of

SOURCES = Sources("unused")
DIGITS = Task("digits", "digits", 8000, n_train=600, n_scored=200, n_unseen=300, epochs=3, seconds=2.0)


def pixels(split) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_image_is_in_two_sets(seed):
    data = images_of(DIGITS, SOURCES, seed)
    train, scored, unseen = map(pixels, (data.train, data.val, data.test))
    assert [len(part) for part in (data.train, data.val, data.test)] == [600, 200, 300]
    assert len(train | scored | unseen) == 1100


def test_copies_of_a_training_image_are_left_out(monkeypatch):
    digits = load_dataset(SOURCES.config_of("digits"))
    rows = torch.arange(900)
    twice = replace(digits, train=digits.train.take(torch.cat([rows, rows])))
    monkeypatch.setattr("benchmarks.equal_time.tasks.load_dataset", lambda _config: twice)
    data = images_of(DIGITS, SOURCES, 0)
    assert len(pixels(data.train) | pixels(data.val)) == 800


def test_arms_have_the_images_of_their_seed_and_all_seeds_the_unseen_ones():
    first, again, other = (images_of(DIGITS, SOURCES, seed) for seed in (0, 0, 1))
    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.val.images, again.val.images)
    assert pixels(first.train) != pixels(other.train)
    assert torch.equal(first.test.images, other.test.images)


def test_the_sets_keep_the_shares_of_the_classes():
    whole = load_dataset(SOURCES.config_of("digits"))
    data = images_of(DIGITS, SOURCES, 3)
    for part, origin in ((data.train, whole.train), (data.val, whole.train), (data.test, whole.test)):
        difference = part.labels.bincount() / len(part) - origin.labels.bincount() / len(origin)
        assert difference.abs().max() < 0.015


def test_a_search_is_scored_on_its_images_and_a_leader_on_the_unseen_ones():
    data = images_of(DIGITS, SOURCES, 0)
    assert data.scored is data.val
    assert without_scored(data).scored is data.test


def test_images_are_normalised_by_the_training_images_alone():
    data = images_of(DIGITS, SOURCES, 0)
    assert data.mean == pytest.approx([float(data.train.images.double().mean()) / 255])


def test_too_few_images_are_an_error_of_one_line():
    with pytest.raises(
        InputError, match=r"^big needs 3,000 different images of digits, and there are 1,\d{3}; [^\n]*$"
    ):
        images_of(Task("big", "digits", 8000, 2800, 200, 300, epochs=3, seconds=2.0), SOURCES, 0)


def test_searches_begin_from_nothing():
    data = images_of(DIGITS, SOURCES, 0)
    config = search_config(DIGITS, data, seed=4)
    assert (config.starts, config.seed, config.max_params, config.epochs) == ("none", 4, 8000, 3)
    assert not config.share_weights


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_the_tasks_search_the_augmentations_of_their_data(task):
    data = images_of(DIGITS, SOURCES, 0)
    names = {dimension.name for dimension in space_of(search_config(task, data, 0)).dimensions}
    assert ("mirror_p" in names) == (task.dataset == "cifar10")
