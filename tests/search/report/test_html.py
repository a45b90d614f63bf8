"""report.html: whole, with nothing outside it, and safe whatever names and notices it is given."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from search.data.load import definition
from search.engine.confusion import Confusion, Misread
from search.report.facts import winner_facts
from search.report.html import html_report
from search.report.images import sprite
from search.report.summary import StudySummary
from search.report.terminal import write_report
from tests.search.made_up_summaries import SUMMARIES
from tests.search.made_up_trials import EVERY_OUTCOME, made_up
from tests.search.report_sections import reports

CLASSES = definition("mnist").classes
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Sees that every tag is closed, and keeps tags with their attributes and the words of the page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def titles(self) -> list[str]:
        return [attrs.get("aria-label") or "" for tag, attrs in self.tags if tag == "svg"]


def page(summary: StudySummary, folder: Path = Path("nowhere")) -> Reader:
    return Reader(html_report(summary, EVERY_OUTCOME, folder, CLASSES))


def test_the_page_says_what_repeats() -> None:
    assert (
        "With one job the same kind of machine gives the same trials and values again"
        in page(SUMMARIES["all over"]).text
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", SUMMARIES)
def test_every_study_has_a_whole_page_with_nothing_outside(name: str) -> None:
    text = html_report(SUMMARIES[name], EVERY_OUTCOME, Path("nowhere"), CLASSES)
    found = Reader(text)
    assert len(text) < 1_000_000
    for tag, attrs in found.tags:
        assert tag not in ("script", "link", "iframe", "object")
        for attribute in ("src", "href", "xlink:href"):
            value = attrs.get(attribute) or "#"
            assert value.startswith(("#", "data:image/png"))
    assert not re.findall(r"url\((?!#)", text)
    assert "@import" not in text
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert "None" not in found.text
    assert " nan" not in found.text.lower()


@pytest.mark.slow
@pytest.mark.parametrize("name", SUMMARIES)
def test_what_cannot_be_seen_is_told(name: str) -> None:
    found = page(SUMMARIES[name])
    assert all(found.titles())
    assert all(attrs.get("alt") for tag, attrs in found.tags if tag == "img")
    assert dict(found.tags)["html"]["lang"] == "en"


def test_the_head_of_the_page_says_what_was_found() -> None:
    summary = SUMMARIES["measured"]
    words = page(summary).text
    assert "99.41 % mean test accuracy, n = 3 fresh seeds, 95 % interval 99.32 to 99.50, selected on test" in words
    assert f"{summary.winner.n_params:,} parameters, of at most 8,000" in words
    assert "+0.13 points against s004_net3, the best hand-designed network in the search, 95 % interval" in words


@pytest.mark.parametrize(
    ("winner", "compared", "words"),
    [
        (None, "s004_net3", "against s004_net3, the best hand-designed network in the search, "),
        (None, "mine", "against mine, the best user network in the search, "),
        ("s001_model3", "s004_net3", "against s004_net3, another hand-designed network in the search, "),
        ("mine", "s004_net3", "against s004_net3, the best hand-designed network in the search, "),
        ("mine", "yours", "against yours, another user network in the search, "),
    ],
)
def test_the_network_compared_with_is_named_for_what_it_is(winner: str | None, compared: str, words: str) -> None:
    summary = SUMMARIES["measured"]
    assert summary.winner
    assert summary.confirmation
    assert summary.confirmation.comparison
    comparison = replace(summary.confirmation.comparison, baseline=compared)
    summary = replace(
        summary,
        winner=replace(summary.winner, baseline=winner),
        confirmation=replace(summary.confirmation, comparison=comparison),
    )
    assert words in page(summary).text


def test_the_layers_have_kernel_stride_padding_and_receptive_field() -> None:
    words = page(SUMMARIES["measured"]).text
    assert "layer kind kernel stride padding output jump RF parameters MACs image 1 x 28 x 28 1 1" in words
    assert "stage1.block1 conv 3x3 3x3 1 0 12 x 26 x 26 1 3 " in words
    assert "stage1.pool max pool 2x2 2x2 2 0 12 x 12 x 12 2 6 0 0 " in words


def test_the_page_says_that_nothing_was_searched() -> None:
    text = html_report(SUMMARIES["baseline wins"], EVERY_OUTCOME, Path("nowhere"), CLASSES)
    assert '<p class="notice">Nothing was searched: ' in text
    assert "Nothing was searched" not in html_report(SUMMARIES["measured"], EVERY_OUTCOME, Path("nowhere"), CLASSES)


@pytest.mark.parametrize(("name", "is_mnist"), [("every outcome", True), ("digits", False)])
def test_stated_accuracies_are_those_of_mnist(name: str, is_mnist: bool) -> None:
    for text in (page(SUMMARIES[name]).text, *reports(name)):
        words = " ".join(text.split())
        assert ("stated on MNIST" in words) == is_mnist
        assert ("99.61 %" in words) == is_mnist  # of s000_net


def test_one_seed_is_said_to_be_one() -> None:
    assert "99.52 % accuracy of one seed, selected on test; not confirmed" in page(SUMMARIES["every outcome"]).text


@pytest.mark.parametrize("name", SUMMARIES)
def test_it_says_all_that_the_other_reports_say(name: str) -> None:
    summary, words = SUMMARIES[name], page(SUMMARIES[name]).text
    for fact in (*winner_facts(summary).values(), *summary.caveats, summary.notice):
        assert " ".join(fact.split()) in words
    for baseline in summary.baselines:
        assert baseline.id in words


def test_figures_of_what_there_is() -> None:
    everything = page(replace(SUMMARIES["measured"], importances={"sgd.lr": 0.7, "head.kind": 0.3})).titles()
    for start in ("The winner", "Where the", "Accuracy against", "Value of", "Accuracy after", "Which dimensions"):
        assert sum(title.startswith(start) for title in everything) == 1
    n_best = len(SUMMARIES["measured"].top)
    assert 1 < n_best <= 5
    assert f"Accuracy after every epoch of the {n_best} best trials" in everything
    assert page(SUMMARIES["nothing yet"]).titles() == []


def with_mistakes(folder: Path, n: int) -> StudySummary:
    images = torch.randint(0, 256, (n + 1, 1, 28, 28), dtype=torch.uint8)
    confusion = [[0] * 10 for _ in range(10)]
    confusion[4][9] = n
    misread = tuple(Misread(i, 4, 9) for i in range(n))
    mistakes = Confusion(tuple(map(tuple, confusion)), misread)
    (folder / "winner").mkdir()
    (folder / "winner" / "misread.png").write_bytes(sprite(mistakes, images))
    return replace(SUMMARIES["measured"], mistakes=mistakes)


def test_misread_images_are_shown_with_what_they_are(tmp_path: Path) -> None:
    found = page(with_mistakes(tmp_path, 13), tmp_path)
    pictures = [attrs for tag, attrs in found.tags if tag == "img"]
    assert [one["alt"] for one in pictures] == [f"image {i}: 4, taken for 9" for i in range(13)]
    sizes = [Image.open(io.BytesIO(base64.b64decode((one["src"] or "").partition(",")[2]))).size for one in pictures]
    assert sizes == [(28, 28)] * 13
    assert len({one["src"] for one in pictures}) == 13
    assert found.text.count("4 → 9") == 13
    assert any(title.startswith("What the 13 misread images show") for title in found.titles())


def test_without_the_pictures_the_counts_are_left(tmp_path: Path) -> None:
    summary = with_mistakes(tmp_path, 3)
    (tmp_path / "winner" / "misread.png").unlink()
    found = page(summary, tmp_path)
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert any("misread" in title for title in found.titles())


def test_names_and_notices_are_text() -> None:
    bad = '<script>alert("1")</script>'
    trial = made_up(0, 0.99, baseline=bad)
    summary = replace(SUMMARIES["measured"], name=bad, notice=bad, caveats=(bad,), top=(trial,), importances={bad: 1.0})
    found = page(summary)
    assert "script" not in {tag for tag, _ in found.tags}
    assert found.text.count(bad) >= 4


def test_it_is_written_beside_the_others_and_the_same_every_time(tmp_path: Path) -> None:
    texts = []
    for _ in range(2):
        write_report(SUMMARIES["measured"], EVERY_OUTCOME, tmp_path)
        texts.append((tmp_path / "report.html").read_bytes())
    assert texts[0] == texts[1]
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.md", "trials.csv"}


def test_names_written_from_right_to_left_keep_the_order_of_label_and_answer(tmp_path: Path) -> None:
    text = html_report(with_mistakes(tmp_path, 1), EVERY_OUTCOME, tmp_path, ["\u05d0\u05d1"] * 10)
    assert "<bdi>\u05d0\u05d1</bdi> → <bdi>\u05d0\u05d1</bdi>" in text
