"""Rows of requests: every protocol gives the same rows, and an error names row, column and remedy, and no value."""

import io
import json
from contextlib import suppress

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from diurnal.serving import compiled_predictors, inference_protocol, mlflow_protocol, record_protocol, table_protocols
from diurnal.serving.model_inputs import ModelInputs
from diurnal.serving.openapi_schema import create_openapi
from diurnal.serving.request_errors import RequestError
from diurnal.serving.served_model import ServedModel
from diurnal.storage.models import make_signature

SECRET = "s3cr3t-value"


def serve(model, X, kinds=None, *, compiled=True):
    kinds = kinds or ["float"] * X.shape[1]
    columns = [{"name": name, "kind": kind} for name, kind in zip(X.columns, kinds, strict=True)]
    signature = make_signature(model, X, target="ill", schema_columns=columns)
    row = {"experiment": "clinic", "version": 3, "digest": "d" * 64, "signature": signature}
    return ServedModel(row, model, compiled=compiled)


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame(random.normal(size=(200, 3)) * [1, 10, 0.1], columns=["age", "blood pressure", "a.b[0]"])


@pytest.fixture(scope="module")
def labels(frame):
    return np.where(frame["age"] + frame["blood pressure"] / 10 > 0, "yes", "no")


@pytest.fixture(scope="module")
def mixed():
    return pd.DataFrame(
        {"age": [1.0, 2.0, 3.0, 4.0] * 5, "ward": ["north", "south"] * 10, "smokes": [True, False, False, True] * 5}
    ).astype({"ward": object})


@pytest.fixture(scope="module")
def mixed_model(mixed):
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["ward"]), remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(mixed, ["a", "b"] * 10)
    return serve(model, mixed, ["float", "text", "bool"])


MODELS = {
    "tutorial": lambda: make_pipeline(StandardScaler(), PCA(2), LogisticRegression()),
    "whitened": lambda: make_pipeline(MinMaxScaler(), PCA(2, whiten=True), LogisticRegression()),
    "ridge classifier": lambda: make_pipeline(MaxAbsScaler(), RidgeClassifier()),
    "tree": lambda: DecisionTreeClassifier(max_depth=3, random_state=0),
    "forest": lambda: RandomForestClassifier(20, random_state=0, n_jobs=2),
    "svc": lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), ensemble=False)),
    "boosting": lambda: HistGradientBoostingClassifier(max_iter=5, random_state=0),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("compiled", [True, False])
def test_predictions_are_those_of_the_model(name, compiled, frame, labels):
    model = MODELS[name]().fit(frame, labels)
    expected = model.predict(frame), model.predict_proba(frame) if hasattr(model, "predict_proba") else None
    served = serve(model, frame, compiled=compiled)
    predictions = served.predict(frame.to_numpy())
    np.testing.assert_array_equal(predictions.labels, expected[0])
    assert (predictions.probabilities is None) == (expected[1] is None)
    if expected[1] is not None:
        tolerance = 1e-12 if compiled else 0
        np.testing.assert_allclose(predictions.probabilities, expected[1], rtol=0, atol=tolerance)
    if name in ("svc", "boosting"):
        assert served.path == "array"
    elif compiled or name == "tutorial":  # other ones can differ in the last bits
        assert served.path == "compiled"


@pytest.mark.parametrize("n_rows", [1, 3, 200])
def test_exact_predictions_have_the_bits_of_the_model(n_rows, frame, labels):
    model = MODELS["tutorial"]().fit(frame, labels)
    expected = model.predict_proba(frame[:n_rows])
    served = serve(model, frame, compiled=False)
    assert served.path == "compiled"
    np.testing.assert_array_equal(served.predict(frame[:n_rows].to_numpy()).probabilities, expected)


