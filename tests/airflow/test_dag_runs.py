"""Runs of Dags on a real warehouse, against the same data interval run by the command line."""

import json
import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import psycopg
import pytest

from diurnal.pipeline.deadlines import LEAST_TOLERANCE
from mlflow_servers import silent_server
from projects import Project, patients

DAG = """
from diurnal.airflow import build_dag
dag = build_dag("clinic")
"""


EDITING = """
from diurnal import experiment


def rows(interval):
    import pandas as pd

    with open({helper!r}, "w") as helper:  # somebody edits it, once the batch is asked for
        helper.write("STRENGTHS = [5.0]")
    return pd.read_csv({pattern!r}.format(start=interval.start))


@experiment(source=rows, target="ill", key="patient", drop="ward")
def clinic():
    from helper import STRENGTHS
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    return GridSearchCV(LogisticRegression(), {{"C": STRENGTHS}}, cv=3)
"""


pytestmark = pytest.mark.xdist_group("airflow")  # with --dist=loadgroup, one worker has the one process


@pytest.fixture
def project(tmp_path, warehouse_url):
    made = Project.make(tmp_path / "project", warehouse_url)
    (made.folder / "dags").mkdir()
    (made.folder / "dags" / "clinic.py").write_text(DAG)
    return made


@pytest.fixture
def run(airflow_runner, project):
    """Carry out runs in Airflow, with the project's own warehouse unless settings say another."""

    def run(*wishes, **settings):
        settings = settings or {"DIURNAL_WAREHOUSE": project.warehouse_url}
        return airflow_runner.run(project.folder, settings, *wishes)

    return run


def batch(date, **conf):
    """Wish for a run of a batch, by its name."""
    return {"dag": "clinic", "logical_date": None, "conf": {"batch": date, **conf}}


def last_words(run):
    """Return the last line of the log of the task that failed, but for Airflow's own mark at its end."""
    said = run["log"].partition("Task failed with exception")[2]
    return re.split(r"\n.*::endgroup::.*task_runner", said)[0].splitlines()[-1]


def query(url, sql):
    with psycopg.connect(url) as connection:
        return connection.execute(sql).fetchall()


RESULT = (
    "select r.batch_digest, r.window_digest, r.code_digest, r.packages, r.best_params, r.cv_score_mean, r.cv_score_std,"
    " r.test_scores, r.n_train, r.n_test, r.champion_version, r.champion_score, r.comparison, r.promoted, r.reason,"
    " v.version, v.digest, v.signature, r.run_id from experiments r join model_versions v using (run_id)"
    " order by r.data_interval_start"
)


@pytest.mark.system
def test_a_day_in_airflow_is_the_day_of_the_command_line(run, project, another_url):
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
    first = {"dag": "clinic", "logical_date": "2026-11-02T00:00:00+00:00"}
    with silent_server() as url:  # it fails no task, and delays none for more than a second
        settings = {"DIURNAL_WAREHOUSE": project.warehouse_url, "MLFLOW_TRACKING_URI": url}
        seen = run(first, batch("2026-11-02"), **settings)
    assert [run["state"] for run in seen["runs"]] == ["success", "success"], seen["runs"][0]["log"][-3000:]
    assert all(state == "success" for run in seen["runs"] for state, _ in run["tasks"].values())
    for said in (
        "240 rows in package ",
        "train rows, ",
        "3 candidates on ",
        "best: logisticregression__C=",
        "test scores on ",
        "recorded as clinic-20261101T000000Z-",
        "version 1 of clinic, digest ",
        "promoted: there was no champion",
        "did not answer within 1 s",
    ):
        assert said in seen["runs"][0]["log"], "the log of each task has its result"
    assert "samples new to both: twin " in seen["runs"][1]["log"]
    in_airflow = query(project.warehouse_url, RESULT)
    assert [row[-1][:23] for row in in_airflow] == ["clinic-20261101T000000Z", "clinic-20261102T000000Z"]

    other = Project(project.folder, another_url)
    for date in ("2026-11-01", "2026-11-02"):
        assert other.command("run", "clinic", "--date", date).returncode == 0
    assert query(other.warehouse_url, RESULT) == in_airflow

    assert [(name, key) for name, key, _ in seen["events"]] == [
        ("clinic.batch", "2026-11-01"),
        ("clinic.model", "2026-11-01"),
        ("clinic.champion", None),
        ("clinic.batch", "2026-11-02"),
        ("clinic.model", "2026-11-02"),
        ("clinic.champion", None),
    ]
    assert seen["events"][4][2]["version"] == 2
    assert seen["events"][4][2]["digest"] == in_airflow[1][16]
    travelled = json.dumps(seen["runs"][0]["travelled"])
    assert "golden" not in travelled
    assert len(travelled) < 20_000, "references and digests only"


