"""A copy of all results in MLflow, for people and programs that use it.

The copy is one-way and can be made again at any time: the warehouse and the stores of files are the source, and nothing
of a run depends on MLflow. What exists there is found by tags, so that a repeated, killed or concurrent call adds
nothing twice. The REST API of MLflow is used directly: its client would add 1.9 seconds and 11 distributions to each
run, among them older versions of two that Airflow uses.
"""

from __future__ import annotations

from diurnal.mlflow.mirror import MirrorResult, mirror_experiment, mirror_quietly

__all__ = ["MirrorResult", "mirror_experiment", "mirror_quietly"]