@pytest.mark.parametrize("name", ["tutorial", "whitened", "ridge classifier", "tree"])
def test_many_rows_have_the_predictions_of_the_model(name, frame, labels):
    model = MODELS[name]().fit(frame, labels)
    rows = pd.concat([frame] * 120, ignore_index=True) * np.linspace(1, 2, 120 * len(frame))[:, None]
    predictions = serve(model, frame).predict(rows.to_numpy())
    np.testing.assert_array_equal(predictions.labels, model.predict(rows))
    if predictions.probabilities is not None:
        np.testing.assert_allclose(predictions.probabilities, model.predict_proba(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("target", [["b", "a\u00e9", "c"], [3, 1, 2], [True, False, True], [0.5, 1.5, 2.5]])
def test_arrow_predictions_have_the_type_and_the_values_of_the_labels(target, frame):
    model = (LinearRegression if isinstance(target[0], float) else LogisticRegression)()
    served = serve(model.fit(frame, np.resize(target, len(frame))), frame)
    for n_rows in (0, 1, 200):
        predictions = served.predict(frame.to_numpy()[:n_rows])
        table = pa.ipc.open_stream(table_protocols.encode_arrow(served, predictions)).read_all()
        assert table["prediction"].to_pylist() == predictions.labels.tolist()
        if n_rows:
            assert table["prediction"].type == pa.array(predictions.labels).type


def test_compiled_arithmetic_that_is_a_little_different_is_not_exact(frame, labels, monkeypatch):
    monkeypatch.setattr(compiled_predictors, "expit", lambda scores: expit(scores) * (1 + 1e-14))
    model = MODELS["tutorial"]().fit(frame, labels)
    assert serve(model, frame).path == "compiled"
    assert serve(model, frame, compiled=False).path == "array"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("last", [LogisticRegression(), RandomForestClassifier(5, random_state=0)])
def test_number_that_overflows_in_a_step_is_left_to_the_library(last, frame, labels):
    model = make_pipeline(StandardScaler(), last).fit(frame * 1e-30, labels)
    served = serve(model, frame * 1e-30)
    assert served.path == "compiled"
    with pytest.raises(ValueError, match="infinity"):
        served.predict(np.array([[1e300, 0.0, 0.0]]))


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("model", [LogisticRegression(), RidgeClassifier(), RandomForestClassifier(5, random_state=0)])
def test_several_classes(model, classes, frame):
    target = (np.arange(len(frame)) % classes) * 10
    model = model.fit(frame, target)
    expected = model.predict(frame)
    served = serve(model, frame)
    assert served.path == "compiled"
    np.testing.assert_array_equal(served.predict(frame.to_numpy()).labels, expected)


@pytest.mark.parametrize("model", [LinearRegression(), Ridge(), RandomForestRegressor(5, random_state=0)])
def test_regressions(model, frame):
    model = model.fit(frame, frame["age"] * 2 + 1)
    expected = model.predict(frame)
    served = serve(model, frame)
    assert served.path == "compiled"
    np.testing.assert_allclose(served.predict(frame.to_numpy()).labels, expected, rtol=1e-12)
    assert served.predict(np.zeros((0, 3))).labels.shape == (0,)


class Doubled(StandardScaler):
    """A scaler whose arithmetic is not that of its base class."""

    def transform(self, X, copy=None):
        return 2 * super().transform(X, copy)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_model_that_rejects_rows_around_its_own_is_served(frame, labels):
    model = make_pipeline(StandardScaler(), RandomForestClassifier(5)).fit(frame * 1e-120, labels)
    served = serve(model, frame * 1e-120)
    assert served.path == "frame"
    assert list(served.predict(frame.to_numpy() * 1e-120).labels) == list(model.predict(frame * 1e-120))


def test_a_subclass_is_not_compiled(frame, labels):
    model = make_pipeline(Doubled(), LogisticRegression()).fit(frame, labels)
    expected = model.predict_proba(frame)
    served = serve(model, frame)
    assert served.path == "frame"
    np.testing.assert_array_equal(served.predict(frame.to_numpy()).probabilities, expected)


def requests_of(frame):
    """Give the same rows in each protocol."""
    records, lists = frame.to_dict("records"), frame.to_numpy().tolist()
    names = list(frame.columns)
    backwards = frame[names[::-1]]
    sink = io.BytesIO()
    table = pa.Table.from_pandas(backwards.assign(other="x"))
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    tensor = {
        "name": "x",
        "shape": [len(frame), len(names)],
        "datatype": "FP64",
        "data": frame.to_numpy().ravel().tolist(),
    }
    columns = [
        {"name": name, "shape": [len(frame), 1], "datatype": "FP64", "data": frame[name].tolist()} for name in names
    ]
    binary = [
        {"name": n, "shape": [len(frame)], "datatype": "FP64", "parameters": {"binary_data_size": 8 * len(frame)}}
        for n in names
    ]
    head = json.dumps({"inputs": binary}).encode()
    tail = b"".join(frame[name].to_numpy().tobytes() for name in names)
    split = {"columns": names[::-1], "data": backwards.to_numpy().tolist(), "index": list(range(len(frame)))}

    def mlflow(body):
        return lambda served: mlflow_protocol.decode_scoring_request(served, json.dumps(body).encode())

    def infer(body, length=None):
        return lambda served: inference_protocol.decode_inference(served, body, length)[0]

    return {
        "records": lambda served: record_protocol.decode_records(served, json.dumps(records).encode()),
        "rows": lambda served: record_protocol.decode_records(served, json.dumps({"rows": records}).encode()),
        "dataframe_split": mlflow({"dataframe_split": split}),
        "dataframe_records": mlflow({"dataframe_records": [r | {"other": None} for r in records]}),
        "instances": mlflow({"instances": lists}),
        "instances by name": mlflow({"instances": records}),
        "inputs": mlflow({"inputs": {name: frame[name].tolist() for name in names}}),
        "inputs as rows": mlflow({"inputs": lists}),
        "tensor": infer(json.dumps({"inputs": [tensor]}).encode()),
        "nested tensor": infer(json.dumps({"inputs": [tensor | {"data": lists}]}).encode()),
        "tensors": infer(json.dumps({"inputs": columns}).encode()),
        "binary tensors": infer(head + tail, len(head)),
        "arrow": lambda served: table_protocols.decode_arrow(served, sink.getvalue()),
        "csv": lambda served: table_protocols.decode_csv(served, backwards.to_csv(index=False).encode()),
    }


@pytest.mark.parametrize("protocol", requests_of(pd.DataFrame({"a": [0.0]})))
@pytest.mark.parametrize("n_rows", [1, 7])
def test_every_protocol_gives_the_same_rows(protocol, n_rows, frame, labels):
    served = serve(MODELS["tutorial"]().fit(frame, labels), frame)
    rows = requests_of(frame.head(n_rows))[protocol](served)
    np.testing.assert_array_equal(rows, frame.head(n_rows).to_numpy())


def test_columns_of_several_types(mixed_model):
    body = b'[{"age": 2, "ward": "south", "smokes": false}, {"age": 1.5, "ward": "new", "smokes": true}]'
    rows = record_protocol.decode_records(mixed_model, body)
    assert rows.to_pylist() == json.loads(body)
    assert len(mixed_model.predict(rows)) == 2
    split = b'{"dataframe_split": {"columns": ["smokes", "ward", "age"], "data": [[true, "north", 3]]}}'
    assert mlflow_protocol.decode_scoring_request(mixed_model, split).to_pylist() == [
        {"age": 3.0, "ward": "north", "smokes": True}
    ]


def test_unseen_categories_are_counted():
    inputs = ModelInputs([{"name": "ward", "kind": "text", "categories": ["north", "south"]}], [True])
    rows = inputs.from_records(b'[{"ward": "north"}, {"ward": "west"}, {"ward": null}]')
    assert inputs.count_unseen(rows) == {"ward": 1}


ERRORS = {
    f'[{{"age": "{SECRET}", "blood pressure": 1, "a.b[0]": 1}}]': (1, "age", "float"),
    '[{"age": 1, "blood pressure": 1, "a.b[0]": 1}, {"age": true, "blood pressure": 1, "a.b[0]": 1}]': (
        2,
        "age",
        "float",
    ),
    '[{"age": 1, "blood pressure": 1}]': (1, "a.b[0]", "is missing"),
    '[{"age": 1, "blood pressure": null, "a.b[0]": 1}]': (1, "blood pressure", "is missing, null"),
    '[{"age": 1, "blood pressure": {}, "a.b[0]": 1}]': (1, "blood pressure", "float"),
    '[{"age": 1e999, "blood pressure": 1, "a.b[0]": 1}]': (1, "age", ""),
    "[[1, 2, 3]]": (1, None, "object"),
    "[1, 2": (1, None, "object"),
    "[": (None, None, "JSON"),
    '"x"': (None, None, "array"),
    "[NaN]": (None, None, "JSON"),
}


@pytest.mark.parametrize("body", ERRORS)
def test_an_error_names_row_and_column_and_no_value(body, frame, labels):
    served = serve(MODELS["tutorial"]().fit(frame, labels), frame)
    row, column, text = ERRORS[body]
    with pytest.raises(RequestError) as error:
        record_protocol.decode_records(served, body.encode())
    described = error.value.to_dict()
    assert (described.get("row"), described.get("column")) == (row, column)
    assert text in described["message"]
    assert described["hint"]
    assert SECRET not in json.dumps(described)
    assert len(json.dumps(described)) < 4096


def test_missing_values_are_accepted_where_the_model_predicts_with_them(frame, labels):
    served = serve(HistGradientBoostingClassifier(max_iter=2).fit(frame, labels), frame)
    assert served.inputs.accepts_missing.all()
    rows = record_protocol.decode_records(served, b'[{"age": null, "blood pressure": 1, "a.b[0]": 2}]')
    assert np.isnan(rows[0, 0])
    with pytest.raises(RequestError, match="infinite"):
        served.inputs.check_matrix(np.array([[np.inf, 1, 2]]))


def test_whole_numbers():
    inputs = ModelInputs([{"name": "count", "kind": "int"}], [False])
    assert inputs.from_records(b'[{"count": 3.0}]').tolist() == [[3.0]]
    with pytest.raises(RequestError, match=r"row 2: count \(int\) has a fraction"):
        inputs.from_records(b'[{"count": 3}, {"count": 3.5}]')


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_rows_or_a_request_error(body):
    inputs = ModelInputs([{"name": "age", "kind": "float"}, {"name": "ward", "kind": "text"}], [True, True])
    for decode in (inputs.from_records, inputs.from_lists):
        with suppress(RequestError):
            decode(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["age", "ward", "x", "data", "columns"]), inner)
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.sampled_from(["instances", "inputs", "dataframe_split", "dataframe_records"]), JSON))
def test_any_json_is_rows_or_a_request_error(mixed_inputs, body):
    with suppress(RequestError):
        mlflow_protocol.decode_scoring_request(mixed_inputs, msgspec.json.encode(body))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["age", "ward", "x"]),
                "shape": st.lists(st.integers(0, 4), max_size=3),
                "datatype": st.sampled_from(["FP64", "INT8", "BOOL", "BYTES", "FP16", "X"]),
            },
            optional={"data": JSON, "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20)})},
        ),
        max_size=3,
    ),
    st.binary(max_size=30),
)
def test_any_tensors_are_rows_or_a_request_error(mixed_inputs, tensors, tail):
    head = json.dumps({"inputs": tensors}).encode()
    with suppress(RequestError):
        inference_protocol.decode_inference(mixed_inputs, head + tail, len(head))


