import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest

from diurnal.errors import ConfigurationError, InvalidModelError, NotFoundError, UsageError
from diurnal.runtime import Connections, Settings
from diurnal.storage.load_model import load_model
from diurnal.storage.stores import open_stores
from diurnal.types import ModelFile, Run
from diurnal.types.calendar import Calendar

CANARY = "s3cr3t-canary"


def write(folder, text):
    (folder / "diurnal.toml").write_text(text, encoding="utf-8")
    return folder


def test_defaults_lie_in_the_project(tmp_path):
    settings = Settings.load(tmp_path, {})
    assert settings.project == tmp_path.resolve()
    assert settings.lake == str(tmp_path.resolve() / "data")
    assert settings.models == str(tmp_path.resolve() / "models")
    assert settings.experiments == tmp_path.resolve() / "experiments"
    assert settings.warehouse == "embedded"
    assert set(settings.origins.values()) == {"default"}


def test_the_project_is_the_nearest_folder_with_the_file(tmp_path):
    write(tmp_path, '[diurnal]\nlake = "s3://bucket/lake"\n')
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    settings = Settings.load(deep, {})
    assert settings.project == tmp_path.resolve()
    assert settings.lake == "s3://bucket/lake"
    assert settings.origins["lake"].endswith("diurnal.toml")


def test_the_environment_wins(tmp_path):
    write(tmp_path, '[diurnal]\nlake = "one"\nmodels = "m"\n')
    settings = Settings.load(tmp_path, {"DIURNAL_LAKE": "two", "DIURNAL_MODELS": ""})
    assert settings.lake == str(tmp_path.resolve() / "two")
    assert settings.models == str(tmp_path.resolve() / "m"), "an empty variable is not set"
    assert settings.origins["lake"] == "DIURNAL_LAKE"


def test_cores_limit_tuning_and_a_local_spark(tmp_path):
    assert Settings.load(tmp_path, {}).cores is None
    write(tmp_path, "[diurnal]\ncores = 3\n")
    settings = Settings.load(tmp_path, {})
    assert (settings.cores, settings.spark) == (3, "local[3]")
    settings = Settings.load(tmp_path, {"DIURNAL_CORES": "2", "DIURNAL_SPARK": "local[1]"})
    assert (settings.cores, settings.spark) == (2, "local[1]")
    for wrong in ("0", "-1", "many", "1.5"):
        with pytest.raises(ConfigurationError, match=rf"cores \(DIURNAL_CORES\) is '{wrong}'; it is a whole number"):
            Settings.load(tmp_path, {"DIURNAL_CORES": wrong})


def test_diurnal_project_names_the_project(tmp_path):
    assert Settings.load(environment={"DIURNAL_PROJECT": str(tmp_path)}).project == tmp_path.resolve()
    with pytest.raises(ConfigurationError, match="not a folder"):
        Settings.load(environment={"DIURNAL_PROJECT": str(tmp_path / "not")})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[diurnal]\nwarehose = "x"', "did you mean 'warehouse'"),
        ('lake = "x"', "outside of its one table"),
        ('[diurnl]\nlake = "x"', "did you mean 'diurnal'"),
        ("[diurnal]\nlake = 3", "lake is not a text"),
        ('[diurnal]\nlake = ""', "lake is empty"),
        ("[diurnal\n", "line 1"),
        ("diurnal = 1", "a value, not a table"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, said):
    with pytest.raises(ConfigurationError, match=said):
        Settings.load(write(tmp_path, text), {})


def test_an_unknown_variable_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'DIURNAL_WAREHOUSE'"):
        Settings.load(tmp_path, {"DIURNAL_WAREHOUS": "x"})


@pytest.mark.parametrize(
    "value",
    [
        f"mysql://me:{CANARY}@db/w",
        f"host=db password={CANARY}",
        f"postgresql+psycopg://me:{CANARY}@db/w",
        f"postgresql:/me:{CANARY}@db/w",
    ],
)
def test_another_warehouse_is_refused_without_its_password(tmp_path, value):
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(tmp_path, {"DIURNAL_WAREHOUSE": value})
    assert CANARY not in str(caught.value)
    with pytest.raises(ConfigurationError, match="did you mean 'embedded'"):
        Settings.load(tmp_path, {"DIURNAL_WAREHOUSE": "embeded"})


