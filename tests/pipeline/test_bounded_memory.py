"""What is larger than memory passes through it; what is learnt from can be a sample."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from diurnal.backends.sklearn import to_features, to_matrices, to_target
from diurnal.data.row_hash import hash_rows
from diurnal.data.train_test_split import sample_hasher, select_test
from projects import Project, day, patients

LARGE = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import numpy as np
import pyarrow as pa
from diurnal import experiment
from diurnal.experiment.run_context import RunContext
from diurnal.runtime import Settings
from diurnal.storage.stores import open_stores
from diurnal.pipeline.steps import evaluate, fetch, split, tune
from diurnal.types import DataInterval

N_ROWS, CHUNK, NAMES = 1_500_000, 50_000, [f"x{i}" for i in range(99)]


def stream(interval):
    for start in range(0, N_ROWS, CHUNK):
        rng = np.random.default_rng(start)
        columns = {name: rng.random(CHUNK) for name in NAMES}
        yield pa.record_batch({"label": rng.integers(0, 2, CHUNK), **columns})


@experiment(source=stream, target="label", test_size=0.3, sample=20_000)
def large():
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


start = datetime(2026, 11, 23, tzinfo=UTC)
stores = open_stores(Settings.load(Path(sys.argv[1]), {"DIURNAL_WAREHOUSE": sys.argv[2]}))
context = RunContext(large, DataInterval(start, start + timedelta(days=1)), stores, requested_by="test")
samples = split(context, fetch(context))
evaluation = evaluate(context, samples, tune(context, samples))
stores.warehouse.close()
assert evaluation.n_test == samples.test[0].n_rows
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
print(samples.train[0].n_rows, samples.test[0].n_rows, peak)
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_batch_passes_in_memory_that_is_smaller_than_it(tmp_path, warehouse_url):
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path), warehouse_url], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    n_train, n_test, peak_mib = map(int, done.stdout.split())
    assert n_train + n_test == 1_500_000
    assert 0.29 < n_test / 1_500_000 < 0.31
    assert peak_mib < 800, "the batch has 1,144 MiB, its test rows 340, and the libraries alone some 250"


@pytest.mark.parametrize("expected", [1, 990, 1_000, 2_000])
def test_filled_is_the_frame_of_the_whole_table(expected):
    rng = np.random.default_rng(0)
    floats = {name: rng.normal(size=1_000) for name in ("b", "a")}
    floats["b"][7] = np.nan
    table = pa.table({"y": rng.choice(["yes", "no"], 1_000), **floats, "n": np.arange(1_000)})
    table = table.set_column(2, "a", pa.array(floats["a"], mask=floats["a"] > 2))
    pieces = [table.slice(0, 0), *(table.slice(i, 77) for i in range(0, 1_000, 77))]
    for features in (["b", "a"], ["n", "a"]):  # all floats, which are filled in, and others
        X, y = to_matrices(pieces, features, "y", expected=expected)
        whole = to_features(table, features)
        pd.testing.assert_frame_equal(X, whole)
        assert X.to_numpy().flags["F_CONTIGUOUS"] == whole.to_numpy().flags["F_CONTIGUOUS"]
        assert (y == to_target(table, "y")).all()
        assert y.dtype == to_target(table, "y").dtype


def test_sample_holds_train_and_test_rows_alike_and_grows_with_its_share():
    table = pa.table({"key": np.arange(20_000)})
    sampled = {share: select_test(sample_hasher(["key"], "x")(table), share) for share in (0.1, 0.5)}
    assert abs(sampled[0.1].mean() - 0.1) < 0.01
    assert not (sampled[0.1] & ~sampled[0.5]).any()
    assert abs(select_test(hash_rows(table, ["key"], "x"), 0.3)[sampled[0.5]].mean() - 0.3) < 0.015


@pytest.mark.parametrize(("sample", "share"), [("0.25", 0.25), ("120", 0.25)])
def test_tune_and_refit_learn_from_a_sample_and_evaluation_does_not(tmp_path, warehouse_url, sample, share):
    project = Project.make(tmp_path / "project", warehouse_url, f"drop='ward', window=2, sample={sample}")
    stores = project.stores()
    try:
        for date in ("2026-11-01", "2026-11-02"):
            project.bring(date, patients(date, 240))
            outcome = project.run(date, stores)
        row = stores.warehouse.run(outcome.run["run_id"])
        n_train = 480 - row["n_test"]
        assert 0.25 < row["n_test"] / 480 < 0.35, "evaluation is never sampled"
        wanted = share * n_train if sample == "0.25" else 120
        assert abs(row["n_train"] - wanted) < 4 * wanted**0.5
        learnt = json.loads(next((project.folder / "models").rglob("model.json")).read_text())["notes"]
        assert learnt["n_samples"] < 240, "refit learns from a sample of all rows of the window"
    finally:
        stores.warehouse.close()


def test_sample_of_a_share_of_one_is_all(tmp_path, warehouse_url):
    project = Project.make(tmp_path / "project", warehouse_url, "drop='ward', sample=1.0")
    project.bring("2026-11-01")
    stores = project.stores()
    try:
        row = stores.warehouse.run(project.run("2026-11-01", stores).run["run_id"])
        assert row["n_train"] + row["n_test"] == 240
        assert stores.warehouse.window("clinic", day("2026-11-01"))[0][1].n_rows == 240
    finally:
        stores.warehouse.close()
