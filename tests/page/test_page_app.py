"""The page's application: who may see what, what a browser may send, and what it answers when a store is away."""

import re
import runpy
import time
from pathlib import Path

import psycopg
import pytest
from fastapi import HTTPException
from fastapi.testclient import TestClient

from databases import open_database
from diurnal.page.app import create_app
from diurnal.page.contract_process import ContractProcess
from diurnal.page.page_stores import PageStores
from diurnal.page.security import SECURITY_HEADERS
from diurnal.page.viewer import Viewer
from diurnal.runtime import Settings

FILL = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "page.py"))["fill"]
PUBLIC = {"/static/{name}"}
VALUES = {
    "{name}": "daily_001",
    "{version}": "1",
    "{run_id}": "daily_001-absent",
    "{run_id:path}": "daily_001-absent",
    "{column}": "x",
    "{chart}": "roc",
}
SAME_ORIGIN = {"sec-fetch-site": "same-origin"}


@pytest.fixture(scope="module")
def filled_url(server):
    """A warehouse with two experiments, of 90 and 20 data intervals."""
    with open_database(server) as url:
        FILL(url, (("daily", 1, 1, 90), ("weekly", 1, 7, 20)))
        yield url


def stores_of(folder: Path, url: str) -> PageStores:
    (folder / "diurnal.toml").write_text("[diurnal]\n")
    return PageStores(lambda: Settings.load(folder, {"DIURNAL_WAREHOUSE": url}))


def client_of(stores: PageStores, viewer: Viewer | None, **arguments) -> TestClient:
    def authenticate() -> Viewer:
        if viewer is None:
            raise HTTPException(401)
        return viewer

    app = create_app(stores, authenticate, allowed_hosts=["localhost"], **arguments)
    return TestClient(app, base_url="http://localhost:8787", raise_server_exceptions=False)


READER = Viewer("ada", "session of ada")
CHANGER = Viewer("ada", "session of ada", can_change=lambda _: True)
STRANGER = Viewer("eve", "session of eve", can_read=lambda _: False)
WEEKLY_ONLY = Viewer("eve", "session of eve", can_read=lambda name: name == "weekly_001")


@pytest.fixture
def stores(tmp_path, filled_url):
    stores = stores_of(tmp_path, filled_url)
    yield stores
    stores.close()


@pytest.fixture
def reader(stores):
    return client_of(stores, READER)


@pytest.fixture
def changer(stores, tmp_path):
    return client_of(stores, CHANGER, contracts=ContractProcess(tmp_path))


def routes_of(client: TestClient) -> list[tuple[str, str]]:
    """Give the method and the path of each route that needs a login, with values for its parameters."""
    found = []
    for route in walk(client.app.routes):
        path = route.path
        for name, value in VALUES.items():
            path = path.replace(name, value)
        assert "{" not in path, f"{path}: give its parameter a value in VALUES"
        if route.path not in PUBLIC:
            found += [(method, path) for method in sorted(route.methods)]
    return found


def walk(routes):
    """Give the routes; those of included routers may be nested."""
    for route in routes:
        if hasattr(route, "methods") and hasattr(route, "path"):
            yield route
        else:
            yield from walk(getattr(route, "effective_routes", None) or route.routes)


def test_anonymous_requests_get_a_login_page_from_every_route(stores):
    client = client_of(stores, None)
    routes = routes_of(client)
    assert len(routes) >= 9
    assert {(path, client.request(method, path, headers=SAME_ORIGIN).status_code) for method, path in routes} == {
        (path, 401) for _, path in routes
    }


def test_a_forbidden_experiment_is_absent_for_every_route(stores):
    client = client_of(stores, STRANGER)
    routes = [(method, path) for method, path in routes_of(client) if "daily_001" in path]
    assert len(routes) >= 8
    for method, path in routes:
        forbidden = client.request(method, path, headers=SAME_ORIGIN)
        absent = client.request(method, path.replace("daily_001", "no_such_one"), headers=SAME_ORIGIN)
        assert (method, path, forbidden.status_code) == (method, path, 404)
        assert forbidden.text == absent.text.replace("no_such_one", "daily_001")


