"""Files that are no model, or no honest one: each is refused, and nothing in it runs."""

import hashlib
import io
import json
import os
import pickle
import struct
import zipfile
from contextlib import suppress
from datetime import UTC, datetime

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import skops.io
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer, SplineTransformer
from sklearn.tree import DecisionTreeClassifier
from sklearn.tree._tree import Tree

from diurnal.errors import InvalidModelError
from diurnal.storage.models import Models, make_signature
from diurnal.storage.models.canonical_skops import canonicalize_skops
from diurnal.storage.models.skops_format import FORMAT
from diurnal.storage.models.zip_archive import read_model_archive, write_archive
from diurnal.types import DataInterval

RNG = np.random.default_rng(3)
X = pd.DataFrame(RNG.normal(size=(80, 3)), columns=["a", "b", "c"])
y = (X["a"] > 0).astype(int).to_numpy()


@pytest.fixture(scope="module")
def honest():
    return FORMAT.dumps(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y))


def written(estimator):
    """Write what our writer would refuse to write."""
    return canonicalize_skops(skops.io.dumps(estimator))


def with_schema(data, change):
    members = read_model_archive(data)
    schema = json.loads(members["schema.json"])
    change(schema)
    return write_archive(members | {"schema.json": json.dumps(schema).encode()})


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def lying_npy(shape):
    return npy(np.zeros(3)).replace(b"(3,), }" + b" " * (len(shape) - 4), f"{shape}, }}".encode())


SCHEMA = ("schema.json", b"{}")

FORMS = {
    "pickle": (lambda: pickle.dumps(LogisticRegression()), "a pickle"),
    "joblib": (lambda: _joblib(0), "are never read"),
    "joblib, compressed": (lambda: _joblib(3), "joblib or zlib"),
    "nothing": (lambda: b"", "does not begin as a zip"),
    "a pickle in a zip": (
        lambda: zipped([SCHEMA, ("data.pkl", pickle.dumps(1))]),
        "'data.pkl' has a name that no member",
    ),
    "outside": (lambda: zipped([SCHEMA, ("../1.npy", b"")]), "a name that no member of a model has"),
    "bomb": (lambda: zipped([SCHEMA, ("1.bin", bytes(10**8))], zipfile.ZIP_DEFLATED), "compressed"),
    "bomb in a bomb": (
        lambda: write_archive(
            {"schema.json": b"{}", "1.npz": zipped([("data.npy", bytes(10**8))], zipfile.ZIP_DEFLATED)}
        ),
        "compressed",
    ),
    "no schema": (lambda: write_archive({"1.bin": b"x"}), "one schema.json"),
    "an endless array": (lambda: write_archive({"schema.json": b"{}", "1.npy": lying_npy("(10**9,)")}), "1.npy"),
    "a huge array": (
        lambda: write_archive({"schema.json": b"{}", "1.npy": lying_npy("(99999999999,)")}),
        "differs from its header",
    ),
    "objects": (
        lambda: write_archive({"schema.json": b"{}", "1.npy": npy(np.array([[]], dtype=object))}),
        "only arrays of numbers",
    ),
}


def _joblib(compress):
    buffer = io.BytesIO()
    joblib.dump(LogisticRegression(), buffer, compress=compress)
    return buffer.getvalue()


@pytest.mark.parametrize("name", FORMS)
def test_loads_refuses_the_form(name):
    make, message = FORMS[name]
    with pytest.raises(InvalidModelError, match=message):
        FORMAT.loads(make())


def test_loads_refuses_a_hundred_thousand_members():
    data = zipped([(f"{i}.bin", b"") for i in range(1, 100_001)])
    with pytest.raises(InvalidModelError, match="members"):
        FORMAT.loads(data)
    lying = bytearray(zipped([(f"{i}.bin", b"") for i in range(1, 60_001)]))
    struct.pack_into("<2H", lying, len(lying) - 14, 5, 5)
    with pytest.raises(InvalidModelError, match="claims 5 members"):
        FORMAT.loads(bytes(lying))


