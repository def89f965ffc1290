"""Default arguments of the tasks of an experiment's Dags: owner, retries, retry policy and callbacks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from diurnal.airflow.operators import log_error_last
from diurnal.experiment import Experiment

CALLBACKS = ("on_failure_callback", "on_retry_callback")

# Errors that a retry cannot resolve: the task fails at once. Any other error is retried.
_FINAL_ERRORS = (
    "BatchRejectedError",
    "CodeChangedError",
    "ConfigurationError",
    "CorruptPackageError",
    "ExperimentError",
    "InvalidModelError",
    "PermissionDeniedError",
    "UsageError",
)


def task_default_args(experiment: Experiment, default_args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `default_args` of a Dag of an experiment.

    Parameters
    ----------
    experiment : Experiment
        Declares owner and retries.
    default_args : Mapping
        The user's; they override all but the callbacks, which are called before ours.
    """
    return {
        "owner": experiment.owner,
        "retries": experiment.retries,
        "retry_delay": timedelta(seconds=60),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=15),
        "retry_policy": _retry_policy(),
        **default_args,
        **{name: [*as_list(default_args.get(name)), log_error_last] for name in CALLBACKS},
    }


def _retry_policy() -> ExceptionRetryPolicy:
    return ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=[f"diurnal.errors.{name}" for name in _FINAL_ERRORS],
                action=RetryAction.FAIL,
                reason="a retry would fail in the same way",
            )
        ]
    )


def as_list(value: Any) -> list[Any]:
    """Return an argument that Airflow takes as one value or as several, as a list.

    Examples
    --------
    >>> as_list(None), as_list("a"), as_list(("a", "b"))
    ([], ['a'], ['a', 'b'])
    """
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value] if value else []
