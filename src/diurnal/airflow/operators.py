"""What a task of a day is: making storage ready, or one step of the sentence."""

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
from diurnal.airflow.extra_links import ChampionLink
from diurnal.errors import DiurnalError, NotEnoughDataError, SupersededError
from diurnal.experiment import Experiment
from diurnal.pipeline import flow

if TYPE_CHECKING:
    from diurnal.pipeline.context import Day

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h
_SECONDS_BETWEEN_WORDS = 10


class ExperimentTask(BaseOperator):
    """A task of an experiment's Dag: what all of them do around their work.

    Parameters
    ----------
    experiment : Experiment
        Whose task it is.
    **words
        Airflow's, for any task.
    """

    def __init__(self, *, experiment: Experiment, **words: Any) -> None:
        super().__init__(**words)
        self.experiment = experiment

    def execute(self, context: Any) -> Any:
        """Do the task's work; gives what travels to later tasks.

        Our errors say all in their message, so the lines of code that they came through are left out of the log. A
        superseded attempt is skipped: its work goes on in the newer one. So is one whose window is too small yet.
        """
        from airflow.sdk.exceptions import AirflowSkipException

        die_with_supervisor()
        place = f"{self.experiment.name} {self.task_id}"
        with quiet():
            try:
                return self.work(context)
            except AirflowSkipException as skip:
                self.log.info(f"skipped: {skip}")  # Airflow's own line does not say why
                raise
            except (NotEnoughDataError, SupersededError) as error:
                self.log.warning(str(error.add_location(place)))
                raise AirflowSkipException(str(error)) from None
            except DiurnalError as error:
                raise error.add_location(place).with_traceback(None) from None

    def work(self, context: Any) -> Any:
        """Do what this kind of task is for."""
        raise NotImplementedError


class Storage(ExperimentTask):
    """Makes storage ready: reads the settings, brings the warehouse's tables up to date, makes the folders.

    It comes first, so that a run that cannot be carried out says so before anything is fetched.
    """

    ui_color = "#e8e8e8"

    def work(self, context: Any) -> dict[str, str]:
        """Make it ready; gives where it is, without secrets."""
        with day_of(self.experiment, context) as day:
            flow.refuse_early(self.experiment, day.interval)
            # The clock only refuses here; it never chooses.
            flow.refuse_future(day, datetime.now(UTC), hint="wait for it: its data cannot be complete")
            with flow.error_context(day, self.task_id), day.stores.lake.workspace():
                day.stores.models.fs.makedirs(day.stores.models.root, exist_ok=True)
            ready = {
                "data_interval": str(day.interval),
                "lake": day.stores.lake.root,
                "models": day.stores.models.root,
                "warehouse": str(day.stores.warehouse.address),
            }
            self.log.info("; ".join(f"{name.replace('_', ' ')} {value}" for name, value in ready.items()))
            return ready


class Step(ExperimentTask):
    """One step of the sentence: the function of that name in :mod:`diurnal.pipeline.steps`.

    Parameters
    ----------
    step : str
        Its name.
    given : sequence
        What earlier steps gave, as it travels.
    **words
        Airflow's, and `experiment`.
    """

    template_fields: Sequence[str] = ("given",)
    template_fields_renderers = {"given": "json"}  # noqa: RUF012 - Airflow declares it so, and reads it only
    ui_color = "#dbe9f6"

    def __init__(self, *, step: str, given: Sequence[Any] = (), **words: Any) -> None:
        super().__init__(**words)
        self.step = step
        self.given = list(given)

    def work(self, context: Any) -> Any:
        """Carry the step out."""
        from diurnal.pipeline import steps

        return self.carry_out(getattr(steps, self.step), self.given, context)

    def carry_out(self, function: Callable[..., Any], travelled: Sequence[Any], context: Any) -> Any:
        """Call a function of the day with what has travelled here, unless the day is finished already."""
        from airflow.sdk.exceptions import AirflowSkipException

        from diurnal.airflow import result_log
        from diurnal.pipeline.serialization import packed, unpacked

        first = travelled[0] if travelled else None
        if isinstance(first, dict) and first.get("finished") and self.step not in flow.MENDING:
            raise AirflowSkipException(f"{first['run']['run_id']} is finished already: nothing is to be done")
        with day_of(self.experiment, context) as day, flow.error_context(day, self.step):
            given = unpacked(function, travelled, day.stores.models)
            result = function(day, *given)
            result_log.tell(self.step, given, result)
            _announce(context, self.step, result, day)
            return packed(result)


