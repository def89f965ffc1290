"""Configuration of Celery's workers: ``[celery] celery_config_options = diurnal.airflow.celery_config.CONFIG``.

Celery imports `include` before it forks its pool, so that each task has scikit-learn in memory.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

CONFIG: dict[str, Any] = {
    **DEFAULT_CELERY_CONFIG,
    "include": ["diurnal.airflow.preload"],
    "broker_connection_retry_on_startup": True,
}
