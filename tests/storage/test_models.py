"""Saving and loading honest models."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    BaggingClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from diurnal.errors import ConfigurationError, InvalidModelError, PermissionDeniedError, TransientError, UsageError
from diurnal.storage.models import Models, library_versions, make_signature
from diurnal.storage.models.golden_rows import check_golden_rows
from diurnal.storage.models.skops_format import FORMAT
from diurnal.types import DataInterval

DAY = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
NAMES = ["length", "width", "age"]
COLUMNS = [{"name": name, "kind": "float"} for name in NAMES]


def samples(n=120):
    rng = np.random.default_rng(7)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=NAMES)
    y = np.where(X["length"] + 0.3 * rng.normal(size=n) > 0, "up", "down")
    return X, y


def fitted():
    X, y = samples()
    return LogisticRegression().fit(X, y), X


def signed(estimator, X):
    return make_signature(estimator, X, target="label", schema_columns=COLUMNS)


ESTIMATORS = {
    "logistic": make_pipeline(StandardScaler(), LogisticRegression()),
    "forest": RandomForestClassifier(8, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "hist": HistGradientBoostingRegressor(max_iter=8, random_state=0, categorical_features=[2]),
    "isolation": IsolationForest(n_estimators=6, random_state=0),
    "svc": SVC(random_state=0),
    "mlp": MLPClassifier((4,), max_iter=3, random_state=0, solver="sgd"),
    "knn": KNeighborsClassifier(3, algorithm="kd_tree", p=3),
    "splines": make_pipeline(SplineTransformer(), Ridge()),
    "gaussian": GaussianProcessRegressor(RBF() + WhiteKernel(), random_state=0),
    "select": make_pipeline(SelectKBest(f_classif, k=2), FunctionTransformer(np.tanh), LogisticRegression()),
    "search": GridSearchCV(
        DecisionTreeClassifier(random_state=0), {"max_depth": range(1, 3)}, cv=2, scoring="f1_macro"
    ),
    "stacking": StackingClassifier(
        [("tree", DecisionTreeClassifier(random_state=0)), ("lr", LogisticRegression())], cv=2
    ),
    "bagging": BaggingClassifier(DecisionTreeClassifier(), 4, max_features=2, random_state=0),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_load_gives_what_was_dumped(name):
    X, y = samples()
    X["age"] = np.arange(len(X)) % 5
    numbers = name in ("hist", "splines", "gaussian")
    estimator = clone(ESTIMATORS[name]).fit(X, (y == "up").astype(float) if numbers else y)
    data = FORMAT.dumps(estimator)
    again = FORMAT.loads(data)
    np.testing.assert_array_equal(again.predict(X), estimator.predict(X))
    assert FORMAT.dumps(again) == data, "the form does not depend on where in memory the objects lie"


STABLE = """
import hashlib, sys
sys.path.insert(0, {tests!r})
import numpy as np
from test_models import ESTIMATORS, samples
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import FunctionTransformer
from diurnal.storage.models.skops_format import FORMAT
X, y = samples()
X["age"] = np.arange(len(X)) % 5
models = [ESTIMATORS[name].fit(X, (y == "up").astype(float)) for name in ("hist", "splines", "gaussian")]
names = ("logistic", "forest", "boosting", "isolation", "svc", "knn", "select", "stacking", "bagging")
models += [ESTIMATORS[name].fit(X, y) for name in names]
models.append(CountVectorizer(stop_words=["of", "the"]).fit(["age of the width", "width"]))
texts = ["of", "the", "a", "an"]
models.append(FunctionTransformer(kw_args=dict(a=set(texts), b=frozenset(texts))))
print([hashlib.sha256(FORMAT.dumps(model)).hexdigest() for model in models])
"""


def test_dumps_gives_the_same_bytes_in_any_process():
    """Other hash seeds order sets otherwise; other fill bytes show where uninitialised memory is written."""
    printed = set()
    for seed in ("0", "1", "77"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "MALLOC_PERTURB_": seed}
        code = STABLE.format(tests=str(Path(__file__).parent))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        printed.add(done.stdout)
    assert len(printed) == 1
    assert len(set(json.loads(printed.pop().replace("'", '"')))) == 14


def test_dumps_zeroes_the_padding_of_trees_from_elsewhere():
    X, y = samples()
    tree = DecisionTreeClassifier(random_state=0).fit(X, y)
    data = FORMAT.dumps(tree)
    rubble = [np.full(10_000, 255, np.uint8) for _ in range(50)]
    del rubble
    assert FORMAT.dumps(FORMAT.loads(data)) == data


def test_dumps_names_the_type_and_how_to_trust_it():
    X, y = samples()
    model = make_pipeline(FunctionTransformer(np.real_if_close), LogisticRegression()).fit(X, y)
    with pytest.raises(InvalidModelError, match="real_if_close") as refused:
        FORMAT.dumps(model)
    named = refused.value.message.split("not allowed: ")[1].split(";")[0]
    assert f'trusted_types=("{named}",)' in refused.value.hint
    assert (
        FORMAT.loads(FORMAT.dumps(model, trusted=(named,)), (named,)).predict(X).tolist() == model.predict(X).tolist()
    )


def test_dumps_says_that_a_lambda_needs_a_name():
    with pytest.raises(InvalidModelError) as refused:
        FORMAT.dumps(FunctionTransformer(lambda X: X).fit([[1.0]]))
    assert "under a name of its own" in refused.value.hint


def test_dumps_refuses_what_cannot_be_saved():
    with pytest.raises(InvalidModelError, match="a generator cannot be saved"):
        FORMAT.dumps(x for x in ())
    with pytest.raises(UsageError, match="a collection of full names"):
        FORMAT.dumps(fitted()[0], trusted="package.module.Type")


def test_save_and_load(tmp_path):
    models = Models(str(tmp_path))
    model, X = fitted()
    signed_as = signed(model, X)
    path, digest = models.save("flowers", DAY, model, signed_as, notes={"run_id": "r1"})
    assert path == f"flowers/20261123T000000Z-{digest[:12]}"
    assert models.digest_of(path) == digest
    loaded = models.load(path, digest, signature=signed_as, library_versions=library_versions())
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    card = json.loads((tmp_path / path / "model.json").read_text())
    assert (card["digest"], card["signature"], card["notes"]) == (digest, signed_as, {"run_id": "r1"})


def test_save_twice_is_save_once(tmp_path):
    models = Models(str(tmp_path))
    model, X = fitted()
    first = models.save("flowers", DAY, model, signed(model, X))
    inode = (tmp_path / first[0] / "model.skops").stat().st_ino
    assert models.save("flowers", DAY, fitted()[0], signed(model, X)) == first
    assert (tmp_path / first[0] / "model.skops").stat().st_ino == inode
    assert list(models.list()) == [first[0]]
    assert list(models.leftovers()) == []


def test_save_again_makes_it_young(tmp_path):
    remote = Models("memory://test-save-again/models")
    for models in (Models(str(tmp_path)), remote):
        model, X = fitted()
        path, digest = models.save("flowers", DAY, model, signed(model, X))
        if models.local:
            os.utime(tmp_path / path / "model.skops", (0, 0))
        before = models.modified(path)
        assert models.save("flowers", DAY, model, signed(model, X)) == (path, digest)
        assert models.modified(path) > before
    remote.delete(path)


def test_save_again_leaves_a_changed_object_as_it_is():
    models = Models("memory://test-changed-object/models")
    model, X = fitted()
    path, _ = models.save("flowers", DAY, model, signed(model, X))
    models.fs.pipe_file(f"{models.url(path)}/model.skops", b"PK")
    with pytest.raises(InvalidModelError, match="should have the digest"):
        models.save("flowers", DAY, model, signed(model, X))
    assert models.fs.cat_file(f"{models.url(path)}/model.skops") == b"PK"
    models.delete(path)


def test_save_beside_a_changed_file_alarms(tmp_path):
    models = Models(str(tmp_path))
    model, X = fitted()
    path, _ = models.save("flowers", DAY, model, signed(model, X))
    (tmp_path / path / "model.skops").write_bytes(b"PK")
    with pytest.raises(InvalidModelError, match="should have the digest"):
        models.save("flowers", DAY, model, signed(model, X))


def test_list_and_delete(tmp_path):
    models = Models(str(tmp_path))
    model, X = fitted()
    path, _ = models.save("flowers", DAY, model, signed(model, X))
    (tmp_path / "flowers" / "notes.txt").write_text("not a model")
    assert list(models.list()) == [path]
    assert models.modified(path).tzinfo is not None
    with pytest.raises(UsageError, match="is not the path of a model"):
        models.delete("flowers/..")
    models.delete(path)
    assert list(models.list()) == []
    assert models.digest_of(path) is None


def test_save_and_load_on_another_filesystem():
    models = Models("memory://test-save-and-load/models")
    model, X = fitted()
    path, digest = models.save("flowers", DAY, model, signed(model, X))
    assert models.save("flowers", DAY, model, signed(model, X)) == (path, digest)
    assert list(models.list()) == [path]
    assert models.load(path, digest).classes_.tolist() == ["down", "up"]
    models.delete(path)
    assert list(models.list()) == []


KILLED = """
import sys
sys.path.insert(0, {tests!r})
from test_models import DAY, Models, fitted, signed
from diurnal.runtime import fault_injection
model, X = fitted()
fault_injection.arm_fault({fault!r})
Models({root!r}).save("flowers", DAY, model, signed(model, X))
"""


@pytest.mark.parametrize(("point", "there"), [("before", 0), ("after", 1)])
def test_a_kill_leaves_a_whole_model_or_none(tmp_path, point, there):
    from projects import FORKS  # programs of these tests import this module, without what it has from elsewhere

    code = KILLED.format(tests=str(Path(__file__).parent), fault=f"kill@models.put:{point}", root=str(tmp_path))
    done = FORKS.run(code, cwd=tmp_path, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr
    models = Models(str(tmp_path))
    assert len(list(models.list())) == there
    model, X = fitted()
    path, digest = models.save("flowers", DAY, model, signed(model, X))
    assert models.load(path, digest).predict(X).tolist() == model.predict(X).tolist()


def test_two_may_save_the_same_model_at_once(tmp_path):
    """One stands still before its rename while the other finishes."""
    code = KILLED.format(tests=str(Path(__file__).parent), fault="stop@models.put:before", root=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code]) as slow:
        os.waitpid(slow.pid, os.WUNTRACED)
        model, X = fitted()
        path, digest = Models(str(tmp_path)).save("flowers", DAY, model, signed(model, X))
        slow.send_signal(signal.SIGCONT)
        assert slow.wait() == 0
    assert list(Models(str(tmp_path)).list()) == [path]
    assert Models(str(tmp_path)).digest_of(path) == digest
    assert list(Models(str(tmp_path)).leftovers()) == []


def test_a_full_disk_is_for_later(tmp_path, request):
    from diurnal.runtime import fault_injection

    request.addfinalizer(lambda: fault_injection.arm_fault(None))
    fault_injection.arm_fault("full@models.put:before")
    model, X = fitted()
    with pytest.raises(TransientError, match="No space left"):
        Models(str(tmp_path)).save("flowers", DAY, model, signed(model, X))
    assert list(tmp_path.rglob("*.skops")) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_missing_right_is_named(tmp_path):
    tmp_path.chmod(0o500)
    model, X = fitted()
    with pytest.raises(PermissionDeniedError):
        Models(str(tmp_path)).save("flowers", DAY, model, signed(model, X))


def test_load_refuses_another_scikit_learn(tmp_path):
    models = Models(str(tmp_path))
    model, X = fitted()
    path, digest = models.save("flowers", DAY, model, signed(model, X))
    with pytest.raises(ConfigurationError, match=r"fitted with scikit-learn 1\.2\.3") as refused:
        models.load(path, digest, library_versions=library_versions() | {"scikit-learn": "1.2.3"})
    assert "retrain" in refused.value.hint
    assert refused.value.location == f"model {path}"


def test_signature_of_mixed_columns_survives_json():
    n = 30
    X = pd.DataFrame(
        {
            "size": np.where(np.arange(n) % 4 == 0, np.nan, np.arange(n) / 7),
            "colour": pd.Series(["red", None, "blue"] * 10, dtype="str"),
            "seen": pd.date_range("2026-01-01", periods=n, tz="UTC"),
            "made": pd.Series([None, datetime(2026, 1, 1, tzinfo=UTC).date()] * 15, dtype=object),
            "big": np.arange(n) + 2**60,
        }
    )
    types = {"size": "float", "colour": "text", "seen": "instant", "made": "date", "big": "int"}
    model = make_pipeline(
        ColumnTransformer(
            [
                ("size", SimpleImputer(), ["size", "big"]),
                ("colour", OneHotEncoder(handle_unknown="ignore"), ["colour", "made"]),
            ]
        ),
        LogisticRegression(),
    ).fit(X, np.arange(n) % 3)
    columns = [{"name": name, "kind": column_type} for name, column_type in types.items()]
    described = make_signature(model, X, target="label", schema_columns=columns)
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    assert described["classes"] == [0, 1, 2]
    assert described["golden"]["rows"][0][2] == "2026-01-02T00:00:00+00:00"
    check_golden_rows(FORMAT.loads(FORMAT.dumps(model)), json.loads(json.dumps(described)))
    with pytest.raises(UsageError, match="have the columns"):
        make_signature(model, X[["big", "size"]], target="label", schema_columns=columns)


def test_golden_numbers_may_differ_in_the_last_digits_only():
    X, _ = samples()
    model = Ridge().fit(X, X["length"] * 3)
    described = signed(model, X)
    assert described["classes"] is described["golden"]["probabilities"] is None
    model.coef_ = model.coef_ * (1 + 1e-12)
    check_golden_rows(model, described)
    model.coef_ = model.coef_ * (1 + 1e-7)
    with pytest.raises(InvalidModelError, match="its predictions are"):
        check_golden_rows(model, described)
