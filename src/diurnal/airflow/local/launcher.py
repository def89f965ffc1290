"""The launcher: starts a complete Airflow, monitors it, and stops it."""

from __future__ import annotations

import importlib.util
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

from diurnal.airflow.local import airflow_config, ended_processes, metastore
from diurnal.airflow.local.ended_processes import EndedProcess
from diurnal.airflow.local.home import AirflowHome, write_private
from diurnal.airflow.local.launcher_lock import LauncherState, WriteState, acquire_lock
from diurnal.airflow.local.process import ManagedProcess
from diurnal.airflow.local.rest_client import RestClient
from diurnal.airflow.local.server_address import ServerAddress
from diurnal.airflow.local.status import sign_in_lines
from diurnal.errors import ConfigurationError, TransientError

Report = Callable[[str], None]

_COMPONENTS = {  # in the order in which they are stopped: tasks report to the API server until the end
    "scheduler": ["scheduler", "--skip-serve-logs"],  # one machine: the UI reads the logs from their files
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
    "api-server": ["api-server"],
}
_HEALTHY_TIMEOUT = 180  # seconds
_STOP_TIMEOUT = 15  # seconds, for tasks that are nearly done
_SIGNAL_TIMEOUT = 5  # seconds after SIGTERM to a whole session, and after SIGKILL
_SERVER_CHECK_SECONDS = 5  # between two checks of PostgreSQL
_MAX_RESTARTS = 3  # of one component
_RESTART_PERIOD = 600  # seconds in which they are counted; one more restart stops everything


class _StopRequested(Exception):
    """A signal has asked the launcher to stop."""


