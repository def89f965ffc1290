"""``diurnal erase``: no file and no table has the key any more, and all that was true of the others still is."""

import json
import signal
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diurnal.errors import BatchRejectedError, NotFoundError, SupersededError, TransientError, UsageError
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import batch_profiles, erasure, ingest, scored_batches, steps
from diurnal.pipeline.erasure import erase_sample, find_sample
from diurnal.pipeline.garbage import collect_garbage
from diurnal.pipeline.replay import replay_version
from diurnal.pipeline.scored_batches import score_batch
from diurnal.pipeline.store_verification import verify_stores
from projects import Project, day, patients

FIRST, SECOND, THIRD = "2026-11-01", "2026-11-02", "2026-11-03"
SUBJECT = f"{FIRST}-0007"


@pytest.fixture
def project(tmp_path, warehouse_url):
    return Project.make(tmp_path / "project", warehouse_url, "drop='ward', window=2, promotion='always'")


@pytest.fixture
def filled(project, stores):
    """Three days, of which the first two have the subject; predictions, a corrected batch, a rejected one."""
    project.bring(FIRST)
    project.run(FIRST, stores)
    second = patients(SECOND)
    second.loc[3, "patient"] = SUBJECT
    project.bring(SECOND, second)
    project.run(SECOND, stores)
    second.loc[9, "age"] = 50.0
    project.bring(SECOND, second)
    project.run(SECOND, stores)
    score_batch(RunContext(project.experiment(), day(FIRST), stores, requested_by="test"))
    project.bring(THIRD)
    project.run(THIRD, stores)
    rejected = patients("2026-11-04").drop(columns="age")
    rejected.loc[5, "patient"] = SUBJECT
    project.bring("2026-11-04", rejected)
    with pytest.raises(BatchRejectedError):
        project.run("2026-11-04", stores)
    return project


