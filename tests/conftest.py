"""A real PostgreSQL for each worker of the test run, and a fresh database for each test."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from browser import open_chromium
from databases import open_database, open_server
from diurnal.runtime.postgres import EmbeddedServer
from diurnal.storage.stores import Stores
from diurnal.storage.warehouse import Warehouse
from projects import Project

if TYPE_CHECKING:
    from monitored_project import MonitoredProject

os.environ.pop("MLFLOW_TRACKING_URI", None)  # results of tests are for no server of the developer's
gc.set_threshold(10_000)  # as in the command line: a quarter of a million objects of imports stay
# Tools of the tests, not tests: collecting them for doctests would import Airflow into this process.
collect_ignore = ["storage/stored", "support", "system/compose.py", "system/sklearn_suite.py"]


def pytest_collection_finish() -> None:
    """Keep no compiled files from here on: a test may change an experiment within a second, to a text of equal size."""
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """A running server that lasts as long as the tests of this worker."""
    with open_server() as server:
        yield server


@pytest.fixture
def warehouse_url(server: EmbeddedServer) -> Iterator[str]:
    """The URL of a database that is migrated, without any rows."""
    with open_database(server) as url:
        yield url


@pytest.fixture
def another_url(server: EmbeddedServer) -> Iterator[str]:
    """The URL of a second warehouse: what is kept in one is not made again."""
    with open_database(server) as url:
        yield url


@pytest.fixture
def empty_url(server: EmbeddedServer) -> Iterator[str]:
    """The URL of a database without tables, as a new user has one."""
    with open_database(server, "template0") as url:
        yield url


@pytest.fixture
def warehouse(warehouse_url: str) -> Iterator[Warehouse]:
    """A warehouse without any rows."""
    with Warehouse(warehouse_url) as warehouse:
        yield warehouse


@pytest.fixture
def project(tmp_path: Path, warehouse_url: str) -> Project:
    """A small project on disk, with a warehouse of its own."""
    return Project.make(tmp_path / "project", warehouse_url)


@pytest.fixture
def stores(project: Project) -> Iterator[Stores]:
    """The stores of that project."""
    stores = project.stores()
    yield stores
    stores.warehouse.close()


@pytest.fixture(scope="session")
def filled(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredProject]:
    """A project with each kind of result; tests do not change it.

    It takes half a minute to make: tests that use it have the mark ``xdist_group("page")``, so that one
    worker makes it.
    """
    from monitored_project import MonitoredProject

    with open_database(server) as url:
        project = MonitoredProject.make(tmp_path_factory.mktemp("filled") / "project", url)
        stores = project.stores()
        with stores.warehouse:
            project.fill(stores)
        yield project


@pytest.fixture(scope="session")
def filled_stores(filled: MonitoredProject) -> Iterator[Stores]:
    """The stores of that project."""
    stores = filled.stores()
    yield stores
    stores.warehouse.close()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser that lasts as long as the tests of this worker: a process can have one Playwright at a time."""
    with open_chromium() as browser:
        yield browser