class Promote(Step):
    """The last step, with a button that leads to the Dag by which a person promotes or rolls back."""

    operator_extra_links = (ChampionLink(),)


class CutShards(Step):
    """Cuts the search into shards, for ``n_tuning_shards`` above 1."""

    def work(self, context: Any) -> Any:
        """Cut it; each shard becomes a mapped task."""
        from diurnal.pipeline import tuning_shards

        return self.carry_out(tuning_shards.cut, self.given, context)


class ScoreShard(Step):
    """Makes the fits of one shard of the search.

    Parameters
    ----------
    shard : dict
        One of those that the search was cut into.
    **words
        Airflow's, and those of a step.
    """

    template_fields: Sequence[str] = ("given", "shard")

    def __init__(self, *, shard: Any, **words: Any) -> None:
        super().__init__(**words)
        self.shard = shard

    def work(self, context: Any) -> Any:
        """Make them; the label says which, in Airflow's page."""
        from diurnal.pipeline import tuning_shards

        start, stop = self.shard["start"], self.shard["stop"]
        total = self.shard["n_candidates"] * self.shard["n_splits"]
        context["label"] = f"fits {start + 1} to {stop} of {total}" if total else "cannot be cut: tuned as a whole"
        return self.carry_out(tuning_shards.score, [*self.given, self.shard], context)


@contextmanager
def day_of(experiment: Experiment, context: Any) -> Iterator[Day]:
    """Give what the steps of a Dag run are told, with open stores."""
    from diurnal.airflow import run_interval
    from diurnal.airflow.connections import open_beside
    from diurnal.pipeline.context import Day

    run = context["dag_run"]
    interval, force = run_interval.data_interval(experiment, run), run_interval.is_forced(run)
    with open_beside(experiment.file) as stores:
        yield Day(experiment, interval, stores, by=f"airflow {run.run_id}", force=force, progress=_tell_progress())


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a thousand lines out of a task's log.

    When skops is imported it looks for SciPy's functions in every module that is loaded, and each of Airflow's
    deprecated modules warns of each name that it is asked for.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The `airflow[.]")
        yield


def last_word(context: Any) -> None:
    """Make our message the last line of a failed task's log."""
    import structlog

    error = context.get("exception")
    if isinstance(error, DiurnalError):
        log = structlog.get_logger(logger_name="task")
        log.info("::endgroup::")  # Airflow's page folds what comes after the failure; this ends the fold
        log.error(str(error))


def _tell_progress() -> Callable[[int, int], None]:
    """Give what writes into the task's log how far the search is, every ten seconds."""
    import structlog

    log = structlog.get_logger(logger_name="task")
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= _SECONDS_BETWEEN_WORDS:
            told = time.monotonic()
            log.info(f"{done} of {total} fits are done")

    return tell


def die_with_supervisor() -> None:
    """Let the kernel kill this task when its supervisor is killed (Linux): two tries never write at once.

    In ``dag.test()`` there is no supervisor: the process is the user's own.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if sys.platform != "linux" or getattr(getattr(runner, "SUPERVISOR_COMMS", None), "socket", None) is None:
        return
    import ctypes

    supervisor = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def _announce(context: Any, step: str, result: Any, day: Day) -> None:
    """Tell other Dags what is new."""
    if step == "fetch":
        assets.announce_batch(context["outlet_events"], result)
    elif step == "publish":
        assets.announce_model(context["outlet_events"], result, day)
    elif step == "promote":
        assets.announce_champion(context, day.stores.warehouse, day.experiment)