class Launcher:
    """One foreground run of the local Airflow.

    Parameters
    ----------
    home : AirflowHome
        The folder of the Airflow.
    address : ServerAddress
        The address of UI and API.
    report : callable
        Called with a line for each event.
    """

    def __init__(self, home: AirflowHome, address: ServerAddress, report: Report) -> None:
        if importlib.util.find_spec("airflow") is None:
            raise ConfigurationError(
                "Airflow is not installed", hint="pip install 'diurnal[airflow]', then repeat the command"
            )
        self._home, self._address, self._report = home, address, report
        self._processes: list[ManagedProcess] = []
        self._signals: list[int] = []
        self._ended: list[tuple[float, EndedProcess]] = []
        self._started = time.monotonic()

    def run(self) -> None:
        """Start Airflow, and return when a signal has stopped it.

        Raises
        ------
        UsageError
            If it runs already.
        ConfigurationError
            If the port is taken, or the configuration does not allow a start.
        TransientError
            If a component ends unexpectedly at the start or repeatedly, or does not become healthy. The others are
            stopped.
        """
        with self._signal_handlers(), acquire_lock(self._home) as write_state:
            self._address = self._address.with_free_port()
            with self._home.server:
                try:
                    self._monitor(write_state, self._start(write_state))
                except _StopRequested:
                    self._log_event(f"{signal.Signals(self._signals[0]).name}: stopping")
                finally:
                    self._stop()

    def _start(self, write_state: WriteState) -> LauncherState:
        home, now = self._home, datetime.now(UTC).isoformat(timespec="seconds")
        state = LauncherState(os.getpid(), now, self._address.host, self._address.port)
        write_state(state)
        ended_processes.write_ended(home, [])
        home.dags.mkdir(exist_ok=True)
        write_private(home.configuration, airflow_config.render_config(home, self._address))
        environment = airflow_config.process_environment(home, self._address)
        self._log_event(f"PostgreSQL runs in {home.server.folder}")
        if not metastore.prepare_database(home):
            self._migrate(environment)
        for name in reversed(_COMPONENTS):
            self._processes.append(ManagedProcess(name, _COMPONENTS[name], home.logs, environment))
        self._processes.reverse()
        state = replace(state, components=self._pids())
        write_state(state)
        self._log_event(f"started {', '.join(_COMPONENTS)}; their logs are in {home.logs}")
        self._wait_until_healthy()
        self._log_event("healthy")
        for line in sign_in_lines(home, self._address):
            self._report(line)
        state = replace(state, healthy=True)
        write_state(state)  # last, so that a command that waits for it finds all lines in the log
        return state

    def _pids(self) -> dict[str, int]:
        return {process.name: process.pid for process in self._processes}

    def _migrate(self, environment: dict[str, str]) -> None:
        migration = ManagedProcess("migrate", ["db", "migrate"], self._home.logs, environment)
        self._processes = [migration]
        while migration.status is None:
            self._sleep(0.1)
        self._processes = []
        if migration.status != 0:
            message = f"Airflow's tables cannot be created (`airflow db migrate`):\n{migration.last_lines()}"
            raise ConfigurationError(message, hint=f"see the log: {migration.log}")
        metastore.mark_migrated(self._home)
        self._log_event("the metastore has its tables")

    def _wait_until_healthy(self) -> None:
        client, started = RestClient(self._address), time.monotonic()
        while True:
            health = client.health()
            if health and all(state == "healthy" for state in health.values()):
                return
            if time.monotonic() - started > _HEALTHY_TIMEOUT:
                unhealthy = [name for name, state in health.items() if state != "healthy"] or ["the API server"]
                message = f"not healthy after {_HEALTHY_TIMEOUT} s: {', '.join(unhealthy)}"
                raise TransientError(message, hint=f"see the logs in {self._home.logs}")
            self._check_processes()
            self._sleep(0.3)

    def _monitor(self, write_state: WriteState, state: LauncherState) -> None:
        checked_at = time.monotonic()
        while True:
            self._sleep(0.5)
            if self._restart_ended_processes():
                state = replace(state, components=self._pids())
                write_state(state)
            if time.monotonic() - checked_at > _SERVER_CHECK_SECONDS:
                self._home.server.start()  # it may have been stopped from outside
                checked_at = time.monotonic()

    def _check_processes(self) -> None:
        """Abort the start if a component has ended: a restart would end in the same way."""
        for process in self._processes:
            if process.status is not None:
                self._fail(process, "stopping the others")

    def _restart_ended_processes(self) -> bool:
        """Restart each component that ended unexpectedly, up to a limit; return whether there was one."""
        positions = [i for i, process in enumerate(self._processes) if process.status is not None]
        for i in positions:
            process = self._processes[i]
            since = time.monotonic() - _RESTART_PERIOD
            earlier = [end for moment, end in self._ended if end.component == process.name and moment > since]
            if len(earlier) >= _MAX_RESTARTS:
                minutes = _RESTART_PERIOD // 60
                self._fail(process, f"{_MAX_RESTARTS} restarts within {minutes} minutes: stopping the others")
            self._record_end(process, "restarted")
            reason = ended_processes.end_reason(process)
            self._log_event(f"{process.name} has ended unexpectedly, {reason}: restarting it")
            process.kill(signal.SIGKILL)  # the rest of its session, such as tasks: Airflow retries them
            self._sleep(2.0 ** len(earlier))
            environment = airflow_config.process_environment(self._home, self._address)
            restarted = ManagedProcess(process.name, _COMPONENTS[process.name], self._home.logs, environment)
            self._processes[i] = restarted
        return bool(positions)

    def _record_end(self, process: ManagedProcess, action: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        log = process.log.with_name(f"{process.log.name}.1") if action == "restarted" else process.log
        end = EndedProcess(process.name, now, ended_processes.end_reason(process), action, str(log))
        self._ended.append((time.monotonic(), end))
        ended_processes.write_ended(self._home, [end for _, end in self._ended])

    def _fail(self, process: ManagedProcess, action: str) -> None:
        """Record the end of a component, and raise the error that stops everything."""
        self._record_end(process, action)
        reason = ended_processes.end_reason(process)
        self._log_event(f"{process.name} has ended unexpectedly, {reason}: {action}")
        message = f"the {process.name} has ended unexpectedly ({process.status}); last log lines:\n"
        hint = f"see {process.log}; then repeat `diurnal airflow up`"
        raise TransientError(message + process.last_lines(), hint=hint)

    def _stop(self) -> None:
        """Stop the components in order: the scheduler's tasks report to the API server, which is stopped last."""
        if not self._processes:
            return
        *others, last = self._processes
        for group in (others, [last]):
            for process in group:
                process.terminate()
            self._wait_for_exit(group, _STOP_TIMEOUT)
            for signal_ in (signal.SIGTERM, signal.SIGKILL):
                remaining = [process for process in group if not process.has_exited()]
                for process in remaining:
                    self._log_event(f"sending {signal_.name} to the remaining processes of {process.name}")
                    process.kill(signal_)
                self._wait_for_exit(remaining, _SIGNAL_TIMEOUT)
        self._log_event("stopped")

    def _wait_for_exit(self, group: list[ManagedProcess], seconds: float) -> None:
        """Wait until some components have exited; another signal ends the wait."""
        n_signals, deadline = max(1, len(self._signals)), time.monotonic() + seconds
        while not all(process.has_exited() for process in group):
            if time.monotonic() > deadline or len(self._signals) > n_signals:
                return
            time.sleep(0.1)

    @contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {signal_: signal.signal(signal_, self._on_signal) for signal_ in signals}
        try:
            yield
        finally:
            for signal_, handler in before.items():
                signal.signal(signal_, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _sleep(self, seconds: float) -> None:
        if not self._signals:
            time.sleep(seconds)
        if self._signals:
            raise _StopRequested

    def _log_event(self, text: str) -> None:
        self._report(f"{time.monotonic() - self._started:6.1f} s  {text}")
