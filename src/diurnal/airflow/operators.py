"""Operators of the tasks of an experiment's Dag: one that prepares the storage, and one for each kind of step."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from diurnal.airflow import assets
from diurnal.airflow.extra_links import STEP_LINKS
from diurnal.errors import DiurnalError, NotEnoughDataError, SupersededError
from diurnal.experiment import Experiment
from diurnal.pipeline import flow
from diurnal.pipeline.attempts import recorded_attempt
from diurnal.pipeline.interval_checks import check_has_ended, check_start_date

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h
_PROGRESS_SECONDS = 10  # between two lines of progress in the log


class ExperimentOperator(BaseOperator):
    """Base class of the operators: handles errors, noise in the log, and the death of the supervisor.

    Parameters
    ----------
    experiment : Experiment
        The experiment of the task.
    **kwargs
        Airflow's arguments of any task.

    Attributes
    ----------
    outcome : Any
        The result of the task after it has run, or the error that ended it; for links, which Airflow asks for then.
    """

    outcome: Any = None

    def __init__(self, *, experiment: Experiment, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experiment = experiment

    def execute(self, context: Any) -> Any:
        """Run the task; the result is its XCom.

        An error of diurnal's is logged without a traceback, as its message is complete. A superseded attempt is
        skipped, since the newer attempt goes on; so is a run whose window has too few rows.
        """
        exit_with_supervisor()
        try:
            with ignore_airflow_deprecations():
                self.outcome = self._run_or_skip(context)
        except Exception as error:
            self.outcome = error
            raise
        return self.outcome

    def _run_or_skip(self, context: Any) -> Any:
        from airflow.sdk.exceptions import AirflowSkipException

        location = f"{self.experiment.name} {self.task_id}"
        try:
            return self.run_task(context)
        except AirflowSkipException as skip:
            self.log.info(f"skipped: {skip}")  # Airflow's own line does not contain the reason
            raise
        except (NotEnoughDataError, SupersededError) as error:
            self.log.warning(str(error.add_location(location)))
            raise AirflowSkipException(str(error)) from None
        except DiurnalError as error:
            raise error.add_location(location).with_traceback(None) from None

    def run_task(self, context: Any) -> Any:
        """Do the work of the task; each subclass overrides it."""
        raise NotImplementedError


class PrepareStorageOperator(ExperimentOperator):
    """Prepare the storage: read the settings, migrate the warehouse's tables and create the folders.

    It is the first task, so that a run that is not possible fails before anything is fetched.
    """

    ui_color = "#e8e8e8"
    operator_extra_links = STEP_LINKS["storage"]

    def run_task(self, context: Any) -> dict[str, str]:
        """Prepare the storage, and return its locations, without secrets."""
        with run_context(self.experiment, context) as run:
            check_start_date(self.experiment, run.interval)
            # The clock is only used to reject an interval, never to choose one.
            check_has_ended(run, datetime.now(UTC), hint="wait until it has ended: its data is not complete")
            with recorded_attempt(run, self.task_id), run.stores.lake.workspace():
                run.stores.models.fs.makedirs(run.stores.models.root, exist_ok=True)
            locations = {
                "data_interval": str(run.interval),
                "lake": run.stores.lake.root,
                "models": run.stores.models.root,
                "warehouse": str(run.stores.warehouse.address),
            }
            self.log.info("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in locations.items()))
            return locations


class StepOperator(ExperimentOperator):
    """One step of the pipeline: the function of that name in :mod:`diurnal.pipeline.steps`.

    Parameters
    ----------
    step : str
        The name of the step.
    inputs : sequence
        The results of earlier steps, serialized as XComs.
    **kwargs
        Airflow's arguments of any task, and `experiment`.
    """

    template_fields: Sequence[str] = ("inputs",)
    template_fields_renderers = {"inputs": "json"}  # noqa: RUF012 - Airflow declares it so, and reads it only
    ui_color = "#dbe9f6"

    def __init__(self, *, step: str, inputs: Sequence[Any] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.inputs = list(inputs)
        self.operator_extra_links = STEP_LINKS.get(step, ())

    def run_task(self, context: Any) -> Any:
        """Run the step."""
        from diurnal.pipeline import steps

        return self.call_step(getattr(steps, self.step), self.inputs, context)

    def call_step(self, function: Callable[..., Any], inputs: Sequence[Any], context: Any) -> Any:
        """Call a function of the pipeline with deserialized inputs, unless the run has finished already."""
        from airflow.sdk.exceptions import AirflowSkipException, AirflowTaskTimeout

        from diurnal.airflow import result_log
        from diurnal.pipeline.serialization import inputs_from_json, to_json

        first = inputs[0] if inputs else None
        if isinstance(first, dict) and first.get("finished") and self.step not in flow.REPEATED_STEPS:
            raise AirflowSkipException(f"the run {first['run']['run_id']} has finished already")
        with run_context(self.experiment, context) as run, recorded_attempt(run, self.step, timeout=AirflowTaskTimeout):
            args = inputs_from_json(function, inputs, run.stores.models)
            result = function(run, *args)
            result_log.log_result(self.step, args, result)
            _emit_asset_events(context, self.step, result, run)
            return to_json(result)


class SplitSearchOperator(StepOperator):
    """Split the search into shards, for ``n_tuning_shards`` above 1."""

    def run_task(self, context: Any) -> Any:
        """Split the search; each shard becomes a mapped task."""
        from diurnal.pipeline import tuning_shards

        return self.call_step(tuning_shards.plan_search_shards, self.inputs, context)


class ScoreShardOperator(StepOperator):
    """Run the fits of one shard of the search.

    Parameters
    ----------
    shard : dict
        One of the shards of the search.
    **kwargs
        The arguments of a step.
    """

    template_fields: Sequence[str] = ("inputs", "shard")

    def __init__(self, *, shard: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def run_task(self, context: Any) -> Any:
        """Run the fits; the label of the mapped task in Airflow's UI names them."""
        from diurnal.pipeline import tuning_shards

        start, stop = self.shard["start"], self.shard["stop"]
        total = self.shard["n_candidates"] * self.shard["n_splits"]
        context["label"] = (
            f"fits {start + 1} to {stop} of {total}"
            if total
            else "no fits: the search is not split, or its result is recorded"
        )
        return self.call_step(tuning_shards.score_search_shard, [*self.inputs, self.shard], context)


