"""A real Chromium, and the real server of the page, for tests.

A :class:`BrowserTab` keeps what must not happen on any page: messages of errors in the console (a violation of the
content security policy is one), errors of scripts, dialogs, requests to other machines, and marks of injected elements
or scripts (see :func:`monitored_project.payload`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from projects import Project

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {"desktop": 1280, "phone": 390}
_TIMEOUT = 30  # seconds, on a busy machine
# Runs before any script of the page: a function that payloads call, and what it leaves.
_WITNESS = "window.xssCalls = []; window.xss = () => { window.xssCalls.push(document.location.href) };"
_TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const wide = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > width + 1);
  const shown = wide.filter((one) => !one.closest(".scroll, pre")).slice(-8).map((one) => one.outerHTML.slice(0, 200));
  return ["the page is " + document.documentElement.scrollWidth + " pixels wide", ...shown];
}"""
_IS_COMPLETE = "() => !document.querySelector('[data-state=loading], .htmx-request')"
_IS_DRAWN = "(i) => ['ready', 'failed'].includes(document.querySelectorAll('[data-chart]')[i].dataset.state)"
_POLLING = 50  # milliseconds; by default Playwright waits for frames, which a busy machine may not draw
_MARKS = "() => [...document.querySelectorAll('[data-xss]')].map((one) => one.dataset.xss).concat(window.xssCalls)"


def executable() -> str | None:
    """Return the path of Chromium."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def missing() -> str | None:
    """Return why there is no browser here; in CI, everything must be there."""
    if os.environ.get("CI"):
        return None
    if executable() is None:
        return "there is no Chromium here: run `make chromium`, or apt-get install chromium"
    try:
        import playwright  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None


needs_chromium = pytest.mark.skipif(missing() is not None, reason=missing() or "")


@contextmanager
def open_chromium() -> Iterator[Any]:
    """Start Chromium without a window; root has no sandbox, and a container may have a small /dev/shm."""
    from playwright.sync_api import sync_playwright

    arguments = ["--disable-dev-shm-usage", "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class BrowserTab:
    """A tab that keeps what must not happen.

    Parameters
    ----------
    context : BrowserContext
        A context of Playwright.
    base : str
        The URL of the server, without a slash at its end; empty for files.
    """

    def __init__(self, context: Any, base: str = "") -> None:
        self.base, self.faults, self.requests = base, [], []
        self.page = context.new_page()
        self.page.set_default_timeout(1000 * _TIMEOUT)
        self.page.add_init_script(_WITNESS)
        self.page.on("console", self._keep_message)
        self.page.on("pageerror", lambda error: self.faults.append(f"error of a script: {error}"))
        self.page.on("dialog", self._keep_dialog)
        self.page.on("request", self._keep_request)
        self.page.on("requestfailed", self._keep_failure)

    def open(self, path: str, *, status: int = 200) -> Any:
        """Open a page and wait until it and its charts are complete."""
        response = self.page.goto(self.base + path)
        if response is not None and response.url.startswith("http"):
            assert response.status == status, f"{path}: {response.status}"
        if status >= 400:  # the browser itself reports the status of the page
            self.faults = [fault for fault in self.faults if f"status of {status}" not in fault]
        self.page.wait_for_timeout(100)  # until the charts that are visible have been noticed
        self.page.wait_for_function(_IS_COMPLETE, polling=_POLLING)
        return self.page

    def settle(self) -> None:
        """Wait for the requests that an action has begun, and for the charts that are visible."""
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_function(_IS_COMPLETE, polling=_POLLING)

    def draw_all_charts(self) -> int:
        """Scroll through the page, so that every chart is drawn; return their number."""
        charts = self.page.locator("[data-chart]")
        for i in range(charts.count()):
            charts.nth(i).evaluate("(chart) => chart.scrollIntoView({block: 'center'})")
            self.page.wait_for_function(_IS_DRAWN, arg=i, polling=_POLLING)
        return int(charts.count())

    def injections(self) -> list[str]:
        """Return the marks of elements or scripts that a text brought into the page."""
        found: list[str] = self.page.evaluate(_MARKS)
        return found

    def too_wide(self) -> list[str]:
        """Return the elements that make the page wider than its window; none if it does not scroll sideways."""
        found: list[str] = self.page.evaluate(_TOO_WIDE)
        return found

    def check(self) -> None:
        """Assert that nothing happened that must not."""
        assert self.faults == [], f"{self.page.url}: {self.faults}"
        assert self.injections() == [], f"{self.page.url}: {self.injections()}"

    def accessibility_problems(self) -> list[str]:
        """Return what axe finds that is serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:200]} {node['failureSummary'][:300]}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"][:3]
        ]

    def _keep_message(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type} in the console: {message.text} ({message.location.get('url')})")

    def _keep_dialog(self, dialog: Any) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _keep_request(self, request: Any) -> None:
        self.requests.append(request.url)
        scheme = urlsplit(request.url).scheme
        is_inside = request.url.startswith(f"{self.base}/") if self.base else scheme == "file"
        if not is_inside and scheme not in ("data", "blob"):
            self.faults.append(f"request to another machine: {request.url}")

    def _keep_failure(self, request: Any) -> None:
        if "ERR_ABORTED" not in (request.failure or ""):  # a navigation ends requests of the former page
            self.faults.append(f"request failed: {request.url}: {request.failure}")


class PageServer:
    """The command ``diurnal page`` in a process of its own.

    Parameters
    ----------
    project : Project
        The project.
    *options
        Options of the command.
    """

    def __init__(self, project: Project, *options: str) -> None:
        self._log = (Path(project.folder) / f"page{len(options)}.log").open("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "diurnal", "page", "--port", "0", *options],
            cwd=project.folder,
            env=project.environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        try:
            self.link = self.newest_link()
        except BaseException:
            self.close()
            raise
        self.base = self.link.partition("/login")[0]

    def newest_link(self, *, after: str = "") -> str:
        """Return the last link that it has printed; wait for one that differs from `after`."""
        for _ in range(10 * _TIMEOUT):
            links = re.findall(r"http://\S+/login\?token=\S+", self.output())
            if links and links[-1] != after:
                return str(links[-1])
            assert self._process.poll() is None, self.output()
            time.sleep(0.1)
        raise AssertionError(f"no link was printed: {self.output()}")

    def output(self) -> str:
        """Return what it has printed."""
        return Path(self._log.name).read_text(encoding="utf-8")

    def close(self) -> None:
        """Stop it as Ctrl-C does."""
        self._process.terminate()
        self._process.wait(timeout=_TIMEOUT)
        self._log.close()
