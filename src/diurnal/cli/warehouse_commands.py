"""Commands about the stores: ``verify``, ``profile``, ``gc`` and ``warehouse``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.options import hours_type, json_option, reject_nan
from diurnal.cli.project_session import current_user, load_settings, open_project_stores, resolve_experiment_name
from diurnal.errors import ConfigurationError

if TYPE_CHECKING:
    from diurnal.runtime import Settings
    from diurnal.runtime.postgres import EmbeddedServer

_DAMAGED = 65  # an exit status of sysexits.h


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--repair", is_flag=True, help="First reload batches whose rows in the warehouse differ from the lake.")
@json_option
def verify(name: str | None, repair: bool, json_: bool) -> None:
    """Verify checksums of all stored data and models.

    What --repair does not restore, a run of its data interval does: it creates lost samples, candidates and models
    again.
    """
    from diurnal.cli.table_output import print_table
    from diurnal.pipeline.store_verification import repair_loads, verify_stores

    with open_project_stores() as stores:
        experiment = resolve_experiment_name(stores, name) if name else None
        for repaired in repair_loads(stores, experiment, requested_by=current_user()) if repair else ():
            click.echo(f"repaired {repaired.name} of {repaired.experiment}, which was {repaired.state}", err=True)
        rows = [vars(finding) for finding in verify_stores(stores, experiment)]
    bad = [row for row in rows if row["state"] != "good"]
    if json_ or bad:
        print_table(rows if json_ else bad, json_, ["kind", "experiment", "name", "state"])
    if not json_:
        click.echo(f"{len(rows) - len(bad)} of {len(rows)} objects OK")
    if bad:
        raise SystemExit(_DAMAGED)


@click.command()
@click.argument("name", metavar="[NAME]", required=False)
@click.option("--force", is_flag=True, help="Make profiles again that exist.")
@json_option
def profile(name: str | None, force: bool, json_: bool) -> None:
    """Make the profiles of batches that have none: the distribution of each column.

    A run makes the profile of its batch by itself. Batches that were stored by an older version of diurnal have none;
    drift is measured, and shown, where there are profiles. Without NAME: the batches of all experiments.
    """
    from diurnal.cli.progress import show_count
    from diurnal.cli.table_output import print_table
    from diurnal.pipeline.missing_profiles import make_missing_profiles

    with open_project_stores() as stores, show_count("profile", json_) as progress:
        experiment = resolve_experiment_name(stores, name) if name else None
        rows = [vars(made) for made in make_missing_profiles(stores, experiment, force=force, progress=progress)]
    failed = [row for row in rows if row["state"] != "made"]
    if json_ or failed:
        print_table(rows if json_ else failed, json_, ["experiment", "data_interval_start", "n_rows", "state"])
    if not json_:
        made = len(rows) - len(failed)
        click.echo(f"{made} profile{'' if made == 1 else 's'} made" if rows else "every batch has a profile")
    if failed:
        raise SystemExit(_DAMAGED)


@click.command()
@click.option("--older-than", default=24.0, show_default=True, type=hours_type, callback=reject_nan, help="Hours.")
@click.option("--dry-run", is_flag=True, help="List what would be deleted, and delete nothing.")
@json_option
def gc(older_than: float, dry_run: bool, json_: bool) -> None:
    """Delete unreferenced files left by failed runs.

    Data that are older than `retention=` of their experiment are deleted first. --older-than protects runs in progress:
    what was written more recently stays.
    """
    from datetime import timedelta

    from diurnal.cli.table_output import print_table
    from diurnal.experiment import discover
    from diurnal.pipeline.expired_data import apply_retention, read_policies
    from diurnal.pipeline.garbage import collect_garbage

    age = timedelta(hours=older_than)
    with open_project_stores() as stores:
        policies = read_policies(stores, discover(load_settings().experiments)[0])
        expired = apply_retention(stores, policies, older_than=age, requested_by=current_user(), dry_run=dry_run)
        removed = collect_garbage(stores, older_than=age, dry_run=dry_run)
    rows: list[dict[str, Any]] = [
        {
            "removed": f"{one.kind} of {one.experiment}: {one.name}",
            "experiment": one.experiment,
            "kind": one.kind,
            "lost_versions": list(one.lost_versions),
        }
        for one in expired
    ]
    print_table([*rows, *({"removed": path} for path in removed)], json_, ["removed"])
    _report_lost_versions(rows, dry_run=dry_run)


def _report_lost_versions(rows: list[dict[str, Any]], *, dry_run: bool) -> None:
    """Name the versions that cannot be replayed without the batches that were deleted."""
    lost: dict[str, set[int]] = {}
    for row in rows:
        lost.setdefault(row["experiment"], set()).update(row["lost_versions"])
    for name, versions in lost.items():
        if versions:
            verb = "could not be replayed afterwards" if dry_run else "can no longer be replayed"
            listed = ", ".join(map(str, sorted(versions)))
            click.echo(f"diurnal: {name}: {verb}, as their batches are too old: version {listed}", err=True)


@click.group()
def warehouse() -> None:
    """Manage the warehouse (url, migrate, start, stop)."""


@warehouse.command("url")
def show_url() -> None:
    """Print the URL of the warehouse; the embedded server is started."""
    from diurnal.storage.stores import embedded_server

    settings = load_settings()
    server = embedded_server(settings)
    click.echo(server.start() if server else _redact_url(settings.warehouse))


@warehouse.command("migrate")
def migrate_warehouse() -> None:
    """Migrate the tables to this version of diurnal, as every command does on its first use."""
    from diurnal.storage.stores import open_warehouse

    with open_warehouse(load_settings()) as opened:  # opening a warehouse migrates its tables
        click.echo(f"the tables of {opened.address} are up to date")


@warehouse.command("start")
def start_server() -> None:
    """Start the embedded server, and keep it running."""
    click.echo(f"{_require_embedded_server(load_settings()).start(keep=True)}\nIt runs until `diurnal warehouse stop`.")


@warehouse.command("stop")
def stop_server() -> None:
    """Stop the embedded server."""
    server = _require_embedded_server(load_settings())
    server.stop()
    click.echo(f"stopped; its data is in {server.folder}")


def _require_embedded_server(settings: Settings) -> EmbeddedServer:
    from diurnal.storage.stores import embedded_server

    server = embedded_server(settings)
    if server is None:
        raise ConfigurationError(
            f"the warehouse is {_redact_url(settings.warehouse)}; only the embedded one can be started and stopped",
            hint="unset DIURNAL_WAREHOUSE to use the embedded one",
        )
    return server


def describe_warehouse(settings: Settings) -> str:
    """Return the location of the warehouse, without secrets."""
    from diurnal.storage.stores import embedded_server

    server = embedded_server(settings)
    return f"an embedded PostgreSQL in {server.folder}" if server else _redact_url(settings.warehouse)


def _redact_url(url: str) -> str:
    """Return the URL of a warehouse without secrets."""
    from diurnal.storage.warehouse.url import WarehouseUrl

    return str(WarehouseUrl.parse(url))
