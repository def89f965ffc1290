"""The loader that MLflow imports for a model of diurnal: ``mlflow.pyfunc.load_model`` and ``mlflow models serve``.

Who may write to MLflow's files can replace a model there, with its description. What this loader accepts is therefore
not decided by the folder:

- With ``DIURNAL_PROJECT``, the warehouse of the project names the digest and the types, as for
  :func:`diurnal.load_model`: only a published model is loaded.
- Without it, the model may contain the types that diurnal knows, and those that ``DIURNAL_TRUSTED_TYPES`` names. No
  other code runs. The digest of the folder only shows damage.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.errors import InvalidModelError, UsageError
from diurnal.mlflow.model_folder import MODELS, PREDICT_METHODS, ROW
from diurnal.runtime.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from diurnal.runtime.project_files import Codebase

TRUSTED = "DIURNAL_TRUSTED_TYPES"


class PyfuncModel:
    """A model as MLflow calls it.

    Parameters
    ----------
    model : estimator
        The fitted estimator.
    signature : Mapping of str to Any
        Its signature.
    """

    def __init__(self, model: Any, signature: Mapping[str, Any]) -> None:
        self.model, self.signature = model, signature

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Any:
        """Predict rows.

        Parameters
        ----------
        model_input : pandas.DataFrame
            The features, by name.
        params : Mapping of str to Any, optional
            ``predict_method``: ``"predict"`` (the default) or ``"predict_proba"``.

        Returns
        -------
        ndarray of shape (n_rows,), or pandas.DataFrame of shape (n_rows, n_classes)
            Labels or numbers; or probabilities, with the labels as columns.

        Raises
        ------
        UsageError
            If the method is unknown, or the model has no probabilities.
        """
        import numpy as np
        import pandas as pd

        from diurnal.backends import get_backend

        method = (params or {}).get("predict_method", PREDICT_METHODS[0])
        columns = get_backend(self.model).predict(self.model, self._to_table(model_input), self.signature)
        if method == "predict":
            return np.asarray(columns["prediction"])
        labels = [label for label in self.signature["classes"] or () if f"probability_{label}" in columns]
        if method not in PREDICT_METHODS or not labels:
            raise UsageError(
                f"predict_method is {method!r}; this model has {'both' if labels else 'only'} "
                f"{' and '.join(PREDICT_METHODS[: 2 if labels else 1])}",
                hint="pass params={'predict_method': 'predict'}, or no params",
            )
        return pd.DataFrame({label: np.asarray(columns[f"probability_{label}"]) for label in labels})

    def _to_table(self, frame: pd.DataFrame) -> Any:
        import pyarrow as pa

        from diurnal.data.schema import arrow_type

        kinds = {column["name"]: column["kind"] for column in self.signature["columns"]}
        if missing := [name for name in kinds if name not in frame]:
            raise UsageError(f"missing columns: {', '.join(missing)}", hint=f"the columns are {', '.join(kinds)}")
        arrays = {}
        for name, kind in kinds.items():
            try:
                arrays[name] = pa.array(frame[name], type=arrow_type(kind), from_pandas=True)
            except (pa.ArrowInvalid, pa.ArrowTypeError):
                raise UsageError(f"{name} has a value that is not of the type {kind}") from None
        return pa.table(arrays)


def load_model_folder(folder: str) -> PyfuncModel:
    """Load the folder ``data`` of a model in MLflow.

    Parameters
    ----------
    folder : str
        Its path on this machine.

    Raises
    ------
    InvalidModelError
        If the folder is damaged, has types that are not allowed, or is no published model of ``DIURNAL_PROJECT``.
    ConfigurationError
        If the libraries are not those that the model was fitted with.
    """
    from diurnal.storage.models import Models

    row = _read_row(Path(folder) / ROW)
    trusted: Collection[str] = os.environ.get(TRUSTED, "").replace(",", " ").split()
    code = None
    if os.environ.get("DIURNAL_PROJECT"):
        row, code = _published_row(row)
        trusted = (*trusted, *row["trusted"])
    model = Models(str(Path(folder) / MODELS)).load(
        row["path"],
        row["digest"],
        trusted,
        signature=row["signature"],
        library_versions=row["library_versions"],
        code=code,
    )
    return PyfuncModel(model, row["signature"])


_load_pyfunc = load_model_folder  # the name that MLflow calls


def _read_row(path: Path) -> dict[str, Any]:
    try:
        row = json.loads(path.read_bytes())
        return {
            **row,
            "experiment": str(row["experiment"]),
            "version": int(row["version"]),
            "digest": str(row["digest"]),
        }
    except (OSError, ValueError, KeyError, TypeError):
        raise InvalidModelError(
            f"{path} is not the description of a model of diurnal", hint="copy it again: diurnal mlflow sync"
        ) from None


def _published_row(row: Mapping[str, Any]) -> tuple[dict[str, Any], Codebase]:
    """Return the row of the warehouse for the same version, and the code of the project."""
    from diurnal.storage.stores import open_warehouse, project_code

    settings = Settings.load()
    with open_warehouse(settings) as warehouse:
        published = warehouse.version(row["experiment"], row["version"])
    if published["digest"] != row["digest"]:
        raise InvalidModelError(
            f"the model has the digest {row['digest'][:12]}, and version {row['version']} of {row['experiment']} has "
            f"{published['digest'][:12]}",
            hint="copy it again: diurnal mlflow sync",
        )
    return published, project_code(settings)
