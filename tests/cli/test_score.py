"""``diurnal score`` as a process: what it prints, and its exit status."""

import json
import sqlite3

import psycopg
import pytest

from forking import COMMAND_LINE
from projects import FORKS, patients

TRAINED, SCORED = "2026-11-01", "2026-11-02"


@pytest.fixture
def trained(project, stores):
    project.bring(TRAINED)
    project.run(TRAINED, stores)
    project.bring(SCORED, patients(SCORED).drop(columns="ill"))
    return project


def keys(project):
    with psycopg.connect(project.warehouse_url) as connection:
        return {key for (key,) in connection.execute("SELECT patient FROM predictions_clinic")}


def test_score_prints_a_row_and_repeats_without_effect(trained):
    first = trained.command("score", "clinic", "--date", SCORED, "--json")
    assert first.returncode == 0, first.stderr
    printed = json.loads(first.stdout)
    assert (printed["state"], printed["version"], printed["n_rows"]) == ("scored", 1, 240)
    assert printed["data_interval_start"].startswith(SCORED)
    again = trained.command("score", "clinic", "--date", SCORED)
    assert again.returncode == 0, again.stderr
    assert "unchanged" in again.stdout
    assert "240" in again.stdout


def test_rows_of_a_file_belong_to_the_interval(trained, tmp_path):
    file = tmp_path / "rows {1}.csv"
    patients("2026-11-03", 20).drop(columns="ill").to_csv(file, index=False)
    done = trained.command("score", "clinic", "--date", SCORED, "--file", str(file))
    assert done.returncode == 0, done.stderr
    assert keys(trained) == set(patients("2026-11-03", 20)["patient"])


def test_rows_of_a_query_come_from_the_connection_of_the_experiment(project, tmp_path):
    database = tmp_path / "plant.db"
    with sqlite3.connect(database) as connection:
        for date in (TRAINED, SCORED):
            patients(date).assign(day=date).to_sql("patients", connection, if_exists="append", index=False)
        connection.execute(f"UPDATE patients SET ill = NULL WHERE day = '{SCORED}'")
    file = project.folder / "experiments" / "clinic.py"
    columns = "SELECT patient, age, pressure, ward, ill FROM patients"
    text = file.read_text().replace("import Files", "import Sql")
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    query = f"{columns} WHERE day = substr(:start, 1, 10)"
    file.write_text(text.replace(f"Files({pattern!r})", f'Sql("{query}", connection="plant")'))

    def command(*arguments):
        environment = {**project.environment, "AIRFLOW_CONN_PLANT": f"sqlite:///{database}"}
        return FORKS.run(COMMAND_LINE, *arguments, cwd=project.folder, env=environment)

    trained = command("run", "clinic", "--date", TRAINED)
    assert trained.returncode == 0, trained.stderr
    wanted = "SELECT patient, age, pressure FROM patients WHERE day = substr(:start, 1, 10) AND patient LIKE '%-000_'"
    done = command("score", "clinic", "--date", SCORED, "--query", wanted)
    assert done.returncode == 0, done.stderr
    assert keys(project) == {f"{SCORED}-000{i}" for i in range(10)}


def test_another_champion_is_announced_and_scores_with_rescore(trained, stores):
    trained.command("score", "clinic", "--date", SCORED)
    trained.bring("2026-11-03", patients("2026-11-03", shift=2.0))
    trained.run("2026-11-03", stores)
    if stores.warehouse.champion("clinic").version != 2:
        stores.warehouse.set_champion("clinic", 2, requested_by="a test", reason="test", action="promote")
    kept = trained.command("score", "clinic", "--date", SCORED)
    assert kept.returncode == 0, kept.stderr
    assert "version 1 has predicted 2026-11-02, and the champion is version 2; nothing was changed" in kept.stderr
    assert "--rescore" in kept.stderr
    done = trained.command("score", "clinic", "--date", SCORED, "--rescore", "--json")
    assert json.loads(done.stdout)["version"] == 2


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["--date", "2990-01-01"], 2, "outside the years"),
        (["--date", "2100-01-01"], 65, "is not over before"),
        (["--date", SCORED, "--query", "SELECT 1"], 2, "--query needs an experiment whose source is Sql"),
        (["--date", SCORED, "--version", "9"], 2, "no version 9"),
        (["--date", "2026-11-05"], 75, "2026-11-05.csv"),
    ],
)
def test_errors_have_a_status_and_a_hint(trained, words, status, expected):
    done = trained.command("score", "clinic", *words)
    assert done.returncode == status, done.stderr
    assert expected in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_experiment_without_champion_says_so(project):
    project.bring(SCORED)
    done = project.command("score", "clinic", "--date", SCORED)
    assert done.returncode == 2
    assert "has no model version" in done.stderr
