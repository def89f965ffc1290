"""The folder of a model in MLflow's format, loaded as MLflow does: by the function that the folder names."""

import importlib
import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import FunctionTransformer

from diurnal.errors import InvalidModelError, UsageError
from diurnal.mlflow.model_folder import describe_model, model_file_name
from diurnal.mlflow.pyfunc_model import PyfuncModel
from diurnal.storage.load_model import load_version
from diurnal.storage.models.canonical_skops import canonicalize_skops
from projects import patients


@pytest.fixture
def row(clinic_stores):
    return clinic_stores.warehouse.version("clinic", 2)


@pytest.fixture
def folder(clinic_stores, row, tmp_path):
    model, suffix, _ = clinic_stores.models.open_file(row["path"], row["digest"])
    with model:
        files = {model_file_name(row["path"], suffix): model.read()} | describe_model(row, version("diurnal"))
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


@pytest.fixture(autouse=True)
def no_project(monkeypatch, tmp_path):
    """A program that loads a model is elsewhere."""
    monkeypatch.delenv("DIURNAL_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)


def load(folder):
    flavor = json.loads((folder / "MLmodel").read_bytes())["flavors"]["python_function"]
    return importlib.import_module(flavor["loader_module"])._load_pyfunc(str(folder / flavor["data"]))


def file_of(folder):
    return next(folder.glob("data/models/**/model.skops"))


def change_row(folder, **changes):
    path = folder / "data" / "version.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | changes))


def test_predictions_are_those_of_the_model(clinic_stores, row, folder):
    rows = patients("2026-11-25", 50)[["ward", "pressure", "age"]]  # in another order, and with another column
    expected = load_version(clinic_stores.models, row, clinic_stores.code)
    loaded, X = load(folder), rows[["age", "pressure"]]
    assert isinstance(loaded, PyfuncModel)
    assert loaded.predict(rows).tolist() == expected.predict(X).tolist()
    probabilities = loaded.predict(rows, {"predict_method": "predict_proba"})
    assert list(probabilities) == ["no", "yes"]
    np.testing.assert_array_equal(probabilities, expected.predict_proba(X))
    with pytest.raises(UsageError, match=r"predict_method is 'score'; this model has both predict and predict_proba"):
        loaded.predict(rows, {"predict_method": "score"})
    with pytest.raises(UsageError, match="missing columns: age"):
        loaded.predict(rows.drop(columns="age"))
    with pytest.raises(UsageError, match="age has a value that is not of the type float"):
        loaded.predict(pd.DataFrame({"age": ["old"], "pressure": [120.0]}))


def test_damaged_folders_are_rejected(folder):
    path = file_of(folder)
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(InvalidModelError, match="the digest differs"):
        load(folder)
    path.write_bytes(data)
    change_row(folder, path="../../elsewhere")
    with pytest.raises(UsageError, match="is not the path of a model"):
        load(folder)
    (folder / "data" / "version.json").write_text("[]")
    with pytest.raises(InvalidModelError, match="is not the description of a model"):
        load(folder)


class Marker:
    """Leaves a mark when it is called."""

    called = False

    def __call__(self, X):
        Marker.called = True
        return X


def test_a_hostile_model_with_a_matching_digest_runs_nothing(folder):
    """Who may write to MLflow's files writes what the folder says, digest and types to trust included."""
    import hashlib

    Marker.called = False
    data = canonicalize_skops(skops.io.dumps(FunctionTransformer(Marker())))
    file_of(folder).write_bytes(data)
    change_row(folder, digest=hashlib.sha256(data).hexdigest(), trusted=[f"{Marker.__module__}.Marker"])
    with pytest.raises(InvalidModelError, match="Marker"):
        load(folder)
    assert not Marker.called


def test_with_a_project_only_published_models_are_loaded(clinic, folder, monkeypatch):
    import hashlib

    monkeypatch.setenv("DIURNAL_PROJECT", str(clinic.folder))
    monkeypatch.setenv("DIURNAL_WAREHOUSE", clinic.warehouse_url)
    assert load(folder).predict(patients("2026-11-25", 3)).shape == (3,)
    X = patients("2026-11-20")
    data = canonicalize_skops(skops.io.dumps(LogisticRegression().fit(X[["age", "pressure"]], X["ill"])))
    file_of(folder).write_bytes(data)
    change_row(folder, digest=hashlib.sha256(data).hexdigest())
    with pytest.raises(InvalidModelError, match="version 2 of clinic has"):
        load(folder)


def test_requirements_pin_what_reads_the_model(folder):
    requirements = (folder / "requirements.txt").read_text().split()
    assert f"diurnal=={version('diurnal')}" in requirements
    assert f"scikit-learn=={version('scikit-learn')}" in requirements
    assert not [line for line in requirements if line.startswith(("python", "pyarrow"))]


def test_signature_has_the_types_of_mlflow(folder):
    signature = json.loads(Path(folder / "MLmodel").read_bytes())["signature"]
    assert json.loads(signature["inputs"]) == [
        {"name": "age", "type": "double", "required": True},
        {"name": "pressure", "type": "double", "required": True},
    ]
