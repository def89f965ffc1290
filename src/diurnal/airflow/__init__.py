"""Experiments as native Airflow 3.3 Dags.

Importing this package is cheap, as every parse of a Dag file does it: no scikit-learn, pandas, pyarrow or warehouse.
The modules that a task needs are imported when the task runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.airflow.assets import batch, champion, model
    from diurnal.airflow.connections import load_model
    from diurnal.airflow.dag import build_dag
    from diurnal.airflow.health_dag import build_health_dag
    from diurnal.airflow.kubernetes import pod, pod_override
    from diurnal.airflow.scoring_dag import build_scoring_dag

__all__ = [
    "batch",
    "build_dag",
    "build_health_dag",
    "build_scoring_dag",
    "champion",
    "load_model",
    "model",
    "pod",
    "pod_override",
]

_MODULES = {
    "build_dag": "dag",
    "build_health_dag": "health_dag",
    "build_scoring_dag": "scoring_dag",
    "load_model": "connections",
    "pod": "kubernetes",
    "pod_override": "kubernetes",
}


def __getattr__(name: str) -> Any:
    """Import a promised name, and with it Airflow, on first use (PEP 562): ``diurnal airflow`` starts without."""
    if name not in __all__:
        raise AttributeError(f"module 'diurnal.airflow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"diurnal.airflow.{_MODULES.get(name, 'assets')}"), name)
