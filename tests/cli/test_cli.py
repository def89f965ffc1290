"""The command line, as a process: what it prints, and its exit status."""

import json
import os
import socket
import subprocess
import sys

import pandas as pd
import psycopg
import pytest

from diurnal import cli
from forking import COMMAND_LINE
from projects import FORKS, Project, patients


@pytest.fixture
def project(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "project", warehouse_url)
    for date in ("2026-11-01", "2026-11-02", "2026-11-03"):
        project.bring(date)
    return project


def ok(done):
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_backfill_gives_one_run_and_one_version_a_day_and_then_nothing(project):
    first = json.loads(
        ok(project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-03", "--json"))
    )
    assert [row["state"] for row in first] == ["done"] * 3
    again = ok(project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-03"))
    assert "3 data intervals: 0 done, 3 already done, 0 rejected" in again
    runs = json.loads(ok(project.command("runs", "clinic", "--json")))
    models = json.loads(ok(project.command("models", "clinic", "--json")))
    assert [len(runs), len(models)] == [3, 3]
    assert {"run_id", "data_interval_start", "test_score", "best_params", "champion_score"} <= set(runs[0])
    assert {"version", "run_id", "digest", "path", "champion"} <= set(models[0])
    assert [model["version"] for model in models if model["champion"]] == [3]


def test_backfill_goes_on_after_a_refused_day(project):
    project.bring("2026-11-02", patients("2026-11-02").assign(age="old"))
    project.command("run", "clinic", "--date", "2026-11-01")
    done = project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-03")
    assert done.returncode == 65
    assert "1 done, 1 already done, 1 rejected" in done.stdout


def test_next_counts_a_timedelta_from_the_start_date(project):
    every = "schedule=__import__('datetime').timedelta(days=3), start_date='2026-11-01'"
    project.declare(f"drop='ward', {every}")
    project.bring("2026-11-04")
    starts = [json.loads(ok(project.command("run", "clinic", "--next", "--json")))["data_interval_start"][:10]]
    starts += [json.loads(ok(project.command("run", "clinic", "--next", "--json")))["data_interval_start"][:10]]
    assert starts == ["2026-11-01", "2026-11-04"]


def test_refusals_are_kept_apart(project):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    for wrong in ("old", "old", "young"):
        project.bring("2026-11-02", patients("2026-11-02").assign(age=wrong))
        assert project.command("run", "clinic", "--date", "2026-11-02").returncode == 65
    kept = list((project.folder / "data" / "clinic" / "quarantine" / "20261102T000000Z").iterdir())
    assert [len(list(folder.glob("reasons.json"))) for folder in kept] == [1, 1]
    assert {b"young" in (folder / "rows.arrow").read_bytes() for folder in kept} == {True, False}


def test_runs_tell_which_version_each_made_and_what_serves_now(project):
    project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-03")
    runs = json.loads(ok(project.command("runs", "clinic", "--json")))
    assert [row["version"] for row in runs] == [3, 2, 1]
    assert [row["twin_score"] for row in runs] == [
        row["comparison"] and row["comparison"]["twin_score"] for row in runs
    ]
    assert runs[2]["twin_score"] is None
    assert "twin" in ok(project.command("runs", "clinic"))
    again = ok(project.command("run", "clinic", "--date", "2026-11-01"))
    assert "version 3; this run's version 1 was promoted when it ran" in again
    latest = ok(project.command("run", "clinic", "--date", "2026-11-03"))
    assert "version 3, this run's" in latest
    assert f"rows new to both  twin {runs[0]['twin_score']:.4f}, champion {runs[0]['champion_score']:.4f}" in latest


def test_no_changes_nothing(project):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    ours, theirs = os.openpty()
    os.write(ours, b"n\n")
    words = [sys.executable, "-m", "diurnal", "promote", "clinic", "1"]
    done = subprocess.run(
        words, cwd=project.folder, env=project.environment, stdin=theirs, capture_output=True, text=True, check=False
    )
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, "nothing was changed" in done.stderr) == (1, True), done.stderr
    assert len(json.loads(ok(project.command("history", "clinic", "--json")))) == 1


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["--help"]])
def test_reader_who_has_seen_enough_is_no_error(project, words):
    started = project.start(*words, fault="nowhere")
    started.stdout.close()
    with started.stderr as said:
        assert (started.wait(60), said.read()) == (0, "")