def test_a_reader_changes_nothing(stores, reader):
    warehouse = stores.reader().warehouse
    before = warehouse.promotions("daily_001"), warehouse.contract_history("daily_001")
    changes = [path for method, path in routes_of(reader) if method == "POST"]
    assert len(changes) >= 3
    assert {reader.post(path, headers=SAME_ORIGIN).status_code for path in changes} == {403}
    assert before == (warehouse.promotions("daily_001"), warehouse.contract_history("daily_001"))


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999", "host": "localhost:8787"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://localhost:8787"},
        {"sec-fetch-site": "none"},
        {},
    ],
)
def test_a_change_from_another_origin_is_rejected(changer, headers):
    path = "/experiments/daily_001/versions/1/promote"
    form = {"reason": "x", **token_of(changer, path)}
    response = changer.post(path, data=form, headers=headers)
    assert (response.status_code, response.text) == (403, "a change must come from the page itself\n")


def test_a_foreign_host_is_rejected(reader):
    for method, path in routes_of(reader):
        assert reader.request(method, path, headers={"host": "evil.example", **SAME_ORIGIN}).status_code == 400
    assert reader.get("/", headers={"host": "localhost:9999"}).status_code == 200, "the port is that of a tunnel"


def test_a_form_needs_the_token_of_its_session(stores, changer):
    path = "/experiments/daily_001/versions/1/promote"
    others = token_of(client_of(stores, Viewer("ada", "another session", can_change=lambda _: True)), path)
    tokens = ({}, {"form_token": ""}, {"form_token": "a.b"}, others)
    for token in tokens:
        response = changer.post(path, data={"reason": "x", "champion": "1", **token}, headers=SAME_ORIGIN)
        assert response.status_code == 403
        assert "expired" in response.text
    assert changer.post(path, json={"reason": "x"}, headers=SAME_ORIGIN).status_code == 400
    assert changer.post(path, data={"reason": "x" * 70_000}, headers=SAME_ORIGIN).status_code == 400


def token_of(client: TestClient, path: str) -> dict[str, str]:
    page = client.get(path).text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))


def test_every_response_has_the_security_headers(reader):
    for path in ("/", "/experiments/daily_001", "/experiments/absent", "/static/page.css", "/nothing", "/?sort=x"):
        response = reader.get(path)
        assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert reader.get("/openapi.json").status_code == reader.get("/docs").status_code == 404