def test_loads_refuses_two_members_of_one_name(honest):
    with pytest.warns(UserWarning, match="Duplicate"):
        twice = zipped([SCHEMA, SCHEMA])
    with pytest.raises(InvalidModelError):
        FORMAT.loads(twice)


def test_loads_refuses_what_is_cut_or_appended(honest):
    for data in (honest[:-1], honest[: len(honest) // 2], honest[:100], honest + b"x"):
        with pytest.raises(InvalidModelError):
            FORMAT.loads(data)
    with pytest.raises(InvalidModelError, match="up to 100 are allowed"):
        FORMAT.loads(honest, max_bytes=100)


def test_loads_refuses_flipped_bits(honest):
    """The digest catches each; this is the second line, where a flip ends as a refusal or as the same model."""
    answers = FORMAT.loads(honest).predict(X).tolist()
    for position in RNG.integers(0, len(honest), 150):
        flipped = bytearray(honest)
        flipped[position] ^= 1 << int(RNG.integers(8))
        with suppress(InvalidModelError):
            assert FORMAT.loads(bytes(flipped)).predict(X).tolist() == answers


@pytest.mark.parametrize("protocol", [0, 1, 3, True, "2", None])
def test_loads_refuses_other_protocols(honest, protocol):
    with pytest.raises(InvalidModelError, match="protocol"):
        FORMAT.loads(with_schema(honest, lambda schema: schema.update(protocol=protocol)))


@pytest.mark.parametrize("function", [os.system, eval, np.load, pickle.loads, pd.read_pickle])
def test_loads_refuses_functions_that_do_things(function):
    with pytest.raises(InvalidModelError, match=function.__name__):
        FORMAT.loads(written(FunctionTransformer(function)))


def test_loads_runs_nothing_of_a_refused_file(honest, tmp_path):
    """A node that asks the reader to call os.mkdir, in each way in which skops calls what a file names."""
    target = tmp_path / "made"
    leaf = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(str(target))}
    mkdir = {"__class__": "mkdir", "__module__": os.mkdir.__module__}
    as_tuple = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": [leaf]}
    function = mkdir | {"__loader__": "FunctionNode"}
    keys = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": [function]}
    nodes = [
        mkdir | {"__loader__": "ConstructorFromReduceNode", "content": as_tuple},
        mkdir | {"__loader__": "ListNode", "content": [leaf]},
        mkdir | {"__loader__": "LossNode", "__reduce__": {"args": as_tuple}, "content": as_tuple},
        {"__class__": "dict", "__module__": "builtins", "__loader__": "DictNode", "key_types": keys}
        | {"content": {str(target): leaf}},
    ]
    for node in nodes:
        with pytest.raises(InvalidModelError, match="mkdir"):
            FORMAT.loads(write_archive({"schema.json": json.dumps(node | {"protocol": 2}).encode()}))
    assert not target.exists()


def test_loads_refuses_a_schema_that_never_ends():
    deep = b'{"a":' * 200_000 + b"1" + b"}" * 200_000
    with pytest.raises(InvalidModelError, match="RecursionError"):
        FORMAT.loads(write_archive({"schema.json": deep}))


def crafted_tree(**changes):
    """Make a tree with chosen values in the fields of its root, as a crafted file would."""
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, y)
    state = model.tree_.__getstate__()
    nodes = state["nodes"].copy()
    for field, value in changes.items():
        nodes[field][0] = value
    tree = Tree(3, np.array([2], dtype=np.intp), 1)
    tree.__setstate__(state | {"nodes": nodes})
    model.tree_ = tree
    return model


@pytest.mark.parametrize(
    "changes",
    [
        {"left_child": 10**6},
        {"right_child": -7},
        {"left_child": 0},
        {"right_child": 0},
        {"feature": 3},
        {"feature": -2},
    ],
)
def test_loads_refuses_crafted_trees(changes):
    with pytest.raises(InvalidModelError, match=r"structure of the model is invalid: a tree"):
        FORMAT.loads(written(crafted_tree(**changes)))


