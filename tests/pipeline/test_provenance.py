"""A run's row is of the code and of the data that it names, whatever is edited, corrected, repeated or lost."""

import contextlib
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from diurnal.errors import CodeChangedError, TransientError
from diurnal.experiment import Code, find
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import flow, garbage, local_run, steps, store_verification
from diurnal.runtime import fault_injection
from projects import EXPERIMENT, day, patients

HELPED = EXPERIMENT.replace(
    "    from sklearn.linear_model", "    from helper import STRENGTHS\n    from sklearn.linear_model"
).replace("[0.1, 1.0, 10.0]", "STRENGTHS")


def experiment_of(project):
    """The experiment as a new process reads it."""
    import sys

    for name in [name for name in sys.modules if name.startswith(("experiments", "helper", "clinic"))]:
        del sys.modules[name]
    return find("clinic", project.folder / "experiments")


def carry_out(project, stores, upto, *, before=None, edit=None):
    """Carry out the steps of a day, each in a process of its own as far as code goes; edit before one of them."""
    given = {}

    def step(name, *values):
        if name == before:
            edit()
        one = RunContext(experiment_of(project), day("2026-11-01"), stores, requested_by="test")
        given[name] = getattr(steps, name)(one, *values)
        if name == upto:
            raise StopIteration
        return given[name]

    with contextlib.suppress(StopIteration):
        flow.define_flow(step)
    return given


def shown(project):
    with psycopg.connect(project.warehouse_url) as connection:
        return connection.execute("select count(*) from batch_data_clinic").fetchone()[0]


@pytest.mark.parametrize("step", [name for name in flow.step_names() if name != "fetch"])
def test_a_step_with_other_code_than_its_runs_is_refused(project, stores, step):
    project.bring("2026-11-01")

    def edit():
        project.declare("drop='ward', test_size=0.25")

    with pytest.raises(CodeChangedError, match=r"test_size=0\.25 in place of 0\.3.*") as caught:
        carry_out(project, stores, None, before=step, edit=edit)
    assert "from the task `fetch` on" in str(caught.value)
    promoted = [row for row in stores.warehouse.runs("clinic") if row["decided_at"]]
    assert not promoted
    fresh = carry_out(project, stores, None)
    assert [row["code_digest"] for row in stores.warehouse.runs("clinic") if row["decided_at"]] == [
        fresh["fetch"].run.code_digest
    ]


def test_an_edit_of_a_helper_while_the_command_runs_is_refused(project, stores):
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    (project.folder / "experiments" / "clinic.py").write_text(HELPED.format(pattern=pattern, declared="drop='ward'"))
    helper = project.folder / "helper.py"
    helper.write_text("STRENGTHS = [0.1, 1.0]\n")
    project.bring("2026-11-01")
    one = RunContext(experiment_of(project), day("2026-11-01"), stores, requested_by="test")

    def edit_before_split(name):
        if name == "split":
            helper.write_text("STRENGTHS = [5.0]\n")

    with pytest.raises(CodeChangedError, match=r"helper\.py"):
        local_run.run(one, on_start=edit_before_split)
    assert stores.warehouse.runs("clinic") == []
    one = RunContext(experiment_of(project), day("2026-11-01"), stores, requested_by="test")
    assert local_run.run(one).run["best_params"] == {"logisticregression__C": 5.0}


def test_a_comment_is_no_change(project, stores):
    project.bring("2026-11-01")
    file = project.folder / "experiments" / "clinic.py"

    def edit():
        file.write_text(file.read_text().replace('"""Tell who is ill."""', '"""Tell who falls ill."""  # better'))

    assert carry_out(project, stores, None, before="tune", edit=edit)["promote"].promoted


def test_the_code_of_a_run_is_kept_as_text(project, stores):
    project.bring("2026-11-01")
    row = project.run("2026-11-01", stores).run
    kept = Code.loads(stores.lake.get(row["code"]))
    assert kept.digest == row["code_digest"]
    assert kept.files == {"experiments/clinic.py": (project.folder / "experiments" / "clinic.py").read_text()}


