"""View 3, a run, on the real results of a project: what it shows, what it links to, and what older runs lack."""

import re

import pytest
from fastapi.testclient import TestClient

from diurnal.page.app import create_app
from diurnal.page.page_stores import PageStores
from diurnal.page.viewer import Viewer
from diurnal.runtime import Settings
from page_texts import section_text

pytestmark = pytest.mark.xdist_group("page")


@pytest.fixture(scope="module")
def client(filled):
    settings = Settings.load(filled.folder, {"DIURNAL_WAREHOUSE": filled.warehouse_url})
    stores = PageStores(lambda: settings)
    app = create_app(stores, lambda: Viewer("ada", "session", can_read=lambda name: name != "flats"))
    yield TestClient(app, base_url="http://localhost:8787")
    stores.close()


@pytest.fixture(scope="module")
def runs(filled_stores):
    """The runs of `clinic` by day, and of the other experiments by name and day."""
    rows = filled_stores.warehouse.runs()
    return {f"{row['experiment']} {row['data_interval_start']:%d}": row for row in rows}


def path_of(run) -> str:
    return f"/experiments/{run['experiment']}/runs/{run['run_id']}"


def show(client, run) -> str:
    response = client.get(path_of(run))
    assert response.status_code == 200, response.text
    return response.text


def test_it_shows_what_the_row_has(client, runs):
    run = runs["clinic 08"]
    page = show(client, run)
    for digest in (run["run_id"], run["batch_digest"], run["code_digest"], run["packages"][0]["digest"]):
        assert f'data-copy="{digest}"' in page
    assert "Version 6 became the champion in place of version 1" in page
    assert "weight has the same value in every row" in section_text(page, "warnings")
    assert "DeLong" in section_text(page, "comparison")
    assert "logisticregression__C 0.001" in section_text(page, "tuning")
    assert "scikit-learn" in section_text(page, "libraries")
    assert "tune" in section_text(page, "durations")
    assert "contract version 2, accepted by anna" in section_text(page, "data")


def test_changed_lines_of_the_code_are_shown(client, runs):
    changed = section_text(show(client, runs["clinic 08"]), "code")
    assert "+ make_pipeline(columns, LogisticRegression()), {&#34;logisticregression__C&#34;: [0.001, 0.01" in changed
    first = section_text(show(client, runs["clinic 01"]), "code")
    assert "The first run of the experiment" in first
    assert "Predict which patients are ill" in first, "the text as it ran"
    assert "The same as in the previous run" in section_text(show(client, runs["clinic 02"]), "code")


def test_failed_attempts_of_its_interval_are_shown(client, runs):
    attempts = section_text(show(client, runs["clinic 06"]), "attempts")
    assert "fetch failed" in attempts
    assert "&#39;weight&#39; is not in the schema" in attempts
    assert "diurnal contract clinic accept" in attempts
    assert '<section id="attempts">' not in show(client, runs["clinic 01"])


def test_neighbours_are_linked(client, runs):
    first, second, third, last = (runs[f"clinic {day}"] for day in ("01", "02", "04", "08"))
    page = show(client, second)
    links = {side: re.search(rf'rel="{side}" href="([^"]+)"', page)[1] for side in ("prev", "next")}
    before, after = (f"../../../experiments/clinic/runs/{run['run_id']}" for run in (first, third))
    assert links == {"prev": before, "next": after}
    assert 'rel="prev"' not in show(client, first)
    assert 'rel="next"' not in show(client, last)


def test_the_evaluation_has_a_chart_for_each_curve(client, runs):
    run = runs["clinic 08"]
    page = show(client, run)
    charts = re.findall(r'data-chart="[^"]*/charts/(\w+).json"', page)
    assert {"tuning", "roc", "precision_recall", "calibration", "histogram", "confusion"} <= set(charts)
    for chart in charts:
        spec = client.get(f"{path_of(run)}/charts/{chart}.json").json()
        assert spec["usermeta"]["themes"].keys() == {"light", "dark"}
    assert client.get(f"{path_of(run)}/charts/absent.json").status_code == 404
    assert f"yes {run['test_score']:.4f}" in section_text(page, "evaluation"), (
        "the area under the curve is that of the row"
    )


def test_drift_is_shown_with_its_strongest_column_first(client, runs):
    drift = section_text(show(client, runs["clinic 08"]), "drift")
    assert drift.index(" age feature") < drift.index(" ward feature") < drift.index(" pressure feature")
    assert "east" in drift, "a new category"
    assert "There was no champion" in section_text(show(client, runs["clinic 01"]), "drift")


def test_a_run_of_an_earlier_release_shows_what_it_has(client, runs):
    page = show(client, runs["archive 02"])
    assert "diurnal run archive --date 2026-11-02 --force" in section_text(page, "evaluation")
    assert "diurnal profile archive" in section_text(page, "drift")
    assert "Best parameters" in section_text(page, "tuning")


def test_a_run_of_another_experiment_does_not_exist(client, runs):
    own, other = runs["clinic 01"], runs["archive 01"]
    for path in (path_of(own).replace(own["run_id"], other["run_id"]), "/experiments/clinic/runs/absent"):
        response = client.get(path)
        assert response.status_code == 404
        assert "you have no permission to see it" in response.text
    assert client.get(path_of(runs["flats 01"])).status_code == 404, "the viewer may not read flats"


def test_a_lost_file_is_named_and_the_rest_is_shown(client, runs, filled_stores):
    run = runs["clinic 04"]
    lost = filled_stores.lake.url(run["candidates"])
    filled_stores.lake.fs.mv(lost, f"{lost}.away")
    try:
        page = show(client, run)
    finally:
        filled_stores.lake.fs.mv(f"{lost}.away", lost)
    assert "The table of candidates cannot be read" in page
    assert "DeLong" in section_text(page, "comparison")


def test_nothing_of_a_hostile_run_is_markup(client, runs):
    page = show(client, runs["hostile 04"])
    assert "data-xss" in page, "the texts are shown"
    assert not re.search(r"<[^>]*\sdata-xss", re.sub(r'"[^"]*"', '""', page)), "and none of them is an element"
