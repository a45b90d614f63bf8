"""What a network gets wrong, counted against plain loops, and its pictures read back."""

from __future__ import annotations

import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.baselines import BASELINES
from models.build import build_model
from search.config import DataConfig
from search.data.load import load_dataset
from search.engine.confusion import MAX_KEPT, Confusion, Misread, confusion_of, confusion_of_state
from search.engine.train import evaluate
from search.report.images import sprite, tiles

ANSWERS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=150)


@given(ANSWERS)
def test_every_answer_is_counted_once(pairs: list[tuple[int, int]]) -> None:
    labels, answers = (torch.tensor(column) for column in zip(*pairs, strict=True))
    found = confusion_of(answers, labels, 4)
    for label in range(4):
        assert found.confusion[label] == tuple(pairs.count((label, answer)) for answer in range(4))
    wrong = [(i, *pair) for i, pair in enumerate(pairs) if pair[0] != pair[1]]
    assert [(one.index, one.label, one.answer) for one in found.misread] == wrong[:MAX_KEPT]
    assert found.n_wrong == len(wrong)
    assert Confusion.from_dict(found.to_dict()) == found


def test_accuracy_by_class() -> None:
    found = confusion_of(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 0, 1, 0]), 3)
    assert found.class_accuracies[:2] == pytest.approx((2 / 3, 1.0))
    assert math.isnan(found.class_accuracies[2])  # no image of it


def test_of_a_network_the_same_images_are_wrong_as_in_its_accuracy() -> None:
    torch.manual_seed(0)
    arch, data = BASELINES["s001_model3"].spec, load_dataset(DataConfig("digits", "data"))
    model = build_model(arch)
    found = confusion_of_state(arch, model.state_dict(), data)
    assert 1 - found.n_wrong / len(data.test) == pytest.approx(evaluate(model, data.test, data), abs=1e-12)
    assert len(found.misread) == MAX_KEPT
    assert all(int(data.test.labels[one.index]) == one.label for one in found.misread)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 10, 23])
def test_a_sprite_holds_every_picture(channels: int, n: int) -> None:
    images = torch.randint(0, 256, (40, channels, 5, 7), dtype=torch.uint8)
    misread = tuple(Misread(39 - i, 0, 1) for i in range(n))
    found = tiles(sprite(Confusion(((0, n), (0, 0)), misread), images), n, height=5, width=7)
    assert len(found) == n
    for picture, one in zip(found, misread, strict=True):
        read = torch.tensor(list(Image.open(io.BytesIO(picture)).tobytes())).view(5, 7, channels)
        assert torch.equal(read, images[one.index].permute(1, 2, 0).long())
