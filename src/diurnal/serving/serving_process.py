"""The processes of a server: one that answers, or several that share a socket and the memory of the models."""

from __future__ import annotations

import gc
import logging
import os
import resource
import shutil
import socket
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from diurnal.serving.access_log import AccessLog
from diurnal.serving.access_tokens import AccessTokens
from diurnal.serving.model_cache import ModelCache
from diurnal.serving.model_watch import ModelSource, ModelWatch
from diurnal.serving.prediction_queue import PredictionQueue
from diurnal.serving.served_models import ServedModels
from diurnal.serving.serving_app import ServingApp
from diurnal.serving.worker_processes import WorkerProcesses

if TYPE_CHECKING:
    from diurnal.runtime import Settings
    from diurnal.serving.server_options import ServerOptions
    from diurnal.storage.warehouse import Warehouse

_READER_SECONDS = 10  # for a query
_CHECK_SECONDS = 5  # that a new worker waits for the versions in use
_OPEN_FILES = 65_536
_log = logging.getLogger("diurnal.serving")


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
        # Models predict their golden rows. OpenMP then has threads that belong to the calling one, and a forked process
        # would wait for them: so the calling one is not that which forks.
        with ThreadPoolExecutor(1) as executor:
            executor.submit(self._watch.load_all).result()

    def run(self, listener: socket.socket) -> None:
        """Answer requests until SIGTERM or SIGINT."""
        _raise_file_limit()
        if self._options.workers == 1:
            self._work(listener, is_alone=True)
            return
        folder = tempfile.mkdtemp(prefix="diurnal-serving-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            _freeze_objects()

            def work(is_replacement: bool) -> None:
                self._work(listener, is_replacement=is_replacement)

            WorkerProcesses(listener, work, self._options.workers, self._options.drain).run()
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _new_watch(self) -> ModelWatch:
        options = self._options
        return ModelWatch(self._source, self._served, options.references, interval=options.poll)

    def _work(self, listener: socket.socket, *, is_alone: bool = False, is_replacement: bool = False) -> None:
        from diurnal.serving.uvicorn_server import run_server

        options = self._options
        queue = PredictionQueue(
            join=not options.exact,
            max_waiting=options.max_waiting,
            threads=options.threads,
            seconds=options.limits.predict_seconds,
        )
        log = AccessLog(sys.stdout.fileno()) if options.access_log else None
        watch = self._new_watch()
        watch.start()
        if is_replacement:  # the models of the start may have been replaced since
            watch.checked.wait(_CHECK_SECONDS)
        app = self._create_app(queue, log)
        _freeze_objects()
        try:
            run_server(app, listener, options.drain, is_alone=is_alone)
        finally:
            watch.stop()
            if log is not None:
                log.close()
            if not queue.close():  # a call of a model goes on, after the time to drain
                sys.stderr.flush()
                os._exit(0)

    def _create_app(self, queue: PredictionQueue, log: AccessLog | None) -> ServingApp:
        from diurnal.serving.serving_metrics import ServingMetrics

        metrics = ServingMetrics(self._served)
        return ServingApp(
            self._served, queue, metrics, access=self._access, limits=self._options.limits, access_log=log
        )


def _open_source(settings: Settings, options: ServerOptions) -> ModelSource:
    from diurnal.storage.stores import embedded_server, open_models, project_code

    def open_warehouse() -> Warehouse:
        from diurnal.storage.warehouse import Warehouse

        server = embedded_server(settings)
        return Warehouse(server.start() if server else settings.warehouse, reader_timeout=_READER_SECONDS)

    models, code = open_models(settings), project_code(settings)
    return ModelSource(open_warehouse, models, code, _open_cache(settings, options), compiled=not options.exact)


def _open_cache(settings: Settings, options: ServerOptions) -> ModelCache | None:
    """Return the copies of models; None, with a warning, if their folder cannot be written."""
    folder = options.cache or settings.project / "data" / ".serving"
    try:
        return ModelCache(str(folder))
    except OSError as error:
        _log.warning("no copies of models are kept: %s: %s", folder, error.strerror)
        return None


def _freeze_objects() -> None:
    """Leave the objects of libraries and models out of garbage collections.

    A collection of all of them stops a process for 100 milliseconds, and copies the pages that workers share.
    """
    gc.collect()
    gc.freeze()


def _raise_file_limit() -> None:
    """Allow as many open connections as the system permits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