def test_row_names_environment_and_version(project, stores):
    project.bring("2026-11-01")
    row = project.run("2026-11-01", stores).run
    assert row["model_version"] == 1
    assert {"python", "cpu", "threads", "kernels", "image"} <= set(row["environment"])
    assert stores.warehouse.version("clinic", 1)["environment"]["machine"] == row["environment"]["machine"]


@pytest.mark.parametrize("upto", ["record", "publish", "promote"])
def test_a_step_repeated_after_the_row_gives_the_rows_numbers(project, stores, upto):
    """Another search would find other parameters: the row is changed by hand to see whose numbers are given."""
    project.bring("2026-11-01")
    given = carry_out(project, stores, upto)
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("update experiments set test_score = 0.125, cv_score_mean = 0.25")
    one = RunContext(experiment_of(project), day("2026-11-01"), stores, requested_by="test")
    search = steps.tune(one, given["split"])
    evaluation = steps.evaluate(one, given["split"], search)
    assert (search.cv_score_mean, evaluation.test_score) == (0.25, 0.125)
    assert search.twin_digest == given["tune"].twin_digest
    assert steps.record(one, search, evaluation) == given["record"]
    if upto != "record":
        assert steps.refit(one, given["split"], search).digest == given["refit"].digest
    again = carry_out(project, stores, None)
    assert again["evaluate"].test_score == stores.warehouse.runs("clinic")[0]["test_score"] == 0.125
    assert len(stores.warehouse.versions("clinic")) == 1


def test_corrected_and_put_back(project, stores):
    rows = project.bring("2026-11-01")
    first = project.run("2026-11-01", stores)
    project.bring("2026-11-01", rows.head(200))
    project.run("2026-11-01", stores)
    assert shown(project) == 200
    project.bring("2026-11-01", rows)
    back = project.run("2026-11-01", stores)
    assert (back.already, back.run["run_id"], shown(project)) == (True, first.run["run_id"], 240)
    done = project.command("verify")
    assert done.returncode == 0, done.stdout


def remove_model(project, stores):
    shutil.rmtree(stores.models.url(stores.warehouse.version("clinic", 1)["path"]))


def remove_candidates(project, stores):
    Path(stores.lake.url(stores.warehouse.runs("clinic")[0]["candidates"])).unlink()


def remove_samples(project, stores):
    for row in stores.warehouse.packages():
        Path(stores.lake.url(row["path"])).unlink()


def remove_twin_and_model(project, stores):
    Path(stores.lake.url(stores.warehouse.runs("clinic")[0]["twin"]["path"])).unlink()
    remove_model(project, stores)


@pytest.mark.parametrize(
    "lose", [remove_model, remove_candidates, remove_samples, remove_twin_and_model], ids=lambda f: f.__name__
)
def test_a_finished_run_puts_back_what_was_lost(project, stores, lose):
    project.bring("2026-11-01")
    first = project.run("2026-11-01", stores)
    lose(project, stores)
    assert project.command("verify").returncode == 65
    again = project.run("2026-11-01", stores)
    assert again.run["run_id"] == first.run["run_id"]
    assert [row["version"] for row in stores.warehouse.versions("clinic")] == [1]
    assert [row["version"] for row in stores.warehouse.promotions("clinic")] == [1]
    done = project.command("verify")
    assert done.returncode == 0, done.stdout


def test_rows_of_a_store_before_this_are_read(project, stores):
    """A row that names no code, twin or environment, as those of the first release do."""
    project.bring("2026-11-01")
    first = project.run("2026-11-01", stores)
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("update experiments set code = null, twin = null, environment = '{}', uncompared = null")
    assert project.run("2026-11-01", stores).already
    assert json.loads(project.command("runs", "clinic", "--json").stdout)[0]["run_id"] == first.run["run_id"]
    assert patients("2026-11-01").shape[0] == shown(project)


