"""What a task of a day is: making storage ready, or one step of the sentence."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator

from diurnal import flow, steps
from diurnal.airflow import assets
from diurnal.day import Day
from diurnal.errors import DiurnalError, Superseded
from diurnal.experiment import Experiment

_PR_SET_PDEATHSIG = 1  # from linux/prctl.h


class Storage(BaseOperator):
    """Makes storage ready: reads the settings, brings the warehouse's tables up to date, makes the folders.

    It comes first, so that a run that cannot be carried out says so before anything is fetched.

    Parameters
    ----------
    experiment : Experiment
        Whose day it is.
    """

    ui_color = "#e8e8e8"

    def __init__(self, *, experiment: Experiment, **words: Any) -> None:
        super().__init__(**words)
        self.experiment = experiment

    def execute(self, context: Any) -> dict[str, str]:
        """Make it ready; gives where it is, without secrets."""
        die_with_supervisor()
        with spoken(f"{self.experiment.name} {self.task_id}"), day_of(self.experiment, context) as day:
            # The clock only refuses here; it never chooses.
            flow.refuse_future(day, datetime.now(UTC), advice="wait for it: its data cannot be complete")
            with flow.at(day, self.task_id), day.stores.lake.workspace():
                day.stores.models.fs.makedirs(day.stores.models.root, exist_ok=True)
            return {
                "data_interval": str(day.interval),
                "lake": day.stores.lake.root,
                "models": day.stores.models.root,
                "warehouse": str(day.stores.warehouse.address),
            }


class Step(BaseOperator):
    """One step of the sentence: the function of that name in :mod:`diurnal.steps`.

    Parameters
    ----------
    experiment : Experiment
        Whose day it is.
    step : str
        Its name.
    given : sequence
        What earlier steps gave, as it travels.
    """

    template_fields: Sequence[str] = ("given",)
    template_fields_renderers = {"given": "json"}  # noqa: RUF012 - Airflow declares it so, and reads it only
    ui_color = "#dbe9f6"

    def __init__(self, *, experiment: Experiment, step: str, given: Sequence[Any] = (), **words: Any) -> None:
        super().__init__(**words)
        self.experiment = experiment
        self.step = step
        self.given = list(given)

    def execute(self, context: Any) -> Any:
        """Carry the step out; gives what it gives, as it travels."""
        from airflow.sdk.exceptions import AirflowSkipException

        from diurnal.airflow.travelling import packed, unpacked

        die_with_supervisor()
        if self.given and isinstance(self.given[0], dict) and self.given[0].get("finished"):
            raise AirflowSkipException(f"{self.given[0]['run']['run_id']} is finished already: nothing is to be done")
        place = f"{self.experiment.name} {self.step}"
        with spoken(place), day_of(self.experiment, context) as day, flow.at(day, self.step):
            given = unpacked(self.step, self.given, day.stores.models)
            result = getattr(steps, self.step)(day, *given)
            _announce(context["outlet_events"], self.step, given, result, day)
            return packed(result)


@contextmanager
def day_of(experiment: Experiment, context: Any) -> Iterator[Day]:
    """Give what the steps of a Dag run are told, with open stores."""
    from diurnal.airflow import identity
    from diurnal.airflow.connections import open_beside

    run = context["dag_run"]
    interval, force = identity.data_interval(experiment, run), identity.is_forced(run)
    with open_beside(experiment.file) as stores:
        yield Day(experiment, interval, stores, by=f"airflow {run.run_id}", force=force)


@contextmanager
def spoken(place: str) -> Iterator[None]:
    """Let errors leave a task as Airflow and its readers need them.

    Ours say all in their message, so that the lines of code that they came through would only hide it. A superseded
    attempt is skipped: its work goes on in the newer one.
    """
    from airflow.sdk.exceptions import AirflowSkipException

    try:
        yield
    except Superseded as error:
        raise AirflowSkipException(str(error.at(place))) from None
    except DiurnalError as error:
        raise error.at(place).with_traceback(None) from None


def last_word(context: Any) -> None:
    """Make our message the last line of a failed task's log."""
    import logging

    error = context.get("exception")
    if isinstance(error, DiurnalError):
        log = logging.getLogger("diurnal")
        log.error("::endgroup::")  # Airflow's page folds what comes after the failure; this ends the fold
        log.error(str(error))


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


def _announce(events: Any, step: str, given: Sequence[Any], result: Any, day: Day) -> None:
    """Tell other Dags what is new."""
    if step == "fetch":
        assets.announce_batch(events, result)
    elif step == "publish":
        assets.announce_model(events, result, day)
    elif step == "promote" and result.promoted:
        assets.announce_champion(events, given[0], day.by)
