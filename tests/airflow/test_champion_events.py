"""A promotion on the command line beside an Airflow that is away, wrong or silent: it stands, with a warning."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from diurnal.airflow import champion_events
from diurnal.runtime import Settings
from projects import Project


@pytest.fixture
def project(tmp_path, warehouse_url):
    made = Project.make(tmp_path / "project", warehouse_url)
    made.bring("2026-11-01")
    return made


class Page(BaseHTTPRequestHandler):
    """A page of another program than Airflow."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_):
        """Say nothing."""


def announce(project, stores, connection):
    settings = Settings.load(project.folder, {"AIRFLOW_CONN_DIURNAL_AIRFLOW": connection} if connection else {})
    return champion_events.send_champion_event(settings, stores.warehouse, "clinic", lambda: "UTC")


def test_nothing_is_said_where_no_airflow_is_configured(project):
    stores = project.stores()
    assert announce(project, stores, None) is None
    assert not (project.folder / "data" / "airflow").exists(), "asking makes no folder"
    stores.warehouse.close()


def test_an_airflow_that_is_no_use_is_a_warning_within_seconds(project):
    stores = project.stores()
    with socket.create_server(("127.0.0.1", 0)) as silent, HTTPServer(("127.0.0.1", 0), Page) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        for connection, said in (
            ("http://ada:secret@127.0.0.1:1", "refused"),
            (f"http://:token@127.0.0.1:{silent.getsockname()[1]}", "timed out"),
            (f"http://:token@127.0.0.1:{other.server_port}", "Expecting value"),
            ("postgres://ada:secret@db/airflow", "is not the URL of an Airflow"),
            ("{no json", "is neither a URI nor"),
        ):
            began = time.monotonic()
            warning = announce(project, stores, connection)
            assert said in warning, connection
            assert "the next run of the Dag clinic creates the event" in warning
            assert "secret" not in warning
            assert time.monotonic() - began < 5
        other.shutdown()
    stores.warehouse.close()


def test_promote_and_rollback_stand_where_airflow_is_away(project, monkeypatch):
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        assert project.command("run", "clinic", "--date", date).returncode == 0
    away = {**project.environment, "AIRFLOW_CONN_DIURNAL_AIRFLOW": "http://127.0.0.1:1"}
    monkeypatch.setattr(Project, "environment", away)
    done = project.command("promote", "clinic", str(3 - champion(project)), "--json")
    assert done.returncode == 0, done.stderr
    assert "diurnal: warning: Airflow has no event of the new champion" in done.stderr
    assert '"promoted": true' in done.stdout
    back = project.command("rollback", "clinic", "--json")
    assert back.returncode == 0, back.stderr
    assert "has no event" in back.stderr


def champion(project):
    stores = project.stores()
    try:
        return stores.warehouse.champion("clinic").version
    finally:
        stores.warehouse.close()
