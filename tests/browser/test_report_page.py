"""Test report.html of the reference study in a real browser: complete, readable and without errors at each width."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from search.cli.main import main
from tests.browser.conftest import RecordedPage

REFERENCE = Path(__file__).resolve().parents[2] / "studies" / "reference"
DESKTOP, PHONE = 1200, 390
# Smallest text of a figure on a phone, in CSS pixels.
SMALLEST = 6.5


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Write the report and return its address."""
    folder = tmp_path_factory.mktemp("studies") / "reference"
    shutil.copytree(REFERENCE, folder)
    (folder / "report.html").unlink()
    assert main(["report", str(folder)]) == 0
    return (folder / "report.html").as_uri()


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_complete_fits_and_requests_nothing(
    report: str, recorded: RecordedPage, width: int, scheme: str
) -> None:
    page = recorded.page
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(report)
    assert recorded.errors == []
    assert recorded.hosts == {""}  # the file itself
    # Wide figures and tables are scrolled inside the page, which is as wide as the window.
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("figure svg").count() == 7
    pictures = page.locator("img")
    assert pictures.count() > 20
    assert pictures.evaluate_all("all => all.every(image => image.complete && image.naturalWidth == 28)")


def test_words_in_figures_stay_readable_on_a_phone(report: str, recorded: RecordedPage) -> None:
    recorded.page.set_viewport_size({"width": PHONE, "height": 900})
    recorded.page.goto(report)
    heights = recorded.page.locator("figure svg text").evaluate_all(
        """all => all.map(text => {
            const matrix = text.getScreenCTM();
            return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);
        })"""
    )
    assert min(heights) >= SMALLEST


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_the_page(report: str, recorded: RecordedPage, scheme: str) -> None:
    recorded.page.emulate_media(color_scheme=scheme)
    recorded.page.goto(report)
    # The background is dark only in the dark scheme.
    assert (luminance(background(recorded.page)) < 0.05) == (scheme == "dark")
    for element in ("body", "figcaption", "th", "figure svg text"):
        assert contrast(recorded.page, element) >= 4.5  # WCAG 2, level AA


def contrast(page: Page, element: str) -> float:
    """Return the contrast ratio between the text of the first such element and the page.

    https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio defines it.
    """
    text_colour = page.locator(element).first.evaluate("""node => {
        const style = getComputedStyle(node);
        return node instanceof SVGElement ? style.fill : style.color;
    }""")
    low, high = sorted(luminance(colour) for colour in (text_colour, background(page)))
    return (high + 0.05) / (low + 0.05)


def background(page: Page) -> str:
    colour = page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor")
    assert isinstance(colour, str)
    return colour


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour "rgb(r, g, b)"."""
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_it_can_be_printed(report: str, browser: Browser) -> None:
    page = browser.new_page()
    page.emulate_media(color_scheme="dark", media="print")
    page.goto(report)
    assert background(page) == "rgb(255, 255, 255)"
    assert page.locator(".scroll svg").first.evaluate("figure => figure.clientWidth <= document.body.clientWidth")
    assert page.pdf(format="A4").startswith(b"%PDF")
    page.close()
