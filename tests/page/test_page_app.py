"""The page's application: who may see what, what a browser may send, and what it says when a store is away."""

import pytest
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute

from diurnal.page.app import create_app
from diurnal.page.page_stores import PageStores
from diurnal.page.security import SECURITY_HEADERS
from diurnal.page.viewer import Viewer
from diurnal.runtime import Settings

PUBLIC = {"/static/{name}"}


def settings_of(project) -> Settings:
    return Settings.load(project.folder, {"DIURNAL_WAREHOUSE": project.warehouse_url})


def client_of(stores: PageStores, authenticate, **arguments) -> TestClient:
    app = create_app(stores, authenticate, **arguments)
    return TestClient(app, base_url="http://localhost:8787", raise_server_exceptions=False)


@pytest.fixture
def page_stores(project):
    stores = PageStores(lambda: settings_of(project))
    yield stores
    stores.close()


@pytest.fixture
def client(page_stores):
    return client_of(page_stores, lambda: Viewer("ada", "session"), allowed_hosts=["localhost"])


def paths_of(routes: list[BaseRoute]) -> set[str]:
    return {route.path for route in routes}


def test_every_page_has_the_security_headers(client):
    for path in ("/", "/experiments/absent", "/static/page.css", "/nothing"):
        response = client.get(path)
        assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_a_foreign_host_is_rejected(client):
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:9999"}).status_code == 200, "the port is that of a tunnel"


def test_without_runs_the_page_shows_what_to_do(client):
    response = client.get("/")
    assert response.status_code == 200
    assert "diurnal run" in response.text