@pytest.fixture(scope="module")
def mixed_inputs():
    class Served:
        inputs = ModelInputs([{"name": "age", "kind": "float"}, {"name": "ward", "kind": "text"}], [True, True])
        has_probabilities = True

    return Served


@pytest.fixture(scope="module")
def dated_model():
    frame = pd.DataFrame({"age": [1.0, 2.0, 3.0, 4.0] * 5, "born": pd.to_datetime(["1952-06-19", "1986-12-18"] * 10)})
    frame["born"] = frame["born"].astype("datetime64[ms]")
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["born"]), remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(frame, frame["age"] > 2)
    return model, frame, serve(model, frame, ["float", "date"])


def test_dates_in_every_protocol(dated_model):
    model, frame, served = dated_model
    expected = model.predict_proba(frame[:2])
    dates = ["1952-06-19", "1986-12-18"]
    tensors = [
        {"name": "age", "shape": [2], "datatype": "FP64", "data": [1.0, 2.0]},
        {"name": "born", "shape": [2], "datatype": "BYTES", "data": dates},
    ]
    records = [{"age": 1.0, "born": dates[0]}, {"age": 2.0, "born": dates[1]}]
    split = {"columns": ["age", "born"], "data": [[1.0, f"{dates[0]}T00:00:00"], [2.0, f"{dates[1]}T00:00:00.000000"]]}
    for rows in (
        inference_protocol.decode_inference(served, json.dumps({"inputs": tensors}).encode())[0],
        record_protocol.decode_records(served, json.dumps(records).encode()),
        mlflow_protocol.decode_scoring_request(served, json.dumps({"dataframe_split": split}).encode()),
        table_protocols.decode_csv(served, f"age,born\n1,{dates[0]}\n2,{dates[1]}\n".encode()),
    ):
        np.testing.assert_allclose(served.predict(rows).probabilities, expected, rtol=0, atol=1e-12)
    for wrong in ("2026-02-31", "1952-06-19T10:00:00", "yesterday", "", 7):
        tensors[1]["data"][1] = split["data"][1][1] = wrong
        for decode in (
            lambda: inference_protocol.decode_inference(served, json.dumps({"inputs": tensors}).encode()),
            lambda: mlflow_protocol.decode_scoring_request(served, json.dumps({"dataframe_split": split}).encode()),
        ):
            with pytest.raises(RequestError):
                decode()


