"""An experiment with days of a timezone: each view names its data intervals by their local dates."""

import re

import pytest
from fastapi.testclient import TestClient

from diurnal.experiment.run_context import RunContext
from diurnal.page.app import create_app
from diurnal.page.page_stores import PageStores
from diurnal.page.run_report import build_report
from diurnal.page.viewer import Viewer
from diurnal.pipeline.local_run import run
from diurnal.runtime import Settings
from page_texts import section_text

DATES = ("2026-11-26", "2026-11-27")


@pytest.fixture
def client(project, stores):
    project.declare("timezone='America/New_York', window=2, drop='ward'")
    for date in DATES:
        project.bring(date)
        experiment = project.experiment()
        run(RunContext(experiment, experiment.calendar.interval_on(date), stores, requested_by="test"))
    settings = Settings.load(project.folder, {"DIURNAL_WAREHOUSE": project.warehouse_url})
    page_stores = PageStores(lambda: settings)
    yield TestClient(create_app(page_stores, lambda: Viewer("ada", "session")), base_url="http://localhost:8787")
    page_stores.close()


def heading(page: str) -> str:
    return re.sub(r"<[^>]+>", "", re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)[1])


def test_each_view_names_local_dates(client, stores):
    newest, first = stores.warehouse.runs("clinic")
    views = {
        "list": "/",
        "experiment": "/experiments/clinic",
        "run": f"/experiments/clinic/runs/{newest['run_id']}",
        "version": "/experiments/clinic/versions/2",
        "data": "/experiments/clinic/data",
        "compare": f"/experiments/clinic/compare?a={first['run_id']}&b={newest['run_id']}",
    }
    pages = {name: client.get(path).text for name, path in views.items()}
    for name, page in pages.items():
        assert "2026-11-27" in page, name
        visible = re.sub(r"<time[^>]*>[^<]*</time>", "", page)
        assert "2026-11-27 05:00" not in visible, name
        assert "2026-11-26 05:00" not in visible, name
    assert 'title="2026-11-27: promoted' in pages["list"] or 'title="2026-11-27: recorded' in pages["list"]
    assert "2026-11-27" in heading(pages["run"])
    assert "date=2026-11-27" in pages["run"], "a link to the data"
    assert "← 2026-11-26" in pages["run"]
    assert "2026-11-26" in section_text(pages["run"], "data")
    assert heading(pages["data"]) == "clinic, data of 2026-11-27"
    assert heading(client.get("/experiments/clinic/data?date=2026-11-26").text) == "clinic, data of 2026-11-26"
    assert "2026-11-26" in build_report(stores, newest)
    timeline = client.get("/experiments/clinic/charts/timeline.json").json()
    assert [row["l"] for row in timeline["datasets"]["rows"]] == list(DATES)
    column = client.get("/experiments/clinic/data/charts/column.json?column=age").json()
    assert {row["l"] for row in column["vconcat"][0]["data"]["values"]} == set(DATES)


def test_the_filter_of_runs_has_local_dates(client):
    shown = client.get(
        "/experiments/clinic?since=2026-11-26&until=2026-11-26", headers={"hx-request": "true", "hx-target": "runs"}
    ).text
    assert "2026-11-26" in shown
    assert not re.search(r">2026-11-27<", shown)
