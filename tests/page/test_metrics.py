"""``/metrics``: who may read it, and what it has, read by Prometheus's own parser."""

from datetime import UTC, datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from diurnal.errors import BatchRejectedError, ConfigurationError
from diurnal.experiment.run_context import RunContext
from diurnal.page.app import create_app
from diurnal.page.local_login import LocalLogin
from diurnal.page.metrics import CONTENT_TYPE
from diurnal.page.page_stores import PageStores
from diurnal.page.viewer import Viewer
from diurnal.pipeline.scored_batches import score_batch
from diurnal.runtime import Settings
from projects import day, patients

TOKEN = "a-token-of-32-characters-or-more"


@pytest.fixture
def page_stores(project):
    stores = PageStores(lambda: Settings.load(project.folder, {"DIURNAL_WAREHOUSE": project.warehouse_url}))
    yield stores
    stores.close()


@pytest.fixture
def scrape(page_stores):
    """Read the metrics as a viewer; return the samples of each metric by its labels."""

    def scrape(**rights):
        app = create_app(page_stores, lambda: Viewer("ada", "session", **rights))
        response = TestClient(app).get("/metrics")
        assert (response.status_code, response.headers["content-type"]) == (200, CONTENT_TYPE)
        families = text_string_to_metric_families(response.text)
        return {f.name: {tuple(sample.labels.values()): sample.value for sample in f.samples} for f in families}

    return scrape


def test_experiment_without_runs_has_no_samples(scrape):
    seen = scrape()
    assert seen["diurnal_batch_rows"] == {}
    assert set(seen["diurnal_findings"].values()) == {0}


def test_metrics_of_runs_and_of_a_rejected_batch(project, stores, scrape):
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        if date == "2026-11-02":
            score_batch(RunContext(project.experiment(), day(date), stores, requested_by="a test"))
        project.run(date, stores)
    project.bring("2026-11-03", patients("2026-11-03").drop(columns="age"))
    with pytest.raises(BatchRejectedError):
        project.run("2026-11-03", stores)
    seen, runs = scrape(), stores.warehouse.runs("clinic")
    assert seen["diurnal_batch_rows"] == {("clinic",): 240}
    assert seen["diurnal_champion_version"] == {("clinic",): 2}
    assert seen["diurnal_test_score"] == {("clinic", "accuracy"): runs[0]["test_score"]}
    (live,) = stores.warehouse.live_scores("clinic")
    assert seen["diurnal_live_score"] == {("clinic", "accuracy"): live["score"]}
    assert seen["diurnal_champion_score"] == {("clinic", "accuracy"): runs[0]["champion_score"]}
    assert seen["diurnal_last_interval_end_timestamp_seconds"] == {("clinic",): day("2026-11-02").end.timestamp()}
    assert seen["diurnal_last_result_timestamp_seconds"][("clinic",)] == runs[0]["decided_at"].timestamp()
    assert seen["diurnal_rejected_batches"] == {("clinic",): 1}
    assert seen["diurnal_failed_attempts"] == {("clinic",): 0}
    assert seen["diurnal_findings"][("clinic", "rejected")] == 1
    assert seen["diurnal_step_duration_seconds"][("clinic", "tune")] == runs[0]["durations"]["tune"]


@pytest.mark.parametrize("days_ago", [1, 5])
def test_page_and_metrics_agree_on_what_is_overdue(project, stores, page_stores, scrape, days_ago):
    date = f"{datetime.now(UTC) - timedelta(days=days_ago):%Y-%m-%d}"
    project.bring(date)
    project.run(date, stores)
    client = TestClient(create_app(page_stores, lambda: Viewer("ada", "session")))
    is_overdue = days_ago > 2
    assert scrape()["diurnal_overdue"] == {("clinic",): float(is_overdue)}
    for path in ("/", "/experiments/clinic"):
        assert ('class="overdue"' in client.get(path).text or 'large overdue"' in client.get(path).text) == is_overdue
    assert ("clinic" in client.get("/?only=overdue").text) == is_overdue


def test_viewer_sees_the_experiments_that_it_may_read(project, stores, scrape):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    assert scrape(can_read=lambda name: name != "clinic")["diurnal_batch_rows"] == {}
    assert scrape(can_read=lambda name: name == "clinic")["diurnal_batch_rows"] == {("clinic",): 240}


def test_label_values_are_escaped(project, stores, scrape):
    hostile = 'step"} 7\ndiurnal_overdue{experiment="x\\'
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    with stores.warehouse.transaction() as connection:
        import sqlalchemy as sa

        connection.execute(
            sa.text("update experiments set durations = jsonb_build_object(CAST(:s AS text), 1.5)"), {"s": hostile}
        )
    seen = scrape()
    assert seen["diurnal_step_duration_seconds"] == {("clinic", hostile): 1.5}
    assert set(seen["diurnal_overdue"]) == {("clinic",)}


@pytest.fixture
def scraper(page_stores):
    login = LocalLogin("ada", allow_changes=True, announce=lambda _token: None, metrics_token=TOKEN)
    return TestClient(create_app(page_stores, login.authenticate, public_routes=[login.route]))


def test_scraper_needs_its_token(scraper):
    assert scraper.get("/metrics").status_code == 401
    for wrong in (f"Bearer {TOKEN}x", "Bearer ", "Bearer", f"Basic {TOKEN}", TOKEN, "Bearer \xe9"):
        assert scraper.get("/metrics", headers={"authorization": wrong.encode("latin-1")}).status_code == 401, wrong
    assert scraper.get("/metrics", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_token_gives_access_to_metrics_only(scraper):
    headers = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/", "/experiments/clinic", "/metrics/", "//metrics", "/experiments/../metrics/x"):
        assert scraper.get(path, headers=headers, follow_redirects=False).status_code != 200, path


def test_without_a_token_in_the_settings_none_is_valid(page_stores):
    login = LocalLogin("ada", allow_changes=False, announce=lambda _token: None)
    client = TestClient(create_app(page_stores, login.authenticate, public_routes=[login.route]))
    for token in ("", "x"):
        assert client.get("/metrics", headers={"authorization": f"Bearer {token}"}).status_code == 401


def test_token_of_the_settings_is_long_and_not_shown(tmp_path):
    settings = Settings.load(tmp_path, {"DIURNAL_METRICS_TOKEN": TOKEN})
    assert settings.metrics_token == TOKEN
    assert TOKEN not in repr(settings)
    for short in ("short-one", "with spaces in the middle"):
        with pytest.raises(ConfigurationError, match="at least 16 characters") as raised:
            Settings.load(tmp_path, {"DIURNAL_METRICS_TOKEN": short})
        assert short not in str(raised.value)
