"""Figures as files and as parts of a page."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from search.report.plot import accuracy_scale, error, inline_svg, png, svg


def draw(axes: Axes) -> None:
    axes.plot([0, 1], [2, 3], color="#D55E00")
    axes.set_title("above")


def test_a_part_of_a_page_takes_its_colours_and_its_room() -> None:
    text = inline_svg('Of <this> & "that"', (4, 3), draw)
    root = ElementTree.fromstring(text)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == 'Of <this> & "that"'
    assert set(root.attrib) == {"role", "aria-label", "viewBox"}  # no width of its own
    assert "currentColor" in text
    # Nothing but the drawing's own colour is fixed.
    assert set(re.findall(r"#[0-9a-f]{6}\b", text)) == {"#d55e00"}
    assert "above" in {element.text for element in root.iter() if element.tag.endswith("text")}


def test_two_parts_of_a_page_share_no_names() -> None:
    texts = [inline_svg(title, (4, 3), draw) for title in ("one", "two")]
    first, second = (re.findall(r' id="([^"]+)"', text) for text in texts)
    assert first
    assert len({*first, *second}) == len(first) + len(second)
    for text, names in zip(texts, (first, second), strict=True):
        # Whatever is referred to is there.
        assert {clip or use for clip, use in re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)} <= set(names)


@pytest.mark.parametrize("make", [svg, inline_svg], ids=["file", "part"])
def test_the_same_figure_is_the_same_text(make) -> None:
    assert make("title", (4, 3), draw) == make("title", (4, 3), draw)
    assert "20" + "26" not in make("title", (4, 3), draw)  # no date


def test_a_picture() -> None:
    assert png((2, 1), draw).startswith(b"\x89PNG")
    assert png((2, 1), draw) == png((2, 1), draw)


def test_axes_lie_where_they_are_told_to() -> None:
    frame = (0.2, 0.3, 0.5, 0.6)
    seen: list[Axes] = []
    png((2, 1), seen.append, frame)
    assert seen[0].get_position().bounds == pytest.approx(frame)


@pytest.mark.parametrize(
    "accuracies",
    [(0.9, 0.996), (0.9945, 0.9955), (0.1, 0.999), (0.99, 1.0), (0.0, 0.0), (0.995, 0.995), (0.98, 0.985)],
    ids=str,
)
def test_accuracies_on_a_log_scale_grow_upwards_and_are_labelled(accuracies: tuple[float, ...]) -> None:
    axes = Figure().add_subplot()
    axes.plot([error(accuracy) for accuracy in accuracies])
    accuracy_scale(axes)
    bottom, top = axes.get_ylim()
    assert bottom > top  # of errors
    labels = [axes.yaxis.get_major_formatter()(tick) for tick in axes.get_yticks()]
    assert len(labels) >= 2
    assert len(set(labels)) == len(labels)
    assert all(label.endswith(" %") for label in labels)
    values = [float(label.removesuffix(" %")) for label in labels]
    assert values == pytest.approx([100 - tick for tick in axes.get_yticks()], abs=0.01)