def test_terminated_is_said_in_a_line(project):
    (project.folder / "experiments" / "slow.py").write_text(
        "import os, signal\nfrom diurnal import experiment\n\n\ndef rows(interval):\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n\n\n"
        "@experiment(source=rows, target='y')\ndef slow():\n"
        "    from sklearn.linear_model import LinearRegression\n    return LinearRegression()\n"
    )
    done = project.command("run", "slow", "--date", "2026-11-01")
    assert (done.returncode, "Traceback" in done.stderr) == (143, False), done.stderr
    assert "diurnal: terminated" in done.stderr


def test_rollback_again_goes_further_back(project):
    ok(project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-03"))
    ok(project.command("rollback", "clinic"))
    ok(project.command("rollback", "clinic"))
    assert json.loads(ok(project.command("history", "clinic", "--json")))[0]["version"] == 1
    assert project.command("rollback", "clinic").returncode == 2


def test_promote_refuses_a_version_whose_file_is_gone(project):
    ok(project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-02"))
    next((project.folder / "models" / "clinic").glob("20261101*/model.skops")).unlink()
    done = project.command("promote", "clinic", "1")
    assert done.returncode == 65
    assert json.loads(ok(project.command("history", "clinic", "--json")))[0]["version"] == 2


def test_gc_spares_what_another_warehouse_keeps(project, warehouse_url):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        connection.execute("update identity set warehouse_id = gen_random_uuid()")  # as another, empty one would have
    done = project.command("gc", "--older-than", "0")
    assert done.returncode == 78
    assert list((project.folder / "data" / "clinic").rglob("*.parquet"))


def test_promote_rollback_and_history_tell_the_same_story(project):
    ok(project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-03"))
    ok(project.command("rollback", "clinic"))
    ok(project.command("promote", "clinic", "1", "--reason", "the audit asked for it"))
    history = json.loads(ok(project.command("history", "clinic", "--json")))
    assert [(row["version"], row["kind"]) for row in history] == [
        (1, "promote"), (2, "rollback"), (3, "promote"), (2, "promote"), (1, "promote"),
    ]  # fmt: skip
    assert history[0]["reason"] == "the audit asked for it"
    unknown = project.command("promote", "clinic", "9")
    assert (unknown.returncode, "Traceback" in unknown.stderr) == (2, False)
    assert "1" in unknown.stderr


def test_predict_writes_csv_parquet_or_standard_output(project, tmp_path):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    rows = patients("2026-11-09").drop(columns=["ill", "ward"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    rows.to_parquet(tmp_path / "rows.parquet", index=False)
    said = ok(project.command("predict", "clinic", str(tmp_path / "rows.csv")))
    assert said.splitlines()[0] == "patient,prediction,probability_no,probability_yes"
    ok(project.command("predict", "clinic@1", str(tmp_path / "rows.parquet"), "-o", str(tmp_path / "out.parquet")))
    ok(project.command("predict", "clinic@champion", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "out.csv")))
    written = [pd.read_parquet(tmp_path / "out.parquet"), pd.read_csv(tmp_path / "out.csv")]
    assert len(written[0]) == len(rows)
    assert written[0]["prediction"].tolist() == written[1]["prediction"].tolist()
    assert written[0]["patient"].tolist() == rows["patient"].tolist(), "in the order in which they came"


def test_predict_of_no_rows_is_a_header(project, tmp_path):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    patients("2026-11-09", 0).to_csv(tmp_path / "rows.csv", index=False)
    said = ok(project.command("predict", "clinic", str(tmp_path / "rows.csv")))
    assert said == "patient,prediction,probability_no,probability_yes\n"
    ok(project.command("predict", "clinic", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "out.parquet")))
    assert pd.read_parquet(tmp_path / "out.parquet").shape == (0, 4)


def test_predict_refuses_rows_without_a_feature(project, tmp_path):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    patients("2026-11-09").drop(columns="age").to_csv(tmp_path / "rows.csv", index=False)
    done = project.command("predict", "clinic", str(tmp_path / "rows.csv"), "-o", str(tmp_path / "out.csv"))
    assert done.returncode == 65
    assert "missing-column" in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_predict_disarms_formulas_in_csv(project, tmp_path):
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    rows = patients("2026-11-09", 2).assign(patient=["=1+1", "plain"])
    rows.to_csv(tmp_path / "rows.csv", index=False)
    assert "\n'=1+1," in ok(project.command("predict", "clinic", str(tmp_path / "rows.csv")))


def test_verify_finds_what_was_changed_and_what_is_missing(project):
    ok(project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-02"))
    assert ok(project.command("verify")).endswith(" objects OK\n")
    packages = sorted((project.folder / "data" / "clinic" / "train").rglob("*.parquet"))
    packages[0].unlink()
    model = next((project.folder / "models").rglob("model.skops"))
    model.write_bytes(model.read_bytes() + b"x")
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("update batch_rows_clinic set age = age + 1 where patient = '2026-11-01-0003'")
    done = project.command("verify", "clinic", "--json")
    assert done.returncode == 65
    bad = [(row["kind"], row["state"]) for row in json.loads(done.stdout) if row["state"] != "good"]
    assert bad == [("package", "missing"), ("model", "damaged"), ("load", "damaged")]


def test_verify_finds_candidates_loads_and_batches_that_do_not_fit(project):
    ok(project.command("backfill", "clinic", "--from", "2026-11-01", "--to", "2026-11-02"))
    next((project.folder / "data" / "clinic" / "candidates" / "20261101T000000Z").iterdir()).unlink()
    package = next((project.folder / "data" / "clinic" / "batches" / "20261101T000000Z").iterdir())
    package.write_bytes(package.read_bytes()[:-9])
    project.bring("2026-11-02", patients("2026-11-02", 200))
    project.command("run", "clinic", "--date", "2026-11-02", fault="kill@warehouse.load_rows:before")
    done = project.command("verify", "clinic", "--json")
    assert done.returncode == 65
    bad = [(row["kind"], row["state"]) for row in json.loads(done.stdout) if row["state"] != "good"]
    assert bad == [("package", "damaged"), ("candidates", "missing"), ("load", "unknown"), ("load", "outdated")]


def test_gc_removes_what_nothing_refers_to_and_nothing_else(project):
    killed = project.command("run", "clinic", "--date", "2026-11-01", fault="kill@warehouse.load_rows:after")
    assert killed.returncode < 0
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    (project.folder / "data" / "clinic" / "train" / "stray.parquet").write_bytes(b"")
    listed = json.loads(ok(project.command("gc", "--older-than", "0", "--dry-run", "--json")))
    assert "lake clinic/train/stray.parquet" in {row["removed"] for row in listed}
    assert ok(project.command("gc")) == "none\n", "what is young may belong to a run that is under way"
    ok(project.command("gc", "--older-than", "0"))
    assert ok(project.command("gc", "--older-than", "0")) == "none\n"
    assert "Traceback" not in ok(project.command("verify"))
    ok(project.command("run", "clinic", "--date", "2026-11-02"))


def test_list_shows_experiments_and_does_not_hide_them_behind_a_broken_file(project):
    (project.folder / "experiments" / "broken.py").write_text("import nowhere_to_be_found\n")
    done = project.command("list", "--json")
    assert done.returncode == 2
    assert [row["name"] for row in json.loads(done.stdout)] == ["clinic"]
    assert "broken.py:1" in done.stderr


def test_check_names_the_place_of_an_unset_random_state(project):
    path = project.folder / "experiments" / "clinic.py"
    path.write_text(
        path.read_text().replace(
            "GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()),",
            "GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression(solver='saga')),",
        )
    )
    said = json.loads(ok(project.command("check", "clinic", "--json")))
    assert len(said["warnings"]) == 1
    assert "estimator__logisticregression" in said["warnings"][0]
    assert said["steps"][0] == "fetch"


def test_check_with_data_tries_a_day_and_writes_nothing(project):
    project.bring("2026-11-01")
    ok(project.command("run", "clinic", "--date", "2026-11-01"))
    before = sorted(str(path) for path in (project.folder / "data").rglob("*"))
    project.bring("2026-11-02")
    said = json.loads(ok(project.command("check", "clinic", "--data", "--date", "2026-11-02", "--json")))
    assert (said["batch"], said["tested"], said["errors"]) == ("240 rows", ["Pipeline"], [])
    project.bring("2026-11-02", patients("2026-11-02").rename(columns={"age": "Age"}))
    refused = project.command("check", "clinic", "--data", "--date", "2026-11-02")
    assert refused.returncode == 65
    assert "1 error:" in refused.stdout
    assert "did you mean 'Age'" in refused.stdout
    assert sorted(str(path) for path in (project.folder / "data").rglob("*")) == before
    assert project.command("check", "clinic", "--date", "2026-11-02").returncode == 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["run", "clinc"], 2, "did you mean 'clinic'"),
        (["run", "clinic", "--date", "yesterday"], 2, "2026-11-23"),
        (["run", "clinic", "--date", "2200-01-01"], 65, "--allow-future"),
        (["run", "clinic", "--date", "2026-10-01"], 75, "there is no file"),
        (["run", "clinic", "--date", "2026-11-01", "--next"], 2, "exclude each other"),
        (["predict", "clinic@9", "diurnal.toml"], 2, "format"),
        (["models", "nobody", "--json"], 2, "there is no experiment 'nobody'"),
        (["verify", "clinc"], 2, "did you mean 'clinic'"),
        (["runs", "clinic", "--json"], 0, ""),
        (["predict", "clinic", "diurnal.toml", "-o", "x.xlsx"], 2, "x.xlsx"),
        (["predict", "clinic", "diurnal.toml", "-o", "nowhere/x.csv"], 2, "nowhere"),
        (["predict", "clinic@1234567890", "incoming/2026-11-01.csv"], 2, "invalid model reference"),
        (["promote", "clinic", "0"], 2, "range"),
        (["gc", "--older-than", "nan"], 2, "older-than"),
        (["nonsense"], 2, "nonsense"),
        (["rollback", "clinic"], 2, "no former champion"),
    ],
)
def test_mistakes_get_one_message_and_the_right_status(project, words, status, said):
    done = project.command(*words)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert said in done.stderr


def test_an_internal_error_has_its_frames_and_the_url_to_report_it(capsys):
    try:
        json.loads("{")
    except ValueError as error:
        status = cli._print_error(error)
    message = capsys.readouterr().err
    assert (status, message.splitlines()[0][:46]) == (70, "diurnal: internal error: JSONDecodeError: Expe")
    assert "  in " in message
    assert message.endswith("hint: please report it at https://github.com/diurnal-ml/diurnal/issues\n")


def test_wrong_password_and_unreachable_warehouse_are_said_without_the_secret(project):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        project.warehouse_url = f"postgresql://diurnal:hunter2@127.0.0.1:{port}/warehouse"
        done = project.command("run", "clinic", "--date", "2026-11-01")
    assert done.returncode == 75, done.stderr
    assert "127.0.0.1" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_password_behind_a_question_mark_is_not_shown(project):
    project.warehouse_url = "postgresql://ada@db.example/warehouse?password=hunter2"
    said = ok(project.command("warehouse", "url"))
    assert ("db.example" in said, "hunter2" in said) == (True, False)


def test_lake_below_a_file_is_a_wrong_setting(project):
    (project.folder / "diurnal.toml").write_text('[diurnal]\nlake = "diurnal.toml/data"\n')
    done = project.command("run", "clinic", "--date", "2026-11-01")
    assert (done.returncode, "Traceback" in done.stderr) == (78, False), done.stderr


@pytest.mark.parametrize(
    ("edit", "status", "said"),
    [
        (("cv=3", "cv=3, refit=False, scoring=['accuracy', 'recall']"), 2, "refit="),
        (("return GridSearchCV", "GridSearchCV"), 2, "did you forget `return`?"),
        (("0.1, 1.0, 10.0", "-1.0"), 2, "The 'C' parameter"),
        (("import LogisticRegression", "import LogisticRegresion"), 2, "clinic.py:"),
        (("test_size", "tset_size"), 2, "did you mean 'test_size'"),
    ],
)
def test_broken_experiment_is_said_with_its_place(project, edit, status, said):
    project.declare("drop='ward', test_size=0.3")
    path = project.folder / "experiments" / "clinic.py"
    assert edit[0] in path.read_text()
    path.write_text(path.read_text().replace(*edit))
    done = project.command("run", "clinic", "--date", "2026-11-01")
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert said in done.stderr


def test_failing_source_is_said_with_its_line(project):
    (project.folder / "experiments" / "own.py").write_text(
        "from diurnal import experiment\n\n\ndef rows(interval):\n    return {}['nothing']\n\n\n"
        "@experiment(source=rows, target='y')\ndef own():\n"
        "    from sklearn.linear_model import LinearRegression\n    return LinearRegression()\n"
    )
    done = project.command("run", "own", "--date", "2026-11-01")
    assert done.returncode == 75
    assert "own.py:5" in done.stderr
    assert "Traceback" not in done.stderr


def test_init_writes_a_project_that_runs_and_overwrites_nothing(project, tmp_path):
    folder = tmp_path / "my project" / "churn"
    assert f"cd '{folder}' &&" in ok(project.command("init", str(folder)))
    assert max(map(len, (folder / "experiments" / "churn.py").read_text().splitlines())) <= 88
    environment = {**project.environment, "DIURNAL_PROJECT": str(folder)}
    embedded = {name: value for name, value in environment.items() if name != "DIURNAL_WAREHOUSE"}
    done = FORKS.run(COMMAND_LINE, "check", "churn", "--data", "--json", cwd=folder, env=embedded)
    assert json.loads(ok(done))["errors"] == []
    assert not (folder / "data").exists(), "a check of the first batch creates no warehouse"
    done = FORKS.run(COMMAND_LINE, "run", "churn", "--next", "--json", cwd=folder, env=environment)
    assert json.loads(ok(done))["version"] == 1
    again = project.command("init", str(folder))
    assert again.returncode == 2
    assert "overwrites nothing" in again.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_the_right_to_write_is_status_77(project):
    (project.folder / "data").mkdir(mode=0o500)
    done = project.command("run", "clinic", "--date", "2026-11-01")
    assert done.returncode == 77, done.stderr


@pytest.mark.parametrize(
    ("words", "needless"),
    [
        (["--help"], "numpy pyarrow sqlalchemy fsspec rich pandas sklearn skops"),
        (["list"], "numpy pyarrow sqlalchemy fsspec pandas sklearn skops"),
        (["runs", "clinic"], "pandas scipy sklearn skops adbc_driver_postgresql"),
        (["models", "clinic"], "pandas scipy sklearn skops adbc_driver_postgresql"),
        (["history", "clinic"], "pandas scipy sklearn skops adbc_driver_postgresql"),
        (["gc", "--dry-run"], "pandas scipy sklearn skops adbc_driver_postgresql"),
        (["warehouse", "url"], "numpy pyarrow pandas sklearn skops"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_command_imports_nothing_that_it_does_not_use(project, words, needless):
    ok(project.command("warehouse", "migrate"))
    program = (
        "import sys\n"
        "from diurnal.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print('imported:', *sorted(set('{needless}'.split()) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=project.folder,
        env=project.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "imported:", done.stderr
