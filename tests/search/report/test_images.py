"""The page of misread images, read back tile by tile."""

from __future__ import annotations

import io
import math

import pytest
import torch
from PIL import Image

from search.engine.confusion import Confusion, Misread
from search.report.images import LETTER_SIZE, N_SHOWN, TILES_PER_ROW, misread_page


@pytest.mark.parametrize("classes", [("a", "b", "c"), ("T-shirt or top", "ankle boot", "bag")], ids=["short", "long"])
@pytest.mark.parametrize(("n", "channels"), [(0, 1), (1, 1), (50, 1), (12, 3), (7, 2)])
def test_every_tile_stands_over_its_words(n: int, channels: int, classes: tuple[str, ...]) -> None:
    images = torch.randint(0, 256, (60, channels, 30, 28), dtype=torch.uint8)
    misread = tuple(Misread(59 - i, i % 3, (i + 1 + i // 3 % 2) % 3) for i in range(n))  # six pairs
    page = Image.open(io.BytesIO(misread_page(Confusion(((0,) * 3,) * 3, misread), images, classes))).convert("RGB")
    shown = min(n, N_SHOWN)
    n_rows = max(1, math.ceil(shown / TILES_PER_ROW))
    cell_width, cell_height = page.width // TILES_PER_ROW, page.height // n_rows
    scale = (cell_height - 2 * LETTER_SIZE) // 30
    assert scale == 2
    assert page.size == (cell_width * TILES_PER_ROW, n_rows * (scale * 30 + 2 * LETTER_SIZE))
    texts: dict[int, set[bytes]] = {}
    for place in range(n_rows * TILES_PER_ROW):
        top, left = (place // TILES_PER_ROW) * cell_height, (place % TILES_PER_ROW) * cell_width
        first = left + cell_width // 2 - scale * 14
        tile = page.crop((first, top, first + scale * 28, top + scale * 30)).resize((28, 30), Image.Resampling.NEAREST)
        read = torch.tensor(list(tile.tobytes())).view(30, 28, 3)
        label = page.crop((left, top + scale * 30, left + cell_width, top + cell_height)).convert("L")
        if place >= shown:
            assert {*read.flatten().tolist(), *label.tobytes()} == {255}
            continue
        image = images[misread[place].index].long()
        expected = image if channels == 3 else 255 - image[:1].expand(3, 30, 28)
        assert torch.equal(read, expected.permute(1, 2, 0))
        texts.setdefault(place % 6, set()).add(label.tobytes())
        edges = label.crop((0, 0, 2, label.height)), label.crop((cell_width - 2, 0, cell_width, label.height))
        assert all(set(edge.tobytes()) == {255} for edge in edges)  # none runs into the next
    assert all(len(same) == 1 for same in texts.values())
    assert len({text for same in texts.values() for text in same}) == min(shown, 6)
