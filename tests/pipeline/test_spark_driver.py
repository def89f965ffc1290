"""A step as a Spark application: requests, results and errors pass between two processes."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from diurnal import errors
from diurnal.errors import (
    BatchRejectedError,
    ConfigurationError,
    CorruptPackageError,
    DiurnalError,
    ExperimentError,
    InvalidModelError,
    NotFoundError,
    PermissionDeniedError,
    Problem,
    SupersededError,
    TransientError,
    UsageError,
)
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import spark_driver
from diurnal.pipeline.spark_driver.messages import RequestFolder
from diurnal.pipeline.steps import fetch, split
from projects import FORKS, Project, day, patients

APPLICATION = Path(spark_driver.__file__).with_name("application.py")


@pytest.fixture
def project(tmp_path, warehouse_url):
    return Project.make(tmp_path / "project", warehouse_url)


@pytest.fixture
def stores(project):
    opened = project.stores()
    yield opened
    opened.warehouse.close()


def submit(project, folder, **settings):
    """Do what `spark-submit` does in the end."""
    program = f"import runpy\nrunpy.run_path({str(APPLICATION)!r}, run_name='__main__')"
    env = {**project.environment, "DIURNAL_PROJECT": "", **settings}
    return FORKS.run(program, folder.url, cwd=Path("/"), env=env)


def test_what_a_step_gives_comes_back_as_it_is(project, stores):
    project.bring("2026-11-01")
    the_day = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="airflow scheduled")
    with spark_driver.submit_request(the_day, "fetch", []) as folder:
        done = submit(project, folder)
        assert done.returncode == 0, done.stderr
        batch = folder.read_result(fetch)
    assert not list((project.folder / "data" / ".tmp").glob("diurnal-*"))
    here = fetch(the_day)
    assert replace(here, run=replace(here.run, epoch=1), seconds=0.0) == replace(batch, seconds=0.0)
    assert split(the_day, here).train[0].n_rows > 100
    assert (batch.run.epoch, here.run.epoch) == (1, 2)


def test_a_refusal_comes_back_with_its_reasons(project, stores):
    project.bring("2026-11-01", patients("2026-11-01").rename(columns={"ill": "sick"}))
    the_day = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    with spark_driver.submit_request(the_day, "fetch", []) as folder:
        done = submit(project, folder)
        assert done.returncode == BatchRejectedError.exit_status
        with pytest.raises(BatchRejectedError, match="missing-column") as refused:
            folder.read_result(fetch)
    assert refused.value.problems[0].code == "missing-column"
    assert refused.value.location == "clinic 2026-11-01 fetch"
    assert "kept in" in refused.value.hint
    assert str(refused.value) in done.stdout, "it is in the log, too"


def test_a_driver_that_lacks_what_it_needs_says_so(project, stores):
    project.bring("2026-11-01")
    the_day = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    with spark_driver.submit_request(the_day, "fetch", []) as folder:
        assert submit(project, folder, DIURNAL_WAREHOUSE="").returncode == ConfigurationError.exit_status
        with pytest.raises(ConfigurationError, match="DIURNAL_WAREHOUSE is not set where it runs"):
            folder.read_result(fetch)
    with spark_driver.submit_request(the_day, "fetch", []) as folder:
        submit(project, folder, DIURNAL_LAKE=str(project.folder / "of-its-own"))
        with pytest.raises(ConfigurationError, match=r"has its lake at .*of-its-own, and the task at"):
            folder.read_result(fetch)
    strayed = replace(the_day, experiment=replace(the_day.experiment, file="/elsewhere/experiments/clinic.py"))
    with spark_driver.submit_request(strayed, "fetch", []) as folder:
        submit(project, folder, DIURNAL_PROJECT=str(project.folder))
        assert folder.read_result(fetch).package.n_rows == 240, "the project is where DIURNAL_PROJECT says"
        submit(project, folder, DIURNAL_PROJECT="/")
        with pytest.raises(ConfigurationError, match=r"neither /elsewhere/experiments/clinic\.py nor"):
            folder.read_result(fetch)


@pytest.mark.parametrize(
    "error",
    [
        BatchRejectedError([Problem("null-key", "a key is null", "patient", (3,), 1)], hint="correct it"),
        TransientError("the server is down", hint="retry"),
        PermissionDeniedError("no permission"),
        ConfigurationError("not valid", hint="set it"),
        ExperimentError("not valid"),
        CorruptPackageError("another digest"),
        InvalidModelError("another digest"),
        UsageError("not valid"),
        NotFoundError("no such experiment"),
        SupersededError("another one took over"),
        DiurnalError("a bug"),
    ],
)
def test_every_error_comes_back_as_it_was(tmp_path, error):
    folder = RequestFolder(str(tmp_path))
    folder.write_error(error.add_location("clinic 2026-11-01 tune"))
    with pytest.raises(type(error)) as raised:
        folder.read_result(fetch)
    assert type(raised.value) is type(error)
    assert str(raised.value) == str(error)
    assert getattr(raised.value, "problems", None) == getattr(error, "problems", None)


@pytest.mark.parametrize("left", [None, '{"result": {"run'])
def test_no_answer_or_half_of_one_is_none(tmp_path, left):
    if left:
        (tmp_path / "answer.json").write_text(left)
    with pytest.raises(FileNotFoundError):
        RequestFolder(str(tmp_path)).read_result(fetch)


def test_a_driver_ends_with_the_task_that_waits_for_it(project, stores):
    slow = "import time; time.sleep(60)\n"
    file = project.folder / "experiments" / "clinic.py"
    the_day = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    file.write_text(slow + file.read_text())
    waiting = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with spark_driver.submit_request(the_day, "fetch", []) as folder:
            folder.write_request(replace(folder.read_request(), process=waiting.pid))
            started = time.monotonic()
            running = subprocess.Popen(
                [sys.executable, str(APPLICATION), folder.url],
                env={**project.environment, "DIURNAL_PROJECT": ""},
                stdout=subprocess.DEVNULL,
            )
            time.sleep(3)
            assert running.poll() is None
            waiting.kill()
            waiting.wait()
            assert running.wait(timeout=20) == errors.TransientError.exit_status
            assert time.monotonic() - started < 40
    finally:
        waiting.kill()


def test_request_has_no_secret(project, stores):
    the_day = RunContext(project.experiment(), day("2026-11-01"), stores, requested_by="test")
    with spark_driver.submit_request(the_day, "fetch", [{"n": 1}]) as folder:
        written = json.loads(Path(folder.url.removeprefix("file://"), "request.json").read_text())
    named = {
        "experiment",
        "file",
        "interval",
        "step",
        "inputs",
        "requested_by",
        "force",
        "lake",
        "models",
        "host",
        "process",
    }
    assert set(written) == named
    assert (written["inputs"], written["process"]) == ([{"n": 1}], os.getpid())
