"""The project of a command: its settings, experiments and stores, and the user who runs the command."""

from __future__ import annotations

import getpass
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from diurnal.errors import ExperimentError, NotFoundError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from diurnal.experiment import Experiment
    from diurnal.runtime import Settings
    from diurnal.storage.stores import Stores


def load_settings() -> Settings:
    """Return the settings of the project of the working directory, or of ``DIURNAL_PROJECT``."""
    from diurnal.runtime import Settings

    return Settings.load()


@contextmanager
def open_project_stores(*, create: bool = True) -> Iterator[Stores]:
    """Open the stores of the project; without `create`, the folders of lake and models are not created."""
    from diurnal.storage.stores import open_stores

    stores = open_stores(load_settings(), create=create)
    try:
        yield stores
    finally:
        stores.warehouse.close()


def find_experiment(name: str) -> Experiment:
    """Return an experiment of the project."""
    from diurnal.experiment import find

    return find(name, load_settings().experiments)


def find_valid_experiment(settings: Settings, name: str) -> Experiment | None:
    """Return an experiment; None if the project does not have it, or if it is not valid."""
    from diurnal.experiment import find

    try:
        return find(name, settings.experiments)
    except (NotFoundError, ExperimentError):
        return None


def experiment_timezone(settings: Settings, name: str) -> str:
    """Return the timezone of an experiment; UTC if the project does not have it."""
    experiment = find_valid_experiment(settings, name)
    return experiment.timezone if experiment else "UTC"


def resolve_experiment_name(stores: Stores, reference: str) -> str:
    """Return the plain name of an experiment in the warehouse or in the project.

    Raises
    ------
    NotFoundError
        If neither has it.
    """
    from diurnal.experiment import discover

    name = reference.rpartition(":")[2]
    existing = stores.warehouse.stored_experiments()
    if name not in existing:  # discovery imports every experiment, so the warehouse is asked first
        existing |= set(discover(load_settings().experiments)[0])
    if name not in existing:
        listed = ", ".join(sorted(existing)) or "none"
        raise NotFoundError(
            f"there is no experiment {name!r}{did_you_mean(name, existing)}\nthere are: {listed}",
            hint="`diurnal list` shows those of this project",
        )
    return name


def current_user() -> str:
    """Return the name of the user who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in some containers
        return "unknown"


def confirm_change(question: str, *, yes: bool) -> None:
    """Ask for confirmation on a terminal, unless `yes`; exit with status 1 if the answer is no."""
    if not yes and sys.stdin.isatty() and not click.confirm(question):
        click.echo("nothing was changed", err=True)
        raise SystemExit(1)


def confirm_deletion(question: str, *, yes: bool) -> None:
    """Ask for confirmation on a terminal; elsewhere require `yes`, as a deletion cannot be undone.

    Raises
    ------
    UsageError
        If there is no terminal, and `yes` is false.
    """
    if not yes and not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for confirmation", hint="pass --yes, or look first: --dry-run")
    confirm_change(question, yes=yes)


def announce_champion(stores: Stores, name: str) -> None:
    """Create the event of the champion in Airflow, if one is configured; print a warning if that fails."""
    from diurnal.airflow import champion_events

    settings = load_settings()
    warning = champion_events.send_champion_event(
        settings, stores.warehouse, name, lambda: experiment_timezone(settings, name)
    )
    if warning:
        click.echo(f"diurnal: warning: {warning}", err=True)