@contextmanager
def run_context(experiment: Experiment, context: Any) -> Iterator[RunContext]:
    """Yield the context of the run that a Dag run is for, with open stores.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    context : Context
        Airflow's.
    """
    from diurnal.airflow import run_interval
    from diurnal.airflow.connections import open_stores_for_file
    from diurnal.experiment.run_context import RunContext

    dag_run = context["dag_run"]
    interval, force = run_interval.run_data_interval(experiment, dag_run), run_interval.is_forced(dag_run)
    with open_stores_for_file(experiment.file) as stores:
        requested_by, progress = f"airflow {dag_run.run_id}", _fit_progress_logger()
        yield RunContext(experiment, interval, stores, requested_by=requested_by, force=force, progress=progress)


@contextmanager
def ignore_airflow_deprecations() -> Iterator[None]:
    """Suppress the deprecation warnings of Airflow's own modules.

    When skops is imported it looks for SciPy's functions in every loaded module, and each of Airflow's deprecated
    modules warns for each name: a thousand lines in the log of a task.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The `airflow[.]")
        yield


def log_error_last(context: Any) -> None:
    """Log the message of an error of diurnal's as the last line of a failed task; a callback of each task."""
    import structlog

    error = context.get("exception")
    if isinstance(error, DiurnalError):
        log = structlog.get_logger(logger_name="task")
        log.info("::endgroup::")  # Airflow's UI collapses the lines after a failure; this ends the collapsed group
        log.error(str(error))


def _fit_progress_logger() -> Callable[[int, int], None]:
    """Return a callback that logs the progress of the search, at most every ten seconds."""
    import structlog

    log = structlog.get_logger(logger_name="task")
    logged_at = time.monotonic()

    def log_progress(done: int, total: int) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= _PROGRESS_SECONDS:
            logged_at = time.monotonic()
            log.info(f"{done} of {total} fits are done")

    return log_progress


def exit_with_supervisor() -> None:
    """Have the kernel kill this task when its supervisor is killed (Linux), so that two tries never write at once.

    In ``dag.test()`` there is no supervisor: the process is the user's own.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if sys.platform != "linux" or getattr(getattr(runner, "SUPERVISOR_COMMS", None), "socket", None) is None:
        return
    import ctypes

    supervisor = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the call
        os.kill(os.getpid(), signal.SIGKILL)


def _emit_asset_events(context: Any, step: str, result: Any, run: RunContext) -> None:
    """Emit the asset event of a step that has one."""
    if step == "fetch":
        assets.emit_batch_event(context["outlet_events"], result)
    elif step == "publish":
        assets.emit_model_event(context["outlet_events"], result, run)
    elif step == "promote":
        assets.emit_champion_event(context, run.stores.warehouse, run.experiment)