def test_pages_have_no_inline_scripts_and_styles(reader):
    for path in ("/", "/experiments/daily_001"):
        page = reader.get(path).text
        assert re.findall(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=", page) == []


def test_links_are_relative_to_the_mount(stores):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    inner = client_of(stores, READER).app
    client = TestClient(Starlette(routes=[Mount("/base/diurnal", inner)]), base_url="http://localhost")
    for path in ("/base/diurnal/", "/base/diurnal/experiments/daily_001"):
        page = client.get(path)
        assert page.status_code == 200
        links = re.findall(r'(?:href|src|action|hx-get|data-chart|data-vega)="([^"#]+)', page.text)
        assert len(links) > 20
        assert [link for link in links if link.startswith(("/", "http"))] == []
        resolved = {str(page.url.join(link)) for link in links}
        assert [link for link in resolved if not link.startswith("http://localhost/base/diurnal/")] == []
        assert client.get(page.url.join(next(link for link in links if "page.css" in link))).status_code == 200


def test_all_experiments_are_listed_with_their_states(reader):
    page = reader.get("/").text
    assert page.count('<th scope="row">') == 2
    assert page.count('class="cell ') == 60 + 20 + 7, "of the strips, and of the legend"
    for state in ("promoted", "kept", "rejected"):
        assert f'class="cell {state}" href=' in page
    names = re.findall(r'<th scope="row"><a href="\./experiments/(\w+)"', reader.get("/?sort=-name").text)
    assert names == ["weekly_001", "daily_001"]
    assert "weekly_001" not in reader.get("/?q=DAILY").text
    assert "No experiment matches" in reader.get("/?q=zzz").text
    assert reader.get("/?only=nonsense").status_code == 400


def test_a_viewer_sees_only_readable_experiments(stores):
    page = client_of(stores, WEEKLY_ONLY).get("/").text
    assert "weekly_001" in page
    assert "daily_001" not in page
    assert "Search 1 experiment" in page


def test_htmx_gets_parts_of_the_same_address(reader):
    part = reader.get("/?q=daily", headers={"hx-request": "true", "hx-target": "found"})
    assert part.text.startswith('<div id="found">')
    assert part.headers["vary"].count("HX-Request") == 1
    for name in ("runs", "versions"):
        part = reader.get("/experiments/daily_001", headers={"hx-request": "true", "hx-target": name})
        assert part.text.startswith(f'<section id="{name}">')
        assert "<html" not in part.text


def test_runs_are_paged_and_filtered(reader, stores):
    seen, path = [], "/experiments/daily_001"
    while path:
        page = reader.get(path).text
        seen += re.findall(r'<th scope="row"><a href="\.\./experiments/daily_001/runs/([^"]+)"', page)
        older = re.search(r'href="(\.\./experiments/daily_001\?before=[^"]+)#runs"', page)
        path = "/" + older[1].removeprefix("../").replace("&amp;", "&") if older else None
    runs = [row["run_id"] for row in stores.reader().warehouse.runs("daily_001")]
    assert seen == runs
    kept = reader.get("/experiments/daily_001?result=kept").text
    assert "champion kept" in kept
    assert 'class="state promoted" title' not in kept
    day = runs[3].split("-")[1][:8]
    date = f"{day[:4]}-{day[4:6]}-{day[6:]}"
    assert reader.get(f"/experiments/daily_001?since={date}&until={date}").text.count('name="a"') == 1
    assert "No run matches" in reader.get("/experiments/daily_001?q=100%25_of").text
    for query in ("since=2026-02-31", "before=a,b,c", "before=2026-01-01,2026-01-01,x", "result=x", "until=x"):
        assert reader.get(f"/experiments/daily_001?{query}").status_code == 400


def test_the_timeline_is_a_chart_of_all_runs(reader, stores):
    spec = reader.get("/experiments/daily_001/charts/timeline.json").json()
    n_intervals = len({row["data_interval_start"] for row in stores.reader().warehouse.runs("daily_001")})
    assert len(spec["datasets"]["rows"]) == n_intervals


def test_an_experiment_shows_why_a_batch_is_in_quarantine(reader):
    page = reader.get("/experiments/daily_001").text
    assert "in quarantine" in page
    assert "diurnal contract NAME accept" in page
    assert "Promote" not in re.sub(r"<code>.*?</code>|To promote", "", page), "the viewer may not"


def test_few_queries_make_a_view(stores, reader):
    from sqlalchemy import event

    statements = []
    engine = stores.reader().warehouse._engine
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    for path, most in (("/", 8), ("/experiments/daily_001", 16), ("/experiments/daily_001/charts/timeline.json", 5)):
        statements.clear()
        assert reader.get(path).status_code == 200
        assert 0 < len(statements) <= most


def test_the_page_reads_in_transactions_that_cannot_write(stores):
    warehouse = stores.reader().warehouse
    with warehouse.transaction() as connection:
        settings = [
            connection.exec_driver_sql(f"SHOW {name}").scalar_one()
            for name in ("transaction_read_only", "statement_timeout", "application_name")
        ]
    assert settings == ["on", "10s", "diurnal reader"]


def test_without_runs_the_page_shows_what_to_do(tmp_path, warehouse_url):
    stores = stores_of(tmp_path, warehouse_url)
    response = client_of(stores, READER).get("/")
    stores.close()
    assert response.status_code == 200
    assert "diurnal run" in response.text


def test_without_a_warehouse_the_page_creates_none(tmp_path):
    (tmp_path / "diurnal.toml").write_text("[diurnal]\n")
    client = client_of(PageStores(lambda: Settings.load(tmp_path, {})), READER)
    assert "Nothing has run yet" in client.get("/").text
    assert "Nothing has run yet" in client.get("/experiments/late").text
    assert not (tmp_path / "data").exists()


def test_while_the_warehouse_is_away_the_page_says_so_and_recovers(tmp_path, server, filled_url):
    with open_database(server) as url:
        FILL(url, (("daily", 1, 1, 5),))
        stores = stores_of(tmp_path, url)
        client = client_of(stores, READER)
        assert client.get("/").status_code == 200
        name = url.split("/")[3].split("?")[0]
        with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            response = client.get("/")
            assert response.status_code == 503
            assert response.headers["retry-after"] == response.headers["refresh"] == "10"
            assert "not available" in response.text
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert client.get("/").status_code == 200
        stores.close()


def test_a_warehouse_that_is_away_at_first_is_found_later(tmp_path, filled_url):
    urls = ["postgresql://nobody@localhost:1/none", filled_url]
    stores = PageStores(lambda: Settings.load(tmp_path, {"DIURNAL_WAREHOUSE": urls[0]}))
    client = client_of(stores, READER)
    assert client.get("/").status_code == 503
    del urls[0]
    time.sleep(1.1)  # an attempt fails at once for a second after another one
    assert client.get("/").status_code == 200
    stores.close()
