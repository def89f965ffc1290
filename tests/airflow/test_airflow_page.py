"""The page in Airflow's API server: its users and their rights, and the way from a Dag and its runs to the page."""

import json
import re
import sqlite3
from contextlib import closing
from urllib.parse import quote

import psycopg
import pytest

from airflow_home import Runner, tell
from databases import open_database
from projects import Project, patients

pytestmark = pytest.mark.xdist_group("airflow")  # with --dist=loadgroup, one worker has the one process

DAGS = """
from airflow.sdk import DAG
from diurnal.airflow import build_dag
dag = build_dag("clinic", dag_id="risk")
new = build_dag("fresh")
with DAG("other", schedule=None) as other:
    pass
"""
FRESH = """
from diurnal import experiment

@experiment(source=lambda interval: None, target="y")
def fresh():
    from sklearn.dummy import DummyClassifier
    return DummyClassifier()
"""
OWN = {"origin": "http://airflow.example", "sec-fetch-site": "same-origin"}
FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}


class Airflow:
    """An Airflow that has run a good and a bad batch of an experiment, whose Dag has another name."""

    def __init__(self, folder, warehouse_url):
        self.folder = folder
        self.project = Project.make(folder / "project", warehouse_url, "drop='ward', promotion='never'")
        (self.project.folder / "dags").mkdir()
        (self.project.folder / "dags" / "risk.py").write_text(DAGS)
        (self.project.folder / "experiments" / "fresh.py").write_text(FRESH)
        self.runner = Runner(folder)
        self.settings = {
            "DIURNAL_WAREHOUSE": warehouse_url,
            "DIURNAL_PROJECT": str(self.project.folder),
            "AIRFLOW__API_AUTH__JWT_SECRET": "secret" * 12,
            "AIRFLOW__API__SECRET_KEY": "shared",  # by all API servers: a form of one is valid in another
            "AIRFLOW__CORE__AUTH_MANAGER": "airflow_auth.NarrowAuthManager",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        }
        self.project.bring("2026-11-01")
        self.project.bring("2026-11-02", patients("2026-11-02").drop(columns="age"))
        wishes = [{"dag": "risk", "logical_date": f"2026-11-0{day}T00:00:00+00:00"} for day in (2, 3)]
        done = self.runner.run(self.project.folder, self.settings, *wishes)["runs"]
        assert [run["state"] for run in done] == ["success", "failed"], done[0]["log"][-3000:]
        self.good, self.bad = (run["run_id"] for run in done)
        with psycopg.connect(warehouse_url) as connection:
            ((self.run_id,),) = connection.execute("select run_id from experiments").fetchall()

    def metastore(self):
        return closing(sqlite3.connect(self.folder / "airflow.db"))

    def browse(self, *requests, **settings):
        return self.runner.browse(self.project.folder, {**self.settings, **settings}, *requests)

    def get(self, *paths, user="viewer", **settings):
        return self.browse(*({"path": f"/diurnal{path}", "user": user} for path in paths), **settings)["responses"]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, server):
    with open_database(server) as url:
        airflow = Airflow(tmp_path_factory.mktemp("airflow"), url)
        yield airflow
        airflow.runner.close()


@pytest.fixture(scope="module")
def routes(airflow):
    """Each route of the page with a path that it matches, but for those of static files."""
    values = {"name": "clinic", "version": "1", "dag_id": "risk", "run_id": "x"}
    found = []
    for methods, path in airflow.browse()["routes"]:
        if not path.startswith("/static/"):
            filled = re.sub(r"\{(\w+)(?::\w+)?\}", lambda match: values.get(match[1], "1"), path)
            found += [(method, f"/diurnal{filled}") for method in methods if method != "HEAD"]
    return found


def test_every_route_asks_for_a_user_and_a_browsers_tab_is_sent_to_the_login(airflow, routes):
    assert {"/diurnal/", "/diurnal/dags/risk", "/diurnal/dags/risk/runs/x"} <= {path for _, path in routes}
    requests = [{"method": method, "path": path, "headers": OWN} for method, path in routes]
    documents = [{**request, "headers": {"sec-fetch-dest": "document"}} for request in requests]
    hidden = [{"path": f"/diurnal/{path}"} for path in ("docs", "redoc", "openapi.json")]
    responses = airflow.browse(*requests, *documents, *hidden)["responses"]
    n = len(requests)
    assert {response["status"] for response in responses[:n]} == {401}
    assert not any("clinic" in response["text"] for response in responses[:n])
    for request, response in zip(documents, responses[n : 2 * n], strict=True):
        if request["method"] == "GET":
            assert response["status"] == 303
            assert response["headers"]["location"].startswith("/api/v2/auth/login?next=http%3A%2F%2Fairflow.example%2F")
    assert {response["status"] for response in responses[2 * n :]} == {404}