def traces(project, subject=SUBJECT):
    """Return the files and the tables that have a text, read without the code under test."""
    found = set()
    for path in (project.folder / "data").rglob("*"):
        if path.is_dir() or "warehouse" in path.parts:
            continue
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content = str(pq.read_table(path).to_pylist()).encode()
        elif path.suffix == ".arrow":
            content = str(pa.ipc.open_file(path).read_all().to_pylist()).encode()
        if subject.encode() in content:
            found.add(str(path.relative_to(project.folder / "data" / "clinic")).split("/")[0])
    with psycopg.connect(project.warehouse_url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            query = f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s"
            if connection.execute(query, [f"%{subject}%"]).fetchone()[0]:
                found.add(table)
    return found


def check_nothing_is_left(project, stores):
    assert traces(project) == set()
    assert {one.state for one in verify_stores(stores)} == {"good"}
    with psycopg.connect(project.warehouse_url) as connection:
        shown = connection.execute("SELECT count(*) FROM batch_data_clinic").fetchone()[0]
        assert shown == 240 * 3 - 2
        assert connection.execute("SELECT count(*) FROM predictions_clinic").fetchone()[0] == 239
    assert not stores.warehouse.unfinished_erasures("clinic")


def test_key_is_nowhere_and_the_rest_is_sound(filled, stores):
    project = filled
    assert {"batches", "train", "quarantine", "batch_rows_clinic", "prediction_rows_clinic"} <= traces(project)
    done = project.command("erase", "clinic", SUBJECT, "--yes")
    assert done.returncode == 0, done.stderr
    assert "trained on it: version 1, 2, 3, 4" in done.stdout
    assert "the champion is version 4" in done.stdout
    check_nothing_is_left(project, stores)
    with pytest.raises(NotFoundError, match=r"version 1 of clinic cannot be replayed.*\n.*: by erasure"):
        replay_version(stores, "clinic", 1, project.experiment)
    assert project.command("erase", "clinic", SUBJECT, "--yes").stdout.startswith("clinic has no row of this key")
    another = erase_sample(stores, "clinic", f"{FIRST}-0011", requested_by="test")
    assert [f"{start:%Y-%m-%d}" for start in another.interrupted] == ["2026-11-04"], (
        "only the rejected one has no result"
    )


def test_source_that_returns_the_key_again_gives_the_erased_batch(filled, stores):
    project = filled
    erase_sample(stores, "clinic", SUBJECT, requested_by="test")
    erased = {row["digest"] for row in stores.warehouse.packages() if row["role"] == "batch"}
    project.bring(FIRST)  # as it was, with the subject
    result = project.run(FIRST, stores)
    assert "1 row of erased samples, which the source still returns" in result.run["warnings"]
    assert {row["digest"] for row in stores.warehouse.packages() if row["role"] == "batch"} == erased
    assert result.run["model_version"] == 5, "a new version, as its batch is another one"
    assert replay_version(stores, "clinic", 5, project.experiment).equal
    score_batch(RunContext(project.experiment(), day(FIRST), stores, requested_by="test"), rescore=True)
    check_nothing_is_left(project, stores)
    later = patients("2026-11-05")
    project.bring("2026-11-05", later)
    compared = project.run("2026-11-05", stores).run
    assert compared["comparison"], "the champion's batches are read"
    assert compared["drift"]["reference"]["n_rows"] > 0


@pytest.mark.system  # as it kills processes
def test_killed_erasure_is_repeated(filled, stores):
    points = ("erasure.quarantine:before", "lake.put:after", "warehouse.replace_packages:before")
    for point in (*points, "warehouse.replace_packages:after", "erasure.file:before"):
        killed = filled.command("erase", "clinic", SUBJECT, "--yes", fault=f"kill@{point}")
        assert killed.returncode == -signal.SIGKILL, f"{point}: {killed.stderr}"
        assert {one.state for one in verify_stores(stores)} == {"good"}
    done = filled.command("erase", "clinic", SUBJECT, "--yes")
    assert done.returncode == 0, done.stderr
    check_nothing_is_left(filled, stores)
    collect_garbage(stores, older_than=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
    check_nothing_is_left(filled, stores)


def test_attempt_that_has_read_the_key_is_superseded(project, stores):
    project.bring(FIRST)
    context = RunContext(project.experiment(), day(FIRST), stores, requested_by="test")
    samples = steps.split(context, steps.fetch(context))
    search = steps.tune(context, samples)
    evaluation = steps.evaluate(context, samples, search)
    result = erase_sample(stores, "clinic", SUBJECT, requested_by="test")
    assert [f"{start:%Y-%m-%d}" for start in result.interrupted] == [FIRST]
    with pytest.raises(SupersededError):
        steps.record(context, search, evaluation)
    with pytest.raises(SupersededError):  # its packages are missing
        steps.refit(context, samples, search)
    project.run(FIRST, stores)
    assert traces(project) == set()


def test_no_profile_of_a_superseded_attempt_names_the_key(project, stores, monkeypatch):
    project.bring(FIRST)
    store_profile, subject = batch_profiles.store_batch_profile, f"{FIRST}-0000"  # one of those that a profile lists

    def erase_and_store(context, batch):
        erase_sample(stores, "clinic", subject, requested_by="test")
        return store_profile(context, batch)

    monkeypatch.setattr(batch_profiles, "store_batch_profile", erase_and_store)
    with pytest.raises(SupersededError, match="was deleted meanwhile"):
        project.run(FIRST, stores)
    collect_garbage(stores, older_than=timedelta(0), now=datetime.now(UTC) + timedelta(days=1))
    assert traces(project, subject) == set()


def test_superseded_attempt_keeps_no_rejected_rows(project, stores, monkeypatch):
    project.bring(FIRST)
    project.run(FIRST, stores)
    project.bring(SECOND, patients(FIRST).drop(columns="age"))
    ingest_batch = ingest.ingest_batch

    def reject_and_erase(*arguments):
        try:
            ingest_batch(*arguments)
        finally:
            erase_sample(stores, "clinic", SUBJECT, requested_by="test")

    monkeypatch.setattr(ingest, "ingest_batch", reject_and_erase)
    with pytest.raises(SupersededError):
        project.run(SECOND, stores)
    assert traces(project) == set()
    assert not stores.warehouse.failures("clinic")


@pytest.mark.parametrize("is_stored", [True, False])
def test_scoring_that_has_read_the_key_is_superseded(project, stores, monkeypatch, is_stored):
    project.bring(FIRST)
    project.run(FIRST, stores)
    project.bring(SECOND, patients(FIRST))
    if is_stored:
        project.run(SECOND, stores)
    load = scored_batches.load_version

    def erase_and_load(*arguments):
        erase_sample(stores, "clinic", SUBJECT, requested_by="test")
        return load(*arguments)

    monkeypatch.setattr(scored_batches, "load_version", erase_and_load)
    with pytest.raises(SupersededError):
        score_batch(RunContext(project.experiment(), day(SECOND), stores, requested_by="test"))
    assert traces(project) == set()
    assert not stores.warehouse.failures("clinic")


def test_batch_that_comes_during_the_search_is_searched_as_well(project, stores, monkeypatch):
    project.bring(FIRST)
    project.run(FIRST, stores)
    found = erasure.find_key_rows

    def find_and_be_late(*arguments):
        """Search, and let a run add a batch with the key before the result is used."""
        result = found(*arguments)
        if not (project.folder / "incoming" / f"{SECOND}.csv").exists():
            project.bring(SECOND, patients(SECOND).assign(patient=patients(FIRST)["patient"]))
            project.run(SECOND, stores)
        return result

    monkeypatch.setattr(erasure, "find_key_rows", find_and_be_late)
    erase_sample(stores, "clinic", SUBJECT, requested_by="test")
    assert traces(project) == set()


def test_erasures_of_two_keys_at_a_time_lose_no_rows(project, stores, monkeypatch):
    project.bring(FIRST)
    project.run(FIRST, stores)
    project.bring(SECOND)
    project.run(SECOND, stores)
    replace_packages = type(stores.warehouse).replace_packages

    def erase_another(warehouse, prepared, **options):
        """Begin another erasure before the first one is complete."""
        if prepared.replaced[0].data_interval_start == day(FIRST).start:
            with suppress(TransientError):
                erase_sample(stores, "clinic", f"{SECOND}-0011", requested_by="test")
        return replace_packages(warehouse, prepared, **options)

    monkeypatch.setattr(type(stores.warehouse), "replace_packages", erase_another)
    erase_sample(stores, "clinic", SUBJECT, requested_by="test")
    erase_sample(stores, "clinic", f"{SECOND}-0011", requested_by="test")
    assert {one.state for one in verify_stores(stores)} == {"good"}
    assert traces(project) == traces(project, f"{SECOND}-0011") == set()


def test_split_whose_files_an_erasure_has_deleted_is_superseded(project, stores, monkeypatch):
    project.bring(FIRST)
    project.run(FIRST, stores)
    project.bring(SECOND)
    context = RunContext(project.experiment(), day(SECOND), stores, requested_by="test")
    batch = steps.fetch(context)
    split_package = type(stores.lake).split_package

    def split_and_erase(*arguments):
        pair = split_package(*arguments)
        erase_sample(stores, "clinic", SUBJECT, requested_by="test")
        return pair

    with monkeypatch.context() as patch:
        patch.setattr(type(stores.lake), "split_package", split_and_erase)
        with pytest.raises(SupersededError):
            steps.split(context, batch)
    assert {one.state for one in verify_stores(stores)} == {"good"}


def test_packages_in_parts(project, stores):
    project.bring(FIRST)
    assert project.command("run", "clinic", "--date", FIRST, cells_per_part=200).returncode == 0
    before = {path.name for path in (project.folder / "data/clinic/parts").rglob("*.parquet")}
    done = project.command("erase", "clinic", SUBJECT, "--yes", cells_per_part=200)
    assert done.returncode == 0, done.stderr
    after = {path.name for path in (project.folder / "data/clinic/parts").rglob("*.parquet")}
    assert (len(before - after), len(after - before)) in {(1, 1), (2, 2)}, "other parts are used again"
    assert traces(project) == set()
    assert {one.state for one in verify_stores(stores)} == {"good"}
    kept = {row["path"] for row in stores.warehouse.packages()}
    assert project.command("run", "clinic", "--date", FIRST, cells_per_part=200).returncode == 0
    assert {row["path"] for row in stores.warehouse.packages()} == kept


def test_dry_run_and_wrong_keys_change_nothing(filled, stores):
    before = traces(filled)
    printed = json.loads(filled.command("erase", "clinic", SUBJECT, "--dry-run", "--json").stdout)
    assert (printed["erased"], printed["n_copies"], printed["n_predictions"]) == (False, 3, 1)
    assert (printed["versions"], len(printed["quarantine"])) == ([1, 2, 3, 4], 1)
    refused = filled.command("erase", "clinic", SUBJECT)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert find_sample(stores, "clinic", "another")[1].is_empty
    assert erase_sample(stores, "clinic", "another", requested_by="test").is_empty
    assert not stores.warehouse.erased_hashes("clinic", datetime(2026, 1, 1, tzinfo=UTC)), (
        "a typing error has no effect"
    )
    with pytest.raises(UsageError):
        find_sample(stores, "clinic", {"ward": "north"})
    assert traces(filled) == before