def test_the_examples_of_dates_are_answered_as_written(dated_model):
    served = dated_model[2]
    paths = create_openapi([served])["paths"]
    answer = served.signature["golden"]["probabilities"][:2]
    for path, decode in [
        ("/experiments/clinic/predict", record_protocol.decode_records),
        ("/experiments/clinic/invocations", mlflow_protocol.decode_scoring_request),
        ("/v2/models/clinic/infer", lambda *given: inference_protocol.decode_inference(*given)[0]),
    ]:
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        rows = decode(served, json.dumps(example).encode())
        np.testing.assert_allclose(served.predict(rows).probabilities, answer, rtol=0, atol=1e-12)


def test_nan_of_mlflow_clients_is_a_missing_value(frame, labels):
    model = HistGradientBoostingClassifier(max_iter=5).fit(frame, labels)
    served = serve(model, frame)
    body = b'{"dataframe_split": {"columns": ["age", "blood pressure", "a.b[0]"], "data": [[NaN, 1.0, 2.0]]}}'
    assert np.isnan(mlflow_protocol.decode_scoring_request(served, body)[0, 0])
    for wrong in (b"[Infinity, 1.0, 2.0]", b"[NaN, NaN", b'["NaN", 1.0, 2.0]'):
        with pytest.raises(RequestError):
            mlflow_protocol.decode_scoring_request(served, body.replace(b"[NaN, 1.0, 2.0]", wrong))


