"""The fields of a run in MLflow: parameters, metrics and tags of a row of the table `experiments`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from diurnal.mlflow.candidates_file import FILE

RUN_ID, VERSION, WAREHOUSE = "diurnal.run_id", "diurnal.version", "diurnal.warehouse"
_MAX_KEY, _MAX_PARAM, _MAX_TAG, _MAX_DIGEST = 250, 6000, 8000, 36  # MLflow's limits
_MAX_DATASETS = 30  # a window of all batches may have thousands
_CONDITIONS = ("scoring", "target", "window", "test_size", "cv_folds", "n_candidates")
_NUMBERS = ("test_score", "cv_score_mean", "cv_score_std", "champion_score", "n_train", "n_test")
_COMPARED = ("difference", "p_worse", "p_better")
_TAGGED = ("experiment", "batch_digest", "window_digest", "code_digest", "contract_version", "repeat", "promoted")


def tags_of_run(row: Mapping[str, Any], warehouse: str) -> dict[str, str]:
    """Return the tags of a run: what it is a copy of, and where its data and code are.

    Parameters
    ----------
    row : Mapping of str to Any
        The row of the run.
    warehouse : str
        The id of the warehouse.
    """
    tags = {f"diurnal.{name}": row[name] for name in _TAGGED}
    tags |= {
        RUN_ID: row["run_id"],
        WAREHOUSE: warehouse,
        VERSION: row["model_version"],
        "diurnal.data_interval_start": row["data_interval_start"].isoformat(),
        "diurnal.data_interval_end": row["data_interval_end"].isoformat(),
        "diurnal.decided_at": row["decided_at"].isoformat(),
        "mlflow.runName": row["run_id"],
        "mlflow.source.name": "diurnal",
        "mlflow.source.type": "JOB",
        "mlflow.note.content": _describe_run(row),
        "mlflow.loggedArtifacts": [{"path": FILE, "type": "table"}] if row["candidates"] else None,
    }
    return {key: _to_text(value)[:_MAX_TAG] for key, value in tags.items() if value is not None}


def params_of_run(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a run: those of its best candidate, and the conditions of its search.

    Examples
    --------
    >>> conditions = {"scoring": "accuracy", "target": "ill", "window": "1", "test_size": 0.3, "cv_folds": 3}
    >>> params_of_run({**conditions, "n_candidates": 2, "best_params": {"svc__C": 10.0}})["svc__C"]
    '10.0'
    """
    params = {name: row[name] for name in _CONDITIONS} | dict(row["best_params"])
    return {_to_key(name): _to_text(value)[:_MAX_PARAM] for name, value in params.items()}


def metrics_of_run(row: Mapping[str, Any]) -> dict[str, float]:
    """Return the finite numbers of a run: scores, numbers of samples, and the seconds of the steps."""
    metrics = {name: row[name] for name in _NUMBERS}
    metrics |= {f"test_{name}": value for name, value in row["test_scores"].items()}
    metrics |= {f"comparison_{name}": (row["comparison"] or {}).get(name) for name in _COMPARED}
    metrics |= {f"seconds_{step}": value for step, value in row["durations"].items()}
    return {
        _to_key(name): float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def datasets_of_run(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the batches of a run's window, newest first, in MLflow's form."""
    return [
        {
            "dataset": {
                "name": row["experiment"],
                "digest": one["digest"][:_MAX_DIGEST],
                "source_type": "diurnal",
                "source": json.dumps(
                    {name: one[name] for name in ("data_interval_start", "data_interval_end", "path")}
                ),
                "profile": json.dumps({"num_rows": one["n_rows"]}),
            },
            "tags": [{"key": "mlflow.data.context", "value": "training"}],
        }
        for one in row["packages"][::-1][:_MAX_DATASETS]
    ]


def times_of_run(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return when a run began and ended, in milliseconds since 1970."""
    seconds = sum(value for value in row["durations"].values() if isinstance(value, int | float))
    return _to_milliseconds(row["recorded_at"] - timedelta(seconds=seconds)), _to_milliseconds(row["decided_at"])


def as_pairs(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a mapping as MLflow's list of keys and values."""
    return [{"key": key, "value": value} for key, value in values.items()]


def in_chunks(pairs: list[dict[str, Any]], size: int = 100) -> Iterator[list[dict[str, Any]]]:
    """Yield parts of a list, as many as a request may have."""
    for start in range(0, len(pairs), size):
        yield pairs[start : start + size]


def _describe_run(row: Mapping[str, Any]) -> str:
    start, end = row["data_interval_start"], row["data_interval_end"]
    decision = "promoted" if row["promoted"] else "not promoted"
    warnings = [f"- {text}" for text in row["warnings"]]
    return "\n".join(
        [f"Data interval {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC; {decision}: {row['reason']}", *warnings]
    )


def _to_key(name: str) -> str:
    """Return a name in the characters that MLflow allows."""
    return re.sub(r"[^\w\-./ ]", "_", name, flags=re.ASCII)[:_MAX_KEY]


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _to_milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1000)
