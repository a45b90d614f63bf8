"""Fixtures for tests of pages in a real browser: Chromium or Google Chrome, whichever is on PATH."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
# The browser itself sends no requests, and pages of this project need no sandbox.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder as tests in a browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@dataclass
class RecordedPage:
    """Page whose errors, warnings and requests are recorded.

    errors  text of each error and warning
    hosts   host of each request; "" for a file
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._on_request)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob"):
            self.hosts.add(parts.hostname or "")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Yield a browser for all tests, or skip them if none is installed."""
    path = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUMS)} is on PATH")
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield instance
        instance.close()


@pytest.fixture
def recorded(browser: Browser) -> Iterator[RecordedPage]:
    """Yield a new page of 1400 x 1000 pixels whose errors, warnings and requests are recorded."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    yield RecordedPage(context.new_page())
    context.close()