def test_loads_refuses_a_tree_without_nodes(honest):
    def claim(schema):
        schema["content"]["content"]["tree_"]["content"]["content"]["node_count"]["content"] = "0"

    with pytest.raises(InvalidModelError, match="claims 0 nodes"):
        FORMAT.loads(with_schema(honest, claim))


def test_loads_refuses_trees_that_read_more_features_than_they_get():
    wide = DecisionTreeClassifier(random_state=0).fit(np.c_[np.zeros((80, 9)), X], y)
    wide.n_features_in_ = 3
    with pytest.raises(InvalidModelError, match="a tree of 12 features belongs to an estimator of 3"):
        FORMAT.loads(written(wide))
    forest = RandomForestClassifier(3, random_state=0).fit(X, y)
    forest.estimators_[1] = DecisionTreeClassifier(random_state=0).fit(np.c_[np.zeros((80, 9)), X], y)
    with pytest.raises(InvalidModelError, match=r"trees of \[3, 12\] features belong to an ensemble of 3"):
        FORMAT.loads(written(forest))


def test_loads_refuses_a_boosting_that_writes_beyond_its_sums():
    boosting = GradientBoostingRegressor(n_estimators=2, random_state=0).fit(X, y)
    boosting.estimators_ = np.repeat(boosting.estimators_, 40, axis=1)
    with pytest.raises(InvalidModelError, match="40 trees of a stage"):
        FORMAT.loads(written(boosting))


@pytest.mark.parametrize(
    ("field", "value"), [("left", 10**6), ("right", 0), ("feature_idx", 9), ("is_categorical", 1), ("bitset_idx", 99)]
)
def test_loads_refuses_crafted_histogram_trees(field, value):
    frame = X.assign(c=np.arange(80) % 4)
    model = HistGradientBoostingClassifier(max_iter=4, max_depth=2, random_state=0, categorical_features=[2])
    model.fit(frame, (np.arange(80) % 4 > 1) ^ (X["a"] > 1))
    nodes = [node for stage in model._predictors for predictor in stage for node in predictor.nodes]
    assert any(node["is_categorical"] for node in nodes), "there is a split on a category to be crafted"
    for stage in model._predictors:
        for node in stage[0].nodes:
            if not node["is_leaf"] and (field != "bitset_idx" or node["is_categorical"]):
                node[field] = value
    with pytest.raises(InvalidModelError, match="a gradient boosting"):
        FORMAT.loads(written(model))


def test_loads_refuses_a_category_beyond_the_bits():
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[2])
    model.fit(X.assign(c=np.arange(80) % 4), y)
    model._bin_mapper.bin_thresholds_[0] = np.array([0.0, 70_000.0])
    with pytest.raises(InvalidModelError, match="outside of 0-255"):
        FORMAT.loads(written(model))


@pytest.mark.parametrize(("array", "value"), [("idx_array", 10**6), ("idx_end", 10**6), ("is_leaf", 0)])
def test_loads_refuses_crafted_neighbour_trees(array, value):
    model = KNeighborsClassifier(algorithm="kd_tree", leaf_size=10).fit(X, y)
    state = list(model._tree.__getstate__())
    if array == "idx_array":
        state[1] = np.full_like(state[1], value)
    else:
        state[2] = state[2].copy()
        state[2][array] = value
    model._tree.__setstate__(tuple(state))
    with pytest.raises(InvalidModelError, match="a neighbour"):
        FORMAT.loads(written(model))


def test_loads_refuses_a_boosting_fed_with_fewer_columns():
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[2]).fit(X.assign(c=np.arange(80) % 4), y)
    coded, (name, passing, _), *rest = model._preprocessor.transformers_
    model._preprocessor.transformers_ = [coded, (name, passing, coded[2]), *rest]
    with pytest.raises(InvalidModelError, match="uses some columns twice"):
        FORMAT.loads(written(model))


def test_loads_refuses_an_isolation_forest_fed_with_fewer_columns():
    model = IsolationForest(n_estimators=3, max_features=2, random_state=0).fit(X)
    model.estimators_features_[1] = np.array([0])
    with pytest.raises(InvalidModelError, match="passes another number of features"):
        FORMAT.loads(written(model))


