"""Notebooks of different styles: each of them is run and compared with the experiment that is extracted from it."""

import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector

import notebook_files
from diurnal.cli import init_from_notebook
from diurnal.experiment import find
from diurnal.experiment.run_context import RunContext
from diurnal.pipeline import steps
from diurnal.pipeline.local_run import run
from diurnal.runtime import Settings
from diurnal.storage.stores import open_stores
from diurnal.types import DataInterval

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*deprecated:DeprecationWarning"
)  # notebooks use former arguments of pandas

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))

# For each notebook: the search, the features and the target, as expressions of its names after a run.
NOTEBOOKS = {
    "churn_script": ("found", 'load("customers.csv")[NUMERIC + CATEGORICAL]', 'load("customers.csv")["churned"]'),
    "combined": ("random_forest", "X_train", "Y_train"),
    "compared_by_function": ("lasso", "X", "y"),
    "database": ("search", 'orders.drop(columns="returned")', 'orders["returned"]'),
    "folds_by_hand": ("model", "train[features]", "train[TARGET]"),
    "halving": ("hs", "X", "iris.target_names[y]"),
    "helpers_inside": ("grid", "X", "y"),
    "housing": (
        "grid_search",
        "pd.concat([strat_train_set, strat_test_set]).drop(columns='median_house_value')",
        "pd.concat([strat_train_set, strat_test_set])['median_house_value']",
    ),
    "loans": ("gs", "X", "y"),
    "passengers": ("search", "X", "y"),
    "patients": ("search", "X", "y"),
    "random_numbers": ("model", "pd.DataFrame(X, columns=['x0', 'x1', 'x2'])", "y"),
    "scaled_outside": ("grid_search", "dataset.iloc[:, :-1]", "dataset.iloc[:, -1]"),
    "scored_only": ("model", "flats", "y"),
    "several_searches": ("tree_search", "X", "y"),
    "stars_and_merges": ("search", "X", "y"),
    "texts": ("gs", 'messages[["text"]]', 'messages["label"]'),
    "tumours": ("search", "load_breast_cancer(as_frame=True).data", "np.array(['malignant', 'benign'])[y]"),
}
# Notebooks that fit a transformer before their search: the experiment has a pipeline around the notebook's estimator.
AROUND = {"housing": "full_pipeline", "scaled_outside": "sc", "texts": "select"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with the data of all notebooks."""
    notebook_files.bring_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", f"sqlite:///{tmp_path / 'shop.db'}")
    (tmp_path / "diurnal.toml").write_text("[diurnal]\n")
    yield tmp_path
    for name in [n for n, m in sys.modules.items() if str(tmp_path) in str(getattr(m, "__file__", None))]:
        del sys.modules[name]


@pytest.fixture
def stores(folder, warehouse_url):
    """The stores of the project."""
    environment = {key: value for key, value in os.environ.items() if key.startswith("AIRFLOW_CONN_")}
    stores = open_stores(Settings.load(folder, {**environment, "DIURNAL_WAREHOUSE": warehouse_url}))
    yield stores
    stores.warehouse.close()


def take(name, folder, **options):
    """Extract the experiment of a notebook."""
    path = notebook_files.write(name, folder)
    return init_from_notebook.extract_project(
        str(path), None, None, options.pop("search", None), force=False, dry_run=False
    )


def experiment_of(name, folder):
    take(name, folder)
    return find(name, folder / "experiments")


def same(one, other, X):  # noqa: PLR0911 - one return for each type of value
    """Return whether two values are equal as parts of a search; X is the frame for column selectors."""
    if isinstance(other, make_column_selector) and not isinstance(one, make_column_selector):
        return list(one) == other(X)
    if isinstance(one, BaseEstimator):
        ours, theirs = one.get_params(deep=False), other.get_params(deep=False)
        return type(one).__name__ == type(other).__name__ and same(ours, theirs, X)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], X) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(a, b, X) for a, b in zip(one, other, strict=True))
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if hasattr(one, "dist") and hasattr(one, "kwds"):
        return (one.dist.name, one.args, one.kwds) == (other.dist.name, other.args, other.kwds)
    if callable(one) and not isinstance(one, type):
        sample = np.array([[1.0, 2.0], [3.0, 60.0]])
        return np.array_equal(one(sample), other(sample))
    if hasattr(one, "split") and not isinstance(one, str):
        return repr(one) == repr(other)
    return type(one) is type(other) and (one == other or repr(one) == repr(other) == "nan")


def rows_of(frame):
    """Return the rows of a frame in a normal form: a batch has its own order and its own types."""
    columns = []
    for name in frame.columns:
        cells = [None if pd.isna(cell) or cell == "" else cell for cell in np.asarray(frame[name]).tolist()]
        try:
            columns.append([None if cell is None else round(float(cell), 9) for cell in cells])
        except ValueError:
            columns.append(list(map(str, cells)))
    return sorted(zip(*columns, strict=True), key=repr)


def batch_of(experiment, stores):
    """Fetch a batch into the stores, and return it with the types of its contract."""
    batch = steps.fetch(RunContext(experiment, DAY, stores, requested_by="test"))
    return pa.Table.from_batches(stores.lake.batches(batch.package)).to_pandas()


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_experiment_is_the_notebooks(name, folder, stores):
    search, features, target = NOTEBOOKS[name]
    experiment = experiment_of(name, folder)
    names = notebook_files.run(name, namespace={"pd": pd, "np": np})
    X, y = eval(features, names), eval(target, names)

    notebooks, ours = names[search], experiment.build()
    if name in AROUND:
        first, step = ours.estimator.steps[0]
        assert first == AROUND[name]
        assert first not in names or same(names[first], step, X)
        assert same(notebooks.estimator, ours.estimator.named_steps["model"], X)
        prefixed = [{f"model__{k}": v for k, v in grid.items()} for grid in np.atleast_1d(notebooks.param_grid)]
        assert same(prefixed, list(np.atleast_1d(ours.param_grid)), X)
        ours.set_params(estimator=notebooks.estimator, param_grid=notebooks.param_grid)
    assert same(notebooks, ours, X), f"{notebooks}\n{ours}"

    others = {getattr(experiment, name, None) for name in ("groups", "sample_weight", "order_by")} - {None}
    frame = batch_of(experiment, stores).drop(columns=[*{*experiment.drop, *others}])
    if name in ("halving", "tumours"):  # SklearnDataset gives columns names of its own
        frame.columns = [*X.columns, experiment.target]
    assert list(frame.columns.drop(experiment.target)) == list(X.columns)
    theirs = X.assign(**{experiment.target: np.asarray(y)})[frame.columns]
    if name == "halving":  # one of iris' rows comes twice, and a row that its content identifies is kept once
        theirs = theirs.drop_duplicates()
    assert rows_of(frame) == rows_of(theirs)


def test_files_are_well_formed(folder):
    texts = {name: take(name, folder).draft.text for name in NOTEBOOKS}
    assert max(len(line) for text in texts.values() for line in text.splitlines()) <= 120
    for arguments in (["check", "--select=E,F,I,W,B,UP"], ["format", "--check", "--diff"]):
        call = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--line-length=120", "experiments"]
        if arguments[0] == "format":  # statements with comments are copied unchanged
            call.append("--exclude=housing.py")
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", ["churn_script", "compared_by_function", "loans", "scaled_outside", "stars_and_merges"]
)
def test_experiment_runs_a_day(name, folder, stores):
    assert run(RunContext(experiment_of(name, folder), DAY, stores, requested_by="test")).version is not None
