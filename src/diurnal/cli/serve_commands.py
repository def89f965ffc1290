"""``diurnal serve``: answer requests for predictions over HTTP."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from diurnal.cli.listen_address import bind_socket, is_loopback
from diurnal.cli.project_session import load_settings
from diurnal.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from diurnal.serving.serving_process import PredictionServer, ServerOptions

_LIBRARIES = ("httptools", "prometheus_client", "starlette", "uvicorn", "uvloop")


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--port", type=click.IntRange(0, 65535), default=8088, show_default=True, help="0: any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of processes.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads of a process.")
@click.option("--tokens", type=click.Path(exists=True, dir_okay=False), help="A TOML file with tokens and scopes.")
@click.option("--allow-anonymous", is_flag=True, help="Listen on another address than localhost without tokens.")
@click.option("--max-bytes", type=click.IntRange(1), default=64 * 2**20, show_default=True, help="Of a request.")
@click.option("--max-waiting", type=click.IntRange(1), default=1000, show_default=True, help="Requests of a process.")
@click.option("--timeout", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds of a request.")
@click.option("--drain", type=click.IntRange(0), default=20, show_default=True, help="Seconds to end after SIGTERM.")
@click.option("--poll", type=click.FloatRange(0.1), default=10.0, show_default=True, help="Seconds between checks.")
@click.option("--cache", type=click.Path(file_okay=False), help="Folder of copies. Default: data/.serving.")
@click.option("--exact", is_flag=True, help="Predict by the model's library only, each request by itself.")
@click.option("--access-log", is_flag=True, help="Log each request to stdout, as a line of JSON.")
def serve(
    names: tuple[str, ...],
    port: int,
    host: str,
    workers: int,
    threads: int,
    tokens: str | None,
    allow_anonymous: bool,
    max_bytes: int,
    max_waiting: int,
    timeout: float,
    drain: int,
    poll: float,
    cache: str | None,
    exact: bool,
    access_log: bool,
) -> None:
    """Serve predictions over HTTP, by the champion of each experiment.

    NAME is an experiment, or NAME@3 for a version that stays. Without names, all champions are served. A promotion or a
    rollback is followed without a restart: the new version is verified and then swapped in between requests.
    """
    _check_libraries()
    if not (is_loopback(host) or tokens or allow_anonymous):
        raise UsageError(
            f"--host {host} lets other machines ask for predictions, without tokens",
            hint="add --tokens FILE (see docs/serving.md), or --allow-anonymous behind a proxy that authenticates",
        )
    for library in ("OMP", "OPENBLAS", "MKL"):  # before their import
        os.environ.setdefault(f"{library}_NUM_THREADS", str(threads))
    from diurnal.serving.serving_app import RequestLimits
    from diurnal.serving.serving_process import PredictionServer, ServerOptions

    options = ServerOptions(
        references=_check_references(names),
        workers=workers,
        threads=threads,
        max_waiting=max_waiting,
        join=not exact,
        compiled=not exact,
        poll=poll,
        cache=Path(cache) if cache else None,
        drain=drain,
        access_log=access_log,
        limits=RequestLimits(max_bytes=max_bytes, predict_seconds=timeout),
        tokens=Path(tokens) if tokens else None,
    )
    logging.basicConfig(level=logging.INFO, format="diurnal: %(message)s", stream=sys.stderr)
    with bind_socket(host, port, "server") as listener:
        server = PredictionServer(load_settings(), options)
        server.load()
        _announce(server, options, host, listener.getsockname()[1])
        server.run(listener)


def _announce(server: PredictionServer, options: ServerOptions, host: str, port: int) -> None:
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    for name, state in server.served.states().items():
        if state.model is not None:
            click.echo(f"{name}: version {state.model.version} on {url}/experiments/{name}/predict", err=True)
        if state.problem:
            click.echo(f"diurnal: warning: {name}: {state.problem}", err=True)
    several = f", {options.workers} workers" if options.workers > 1 else ""
    click.echo(f"Description: {url}/openapi.json{several}. Stop it with Ctrl-C.", err=True)


def _check_references(names: tuple[str, ...]) -> tuple[str, ...]:
    """Reject an experiment that is named twice."""
    experiments = [name.partition("@")[0] for name in names]
    if repeated := {name for name in experiments if experiments.count(name) > 1}:
        raise UsageError(f"{repeated.pop()!r} is named twice", hint="one process serves one version of an experiment")
    return names


def _check_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        message = f"the server needs packages that are not installed: {', '.join(missing)}"
        raise ConfigurationError(message, hint="pip install 'diurnal[serving]'")
