"""What the tests of the page in a browser share: its real server, and tabs in which a viewer is logged in.

The server lasts as long as the worker's tests, as it takes seconds to start; `xdist_group` keeps these tests in one
worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import WIDTHS, BrowserTab, PageServer
from monitored_project import MonitoredProject


@pytest.fixture(scope="session")
def page_server(filled: MonitoredProject) -> Iterator[PageServer]:
    """The page of that project, read-only."""
    server = PageServer(filled)
    yield server
    server.close()


@pytest.fixture(scope="session")
def login_state(chromium: Any, page_server: PageServer) -> Any:
    """The cookies of a viewer who has used the link."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(page_server.link)
    page.wait_for_url(re.compile(r"/$"))
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_tab(chromium: Any, page_server: PageServer, login_state: Any) -> Iterator[Callable[..., BrowserTab]]:
    """A function that opens a tab in which the viewer is logged in."""
    contexts = []

    def open_one(*, width: str = "desktop", dark: bool = False, **options: Any) -> BrowserTab:
        size = {"width": WIDTHS[width], "height": 900}
        scheme = "dark" if dark else "light"
        context = chromium.new_context(storage_state=login_state, viewport=size, color_scheme=scheme, **options)
        contexts.append(context)
        return BrowserTab(context, page_server.base)

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def open_file(chromium: Any) -> Iterator[Callable[..., BrowserTab]]:
    """A function that opens a file in a tab without any network."""
    contexts = []

    def open_one(path: Path, *, width: str = "desktop") -> BrowserTab:
        context = chromium.new_context(viewport={"width": WIDTHS[width], "height": 900}, offline=True)
        contexts.append(context)
        tab = BrowserTab(context)
        tab.open(path.as_uri())
        return tab

    yield open_one
    for context in contexts:
        context.close()
