"""The processes of a server: one that answers, or several that share a socket and the memory of the models."""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diurnal.serving.access_tokens import AccessTokens
from diurnal.serving.model_cache import ModelCache
from diurnal.serving.model_watch import ModelSource, ModelWatch
from diurnal.serving.prediction_queue import PredictionQueue
from diurnal.serving.served_models import ServedModels
from diurnal.serving.serving_app import RequestLimits, ServingApp

if TYPE_CHECKING:
    from types import FrameType

    from diurnal.runtime import Settings
    from diurnal.storage.warehouse import Warehouse

_READER_SECONDS = 10  # for a query
_OPEN_FILES = 65_536
_log = logging.getLogger("diurnal.serving")


@dataclass(frozen=True)
class ServerOptions:
    """The options of a server.

    Attributes
    ----------
    references : tuple of str
        Experiments, or versions as ``name@3``; empty for all champions.
    workers : int
        Number of processes.
    threads : int
        Number of threads of a worker for slow models, and of their numeric libraries.
    max_waiting : int
        Maximal number of waiting requests of a worker.
    join : bool
        Whether waiting requests are joined in one call of the model.
    compiled : bool
        Whether known pipelines are compiled.
    poll : float
        Seconds after which the warehouse is asked without a notification.
    drain : int
        Seconds in which requests end after SIGTERM.
    access_log : bool
        Whether each request is logged to the standard output, as a line of JSON.
    limits : RequestLimits
        The limits of a request.
    tokens : Path or None
        The file with the tokens.
    cache : Path or None
        The folder of the copies of models; None for one in the project.
    """

    references: tuple[str, ...] = ()
    workers: int = 1
    threads: int = 1
    max_waiting: int = 1000
    join: bool = True
    compiled: bool = True
    poll: float = 10.0
    drain: int = 20
    access_log: bool = False
    limits: RequestLimits = field(default_factory=RequestLimits)
    tokens: Path | None = None
    cache: Path | None = None


class PredictionServer:
    """Loads models and answers requests on a socket.

    Parameters
    ----------
    settings : Settings
        The settings of the project.
    options : ServerOptions
        The options.
    """

    def __init__(self, settings: Settings, options: ServerOptions) -> None:
        self._options = options
        self._access = AccessTokens.from_file(options.tokens) if options.tokens else AccessTokens()
        self._served = ServedModels()
        self._source = _open_source(settings, options)
        self._watch = self._new_watch()

    @property
    def served(self) -> ServedModels:
        """The models."""
        return self._served

    def load(self) -> None:
        """Load the models.

        Raises
        ------
        DiurnalError
            If there is none to serve.
        """
        _limit_threads(self._options.threads)
        self._watch.load_all()

    def run(self, listener: socket.socket) -> None:
        """Answer requests until SIGTERM or SIGINT."""
        _raise_file_limit()
        if self._options.workers == 1:
            self._work(listener)
            return
        folder = tempfile.mkdtemp(prefix="diurnal-serving-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            gc.collect()
            gc.freeze()  # so that collections in the workers do not copy the pages of the models
            Workers(self._options, lambda: self._work(listener)).run()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _new_watch(self) -> ModelWatch:
        options = self._options
        return ModelWatch(self._source, self._served, options.references, interval=options.poll)

    def _work(self, listener: socket.socket) -> None:
        import uvicorn

        from diurnal.serving.http_protocol import TimedHttpProtocol
        from diurnal.serving.serving_metrics import ServingMetrics

        options = self._options
        queue = PredictionQueue(
            join=options.join,
            max_waiting=options.max_waiting,
            threads=options.threads,
            seconds=options.limits.predict_seconds,
        )
        app = ServingApp(
            self._served,
            queue,
            ServingMetrics(self._served),
            access=self._access,
            limits=options.limits,
            log_request=_write_line if options.access_log else None,
        )
        watch = self._new_watch()
        watch.start()
        arguments: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False}
        config = uvicorn.Config(
            app,
            loop="uvloop",
            http=TimedHttpProtocol,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=options.drain,
            **arguments,
        )
        try:
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            watch.stop()
            queue.close()


class Workers:
    """Worker processes, forked from one that has loaded the models; one that ends is replaced.

    Parameters
    ----------
    options : ServerOptions
        The options.
    work : callable
        What a worker does.
    """

    def __init__(self, options: ServerOptions, work: Callable[[], None]) -> None:
        self._options, self._work = options, work
        self._pids: set[int] = set()
        self._stopped = False

    def run(self) -> None:
        """Start the workers, and replace those that end, until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        recent: list[float] = []
        while not self._stopped:
            while len(self._pids) < self._options.workers and not self._stopped:
                recent = [one for one in recent if one > time.monotonic() - 10]
                if len(recent) >= 5 * self._options.workers:
                    time.sleep(1)  # they end at once, again and again
                recent.append(time.monotonic())
                self._pids.add(self._fork())
            self._wait_for_end()
        self._end_all()

    def _fork(self) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            self._work()
            status = 0
        except BaseException:  # noqa: BLE001 - a worker must end here, and not go on as its parent
            _log.exception("a worker failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def _wait_for_end(self) -> None:
        """Wait until a worker ends or a signal comes."""
        with suppress(ChildProcessError, InterruptedError):
            pid, status = os.waitpid(-1, 0)
            self._pids.discard(pid)
            if not self._stopped:
                _log.warning("worker %d ended with status %d; a new one starts", pid, os.waitstatus_to_exitcode(status))

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopped = True
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _end_all(self) -> None:
        self._send(signal.SIGTERM)
        deadline = time.monotonic() + self._options.drain + 2
        while self._pids and time.monotonic() < deadline:
            with suppress(ChildProcessError):
                pid, _ = os.waitpid(-1, os.WNOHANG)
                self._pids.discard(pid)
            time.sleep(0.02)
        self._send(signal.SIGKILL)


def _open_source(settings: Settings, options: ServerOptions) -> ModelSource:
    from diurnal.storage.stores import embedded_server, open_models, project_code

    def open_warehouse() -> Warehouse:
        from diurnal.storage.warehouse import Warehouse

        server = embedded_server(settings)
        return Warehouse(server.start() if server else settings.warehouse, reader_timeout=_READER_SECONDS)

    models, code = open_models(settings), project_code(settings)
    return ModelSource(open_warehouse, models, code, _open_cache(settings, options), compiled=options.compiled)


def _open_cache(settings: Settings, options: ServerOptions) -> ModelCache | None:
    """Return the copies of models; None, with a warning, if their folder cannot be written."""
    folder = options.cache or settings.project / "data" / ".serving"
    try:
        return ModelCache(str(folder))
    except OSError as error:
        _log.warning("no copies of models are kept: %s: %s", folder, error.strerror)
        return None


def _limit_threads(threads: int) -> None:
    """Bound the threads of numeric libraries: requests are answered in parallel by processes."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)


def _raise_file_limit() -> None:
    """Allow as many open connections as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _write_line(record: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


def pin_thread_variables(threads: int, names: Sequence[str] = ("OMP", "OPENBLAS", "MKL")) -> None:
    """Set the variables of numeric libraries that are not imported yet; those that are set stay."""
    for name in names:
        os.environ.setdefault(f"{name}_NUM_THREADS", str(threads))