def test_who_may_not_see_the_dag_does_not_see_the_experiment(airflow, routes):
    paths = [path.removeprefix("/diurnal") for method, path in routes if method == "GET"]
    for path, response in zip(paths, airflow.get(*paths, user="viewer@other"), strict=True):
        expected = (404, 422) if "/experiments/" in path else (200,)
        assert response["status"] in expected, path
        assert "Tell who is ill" not in response["text"], path
        assert "experiments/clinic" not in response["text"], path
    (seen,) = airflow.get("/", user="viewer@risk")
    assert "experiments/clinic" in seen["text"], "the right to the Dag of another name is the right to the experiment"


def test_only_who_may_change_the_dag_changes_the_experiment_and_only_from_the_page(airflow, routes):
    changes = [{"method": method, "path": path, "form": {}} for method, path in routes if method != "GET"]
    viewers = [{**change, "user": "viewer", "headers": OWN} for change in changes]
    foreign = [{**change, "user": "admin", "headers": FOREIGN} for change in changes]
    foreign.append({"method": "POST", "path": "/diurnal/", "user": "admin", "headers": FOREIGN})
    responses = airflow.browse(*viewers, *foreign)["responses"]
    assert {response["status"] for response in responses} <= {403, 404}
    assert responses[-1]["status"] == 403


def test_a_dag_leads_to_its_experiment_and_a_run_to_its_result(airflow):
    paths = ["/dags/risk", "/dags/risk.champion", "/dags/other", "/dags/unknown"]
    runs = [f"/dags/risk/runs/{airflow.good}", f"/dags/risk/runs/{airflow.bad}", "/dags/risk/runs/unknown"]
    own, champion, other, unknown, good, bad, missing, new = airflow.get(*paths, *runs, "/dags/fresh")
    assert (own["status"], own["headers"]["location"]) == (303, "../experiments/clinic")
    assert (champion["status"], champion["headers"]["location"]) == (303, "../experiments/clinic")
    for response in (other, unknown, missing):
        assert response["status"] == 200
        assert "is not the Dag of an experiment" in response["text"]
        assert '<a href="../' in response["text"], "a link to all experiments"
    assert "<strong>fresh</strong> has no batch and no result" in new["text"]
    assert good["headers"]["location"] == f"../../../experiments/clinic/runs/{airflow.run_id}"
    assert bad["status"] == 200
    for said in ("<strong>failed</strong>", "[missing-column]", f"/dags/risk/runs/{airflow.bad}".replace(":", "%3A")):
        assert said.replace("+", "%2B") in bad["text"]
    assert "refresh" not in bad["headers"], "nothing changes any more"


def test_views_link_to_the_dag_and_to_its_run(airflow):
    listed, experiment, run = airflow.get("/", "/experiments/clinic", f"/experiments/clinic/runs/{airflow.run_id}")
    dag_run = f'data-parent="/dags/risk/runs/{quote(airflow.good, safe="")}"'
    assert 'data-parent="/dags/' not in listed["text"]
    assert 'data-parent="/dags/risk"' in experiment["text"]
    assert dag_run not in experiment["text"]
    assert dag_run in run["text"]


def test_a_promotion_is_a_run_of_the_champion_dag_in_the_name_of_the_user(airflow):
    path = "/diurnal/experiments/clinic/versions/1/promote"
    shown = airflow.browse({"path": path, "user": "user"})["responses"][0]
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', shown["text"]))
    send = {"path": path, "user": "user", "method": "POST", "headers": OWN, "form": {**form, "reason": "it is better"}}
    (paused,) = airflow.browse(send)["responses"]
    assert paused["status"] == 409, "as Airflow creates Dags paused, unless it is told otherwise"
    assert "the Dag risk.champion is paused: unpause it" in paused["text"]
    with airflow.metastore() as connection:
        connection.execute("update dag set is_paused = 0 where dag_id = 'risk.champion'")
        connection.commit()
    (promoted,) = airflow.browse(send)["responses"]
    assert promoted["status"] == 303, promoted["text"]
    way = re.fullmatch(r"(?:\.\./)+(dags/risk\.champion/runs/[^/]+)", promoted["headers"]["location"])
    state, gone = airflow.get(f"/{way[1]}"), airflow.get(f"/{way[1]}", user="viewer@other")
    assert "<strong>queued</strong>" in state[0]["text"]
    assert state[0]["headers"]["refresh"] == "5"
    assert "is not the Dag of an experiment" in gone[0]["text"]
    with airflow.metastore() as connection:
        (row,) = connection.execute(
            "select conf, triggering_user_name from dag_run where dag_id = 'risk.champion'"
        ).fetchall()
    assert json.loads(row[0]) == {"action": "promote", "version": 1, "reason": "it is better"}
    assert row[1] == "user"


def test_the_plugin_has_a_page_and_tabs_without_a_leading_slash(airflow):
    views = {view["destination"]: view for view in airflow.browse()["views"]}
    assert views.keys() == {"nav", "dag", "dag_run"}
    assert views["dag_run"]["href"] == "diurnal/dags/{DAG_ID}/runs/{RUN_ID}"
    assert len({view["url_route"] for view in views.values()}) == 3
    (icon,) = airflow.browse({"path": f"/{views['nav']['icon']}"})["responses"]
    assert (icon["status"], icon["headers"]["content-type"]) == (200, "image/svg+xml")


