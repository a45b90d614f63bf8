"""Names of classes in scripts that the font of the figures lacks: no warnings, and a font that has the glyphs."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

from search.dashboard.publish import _confusion_png
from search.engine.confusion import Confusion, Misread
from search.report import fonts
from search.report.images import misread_page
from search.report.network_figures import draw_confusion
from search.report.plot import inline_svg

NAMES = ["猫", "日本語", "क", "c$x$", "$\\bad{$"]
CONFUSION = Confusion(tuple(tuple(int(i != j) for j in range(5)) for i in range(5)), (Misread(0, 0, 1),))
IMAGES = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize("names", [NAMES, ["é", "кот", "→", "a", "b"]], ids=["missing", "known"])
def test_no_name_prints_a_warning(names: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = inline_svg("title", (5.2, 4.6), lambda axes: draw_confusion(axes, CONFUSION, names))
        _confusion_png(CONFUSION, names)
        misread_page(CONFUSION, IMAGES, names)
    # The browser has fonts for all of them.
    assert all(f">{name}<" in svg for name in names)


def test_a_name_without_a_font_is_left_to_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_installed_fonts", list)
    assert fonts.drawable(["cat", "猫", "кот"]) == ["cat", "1", "кот"]
    assert fonts.fallback_families("猫") == []


def test_an_installed_font_draws_what_the_usual_one_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    characters = {"/sans": frozenset("ab"), "/other": frozenset("xy"), "/cjk": frozenset("ab猫→")}
    monkeypatch.setattr(fonts, "_characters", characters.__getitem__)
    monkeypatch.setattr(fonts, "findfont", lambda _name: "/sans")
    monkeypatch.setattr(fonts, "_installed_fonts", lambda: [("Other", "/other"), ("CJK", "/cjk"), ("Sans", "/sans")])
    assert fonts.fallback_families("ab") == []
    assert fonts.fallback_families("a猫") == ["CJK"]
    assert fonts.fallback_families("a猫x") == ["Other", "CJK"]
    assert fonts.drawable(["a", "猫x", "犬"]) == ["a", "猫x", "2"]
    assert fonts.font_file("a") == "/sans"
    assert fonts.font_file("a猫") == "/cjk"
    assert fonts.font_file("犬") == "/sans"


def test_a_file_that_is_no_font_draws_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert fonts._characters(str(tmp_path / "broken.ttf")) == frozenset()