def test_the_warehouse_may_be_a_connection(tmp_path):
    connection = {"AIRFLOW_CONN_DIURNAL_WAREHOUSE": f"postgres://me:{CANARY}@db/w"}
    settings = Settings.load(tmp_path, connection)
    assert settings.warehouse == f"postgresql://me:{CANARY}@db/w"
    assert CANARY not in repr(settings)
    assert Settings.load(tmp_path, {**connection, "DIURNAL_WAREHOUSE": "embedded"}).warehouse == "embedded"


def test_connections_are_uris_in_either_form():
    connections = Connections(
        {
            "AIRFLOW_CONN_PLANT": "postgres://u:p@db:5432/plant?sslmode=require",
            "AIRFLOW_CONN_OTHER": '{"conn_type": "postgres", "host": "db", "login": "a@b", "password": "p/w:",'
            ' "port": 5433, "schema": "x y", "extra": {"sslmode": "require"}}',
            "AIRFLOW_CONN_FILE": '{"conn_type": "sqlite", "schema": "plant.db"}',
        }
    )
    assert connections["plant"] == "postgresql://u:p@db:5432/plant?sslmode=require"
    assert connections["other"] == "postgresql://a%40b:p%2Fw%3A@db:5433/x%20y?sslmode=require"
    assert connections["file"] == "sqlite:///plant.db"
    assert set(connections) == {"plant", "other", "file"}
    assert "plant" in connections
    assert "plants" not in connections


def test_a_missing_connection_names_its_variable():
    with pytest.raises(ConfigurationError, match="did you mean 'plant'") as caught:
        Connections({"AIRFLOW_CONN_PLANT": "postgres://db/x"})["plent"]
    assert "AIRFLOW_CONN_PLENT" in caught.value.hint


@pytest.mark.parametrize(
    "value", [f'{{"host": "{CANARY}"}}', f"{{{CANARY}", CANARY, '{"conn_type": "x", "extra": "["}']
)
def test_a_malformed_connection_is_refused_without_its_value(value):
    connections = Connections({"AIRFLOW_CONN_PLANT": value})
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_PLANT") as caught:
        connections["plant"]
    assert CANARY not in str(caught.value) + repr(connections)
    assert caught.value.__cause__ is None


def test_a_fault_is_armed_by_the_environment(tmp_path):
    code = "from diurnal.runtime import Settings, fault_injection; Settings.load(); fault_injection.fault_point('here')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"DIURNAL_FAULT": "full@here", "PATH": ""},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "No space left" in done.stderr


@pytest.mark.parametrize("reference", ["Bad Name", "toy@", "toy@newest", "toy@0", "toy@1.5", "toy@2026-1-1"])
def test_load_model_refuses_what_names_no_model(tmp_path, warehouse_url, reference):
    write(tmp_path, f'[diurnal]\nwarehouse = "{warehouse_url}"\n')
    with pytest.raises(UsageError, match="invalid model reference"):
        load_model(reference, project=tmp_path)


@pytest.fixture
def published(tmp_path, warehouse, warehouse_url):
    """A project with two versions of a model, of which the second is the champion."""
    import pandas as pd
    from sklearn.dummy import DummyRegressor

    from diurnal.storage.models import Models, library_versions, make_signature

    write(tmp_path, f'[diurnal]\nwarehouse = "{warehouse_url}"\n')
    models = Models(str(tmp_path / "models"))
    X = pd.DataFrame({"a": [1.0, 2.0]})
    columns = [{"name": "a", "kind": "float", "nullable": False, "categories": None}]
    for number in (1, 2):
        interval = Calendar("@daily").interval_on(f"2026-11-{number:02}")
        epoch = warehouse.claim_interval("toy", interval, requested_by="test")
        run = Run(f"toy-{number}", "toy", interval, epoch, "b", "b", "c")
        warehouse.record_run(run, ROW)
        fitted = DummyRegressor(strategy="constant", constant=float(number)).fit(X, [0.0, 1.0])
        described = make_signature(fitted, X, target="y", schema_columns=columns)
        file = ModelFile(run, *models.save("toy", interval, fitted, described), described, library_versions())
        warehouse.publish(run, file)
    warehouse.set_champion("toy", 2, requested_by="test", reason="test")
    return tmp_path


