"""A model version that is verified, warm and ready to predict."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diurnal.backends.sklearn.joint_predictions import predict_jointly
from diurnal.serving.compiled_predictors import NotFiniteError, Predictor, compile_model
from diurnal.serving.model_inputs import ModelInputs
from diurnal.serving.prediction_checks import TOLERANCE, agrees, has_equal_bits, is_equal, probe_rows
from diurnal.serving.training_ranges import TrainingRange
from diurnal.storage.models import is_spark_model
from diurnal.storage.models.golden_rows import golden_frame

if TYPE_CHECKING:
    import pandas as pd

    from diurnal.serving.model_inputs import Rows

_N_ALONE = 3  # golden rows that are predicted alone
_MAX_PROBED_COLUMNS = 512
_LIBRARIES = frozenset({"sklearn", "xgboost", "lightgbm", "catboost"})
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """Predictions for some rows.

    Attributes
    ----------
    labels : ndarray of shape (n_rows,)
        Labels of classes, or numbers.
    probabilities : ndarray of shape (n_rows, n_classes) or None
        None for a regression, and for classifiers without probabilities.
    """

    labels: npt.NDArray[Any]
    probabilities: npt.NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.labels)

    def slice(self, start: int, stop: int) -> Predictions:
        """Return the predictions of some of the rows."""
        probabilities = None if self.probabilities is None else self.probabilities[start:stop]
        return Predictions(self.labels[start:stop], probabilities)


class ServedModel:
    """A model version that predicts.

    Parameters
    ----------
    row : Mapping of str to Any
        Its row of `model_versions`, with `training_ranges` if they are known.
    model : estimator
        The loaded model. It belongs to this object, which may change it.
    compiled : bool
        Whether known pipelines may be predicted by :mod:`diurnal.serving.compiled_predictors` within a tolerance; if
        false, only with equal bits.

    Attributes
    ----------
    experiment, version, digest : str, int, str
        Which model version it is.
    headers : tuple of (bytes, bytes)
        The same as headers of an answer.
    signature : Mapping of str to Any
        Its signature.
    classes : list or None
        The labels, in the order of the probabilities; None for a regression.
    training_ranges : Mapping of str to dict
        The ranges of the columns in the training; empty if they are not known.
    path : {"compiled", "array", "frame"}
        How it predicts: by its arithmetic only, by scikit-learn on arrays, or by its library on frames.
    is_joinable : bool
        Whether the prediction of a row does not depend on the rows beside it, so that requests can be joined.
    """

    def __init__(self, row: Mapping[str, Any], model: Any, *, compiled: bool = True) -> None:
        self.experiment, self.version, self.digest = str(row["experiment"]), int(row["version"]), str(row["digest"])
        self.headers = (
            (b"diurnal-experiment", self.experiment.encode()),
            (b"diurnal-version", b"%d" % self.version),
            (b"diurnal-digest", self.digest.encode()),
        )
        self.signature: Mapping[str, Any] = row["signature"]
        self.classes: list[Any] | None = self.signature["classes"]
        self.training_ranges: Mapping[str, TrainingRange] = row.get("training_ranges") or {}
        self._model = model
        self._has_probabilities = bool(self.classes) and hasattr(model, "predict_proba")
        self._is_spark = is_spark_model(model)
        golden = golden_frame(self.signature["columns"], self.signature["golden"])
        self.inputs = ModelInputs(self.signature["columns"], self._find_accepting_columns(golden))
        self._compiled, self.path = self._choose_path(golden, compiled=compiled)
        self.is_joinable = self._is_spark or self._predicts_rows_alone(golden)

    def predict(self, rows: Rows) -> Predictions:
        """Predict rows of :attr:`inputs`."""
        if not len(rows):
            return self._no_predictions()
        predictions = Predictions(*self._call(rows))
        if len(predictions) != len(rows):  # joined requests would get those of other rows
            raise ValueError(f"{len(predictions)} predictions of {len(rows)} rows")
        return predictions

    @property
    def has_probabilities(self) -> bool:
        """Whether predictions have probabilities."""
        return self._has_probabilities

    def _no_predictions(self) -> Predictions:
        labels = np.array(self.signature["golden"]["predictions"][:0], dtype=object)
        return Predictions(labels, np.zeros((0, len(self.classes or ()))) if self._has_probabilities else None)

    def _call(self, rows: Rows) -> tuple[npt.NDArray[Any], Any]:
        if self._compiled is not None and isinstance(rows, np.ndarray):
            try:
                return self._compiled(rows)
            except NotFiniteError:  # the library has its own answer, or its own error
                return self._predict_matrix(rows)
        if self.path == "array" and isinstance(rows, np.ndarray):
            return self._predict_array(rows)
        return self._predict_table(rows) if self._takes_tables else self._predict_matrix(rows)

    def _choose_path(self, golden: pd.DataFrame, *, compiled: bool) -> tuple[Predictor | None, str]:
        """Return the fastest way to predict that gives the predictions of the model on frames.

        No method of this object is stored in it: a version that was replaced is freed at once, and not when a garbage
        collection happens.
        """
        if self._takes_tables or not len(golden):
            return None, "frame"
        probes = probe_rows(golden, self.inputs.kinds)
        try:
            expected = self._predict_matrix(probes)
        except Exception as error:  # noqa: BLE001 - a model can fail with anything on rows that it has not seen
            _log.debug("the model does not predict rows around its golden ones: %s", type(error).__name__)
            return None, "frame"
        predictor = compile_model(self._model, in_chunks=compiled)
        if predictor is not None and not agrees(predictor, probes, expected, TOLERANCE):
            predictor = None
        if predictor is not None and (compiled or has_equal_bits(predictor, self._predict_matrix, probes)):
            return predictor, "compiled"
        if _has_known_classes(self._model) and agrees(self._predict_array, probes, expected, 0.0):
            _remove_feature_names(self._model)
            if agrees(self._predict_array, probes, expected, 0.0):
                return None, "array"
        return None, "frame"

    @property
    def _takes_tables(self) -> bool:
        return self._is_spark or not self.inputs.is_numeric

    def _predict_array(self, X: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], Any]:
        X = np.asfortranarray(X)  # as the values of a frame are, so that sums have the same order
        return predict_jointly(self._model, X) if self._has_probabilities else (self._model.predict(X), None)

    def _predict_matrix(self, X: Any) -> tuple[npt.NDArray[Any], Any]:
        import pandas as pd

        frame = pd.DataFrame(np.asfortranarray(X), columns=self.inputs.names)
        dtypes = self.signature["golden"]["dtypes"]
        for name in [name for name, dtype in zip(self.inputs.names, dtypes, strict=True) if dtype.startswith("int")]:
            if not frame[name].isna().any():
                frame[name] = frame[name].astype("int64")
        return self._predict_frame(frame)

    def _predict_frame(self, frame: Any) -> tuple[npt.NDArray[Any], Any]:
        labels, probabilities = (
            predict_jointly(self._model, frame) if self._has_probabilities else (self._model.predict(frame), None)
        )
        return np.asarray(labels).reshape(-1), probabilities

    def _predicts_rows_alone(self, golden: pd.DataFrame) -> bool:
        """Return whether golden rows have the same predictions alone as beside the others."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                together = self._predict_frame(golden)
                alone = [self._predict_frame(golden.iloc[[row]]) for row in range(min(len(golden), _N_ALONE))]
            except Exception as error:  # noqa: BLE001 - a model can fail with anything on a single row
                _log.debug("the model does not predict a single row: %s", type(error).__name__)
                return False
        for row, predicted in enumerate(alone):
            expected = tuple(None if values is None else values[row : row + 1] for values in together)
            if not is_equal(predicted, expected, 1e-6):  # some libraries compute in float32
                return False
        return True

    def _predict_table(self, rows: Any) -> tuple[npt.NDArray[Any], Any]:
        import pyarrow as pa

        from diurnal.backends import get_backend

        table = rows if isinstance(rows, pa.Table) else pa.table(dict(zip(self.inputs.names, rows.T, strict=True)))
        columns = get_backend(self._model).predict(self._model, table, self.signature)
        labels = np.asarray(columns["prediction"])
        found = [columns[f"probability_{label}"] for label in self.classes or () if f"probability_{label}" in columns]
        return labels, np.column_stack(found) if found else None

    def _find_accepting_columns(self, golden: pd.DataFrame) -> list[bool]:
        """Return for each column whether the model predicts with a missing value in it: each is tried."""
        n_columns = len(golden.columns)
        if self._is_spark or not len(golden):
            return [True] * n_columns
        if self._accepts(golden, range(n_columns)):
            return [True] * n_columns
        if n_columns > _MAX_PROBED_COLUMNS:
            return [False] * n_columns
        return [self._accepts(golden, [place]) for place in range(n_columns)]

    def _accepts(self, golden: pd.DataFrame, places: Sequence[int]) -> bool:
        frame = golden.head(1).copy()
        for place in places:
            name = frame.columns[place]
            kind = self.signature["columns"][place]["kind"]
            frame[name] = frame[name].astype("float64" if kind in ("int", "float") else "object")
            frame.iloc[0, place] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                labels, probabilities = self._predict_frame(frame)
            except Exception as error:  # noqa: BLE001 - a model can fail with anything on a missing value
                _log.debug("the model does not predict with a missing value: %s", type(error).__name__)
                return False
        numbers = labels if probabilities is None else probabilities
        return not (numbers.dtype.kind == "f" and np.isnan(numbers).any())


def _has_known_classes(model: Any) -> bool:
    return all(type(one).__module__.partition(".")[0] in _LIBRARIES for one in _estimators_in(model)) and not any(
        type(one).__name__ in ("FunctionTransformer", "ColumnTransformer") for one in _estimators_in(model)
    )


def _estimators_in(value: Any, seen: set[int] | None = None) -> list[Any]:
    """Return all estimators in an object: itself, its parameters, and what it has fitted."""
    from sklearn.base import BaseEstimator

    seen = set() if seen is None else seen
    if id(value) in seen:
        return []
    seen.add(id(value))
    if isinstance(value, BaseEstimator):
        return [value, *(one for item in vars(value).values() for one in _estimators_in(item, seen))]
    if isinstance(value, dict):
        return [one for item in value.values() for one in _estimators_in(item, seen)]
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype == object):
        return [one for item in value for one in _estimators_in(item, seen)]
    return []


def _remove_feature_names(model: Any) -> None:
    """Let a model take arrays without a warning in each call: names of columns are checked before."""
    for estimator in _estimators_in(model):
        if "feature_names_in_" in vars(estimator):
            del estimator.feature_names_in_
