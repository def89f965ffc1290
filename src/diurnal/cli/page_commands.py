"""``diurnal page``: serve the web page of all experiments on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from diurnal.cli.listen_address import bind_socket, is_loopback
from diurnal.cli.project_session import current_user, experiment_timezone, load_settings
from diurnal.errors import ConfigurationError, UsageError
from diurnal.page import missing_libraries

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from fastapi import FastAPI

    from diurnal.page.page_stores import PageStores

_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True, help="0: any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="A host name in the address bar of browsers, besides localhost. Repeatable; required by another --host.",
)
@click.option("--allow-changes", is_flag=True, help="Allow promotions, rollbacks and new versions of contracts.")
def page(port: int, host: str, allowed_hosts: tuple[str, ...], allow_changes: bool) -> None:
    """Serve the page of all experiments, and print a link to log in.

    It is read-only unless --allow-changes. It stops with Ctrl-C.
    """
    _check_host(host, allowed_hosts)
    check_page_libraries("the page")
    settings = load_settings()
    with bind_socket(host, port, "page") as listener:
        port = listener.getsockname()[1]
        name = allowed_hosts[0] if allowed_hosts else f"[{host}]" if ":" in host else host

        def announce(token: str) -> None:
            click.echo(f"  http://{name}:{port}/login?token={token}")

        mode = "with changes" if allow_changes else "read-only"
        click.echo(f"The page of {settings.project}, {mode}. Open this link:")
        app = _create_local_app(announce, (*_LOOPBACK_NAMES, *allowed_hosts), port, allow_changes=allow_changes)
        click.echo("A link is valid once, for an hour; after each use there is a new one. Stop it with Ctrl-C.")
        _serve(app, listener)


def _create_local_app(
    announce: Callable[[str], None], allowed_hosts: tuple[str, ...], port: int, *, allow_changes: bool
) -> FastAPI:
    from diurnal.page.app import create_app
    from diurnal.page.contract_process import ContractProcess
    from diurnal.page.local_login import LocalLogin
    from diurnal.page.orchestrator import NoOrchestrator
    from diurnal.page.page_stores import PageStores

    stores = PageStores(load_settings)
    cookie, token = f"diurnal_page_{port}", stores.settings.metrics_token
    login = LocalLogin(current_user(), allow_changes, announce, cookie=cookie, metrics_token=token)
    login.new_link()
    return create_app(
        stores,
        login.authenticate,
        allowed_hosts=allowed_hosts,
        public_routes=[login.route],
        orchestrator=NoOrchestrator(lambda name: _send_champion_event(stores, name)),
        contracts=ContractProcess(stores.settings.project) if allow_changes else None,
    )


def _send_champion_event(stores: PageStores, name: str) -> str | None:
    """Create the event of a new champion in Airflow, if one is configured; return a warning if that fails."""
    from diurnal.airflow import champion_events

    settings, warehouse = stores.settings, stores.writer().warehouse
    return champion_events.send_champion_event(settings, warehouse, name, lambda: experiment_timezone(settings, name))


def _serve(app: FastAPI, listener: socket.socket) -> None:
    import uvicorn

    options: Any = {"log_level": "warning", "access_log": False, "server_header": False}
    config = uvicorn.Config(app, timeout_graceful_shutdown=3, **options)
    uvicorn.Server(config).run(sockets=[listener])


def _check_host(host: str, allowed_hosts: tuple[str, ...]) -> None:
    """Reject an address that other machines reach, unless a host name shows that this is intended."""
    if is_loopback(host) or allowed_hosts:
        return
    raise UsageError(
        f"--host {host} makes the page reachable from other machines, without encryption",
        hint="add --allow-host NAME, with the name in the address bar; put a proxy with TLS in front of it, or reach "
        "127.0.0.1 through an SSH tunnel instead",
    )


def check_page_libraries(what: str) -> None:
    """Raise an error that names the extra if a library of the page and of reports is not installed."""
    if missing := missing_libraries():
        message = f"{what} needs packages that are not installed: {', '.join(missing)}"
        raise ConfigurationError(message, hint="pip install 'diurnal[page]'")
