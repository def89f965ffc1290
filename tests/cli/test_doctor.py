"""`diurnal doctor` as a user calls it: what it prints, its exit status, and the alarm that it sends."""

import json
from datetime import UTC, datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from diurnal.pipeline.deadlines import LEAST_TOLERANCE
from http_receiver import receive_json


def yesterday():
    return (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")


def overdue_date():
    """The newest data interval whose result is overdue, which that of yesterday is from one o'clock on."""
    return (datetime.now(UTC) - LEAST_TOLERANCE - timedelta(days=1)).strftime("%Y-%m-%d")


def test_healthy_project_has_no_findings(project):
    project.bring(yesterday())
    assert project.command("run", "clinic").returncode == 0
    done = project.command("doctor")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 experiment: no findings\n", "")
    assert json.loads(project.command("doctor", "--json").stdout) == []


def test_findings_have_a_status_and_a_command(project):
    done = project.command("doctor", "clinic")
    assert done.returncode == 1
    assert done.stdout.startswith("clinic is overdue\n  it has never had a result; that of ")
    assert f"\n  -> diurnal run clinic --date {overdue_date()}\n" in done.stdout
    assert done.stdout.endswith("1 experiment: 1 finding\n")
    (finding,) = json.loads(project.command("doctor", "--json").stdout)
    assert finding.keys() == {"experiment", "kind", "since", "message", "action"}
    assert (finding["experiment"], finding["kind"], finding["since"]) == ("clinic", "overdue", None)
    project.bring(overdue_date())
    assert project.command(*finding["action"].split()[1:]).returncode == 0, "the action is a command that works"
    assert project.command("doctor").returncode == 0


def test_unknown_name_and_unknown_service_are_usage_errors(project):
    done = project.command("doctor", "clinics")
    assert (done.returncode, "did you mean 'clinic'" in done.stderr) == (2, True)
    done = project.command("doctor", "--notify", "nothing://s3cr3t")
    assert (done.returncode, "s3cr3t" in done.stderr + done.stdout) == (78, False)


def test_alarm_is_sent_once(project):
    with receive_json() as receiver:
        notify = ("--notify", f"json://127.0.0.1:{receiver.port}")
        done = project.command("doctor", *notify)
        assert (done.returncode, done.stderr) == (1, "sent to 1 service\n")
        assert project.command("doctor", *notify).stderr == ""
        (message,) = receiver.received
        assert message["title"] == "diurnal: clinic is overdue"
        assert f"diurnal run clinic --date {overdue_date()}" in message["message"]
        assert project.command("doctor", *notify, "--remind-after", "0").stderr == "sent to 1 service\n"
        assert len(receiver.received) == 2


def test_alarm_that_was_not_accepted_is_sent_again(project):
    with receive_json() as receiver:
        receiver.status = 500
        notify = ("--notify", f"json://127.0.0.1:{receiver.port}")
        done = project.command("doctor", *notify)
        assert (done.returncode, "was not accepted by 1 of 1 services" in done.stderr) == (75, True)
        assert "clinic is overdue" in done.stdout
        receiver.status = 200
        assert project.command("doctor", *notify).stderr == "sent to 1 service\n"


def test_setting_names_the_service(project):
    with receive_json() as receiver:
        url = f"json://ada:s3cr3t@127.0.0.1:{receiver.port}"
        (project.folder / "diurnal.toml").write_text(f'[diurnal]\nnotify = "{url}"\n')
        assert project.command("doctor", "--no-notify").returncode == 1
        assert receiver.received == []
        done = project.command("doctor")
        assert (len(receiver.received), "s3cr3t" in done.stdout + done.stderr) == (1, False)


def test_metrics_are_in_the_format_of_prometheus(project):
    project.bring(yesterday())
    assert project.command("run", "clinic").returncode == 0
    families = {f.name: f for f in text_string_to_metric_families(project.command("doctor", "--prometheus").stdout)}
    (rows,) = families["diurnal_batch_rows"].samples
    assert (rows.labels, rows.value) == ({"experiment": "clinic"}, 240)
    assert [sample.value for sample in families["diurnal_overdue"].samples] == [0]
    assert {sample.labels["step"] for sample in families["diurnal_step_duration_seconds"].samples} >= {"fetch", "tune"}
