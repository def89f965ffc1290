"""What the tests of the page share: a filled project, which takes seconds to make."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from databases import open_database
from diurnal.runtime.postgres import EmbeddedServer
from diurnal.storage.stores import Stores
from monitored_project import MonitoredProject


@pytest.fixture(scope="session")
def filled(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MonitoredProject]:
    """A project with each kind of result; tests do not change it."""
    with open_database(server) as url:
        project = MonitoredProject.make(tmp_path_factory.mktemp("filled") / "project", url)
        stores = project.stores()
        with stores.warehouse:
            project.fill(stores)
        yield project


@pytest.fixture(scope="session")
def filled_stores(filled: MonitoredProject) -> Iterator[Stores]:
    stores = filled.stores()
    yield stores
    stores.warehouse.close()