def test_loads_refuses_a_metric_with_too_few_weights():
    model = KNeighborsClassifier(algorithm="kd_tree", p=3).fit(X, y)
    metric = model._tree.__getstate__()[11]
    metric.__setstate__((3.0, np.ones(1), np.zeros((1, 1))))
    with pytest.raises(InvalidModelError, match="number of a metric's weights"):
        FORMAT.loads(written(model))


def test_loads_refuses_a_spline_without_coefficients():
    model = SplineTransformer().fit(X)
    spline = model.bsplines_[0]
    spline = vars(spline).get("_delegate_to", spline)  # SciPy 1.18 puts a shell around it, 1.17 does not
    setattr(spline, "_c" if "_c" in vars(spline) else "c", spline.c[:1])
    with pytest.raises(InvalidModelError, match="coefficients does not fit its knots"):
        FORMAT.loads(written(model))


def test_loads_refuses_a_sparse_matrix_that_points_outside():
    matrix = scipy.sparse.csr_matrix(np.eye(3))
    matrix.indices[1] = 10**6
    with pytest.raises(InvalidModelError, match="indices"):
        FORMAT.loads(written(FunctionTransformer(kw_args={"matrix": matrix})))


def test_loads_refuses_a_model_that_reads_files():
    with pytest.raises(InvalidModelError, match="opens its samples as files"):
        FORMAT.loads(written(CountVectorizer(input="filename")))


@pytest.fixture
def published(tmp_path):
    day = DataInterval(datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC))
    models = Models(str(tmp_path))
    columns = [{"name": name, "kind": "float"} for name in X]
    saved = []
    for depth in (1, 3):
        model = DecisionTreeClassifier(max_depth=depth, random_state=0).fit(X, y)
        signed = make_signature(model, X, target="label", schema_columns=columns)
        saved.append((*models.save("flowers", day, model, signed), signed))
    return models, tmp_path, saved


def test_load_refuses_another_file(published):
    models, root, ((path, digest, signed), (other, _, _)) = published
    file = root / path / "model.skops"
    original = file.read_bytes()
    for data in ((root / other / "model.skops").read_bytes(), original[:-1], original[:50] + b"!" + original[51:]):
        file.write_bytes(data)
        with pytest.raises(InvalidModelError, match="digest differs") as refused:
            models.load(path, digest, signature=signed)
        assert refused.value.location == f"model {path}"
    with pytest.raises(InvalidModelError, match="larger than 100 bytes"):
        models.load(path, digest, max_bytes=100)
    file.unlink()
    with pytest.raises(InvalidModelError, match="is missing"):
        models.load(path, digest)


def test_load_checks_the_digest_before_it_parses(published):
    models, root, ((path, _, _), _) = published
    hostile = pickle.dumps(LogisticRegression())
    (root / path / "model.skops").write_bytes(hostile)
    with pytest.raises(InvalidModelError, match="digest differs"):
        models.load(path, "0" * 64)
    with pytest.raises(InvalidModelError, match="a pickle"):
        models.load(path, hashlib.sha256(hostile).hexdigest())


def test_load_refuses_other_golden_answers(published):
    models, _, ((path, digest, signed), _) = published
    golden = signed["golden"]
    swapped = [1 - label for label in golden["predictions"]]
    shifted = [[p + 1e-6 for p in row] for row in golden["probabilities"]]
    for edit in ({"predictions": swapped}, {"probabilities": shifted}, {"probabilities": None}):
        with pytest.raises(InvalidModelError, match="not the one that was fitted"):
            models.load(path, digest, signature=signed | {"golden": golden | edit})
    with pytest.raises(InvalidModelError, match="predicts the classes"):
        models.load(path, digest, signature=signed | {"classes": [0, 1, 2]})


def test_load_never_reads_the_card(published):
    models, root, ((path, digest, signed), _) = published
    (root / path / "model.json").write_text('{"trusted": ["os.system"]')
    assert models.load(path, digest, signature=signed).max_depth == 1