def test_a_version_replayed_comes_out_equal_though_code_and_source_have_gone_on(project, stores):
    project.declare("drop='ward', window='7d'")
    for date in ("2026-11-01", "2026-11-02", "2026-11-03"):
        project.bring(date)
        project.run(date, stores)
    project.declare("drop='ward', window='7d', test_size=0.2")
    for file in (project.folder / "incoming").iterdir():
        file.unlink()
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("drop view batch_data_clinic")
        connection.execute("drop table batch_rows_clinic")
    for version in (1, 2, 3):
        done = project.command("replay", "clinic", str(version), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert (found["equal"], found["results"]) == (True, [])
        assert found["digest"] == stores.warehouse.version("clinic", version)["digest"]
    said = project.command("replay", "clinic", "2").stdout
    assert said.startswith("version 2 of clinic is reproduced; digest ")


def test_replay_names_what_differs(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute(
            'update experiments set test_score = 0.5, library_versions = library_versions || \'{"scipy": "0.1"}\''
        )
    done = project.command("replay", "clinic", "1", "--json")
    assert done.returncode == 65
    found = json.loads(done.stdout)
    assert [(one["what"], one["recorded"]) for one in found["results"]] == [("test_score", 0.5)]
    assert [one["what"] for one in found["surroundings"]] == ["scipy"]


def test_replay_uses_the_helpers_of_that_time(project, stores):
    pattern = str(project.folder / "incoming" / "{start:%Y-%m-%d}.csv")
    (project.folder / "experiments" / "clinic.py").write_text(HELPED.format(pattern=pattern, declared="drop='ward'"))
    helper = project.folder / "helper.py"
    project.bring("2026-11-01")
    for strengths in ("[0.1, 1.0]", "[5.0]"):
        helper.write_text(f"STRENGTHS = {strengths}\n")
        done = project.command("run", "clinic", "--date", "2026-11-01")
        assert done.returncode == 0, done.stderr
    helper.unlink()
    for version in ("1", "2"):
        done = project.command("replay", "clinic", version)
        assert done.returncode == 0, done.stdout + done.stderr


def test_replay_without_kept_code_needs_the_same_code(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("update experiments set code = null")
    assert project.command("replay", "clinic", "1").returncode == 0
    project.declare("drop='ward', test_size=0.2")
    done = project.command("replay", "clinic", "1")
    assert done.returncode == 2
    assert "is not stored, and" in done.stderr


def test_kept_code_is_verified_and_stays(project, stores):
    project.bring("2026-11-01")
    row = project.run("2026-11-01", stores).run
    file = Path(stores.lake.url(row["code"]))
    assert ("code", "good") in {(finding.kind, finding.state) for finding in store_verification.verify_stores(stores)}
    removed = garbage.collect_garbage(stores, older_than=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
    assert row["code"] not in " ".join(removed)
    assert file.is_file()
    file.write_text(file.read_text().replace("Tell who is ill", "Tell who is well"))
    assert ("code", "damaged") in {
        (finding.kind, finding.state) for finding in store_verification.verify_stores(stores)
    }
    done = project.command("replay", "clinic", "1")
    assert done.returncode == 65
    assert "does not match its digest" in done.stderr


def test_verify_repairs_rows_of_the_warehouse(project, stores):
    rows = project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    project.bring("2026-11-01", rows.head(200))
    with pytest.raises(TransientError), armed("full@warehouse.load:before"):
        project.run("2026-11-01", stores)  # the pointer is on the correction, the view shows the first batch
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("update batch_rows_clinic set age = age + 1 where patient = '2026-11-01-0003'")
    states = {finding.state for finding in store_verification.verify_stores(stores)}
    assert states == {"good", "damaged"}
    done = project.command("verify", "--repair")
    assert done.returncode == 0, done.stdout
    assert "repaired load 1 of 2026-11-01T00:00Z of clinic, which was damaged" in done.stderr
    assert shown(project) == 200
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("update batch_rows_clinic set age = age + 1 where patient = '2026-11-01-0003'")
    assert project.command("verify").returncode == 65
    assert project.command("verify", "--repair").returncode == 0
    assert shown(project) == 200
    project.bring("2026-11-01", rows)
    assert project.run("2026-11-01", stores).already
    assert shown(project) == 240


@contextlib.contextmanager
def armed(fault):
    fault_injection.arm_fault(fault)
    try:
        yield
    finally:
        fault_injection.arm_fault(None)
