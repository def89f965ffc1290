"""Alarms: each finding is sent once, and again after a day, to a real HTTP server."""

import traceback
from datetime import UTC, datetime, timedelta

import pytest

from diurnal.errors import ConfigurationError, TransientError
from diurnal.pipeline.alarms import AlarmChannel, format_alarm, send_notification
from diurnal.pipeline.health import Finding
from diurnal.pipeline.health_report import ExperimentHealth, HealthReport
from diurnal.pipeline.history import History
from diurnal.runtime import Settings
from http_receiver import receive_json

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # a plugin of apprise

MORNING = datetime(2026, 11, 25, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECRET = "-".join(["not", "shown"])  # not a literal, which the lines of a traceback would show
REJECTED = Finding("churn", "rejected", MORNING, "a column is missing", "diurnal contract churn diff")
DRIFTED = Finding("late", "drifted", MORNING, "one column differs", "diurnal report late")
AWAY = Finding(None, "unreachable", None, "the warehouse cannot be reached", "check that it runs")


def report(now, *findings, names=("churn", "late")):
    experiments = [
        ExperimentHealth(name, History(name), None, tuple(one for one in findings if one.experiment == name))
        for name in names
    ]
    return HealthReport(now, tuple(experiments), tuple(one for one in findings if one.experiment is None))


@pytest.fixture
def settings(tmp_path):
    return Settings.load(tmp_path, {"DIURNAL_LAKE": str(tmp_path / "lake")})


@pytest.fixture
def send(settings):
    """Do what the command does; return whether the alarm was due."""

    def send(now, *findings, **options):
        channel, seen = AlarmChannel(settings, "notify"), report(now, *findings, **options)
        is_due = channel.is_due(seen)
        channel.remember(seen, sent=is_due)
        return is_due

    return send


def test_finding_is_due_once_a_day(send):
    assert send(MORNING + HOUR, REJECTED)
    assert not send(MORNING + 2 * HOUR, REJECTED)
    assert not send(MORNING + 24 * HOUR, REJECTED)
    assert send(MORNING + 25 * HOUR, REJECTED)
    assert not send(MORNING + 26 * HOUR, REJECTED)


def test_new_finding_is_due_beside_a_known_one(send):
    assert send(MORNING + HOUR, REJECTED)
    assert send(MORNING + 2 * HOUR, REJECTED, DRIFTED)
    assert not send(MORNING + 3 * HOUR, REJECTED, DRIFTED)


def test_finding_that_ended_is_due_when_it_comes_back(send):
    assert send(MORNING + HOUR, REJECTED)
    assert not send(MORNING + 2 * HOUR)
    assert send(MORNING + 3 * HOUR, REJECTED)


def test_finding_that_began_after_the_alarm_is_due(send):
    assert send(MORNING + HOUR, REJECTED)
    later = Finding("churn", "rejected", MORNING + 2 * HOUR, "another column is missing", "...")
    assert send(MORNING + 3 * HOUR, later)


def test_no_findings_are_never_due(send, settings, tmp_path):
    assert not send(MORNING)
    assert not (tmp_path / "lake").exists()


def test_part_of_the_experiments_does_not_end_the_findings_of_others(send):
    assert send(MORNING + HOUR, REJECTED, DRIFTED)
    assert not send(MORNING + 2 * HOUR, DRIFTED, names=("late",))
    assert not send(MORNING + 3 * HOUR, REJECTED, DRIFTED)


def test_warehouse_that_is_away_is_due_once_and_keeps_the_others(send):
    assert send(MORNING + HOUR, REJECTED)
    assert send(MORNING + 2 * HOUR, AWAY, names=())
    assert not send(MORNING + 3 * HOUR, AWAY, names=())
    assert not send(MORNING + 4 * HOUR, REJECTED)


def test_channels_have_memories_of_their_own(send, settings):
    assert send(MORNING + HOUR, REJECTED)
    assert AlarmChannel(settings, "airflow/health dag").is_due(report(MORNING + 2 * HOUR, REJECTED))


@pytest.mark.parametrize("content", [b"", b"null", b"{", b'{"sent_at": {"churn rejected": 7}}', b"\xff"])
def test_damaged_memory_is_as_none(send, tmp_path, content):
    assert send(MORNING + HOUR, REJECTED)
    (file,) = (tmp_path / "lake").glob(".alarms-*.json")
    file.write_bytes(content)
    assert send(MORNING + 2 * HOUR, REJECTED)
    assert not send(MORNING + 3 * HOUR, REJECTED)


def test_lake_that_is_away_repeats_alarms_rather_than_losing_them(tmp_path, caplog):
    (tmp_path / "lake").write_text("not a folder")
    channel = AlarmChannel(Settings.load(tmp_path, {"DIURNAL_LAKE": str(tmp_path / "lake")}), "notify")
    for hours in (1, 2):
        seen = report(MORNING + hours * HOUR, REJECTED)
        assert channel.is_due(seen)
        channel.remember(seen, sent=True)
    assert "cannot be stored in the lake" in caplog.text


def test_one_message_has_all_findings():
    title, text = format_alarm(report(MORNING, DRIFTED, REJECTED, AWAY))
    assert title == "diurnal: 3 findings (this deployment, churn, late)"
    with receive_json() as receiver:
        send_notification([f"json://127.0.0.1:{receiver.port}"], title, text)
    (message,) = receiver.received
    assert (message["title"], message["message"], message["type"]) == (title, text, "warning")
    assert text.splitlines()[:3] == [
        "this deployment is not reachable",
        "  the warehouse cannot be reached",
        "  -> check that it runs",
    ]
    assert "  -> diurnal contract churn diff" in text


def test_service_that_fails_is_named_without_its_secret():
    with receive_json() as receiver, receive_json() as other:
        receiver.status = 500
        urls = [f"json://ada:{SECRET}@127.0.0.1:{receiver.port}", f"json://127.0.0.1:{other.port}"]
        with pytest.raises(TransientError, match="was not accepted by 1 of 2 services: json://") as raised:
            send_notification(urls, "title", "text")
    assert len(other.received) == 1
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_url_that_apprise_does_not_know_is_not_shown():
    with pytest.raises(ConfigurationError, match="that starts with nothing://") as raised:
        send_notification([f"nothing://{SECRET}"], "title", "text")
    assert SECRET not in "".join(traceback.format_exception(raised.value))