ROW = {
    **{column: {} for column in ("packages", "best_params", "test_scores", "library_versions", "durations")},
    **dict.fromkeys(("n_train", "n_test", "cv_folds", "n_candidates"), 1),
    "target": "y",
    "test_size": 0.3,
    "window": "1",
    "scoring": "r2",
}


def test_load_model_follows_the_reference(published):
    today = datetime.now(UTC).date()
    for reference, number in (("toy", 2), ("toy@champion", 2), ("toy@1", 1), (f"toy@{today + timedelta(days=1)}", 2)):
        assert load_model(reference, project=published).predict([[5.0]]) == [number]


def test_load_model_says_what_there_is(published):
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    for reference, said in (
        ("toy@3", "there are 1, 2"),
        (f"toy@{yesterday}", "the first was promoted on 20"),
        ("toi", "did you mean 'toy'"),
        ("toi@1", "did you mean 'toy'"),
    ):
        with pytest.raises(NotFoundError, match=said):
            load_model(reference, project=published)
    with pytest.raises(UsageError, match="not a valid date"):
        load_model("toy@2026-02-30", project=published)


def test_load_model_refuses_a_changed_file(published):
    for file in (published / "models" / "toy").glob("20261102*/model.skops"):
        file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(InvalidModelError):
        load_model("toy", project=published)


def test_load_model_outside_of_a_project_makes_nothing(tmp_path):
    code = "from diurnal.storage.load_model import load_model\nload_model('toy')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": ""}, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "ConfigurationError: no project found: there is no diurnal.toml" in done.stderr
    assert "DIURNAL_PROJECT" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_makes_a_project(tmp_path):
    here = str(tmp_path)
    for environment in ({"DIURNAL_PROJECT": here}, {"DIURNAL_LAKE": "s3://b"}, {"DIURNAL_WAREHOUSE": "embedded"}):
        assert Settings.load(tmp_path, environment).is_project
    assert not Settings.load(tmp_path, {"DIURNAL_MODELS": here}).is_project
    (tmp_path / "data").mkdir()
    assert Settings.load(tmp_path, {}).is_project


@pytest.mark.parametrize(
    ("key", "url", "said"),
    [
        ("lake", "nosuch://me:s3cr3t-canary@b/x", "install the library"),
        ("models", "nosuch://me:s3cr3t-canary@b/x", "install the library"),
        ("models", "s3://me:s3cr3t-canary@b/x", r"diurnal\[s3\]"),
    ],
)
def test_a_store_that_cannot_be_opened_names_its_setting(tmp_path, warehouse_url, key, url, said):
    if url.startswith("s3") and find_spec("s3fs"):
        pytest.skip("s3fs is installed")
    settings = Settings.load(tmp_path, {f"DIURNAL_{key.upper()}": url, "DIURNAL_WAREHOUSE": warehouse_url})
    with pytest.raises(ConfigurationError, match=rf"{key} \(DIURNAL_{key.upper()}\)") as caught:
        open_stores(settings)
    assert re.search(said, caught.value.hint)
    assert CANARY not in str(caught.value)


def test_the_stores_of_a_new_project_open():
    code = (
        "from diurnal.runtime import Settings\nfrom diurnal.storage.stores import open_stores\n"
        "stores = open_stores(Settings.load())\nassert stores.warehouse.runs() == []\nstores.warehouse.close()"
    )
    with tempfile.TemporaryDirectory(prefix="diurnal-tests-") as folder:  # tmp_path is closed to the server's account
        Path(folder).chmod(0o711)
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (Path(folder) / "data" / "warehouse").is_dir()
