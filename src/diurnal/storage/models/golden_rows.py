"""What a model takes and gives, and golden rows: a few samples with the predictions that it made when it was fitted.

A model whose golden predictions differ is not the model that was fitted, or runs on libraries that count
otherwise. Labels must be equal. Numbers may differ in the last digits: another kernel of the same BLAS moved
probabilities by 2.4e-14, and equal bits are promised on the same machine only.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from diurnal.errors import InvalidModelError, UsageError
from diurnal.storage.models.formats import is_of_spark

if TYPE_CHECKING:
    import pandas as pd

N_ROWS = 5
TOLERANCE = 1e-9


def signature(
    estimator: Any, X: pd.DataFrame, *, target: str, schema_columns: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Describe what a fitted model takes and gives.

    Parameters
    ----------
    estimator : object
        The fitted estimator.
    X : pandas.DataFrame
        Samples, as it was fitted on. The first few of them are kept, values and all, as golden rows.
    target : str
        The column that it predicts.
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
    >>> signature(model, X, target="label", schema_columns=[{"name": "size", "kind": "float"}])["golden"]
    {'rows': [[1.5], [2.5]], 'dtypes': ['float64'], 'predictions': ['a', 'a'], 'probabilities': [[1.0], [1.0]]}
    """
    columns = [dict(column) for column in schema_columns]
    if list(X.columns) != [column["name"] for column in columns]:
        raise UsageError(
            f"the samples have the columns {list(X.columns)}; the schema has {[column['name'] for column in columns]}",
            hint="give the features of the schema, in its order",
        )
    rows = [[_plain(value) for value in row] for row in _golden_rows(X).itertuples(index=False, name=None)]
    golden = {"rows": rows, "dtypes": [str(dtype) for dtype in X.dtypes]}
    # of the rows as they will be read again, so that what JSON cannot tell apart is not held against the model
    answers = _answers(estimator, columns, golden, target)
    return {
        "columns": columns,
        "target": target,
        "classes": _classes(estimator, target),
        "golden": golden | answers,
    }


def refuse_other_answers(estimator: Any, signature: Mapping[str, Any]) -> None:
    """Refuse a model that does not answer the golden rows of its signature as it once did.

    Raises
    ------
    InvalidModelError
        If a prediction differs.
    """
    golden = signature["golden"]
    classes = _classes(estimator, signature["target"])
    if classes != signature["classes"]:
        raise _differs(f"it predicts the classes {classes} instead of {signature['classes']}")
    answers = _answers(estimator, signature["columns"], golden, signature["target"])
    for kind in ("predictions", "probabilities"):
        exact = kind == "predictions" and classes is not None
        now, then = list(_flat(answers[kind])), list(_flat(golden[kind]))
        if not (now == then if exact else _close(now, then)):
            raise _differs(f"its {kind} are {_short(answers[kind])} instead of {_short(golden[kind])}")


def _golden_rows(X: pd.DataFrame) -> pd.DataFrame:
    """Give the first rows in which no column of Python objects has a null: JSON has one null, they have several."""
    objects = [name for name, dtype in X.dtypes.items() if str(dtype) == "object"]
    return X[X[objects].notna().all(axis=1)].head(N_ROWS)


def _frame(columns: Sequence[Mapping[str, Any]], golden: Mapping[str, Any]) -> pd.DataFrame:
    import pandas as pd

    cells = {}
    for i, (column, dtype) in enumerate(zip(columns, golden["dtypes"], strict=True)):
        values = [row[i] for row in golden["rows"]]
        if column["kind"] == "date" and dtype == "object":
            values = [date.fromisoformat(value) for value in values]
        cells[column["name"]] = pd.Series(values, dtype=dtype)
    return pd.DataFrame(cells)


def _classes(estimator: Any, target: str) -> Any:
    if not is_of_spark(estimator):
        return _plain(getattr(estimator, "classes_", None)) or None  # CatBoost has an empty list for a regression
    from diurnal.storage.models.spark import classes_of

    return _plain(classes_of(estimator, target))


def _answers(
    estimator: Any, columns: Sequence[Mapping[str, Any]], golden: Mapping[str, Any], target: str
) -> dict[str, Any]:
    X = _frame(columns, golden)
    if is_of_spark(estimator) and len(X):
        return _answers_of_spark(estimator, columns, X, target)
    classifies = _classes(estimator, target) is not None
    probable = classifies and len(X) and hasattr(estimator, "predict_proba")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fit has said what it has to say of its columns
        return {
            "predictions": _plain(estimator.predict(X)) if len(X) else [],
            "probabilities": _plain(estimator.predict_proba(X)) if probable else None,
        }


def _answers_of_spark(model: Any, columns: Sequence[Mapping[str, Any]], X: pd.DataFrame, target: str) -> dict[str, Any]:
    import pyarrow as pa

    from diurnal.data.schema import arrow_type
    from diurnal.storage.models.spark import answers

    schema = pa.schema([(column["name"], arrow_type(column["kind"])) for column in columns])
    given = answers(model, pa.Table.from_pandas(X, schema=schema, preserve_index=False), target)
    return {"predictions": _plain(given.predictions), "probabilities": _plain(given.probabilities)}


def _plain(value: Any) -> Any:
    """Turn a value into JSON's types; what is no finite number is null."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    text = value.isoformat() if hasattr(value, "isoformat") else str(value)
    return None if text in ("NaT", "<NA>") else text


def _flat(nested: Any) -> Iterator[Any]:
    if isinstance(nested, list):
        for item in nested:
            yield from _flat(item)
    else:
        yield nested


def _close(now: Sequence[Any], then: Sequence[Any]) -> bool:
    """Tell whether numbers agree to nine digits of the largest; what is no finite number agrees with its like."""
    largest = max((abs(x) for x in then if x is not None), default=0.0)
    pairs = list(zip(now, then, strict=False))
    return len(now) == len(then) and all(
        a is b if a is None or b is None else abs(a - b) <= TOLERANCE * largest for a, b in pairs
    )


def _short(nested: Any) -> str:
    text = str(nested)
    return text if len(text) <= 120 else f"{text[:120]}..."


def _differs(what: str) -> InvalidModelError:
    return InvalidModelError(
        f"the model is not what was fitted: {what}",
        hint="the file, the signature or the libraries have changed; run its data interval again",
    )
