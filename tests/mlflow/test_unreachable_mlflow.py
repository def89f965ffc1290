"""An MLflow that is down, silent or not MLflow: no run fails, and none waits longer than a second."""

import logging
import time
from dataclasses import replace

import pytest

from diurnal.errors import ConfigurationError, PermissionDeniedError, TransientError
from diurnal.mlflow import mirror_experiment, mirror_quietly
from diurnal.mlflow.artifact_store import ArtifactStore
from diurnal.mlflow.tracking_server import TrackingServer
from diurnal.runtime.mlflow_address import MlflowAddress
from http_receiver import answer_always
from mlflow_servers import closed_port, silent_server


def address(url, **environment):
    return MlflowAddress.parse(url, "MLFLOW_TRACKING_URI", environment)


def measured(clinic_stores, url, caplog):
    """Return how long the copy of a run takes, and the warning."""
    stores = replace(clinic_stores, mlflow=address(url))
    started = time.perf_counter()
    with caplog.at_level(logging.WARNING, logger="diurnal.mlflow"):
        mirror_quietly(stores, "clinic")
    return time.perf_counter() - started, caplog.text


def test_nothing_listens(clinic_stores, caplog):
    seconds, warning = measured(clinic_stores, closed_port(), caplog)
    assert seconds < 1.2
    assert "cannot be reached: Connection refused" in warning
    assert "diurnal mlflow sync" in warning


def test_server_never_answers(clinic_stores, caplog):
    with silent_server() as url:
        seconds, warning = measured(clinic_stores, url, caplog)
    assert seconds < 1.2
    assert "did not answer within 1 s" in warning


def test_server_drips_its_answer(clinic_stores, caplog):
    """Each byte arrives in time, and the answer does not."""
    with answer_always(b"O", drip=0.3) as answering:
        seconds, warning = measured(clinic_stores, answering.url, caplog)
    assert seconds < 1.2
    assert "did not answer within 1 s" in warning


def test_run_of_a_day_succeeds_while_mlflow_is_silent(project):
    project.bring("2026-11-20")
    with silent_server() as url:
        project.mlflow = url
        done = project.command("run", "clinic", "--date", "2026-11-20")
    assert done.returncode == 0, done.stderr
    assert "did not answer within 1 s" in done.stderr
    assert "nothing is lost" in done.stderr


def test_another_server_is_named_as_such():
    with answer_always(b"<html>") as answering, TrackingServer(address(answering.url)) as server:
        with pytest.raises(ConfigurationError, match="is not an MLflow server"):
            server.check_health()
        with pytest.raises(ConfigurationError, match="is not an MLflow server"):
            server.get("experiments/get-by-name")


@pytest.mark.parametrize("answer", [b"{}", b'{"experiment": {"tags": [{"key": "x"}]}}'])
def test_answers_without_the_fields_of_mlflow_are_not_those_of_mlflow(clinic_stores, answer):
    with (
        answer_always(answer) as answering,
        TrackingServer(address(answering.url)) as server,
        pytest.raises(ConfigurationError, match="is not an MLflow server"),
    ):
        mirror_experiment(clinic_stores, "clinic", server)


@pytest.mark.parametrize(
    ("status", "error"), [(401, PermissionDeniedError), (403, PermissionDeniedError), (503, TransientError)]
)
def test_refusals_have_their_errors_and_show_no_secret(status, error):
    with answer_always(b"{}", status=status) as answering:
        secret = {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "pass-phrase"}
        with TrackingServer(address(answering.url, **secret)) as server, pytest.raises(error) as raised:
            server.post("runs/create", {})
    assert "pass-phrase" not in str(raised.value)


def test_credentials_are_sent():
    with answer_always(b"{}") as answering:
        for environment, expected in (
            ({"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "é"}, "Basic YWRhOsOp"),
            ({"MLFLOW_TRACKING_TOKEN": "t0ken"}, "Bearer t0ken"),
        ):
            with TrackingServer(address(answering.url, **environment)) as server:
                assert server.post("x", {}) == {}
                assert answering.headers["authorization"] == expected


def test_redirects_are_not_followed():
    """A login page, or a server that is reached by another name: a request must not be repeated elsewhere."""
    elsewhere = "https://login.example/?token=abc"
    with (
        answer_always(b"", status=302, location=elsewhere) as answering,
        TrackingServer(address(answering.url)) as server,
        pytest.raises(ConfigurationError) as raised,
    ):
        server.get("experiments/get-by-name")
    assert "https://login.example/?token=***" in str(raised.value)


def test_a_file_is_no_server_and_no_error(clinic_stores, caplog):
    """MLflow's own variable may name a file for other programs."""
    _, warning = measured(clinic_stores, "sqlite:///mlflow.db", caplog)
    assert "it starts with 'sqlite:'" in warning
    with pytest.raises(ConfigurationError, match=r"mlflow \(diurnal.toml\)"):
        MlflowAddress.parse("sqlite:///mlflow.db", "diurnal.toml", {})


@pytest.mark.parametrize("place", ["file:///srv/mlruns/1", "/srv/mlruns/1", "http://elsewhere.example/files"])
def test_files_are_not_written_to_a_place_of_the_servers_choice(place):
    with TrackingServer(address(closed_port())) as server, pytest.raises(ConfigurationError) as raised:
        ArtifactStore(server, place)
    assert "--serve-artifacts" in raised.value.hint