def test_n_tuning_shards_give_what_one_task_gives(run, project):
    project.bring("2026-11-01")
    assert project.command("run", "clinic", "--date", "2026-11-01").returncode == 0
    (alone,) = query(project.warehouse_url, RESULT)
    project.declare("drop='ward', n_tuning_shards=4")
    (forced,) = run(batch("2026-11-01", force=True))["runs"]
    assert forced["state"] == "success", forced["log"][-3000:]
    assert forced["labels"] == ["fits 1 to 2 of 9", "fits 3 to 4 of 9", "fits 5 to 7 of 9", "fits 8 to 9 of 9"]
    together = query(project.warehouse_url, RESULT)[1]
    assert together[:10] == alone[:10]
    assert together[16] == alone[16], "the same model, byte for byte"
    tables = [
        pd.read_parquet(project.folder / "data" / path).filter(regex="^(?!.*time)")
        for (path,) in query(project.warehouse_url, "select candidates from experiments order by repeat")
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_a_finished_day_is_skipped_and_a_forced_one_is_not(run, project):
    project.bring("2026-11-01")
    assert project.command("run", "clinic", "--date", "2026-11-01").returncode == 0
    seen = run(batch("2026-11-01"), batch("2026-11-01", force=True))
    states = {task: state for task, (state, _) in seen["runs"][0]["tasks"].items()}
    assert seen["runs"][0]["state"] == "success"
    seen_to = {"storage", "fetch", "save_batch", "split"}  # the batch and its samples are put back if they are lost
    assert {task for task, state in states.items() if state == "success"} == seen_to
    assert {state for task, state in states.items() if task not in seen_to} == {"skipped"}
    assert query(project.warehouse_url, "select version, repeat from model_versions join experiments using (run_id)"
                 " order by version") == [(1, 0), (2, 1)]  # fmt: skip


def test_an_edit_while_a_run_is_under_way_fails_for_good_and_names_the_file(run, project):
    helper = project.folder / "helper.py"
    helper.write_text("STRENGTHS = [0.1, 1.0]\n")
    project.bring("2026-11-01")
    text = EDITING.format(helper=str(helper), pattern=str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv"))
    (project.folder / "experiments" / "clinic.py").write_text(text)
    (first,) = run(batch("2026-11-01"))["runs"]
    assert first["state"] == "failed"
    assert first["tasks"]["fetch"][0] == "success"
    assert {tuple(first["tasks"][name]) for name in ("save_batch", "split")} == {("failed", 1)}
    assert "the code of clinic was changed" in first["log"], first["log"][-3000:]
    assert "since this run fetched its batch" in first["log"]
    assert "\n- helper.py" in first["log"].replace("\\n", "\n")
    assert project.command("run", "clinic", "--date", "2026-11-01").returncode == 0  # a process that reads it anew
    assert query(project.warehouse_url, "select best_params from experiments") == [({"C": 5.0},)]


def test_a_window_that_is_too_small_is_skipped_and_its_batch_counts_later(run, project):
    project.declare("drop='ward', window=2")
    project.bring("2026-11-01", patients("2026-11-01").assign(ill="no"))
    project.bring("2026-11-02")
    seen = run(batch("2026-11-01"), batch("2026-11-02"))
    first, second = seen["runs"]
    assert (first["state"], second["state"]) == ("success", "success")
    states = {name.rpartition(".")[2]: state for name, (state, _) in first["tasks"].items()}
    assert (states["save_batch"], states["tune"], states["promote"]) == ("success", "skipped", "skipped")
    assert "not enough data yet: all" in first["log"]
    runs = query(project.warehouse_url, "select n_train + n_test, jsonb_array_length(packages) from experiments")
    assert runs == [(480, 2)]


def test_what_no_other_try_will_mend_fails_at_once_and_says_why(run, project):
    project.declare("drop='ward', start_date='2026-11-01'")
    rows = project.bring("2026-11-01")
    project.bring("2026-11-02", rows.rename(columns={"pressure": "presure"}))
    seen = run(
        batch("2026-11-01"),
        batch("2026-11-02"),
        {"dag": "clinic", "logical_date": None},
        batch("yesterday"),
        batch("2200-01-01"),
        batch("2026-10-31"),
    )
    fine, refused, nameless, wrong, future, early = seen["runs"]
    assert fine["state"] == "success"
    for failed, task, said in (
        (refused, "fetch", "quarantine"),
        (nameless, "storage", 'hint: trigger it with a logical date, or with the configuration {"batch": '),
        (wrong, "storage", "hint: write a date as 2026-11-23"),
        (future, "storage", "hint: wait until it has ended"),
        (early, "storage", "hint: use a later interval, or declare an earlier start_date in"),
    ):
        assert failed["state"] == "failed"
        assert failed["tasks"][task] == ["failed", 1], "one try, though it has five retries"
        assert said in last_words(failed)
    assert "did you mean" in refused["log"]
    assert "ingest.py" not in refused["log"], "the message is complete; a traceback would hide it"


def test_a_batch_without_its_labels_fails_at_once(run, project):
    yesterday = str(datetime.now(UTC).date() - timedelta(days=1))
    project.declare("drop='ward', label_delay='7d'")
    for date in ("2026-01-01", yesterday):
        project.bring(date)
    complete, early = run(batch("2026-01-01"), batch(yesterday))["runs"]
    assert complete["state"] == "success"
    assert early["tasks"]["storage"] == ["failed", 1]
    assert f"the labels of the data interval {yesterday} are not complete before" in early["log"]


def test_a_day_in_a_timezone_is_the_local_day_in_airflow_too(run, project):
    project.declare("drop='ward', timezone='Europe/Berlin'")
    for date in ("2026-03-28", "2026-03-29"):
        project.bring(date)
    clicked = {"dag": "clinic", "logical_date": "2026-03-28T23:00:00+00:00"}  # when the 28th is complete in Berlin
    seen = run(clicked, batch("2026-03-29"))
    assert [one["state"] for one in seen["runs"]] == ["success"] * 2, seen
    begun = query(project.warehouse_url, "select data_interval_start at time zone 'UTC' from experiments order by 1")
    assert [str(start) for (start,) in begun] == ["2026-03-27 23:00:00", "2026-03-28 23:00:00"]
    partitions = [key for name, key, _ in seen["events"] if name in ("clinic.batch", "clinic.model")]
    assert partitions == ["2026-03-28", "2026-03-28", "2026-03-29", "2026-03-29"]
    again = project.command("run", "clinic", "--date", "2026-03-29")
    assert "already done" in again.stdout, again.stderr


def test_connections_come_from_airflow(run, project):
    text = (project.folder / "experiments" / "clinic.py").read_text()
    sql = 'source=Sql("select * from patients where seen >= :start and seen < :end", connection="ward")'
    start, end = text.index("source="), text.index(', target="ill"')
    text = text[:start] + sql + text[end:]
    text = text.replace("import Files", "import Sql").replace("drop='ward'", "drop=('ward', 'seen')")
    (project.folder / "experiments" / "clinic.py").write_text(text)
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute(
            "create table patients (patient text, age float, pressure float, ward text, ill text, seen timestamptz)"
        )
        with connection.cursor() as cursor:
            cursor.executemany(
                "insert into patients values (%s, %s, %s, %s, %s, '2026-11-01T08:00Z')",
                patients("2026-11-01").to_numpy().tolist(),
            )
    url = project.warehouse_url.replace("postgresql://", "postgres://")
    warehouse = {"AIRFLOW_CONN_DIURNAL_WAREHOUSE": url}
    (missing,) = run(batch("2026-11-01"), **warehouse)["runs"]
    assert missing["tasks"]["fetch"] == ["failed", 1]
    assert "create it in Airflow (Admin, Connections, id 'ward'), or set AIRFLOW_CONN_WARD" in last_words(missing)
    (found,) = run(batch("2026-11-01"), **warehouse, AIRFLOW_CONN_WARD=url)["runs"]
    assert found["state"] == "success", found["log"][-3000:]
    assert query(project.warehouse_url, "select count(*) from model_versions") == [(1,)]


def test_approval_asks_a_person_and_promotes_by_their_word(run, project):
    project.declare("drop='ward', promotion='approve'")
    for date in ("2026-11-01", "2026-11-02", "2026-11-03"):
        project.bring(date)

    def ask(version, answer):
        conf = {"version": version}
        return {"dag": "clinic.approval", "logical_date": None, "conf": conf, "answer": [answer, "Ada"]}

    seen = run(
        batch("2026-11-01"),
        batch("2026-11-02"),
        batch("2026-11-03"),
        ask(3, "Reject"),
        ask(2, "Approve"),
        ask(2, "Approve"),
        ask(1, "Approve"),
    )
    assert [run["state"] for run in seen["runs"]] == ["success"] * 7, seen["runs"][4]["log"][-3000:]
    assert [run["tasks"]["crown"][0] for run in seen["runs"][3:]] == ["skipped", "success", "skipped", "skipped"]
    rows = query(project.warehouse_url, "select version, promoted_by, reason, kind from promotions")
    assert rows == [(2, "Ada", f"approved in Airflow, run {seen['runs'][4]['run_id']}", "promote")]
    assert [name for name, _, _ in seen["events"]].count("clinic.champion") == 1
    assert "an older interval never replaces it" in seen["runs"][6]["log"]


HEALTH_DAG = """
from pathlib import Path
from diurnal.airflow import build_health_dag

def notify(context):
    Path({file!r}).write_text(str(context["exception"]))

dag = build_health_dag(default_args={{"on_failure_callback": notify}})
"""


def test_health_dag_fails_once_for_a_finding_and_calls_the_notifier(run, project):
    notified = project.folder / "notified.txt"
    (project.folder / "dags" / "health.py").write_text(HEALTH_DAG.format(file=str(notified)))
    look = {"dag": "diurnal_health", "logical_date": None, "conf": {}}
    yesterday = datetime.now(UTC) - timedelta(days=1)
    overdue = f"{yesterday - LEAST_TOLERANCE:%Y-%m-%d}"
    failed, skipped = run(look, look)["runs"]
    assert (failed["tasks"]["doctor"][0], skipped["tasks"]["doctor"][0]) == ("failed", "skipped"), failed["log"][-3000:]
    assert notified.read_text().startswith("1 experiment: 1 finding\n\nclinic is overdue\n")
    assert last_words(failed).strip().startswith(f"-> diurnal run clinic --date {overdue}")
    assert "it has never had a result" in json.dumps(failed["travelled"])
    assert "clinic is overdue" in skipped["log"]
    notified.unlink()
    project.bring(f"{yesterday:%Y-%m-%d}")
    assert project.command("run", "clinic").returncode == 0
    (fine,) = run(look)["runs"]
    assert (fine["state"], "1 experiment: no findings" in fine["log"]) == ("success", True)
    assert not notified.exists()
