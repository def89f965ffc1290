"""Take the pictures of the documentation: a year of turbines and of flights, run by the command line, in Chromium.

The project with the results is in ``build/screenshots``; finished data intervals are not run again. ``--quick`` runs
the last three weeks only.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from diurnal.experiment.discovery import find
from diurnal.runtime import Settings
from diurnal.storage.stores import open_stores

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "build" / "screenshots"
PICTURES = ROOT / "docs" / "pictures"
EXAMPLES = ("turbines", "flights", "breast_cancer")
MAX_BYTES = 200_000
WINDOW = {"width": 1280, "height": 860}


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes
    ----------
    name : str
        The name of the file, without its ending.
    path : str
        The path of the page, with names that :func:`newest` finds out in braces.
    element : str
        The selector of the element to show; by default the whole window.
    height : int or None
        The height of the window.
    dark : bool
        Whether the page is dark.
    width : int
        The width of the window.
    """

    name: str
    path: str
    element: str | None = None
    height: int | None = None
    dark: bool = False
    width: int = WINDOW["width"]


PICTURE_LIST = [
    Picture("experiments", "/"),
    Picture("experiment", "/experiments/late", height=1250),
    Picture("experiment-dark", "/experiments/turbines", height=1250, dark=True),
    Picture("run", "/experiments/late/runs/{late_run}", height=1250),
    Picture("version", "/experiments/late/versions/{late_version}", height=1100),
    Picture("data", "/experiments/turbines/data", height=1250),
    Picture("phone", "/experiments/late", width=390, height=844),
]


def main() -> None:
    """Run the experiments, serve the page, and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="run the last three weeks only")
    parser.add_argument("--only", nargs="*", help="names of pictures")
    arguments = parser.parse_args()
    make_project(days=21 if arguments.quick else 365)
    chosen = [one for one in PICTURE_LIST if not arguments.only or one.name in arguments.only]
    with serve_page() as link:
        take_pictures(link, chosen)


def make_project(days: int) -> None:
    """Create a project with the experiments of the examples, and run them up to yesterday."""
    (PROJECT / "experiments").mkdir(parents=True, exist_ok=True)
    (PROJECT / "diurnal.toml").touch()
    for example in EXAMPLES:
        for path in (ROOT / "examples" / example / "experiments").glob("*.py"):
            if "spark" not in path.name:
                shutil.copy(path, PROJECT / "experiments" / path.name)
    last = (datetime.now(UTC) - timedelta(hours=30)).date()  # the day has ended in New York, too
    for name, n in (("turbines", days), ("late", days), ("breast_cancer", min(days, 14))):
        start = find(name, PROJECT / "experiments").start_date
        first = last - timedelta(days=n - 1)
        if start is not None:
            first = max(first, start.date())
        run_command("backfill", name, "--from", f"{first}", "--to", f"{last}")


def run_command(*words: str, allowed: tuple[int, ...] = (0, 65)) -> None:
    """Run a command of diurnal in the project; 65 is a rejected batch, which is a result as well."""
    print("diurnal", *words, flush=True)
    status = subprocess.run([sys.executable, "-m", "diurnal", *words], cwd=PROJECT, check=False).returncode
    if status not in allowed:
        raise SystemExit(f"diurnal {' '.join(words)} has failed with status {status}")


@contextmanager
def serve_page() -> Iterator[str]:
    """Serve the page, and yield the link to log in."""
    command = [sys.executable, "-u", "-m", "diurnal", "page", "--port", "0", "--allow-changes"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        try:
            for line in server.stdout or ():
                if found := re.search(r"http://\S+/login\?token=\S+", line):
                    yield found[0]
                    break
        finally:
            server.terminate()


def take_pictures(link: str, pictures: list[Picture]) -> None:
    """Open each page, and write its picture."""
    base = link.partition("/login")[0]
    names = find_newest()
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        context = browser.new_context()
        context.new_page().goto(link)
        state = context.storage_state()
        for picture in pictures:
            data = take_picture(browser, state, base + picture.path.format(**names), picture)
            path = PICTURES / f"{picture.name}.png"
            path.write_bytes(compress_picture(data))
            print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


def take_picture(browser: Any, state: Any, url: str, picture: Picture) -> bytes:
    """Return the picture of a page once its charts are drawn."""
    size = {"width": picture.width, "height": picture.height or WINDOW["height"]}
    context = browser.new_context(
        storage_state=state,
        viewport=size,
        color_scheme="dark" if picture.dark else "light",
        locale="en-GB",
        timezone_id="UTC",
        device_scale_factor=1.5 if picture.width < 800 else 1,
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    page.wait_for_function("() => !document.querySelector('[data-state=loading], .htmx-request')")
    shown = page.locator(picture.element).first if picture.element else page
    data: bytes = shown.screenshot(animations="disabled")
    context.close()
    return data


def find_newest() -> dict[str, object]:
    """Return the names of the newest run and of the champion."""
    stores = open_stores(Settings.load(PROJECT), create=False)
    with stores.warehouse as warehouse:
        champion = warehouse.newest_promotion("late") or {}
        return {"late_run": warehouse.runs("late")[0]["run_id"], "late_version": champion.get("version", 1)}


def find_chromium() -> str:
    """Return the path of Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    raise SystemExit("there is no Chromium: run `make chromium`, or apt-get install chromium")


def compress_picture(data: bytes) -> bytes:
    """Return a PNG with a palette, of at most 200 kB: with fewer colours if it takes more."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    for colors in (256, 128, 64, 32):
        file = io.BytesIO()
        palette = image.quantize(colors, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        palette.save(file, "PNG", optimize=True)
        if file.tell() <= MAX_BYTES:
            break
    return file.getvalue()


if __name__ == "__main__":
    main()
