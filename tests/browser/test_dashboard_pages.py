"""Test the dashboard of the reference study in a real browser."""

import contextlib
import json
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WINNER = json.loads((ROOT / "studies" / "reference" / "winner" / "card.json").read_text())["trial"]


@pytest.fixture(scope="module")
def address(browser, tmp_path_factory):  # noqa: ARG001 - skips the module if there is no browser, before the server starts
    """Yield the address at which the command line serves a copy of the study."""
    folder = tmp_path_factory.mktemp("dashboard")
    shutil.copytree(ROOT / "studies" / "reference", folder / "studies" / "reference")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, str(ROOT / "search.py"), "dashboard", "reference", "--port", str(port)],
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(f"http://127.0.0.1:{port}/api/studies")
        yield f"http://127.0.0.1:{port}/dashboard/studies/1"
    finally:
        server.terminate()
        server.wait(30)


def _wait_for(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(900):
        with contextlib.suppress(OSError):  # not listening yet
            opener.open(url, timeout=10).close()
            return
        time.sleep(0.2)
    raise TimeoutError(url)


@pytest.fixture(autouse=True)
def no_errors_and_no_other_hosts(recorded):
    yield
    assert recorded.errors == []
    assert recorded.hosts == {"127.0.0.1"}


def test_the_study_page_shows_the_figures_of_this_project(address, recorded):
    page = recorded.page
    page.goto(address)
    for title in ("Accuracy against parameters", "Best so far", "What mattered"):
        page.locator(".gtitle", has_text=title).wait_for()
    figure = page.locator(".js-plotly-plot", has=page.locator(".gtitle", has_text="Accuracy against parameters"))
    legend = figure.locator(".legendtext").all_text_contents()
    assert {"finished, one seed", "hand-designed, as stated", "winner, mean of fresh seeds"} <= set(legend)
    assert "budget of 8,000" in figure.locator(".annotation-text").all_text_contents()
    assert figure.locator(".scatterlayer .point").count() > 50
    best = page.locator(".js-plotly-plot", has=page.locator(".gtitle", has_text="Best so far"))
    assert "refused, never trained" in best.locator(".legendtext").all_text_contents()


def test_the_study_has_its_report_as_a_note(address, recorded):
    recorded.page.goto(f"{address}/note")
    recorded.page.get_by_role("heading", name="Study reference").wait_for()
    tables = recorded.page.locator("table")
    assert tables.count() >= 4
    assert "s004_net3" in tables.filter(has_text="stated on MNIST").inner_text()
    # No element is wider than the window.
    assert recorded.page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_winner_has_a_note_pictures_and_files(address, recorded):
    page = recorded.page
    page.goto(f"{address}/trials?numbers={WINNER}")
    page.get_by_text("The winner of the study.").wait_for()
    assert page.get_by_text(re.compile(r"^Finished: 99\.\d\d %$")).is_visible()
    assert "separable" in page.locator("table").filter(has_text="output").inner_text()
    for name in ("curve.png", "layers.csv", "model.py", "weights.pt"):
        assert page.get_by_text(name, exact=True).is_visible(), name
    picture = page.locator("img[src*='/artifacts/']").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300


@pytest.mark.parametrize(
    ("number", "first"),
    [(12, "Refused: over budget."), (9, "Stopped early after epoch 5 of 15."), (24, "Repeats trial 7.")],
)
def test_a_pruned_trial_starts_with_the_reason(address, recorded, number, first):
    page = recorded.page
    page.goto(f"{address}/trials?numbers={number}")
    page.get_by_role("heading", name=f"Trial {number} ").wait_for()
    words = page.locator("strong").first
    words.wait_for()
    assert words.inner_text() == first


def test_a_repeated_trial_links_to_the_original(address, recorded):
    recorded.page.goto(f"{address}/trials?numbers=24")
    recorded.page.get_by_role("link", name="trial 7").click()
    recorded.page.get_by_role("heading", name="Trial 7 ").wait_for()