# as tritonclient 2.73 writes it: InferenceServerClient.generate_request_body(inputs, outputs=outputs, request_id="7")
TRITON_HEAD = (
    b'{"id":"7","inputs":[{"name":"age","shape":[2],"datatype":"FP64","parameters":{"binary_data_size":16}},'
    b'{"name":"ward","shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":17}},'
    b'{"name":"smokes","shape":[2],"datatype":"BOOL","parameters":{"binary_data_size":2}}],'
    b'"outputs":[{"name":"predict","parameters":{"binary_data":true}},'
    b'{"name":"predict_proba","parameters":{"binary_data":true}}]}'
)
TRITON_TAIL = (
    b"\x00\x00\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x10@\x05\x00\x00\x00north\x04\x00\x00\x00s\xc3\xbcd\x01\x00"
)


def test_a_request_as_the_client_of_triton_writes_it(mixed_model):
    rows, request = inference_protocol.decode_inference(mixed_model, TRITON_HEAD + TRITON_TAIL, len(TRITON_HEAD))
    assert rows.to_pydict() == {"age": [1.0, 4.0], "ward": ["north", "s\u00fcd"], "smokes": [True, False]}
    body, length = inference_protocol.encode_inference(mixed_model, mixed_model.predict(rows), request)
    answer = json.loads(body[:length])
    sizes = {output["name"]: output["parameters"]["binary_data_size"] for output in answer["outputs"]}
    assert (answer["id"], sizes) == ("7", {"predict": 2 * (4 + 1), "predict_proba": 2 * 2 * 8})
    assert len(body) == length + sum(sizes.values())
    assert body[length : length + 5] == b"\x01\x00\x00\x00a"
