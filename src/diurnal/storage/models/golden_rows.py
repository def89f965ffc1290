"""Signatures: the columns and classes of a model, and golden rows, which are samples with the model's predictions.

A model whose predictions of the golden rows differ is not the model that was fitted, or its libraries compute other
results. Labels must be equal. Numbers may differ in the last digits: another kernel of the same BLAS changed
probabilities by 2.4e-14, and bits are equal on the same machine only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from diurnal.errors import InvalidModelError, UsageError
from diurnal.storage.models.formats import is_spark_model

if TYPE_CHECKING:
    import pandas as pd

N_ROWS = 5
TOLERANCE = 1e-9


def make_signature(
    estimator: Any, X: pd.DataFrame, *, target: str, schema_columns: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the signature of a fitted model.

    Parameters
    ----------
    estimator : object
        The fitted estimator.
    X : pandas.DataFrame
        Training samples. The first few of them are stored, with their values, as golden rows.
    target : str
        The column to predict.
    schema_columns : sequence of mapping
        The features in order, each with its ``"name"`` and ``"kind"``.

    Returns
    -------
    dict
        In JSON's types: ``columns``, ``target``, ``classes`` (None for a regression) and ``golden`` with
        ``rows``, their ``dtypes``, ``predictions`` and ``probabilities`` (None where there are none).

    Raises
    ------
    UsageError
        If the columns of `X` are not those of the schema.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn.dummy import DummyClassifier
    >>> X = pd.DataFrame({"size": [1.5, 2.5]})
    >>> model = DummyClassifier().fit(X, ["a", "a"])
    >>> make_signature(model, X, target="label", schema_columns=[{"name": "size", "kind": "float"}])["golden"]
    {'rows': [[1.5], [2.5]], 'dtypes': ['float64'], 'predictions': ['a', 'a'], 'probabilities': [[1.0], [1.0]]}
    """
    columns = [dict(column) for column in schema_columns]
    names = [column["name"] for column in columns]
    if list(X.columns) != names:
        raise UsageError(
            f"the samples have the columns {list(X.columns)}; the schema has {names}",
            hint="pass the features of the schema, in its order",
        )
    rows = [[_to_json_value(value) for value in row] for row in _golden_rows(X).itertuples(index=False, name=None)]
    golden = {"rows": rows, "dtypes": [str(dtype) for dtype in X.dtypes]}
    # predict the rows as they are read from JSON, which has fewer types, so that a comparison later is exact
    predictions = _predict_golden(estimator, columns, golden, target)
    return {
        "columns": columns,
        "target": target,
        "classes": _find_classes(estimator, target),
        "golden": golden | predictions,
    }


def check_golden_rows(estimator: Any, signature: Mapping[str, Any]) -> None:
    """Reject a model whose predictions of its golden rows differ from those of its signature.

    Raises
    ------
    InvalidModelError
        If a prediction differs.
    """
    golden = signature["golden"]
    classes = _find_classes(estimator, signature["target"])
    if classes != signature["classes"]:
        raise _golden_mismatch(f"it predicts the classes {classes} instead of {signature['classes']}")
    current = _predict_golden(estimator, signature["columns"], golden, signature["target"])
    for name in ("predictions", "probabilities"):
        exact = name == "predictions" and classes is not None
        values, expected = list(_flatten_list(current[name])), list(_flatten_list(golden[name]))
        if not (values == expected if exact else _is_close(values, expected)):
            raise _golden_mismatch(
                f"its {name} are {_truncate_text(current[name])} instead of {_truncate_text(golden[name])}"
            )


def _golden_rows(X: pd.DataFrame) -> pd.DataFrame:
    """Return the first rows without a null in a column of Python objects: they have several nulls, JSON has one."""
    objects = [name for name, dtype in X.dtypes.items() if str(dtype) == "object"]
    return X[X[objects].notna().all(axis=1)].head(N_ROWS)


def golden_frame(columns: Sequence[Mapping[str, Any]], golden: Mapping[str, Any]) -> pd.DataFrame:
    """Return golden rows as a frame of the types of the fit."""
    import pandas as pd

    cells = {}
    for i, (column, dtype) in enumerate(zip(columns, golden["dtypes"], strict=True)):
        values = [row[i] for row in golden["rows"]]
        if column["kind"] == "date" and dtype == "object":
            values = [date.fromisoformat(value) for value in values]
        cells[column["name"]] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(cells)


def _find_classes(estimator: Any, target: str) -> Any:
    if not is_spark_model(estimator):
        return (
            _to_json_value(getattr(estimator, "classes_", None)) or None
        )  # CatBoost has an empty list for a regression
    from diurnal.storage.models.spark import predicted_classes

    return _to_json_value(predicted_classes(estimator, target))


def _predict_golden(
    estimator: Any, columns: Sequence[Mapping[str, Any]], golden: Mapping[str, Any], target: str
) -> dict[str, Any]:
    X = golden_frame(columns, golden)
    if is_spark_model(estimator) and len(X):
        return _predict_on_spark(estimator, columns, X, target)
    is_classifier = _find_classes(estimator, target) is not None
    has_probabilities = is_classifier and len(X) and hasattr(estimator, "predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit has reported them
        return {
            "predictions": _to_json_value(estimator.predict(X)) if len(X) else [],
            "probabilities": _to_json_value(estimator.predict_proba(X)) if has_probabilities else None,
        }


def _predict_on_spark(model: Any, columns: Sequence[Mapping[str, Any]], X: pd.DataFrame, target: str) -> dict[str, Any]:
    import pyarrow as pa

    from diurnal.data.schema import arrow_type
    from diurnal.storage.models.spark import predict_rows

    schema = pa.schema([(column["name"], arrow_type(column["kind"])) for column in columns])
    predicted = predict_rows(model, pa.Table.from_pandas(X, schema=schema, preserve_index=False), target)
    return {
        "predictions": _to_json_value(predicted.predictions),
        "probabilities": _to_json_value(predicted.probabilities),
    }


def _to_json_value(value: Any) -> Any:
    """Convert a value to JSON's types; NaN and infinities become null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_to_json_value(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if text in ("NaT", "<NA>") else text


def _flatten_list(nested: Any) -> Iterator[Any]:
    if isinstance(nested, list):
        for item in nested:
            yield from _flatten_list(item)
    else:
        yield nested


def _is_close(values: Sequence[Any], expected: Sequence[Any]) -> bool:
    """Return whether numbers differ by at most 1e-9 of the largest expected one; null equals null."""
    largest = max((abs(x) for x in expected if x is not None), default=0.0)
    pairs = list(zip(values, expected, strict=False))
    return len(values) == len(expected) and all(
        a is b if a is None or b is None else abs(a - b) <= TOLERANCE * largest for a, b in pairs
    )


def _truncate_text(nested: Any) -> str:
    text = str(nested)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _golden_mismatch(difference: str) -> InvalidModelError:
    return InvalidModelError(
        f"the model is not the one that was fitted: {difference}",
        hint="the file, the signature or the libraries have changed; run its data interval again",
    )
