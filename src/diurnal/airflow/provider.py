"""Description of this package for Airflow, found by the entry point ``apache_airflow_provider``."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

_LINKS = ("ChampionLink", "DataLink", "ExperimentLink", "QuarantineLink", "RunLink", "VersionLink")


def get_provider_info() -> dict[str, Any]:
    """Return the provider's description; it has no connection type of its own: see ``docs/airflow.md``."""
    return {
        "package-name": "diurnal",
        "name": "diurnal",
        "description": "Experiments of scikit-learn and Spark as Dags that retrain, compare and promote models.",
        "versions": [version("diurnal")],
        "integrations": [{"integration-name": "diurnal", "tags": ["software"]}],
        "operators": [
            {
                "integration-name": "diurnal",
                "python-modules": [f"diurnal.airflow.{name}" for name in ("operators", "approval_dag", "champion_dag")],
            }
        ],
        "extra-links": [f"diurnal.airflow.extra_links.{name}" for name in _LINKS],
    }
