"""The folder of a model version in MLflow's format: its description, and the same file that diurnal loads.

The description is JSON, which is YAML as well. MLflow imports :mod:`diurnal.mlflow.pyfunc_model` to load the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

FOLDER, MODELS, ROW = "model", "models", "version.json"
_LOADER = "diurnal.mlflow.pyfunc_model"
_COLUMNS = ("experiment", "version", "run_id", "path", "digest", "signature", "library_versions")
_TYPES = {
    "int": "long",
    "float": "double",
    "bool": "boolean",
    "text": "string",
    "date": "datetime",
    "instant": "datetime",
    "timestamp": "datetime",
}
_DISTRIBUTIONS = {"imblearn": "imbalanced-learn", "spark": "pyspark"}
_UNPINNED = ("python", "diurnal", "java", "pyarrow")  # MLflow needs an older pyarrow, which reads no part of a model
PREDICT_METHODS = ("predict", "predict_proba")


def describe_model(row: Mapping[str, Any], diurnal_version: str) -> dict[str, bytes]:
    """Return the files of a model's folder, without that of the model itself.

    Parameters
    ----------
    row : Mapping of str to Any
        The row of `model_versions`.
    diurnal_version : str
        The version of this program, which is needed to load the model.
    """
    python = str(row["library_versions"].get("python", ""))
    description = {
        "artifact_path": FOLDER,
        "flavors": {
            "python_function": {
                "loader_module": _LOADER,
                "data": "data",
                "python_version": python,
                "env": {"virtualenv": "python_env.yaml"},
            }
        },
        "metadata": {"experiment": row["experiment"], "version": row["version"], "digest": row["digest"]},
        "model_uuid": str(row["digest"])[:32],
        "signature": _describe_signature(row["signature"]),
        "utc_time_created": _format_time(row["created_at"]),
    }
    requirements = [f"diurnal=={diurnal_version}", "mlflow", *_pinned_libraries(row["library_versions"])]
    environment = {"python": python, "build_dependencies": ["pip"], "dependencies": ["-r requirements.txt"]}
    return {
        "MLmodel": _as_json_bytes(description),
        "python_env.yaml": _as_json_bytes(environment),
        "requirements.txt": "".join(f"{line}\n" for line in requirements).encode(),
        f"data/{ROW}": _as_json_bytes({name: row[name] for name in _COLUMNS}),
    }


def logged_model_tag(row: Mapping[str, Any], run: str) -> dict[str, str]:
    """Return the tag of a run by which MLflow's pages show that it has a model."""
    model = {
        "run_id": run,
        "artifact_path": FOLDER,
        "flavors": {"python_function": {"loader_module": _LOADER}},
        "utc_time_created": _format_time(row["created_at"]),
    }
    return {"key": "mlflow.log-model.history", "value": json.dumps([model])}


def model_file_name(path: str, suffix: str) -> str:
    """Return the name of a model's file in the folder, which has a store of models with one model."""
    return f"data/{MODELS}/{path}/model.{suffix}"


def _describe_signature(signature: Mapping[str, Any]) -> dict[str, str]:
    """Return a signature in MLflow's form: texts with JSON.

    Examples
    --------
    >>> golden = {"dtypes": ["int64"], "predictions": ["no"], "probabilities": None}
    >>> signature = {"columns": [{"name": "age", "kind": "int"}], "classes": ["no", "yes"], "golden": golden}
    >>> _describe_signature(signature)["inputs"]
    '[{"name": "age", "type": "long", "required": true}]'
    """
    inputs = [
        {"name": column["name"], "type": _input_type(column["kind"], dtype), "required": True}
        for column, dtype in zip(signature["columns"], signature["golden"]["dtypes"], strict=True)
    ]
    method = {"name": "predict_method", "type": "string", "default": PREDICT_METHODS[0], "shape": None}
    return {"inputs": json.dumps(inputs), "params": json.dumps([method])}


def _input_type(kind: str, dtype: str) -> str:
    """Return MLflow's type of a column; whole numbers of which some were missing are fitted as floats."""
    return "double" if kind == "int" and not dtype.startswith("int") else _TYPES[kind]


def _format_time(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"


def _pinned_libraries(versions: Mapping[str, str]) -> list[str]:
    pinned = {_DISTRIBUTIONS.get(name, name): version for name, version in versions.items() if name not in _UNPINNED}
    return [f"{name}=={version}" for name, version in pinned.items()]


def _as_json_bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()
