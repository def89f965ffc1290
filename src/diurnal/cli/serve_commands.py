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
from diurnal.serving.server_options import RequestLimits, ServerOptions

if TYPE_CHECKING:
    from collections.abc import Callable

    from diurnal.serving.serving_process import PredictionServer

_LIBRARIES = ("httptools", "prometheus_client", "starlette", "uvicorn", "uvloop")
_OPTIONS, _LIMITS = ServerOptions(), RequestLimits()  # the defaults


def _option(
    flag: str, type_: click.IntRange | click.FloatRange, default: float, description: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return an option whose default the help shows."""
    return click.option(flag, type=type_, default=default, show_default=True, help=description)


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_option("--port", click.IntRange(0, 65535), 8088, "0: any free port.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@_option("--workers", click.IntRange(1, 64), _OPTIONS.workers, "Number of processes.")
@_option("--threads", click.IntRange(1, 64), _OPTIONS.threads, "Threads of a process.")
@click.option("--tokens", type=click.Path(exists=True, dir_okay=False), help="A TOML file with tokens and scopes.")
@click.option("--allow-anonymous", is_flag=True, help="Listen on another address than localhost without tokens.")
@_option("--max-bytes", click.IntRange(1), _LIMITS.max_bytes, "Of a request.")
@_option("--max-waiting", click.IntRange(1), _OPTIONS.max_waiting, "Requests of a process.")
@_option("--timeout", click.FloatRange(0.1), _LIMITS.predict_seconds, "Seconds of a request.")
@_option("--drain", click.IntRange(0), _OPTIONS.drain, "Seconds to end after SIGTERM.")
@_option("--poll", click.FloatRange(0.1), _OPTIONS.poll, "Seconds between checks.")
@click.option("--cache", type=click.Path(file_okay=False), help="Folder of copies. Default: data/.serving.")
@click.option("--exact", is_flag=True, help="Predict the bits of the model's library, each request by itself.")
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
    for library in ("OMP", "OPENBLAS", "MKL"):  # they read it when they are imported
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    from diurnal.serving.serving_process import PredictionServer

    options = ServerOptions(
        references=_check_references(names),
        workers=workers,
        threads=threads,
        max_waiting=max_waiting,
        exact=exact,
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