def test_without_the_warehouse_the_page_says_so(airflow):
    away = "postgresql://nobody@127.0.0.1:1/warehouse"
    listed, dag = airflow.get("/", "/dags/risk", DIURNAL_WAREHOUSE=away)
    for response in (listed, dag):
        assert response["status"] == 503
        assert "The warehouse is not available" in response["text"]


def test_a_foreign_page_changes_nothing_where_every_request_is_an_admins(airflow):
    """The auth manager of a local Airflow can do without a login; then a browser needs no cookie."""
    settings = {"AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True"}
    manager = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"
    requests = [{"path": "/diurnal/"}, {"method": "POST", "path": "/diurnal/", "headers": FOREIGN}]
    seen = airflow.browse(*requests, AIRFLOW__CORE__AUTH_MANAGER=manager, **settings)["responses"]
    assert [response["status"] for response in seen] == [200, 403]


def test_airflow_starts_without_the_libraries_of_the_page(tmp_path):
    program = """
import logging, sys
lines = []
handler = logging.Handler()
handler.emit = lambda record: lines.append(record.getMessage())
logging.getLogger("diurnal.airflow.plugin").addHandler(handler)
import diurnal.page
from diurnal.airflow.plugin import DiurnalPlugin
diurnal.page.LIBRARIES = (*diurnal.page.LIBRARIES, "not_installed")
first = DiurnalPlugin()
answer = [first.fastapi_apps, first.external_views]
diurnal.page.LIBRARIES = diurnal.page.LIBRARIES[:-1]
sys.modules["diurnal.airflow.page_app"] = None
second = DiurnalPlugin()
answer += [second.fastapi_apps, second.external_views, lines]
"""
    *left_out, lines = tell(tmp_path / "home", tmp_path, program)
    assert left_out == [[], [], [], []]
    assert len(lines) == 2
    assert "pip install 'diurnal[page]'" in lines[0]


def test_the_warehouse_is_that_of_airflows_connection(tmp_path):
    program = """
import os, sys
from airflow.models.connection import Connection
from airflow.utils.db import initdb
from airflow.utils.session import create_session
initdb()
os.environ["DIURNAL_PROJECT"] = sys.argv[1]
from diurnal.airflow.page_app import load_page_settings
answer = [load_page_settings().origins["warehouse"]]
with create_session() as session:
    session.add(Connection(conn_id="diurnal_warehouse", conn_type="postgres", host="db", login="ada", password="p@s",
                           schema="results"))
found = load_page_settings()
os.environ["DIURNAL_WAREHOUSE"] = "postgresql://own/results"
answer += [found.warehouse, found.origins["warehouse"], load_page_settings().warehouse]
"""
    assert tell(tmp_path / "home", tmp_path, program, str(tmp_path)) == [
        "default",
        "postgresql://ada:p%40s@db/results",
        "the Airflow connection 'diurnal_warehouse'",
        "postgresql://own/results",
    ]


def test_buttons_of_tasks_lead_to_the_page_in_airflows_frame(tmp_path):
    program = """
import os
from types import SimpleNamespace
from airflow.sdk.exceptions import AirflowSkipException
from diurnal.airflow import extra_links
from diurnal.errors import BatchRejectedError, Problem, TransientError
def links(step, outcome=None, inputs=()):
    task = SimpleNamespace(step=step, outcome=outcome, inputs=inputs, experiment=SimpleNamespace(name="late"))
    ti = SimpleNamespace(dag_id="late.approval")
    return {link.name: link.get_link(task, ti_key=ti) for link in extra_links.STEP_LINKS[step]}
run = {"run": {"run_id": "late-1"}}
rejected = BatchRejectedError([Problem("no-rows", "there are none")])
answer = {
    "storage": links("storage"), "fetch": links("fetch", run), "rejected": links("fetch", rejected),
    "record": links("record", {}, [run]), "failed": links("record", TransientError("x"), [run]),
    "finished": links("evaluate", AirflowSkipException("x"), [run]),
    "publish": links("publish", {"version": 3}), "promote": links("promote", {}, [{"version": 3}, {}]),
}
os.environ["AIRFLOW__API__BASE_URL"] = "https://example.com/air/flow/"
answer["base"] = links("storage")
"""
    late = "/plugin/diurnal/diurnal/experiments/late"
    run, version = {"Run": f"{late}/runs/late-1"}, {"Model version": f"{late}/versions/3"}
    assert tell(tmp_path / "home", tmp_path, program) == {
        "storage": {"Experiment": late},
        "fetch": {"Data": f"{late}/data", "Rejected batch": ""},
        "rejected": {"Data": "", "Rejected batch": f"{late}#failures"},
        "record": run,
        "failed": {"Run": ""},
        "finished": run,
        "publish": version,
        "promote": {**version, "Change the champion": "/dags/late.champion"},
        "base": {"Experiment": "/air/flow/plugin/diurnal/air/flow/diurnal/experiments/late"},
    }
