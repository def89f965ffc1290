"""Airflow conducts the day: experiments as native Airflow 3.3 Dags.

Importing this is cheap, as every Dag file does it again and again: no scikit-learn, pandas, pyarrow or warehouse.
What a task needs is imported by the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diurnal.airflow.assets import batch, champion, model
    from diurnal.airflow.connections import load_model
    from diurnal.airflow.dag import build_dag
    from diurnal.airflow.kubernetes import pod

__all__ = ["batch", "build_dag", "champion", "load_model", "model", "pod"]


def __getattr__(name: str) -> Any:
    """Import Airflow only when something of it is asked for (PEP 562): ``diurnal airflow`` starts without."""
    if name not in __all__:
        raise AttributeError(f"module 'diurnal.airflow' has no attribute {name!r}")
    from importlib import import_module

    places = {"build_dag": "dag", "load_model": "connections", "pod": "kubernetes"}
    return getattr(import_module(f"diurnal.airflow.{places.get(name, 'assets')}"), name)
