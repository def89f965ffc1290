"""Starting a complete Airflow, looking after it, and ending all of it."""

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
from diurnal.airflow.local.ended_processes import Ended
from diurnal.airflow.local.home import Home, write_private
from diurnal.airflow.local.launcher_lock import Running, Tell, claim
from diurnal.airflow.local.process import Component
from diurnal.airflow.local.rest_client import Client
from diurnal.airflow.local.server_address import Address
from diurnal.airflow.local.status import sign_in
from diurnal.errors import ConfigurationError, TransientError

Say = Callable[[str], None]

_COMPONENTS = {  # in the order in which they end: tasks report to the API server to the last
    "scheduler": ["scheduler", "--skip-serve-logs"],  # one machine: the UI reads the logs from their files
    "dag-processor": ["dag-processor"],
    "triggerer": ["triggerer", "--skip-serve-logs"],
    "api-server": ["api-server"],
}
_TO_BE_HEALTHY = 180  # seconds
_TO_END = 15  # seconds, for tasks that are nearly done
_TO_OBEY = 5  # seconds from a signal that is no question any more to the next
_SERVER_EVERY = 5  # seconds between two looks after PostgreSQL
_RESTARTS = 3  # of one component, within
_WITHIN = 600  # seconds; one more ends all of it


class _EndAsked(Exception):
    """Somebody has sent a signal: everything shall end."""


class Launcher:
    """One foreground run of the local Airflow.

    Parameters
    ----------
    home : Home
        Whose Airflow.
    address : Address
        Where the UI and the API shall answer.
    say : callable
        Told one line for each event.
    """

    def __init__(self, home: Home, address: Address, say: Say) -> None:
        if importlib.util.find_spec("airflow") is None:
            raise ConfigurationError(
                "Airflow is not installed", hint="say: pip install 'diurnal[airflow]', then repeat the command"
            )
        self._home, self._address, self._say = home, address, say
        self._components: list[Component] = []
        self._signals: list[int] = []
        self._ended: list[tuple[float, Ended]] = []
        self._began = time.monotonic()

    def run(self) -> None:
        """Start everything, and return when a signal has ended it.

        Raises
        ------
        UsageError
            If it is running already.
        ConfigurationError
            If the port is taken, or something cannot be run here.
        TransientError
            If a component ends by itself at the start or again and again, or does not become healthy. The others are
            ended.
        """
        with self._listening(), claim(self._home) as tell:
            self._address = self._address.free()
            with self._home.server:
                try:
                    self._look_after(tell, self._start(tell))
                except _EndAsked:
                    self._event(f"{signal.Signals(self._signals[0]).name}: ending all of it")
                finally:
                    self._end()

    def _start(self, tell: Tell) -> Running:
        home, now = self._home, datetime.now(UTC).isoformat(timespec="seconds")
        running = Running(os.getpid(), now, self._address.host, self._address.port)
        tell(running)
        ended_processes.keep(home, [])
        home.dags.mkdir(exist_ok=True)
        write_private(home.configuration, airflow_config.write(home, self._address))
        environment = airflow_config.environment(home, self._address)
        self._event(f"PostgreSQL runs in {home.server.folder}")
        if not metastore.ready(home):
            self._migrate(environment)
        for name in reversed(_COMPONENTS):
            self._components.append(Component(name, _COMPONENTS[name], home.logs, environment))
        self._components.reverse()
        running = replace(running, components=self._pids())
        tell(running)
        self._event(f"started {', '.join(_COMPONENTS)}; their logs are in {home.logs}")
        self._wait_until_healthy()
        self._event("healthy")
        for line in sign_in(home, self._address):
            self._say(line)
        running = replace(running, healthy=True)
        tell(running)  # at last: who waits for it has then read all of this
        return running

    def _pids(self) -> dict[str, int]:
        return {component.name: component.pid for component in self._components}

    def _migrate(self, environment: dict[str, str]) -> None:
        migration = Component("migrate", ["db", "migrate"], self._home.logs, environment)
        self._components = [migration]
        while migration.status is None:
            self._pause(0.1)
        self._components = []
        if migration.status != 0:
            message = f"Airflow's tables cannot be made (`airflow db migrate`):\n{migration.last_lines()}"
            raise ConfigurationError(message, hint=f"the whole log is {migration.log}")
        metastore.mark(self._home)
        self._event("the metastore has its tables")

    def _wait_until_healthy(self) -> None:
        client, waited = Client(self._address), time.monotonic()
        while True:
            health = client.health()
            if health and all(state == "healthy" for state in health.values()):
                return
            if time.monotonic() - waited > _TO_BE_HEALTHY:
                ill = [name for name, state in health.items() if state != "healthy"] or ["the API server"]
                message = f"not healthy after {_TO_BE_HEALTHY} s: {', '.join(ill)}"
                raise TransientError(message, hint=f"see the logs in {self._home.logs}")
            self._see_that_all_live()
            self._pause(0.3)

    def _look_after(self, tell: Tell, running: Running) -> None:
        seen = time.monotonic()
        while True:
            self._pause(0.5)
            if self._restart_what_ended():
                running = replace(running, components=self._pids())
                tell(running)
            if time.monotonic() - seen > _SERVER_EVERY:
                self._home.server.start()  # somebody may have stopped it
                seen = time.monotonic()

    def _see_that_all_live(self) -> None:
        """End the start if a component ended: it would not live a second time."""
        for component in self._components:
            if component.status is not None:
                self._give_up(component, "ending the rest")

    def _restart_what_ended(self) -> bool:
        """Start each component again that ended by itself, a bounded number of times; tell whether there was one."""
        numbers = [number for number, component in enumerate(self._components) if component.status is not None]
        for number in numbers:
            component = self._components[number]
            since = time.monotonic() - _WITHIN
            earlier = [one for moment, one in self._ended if one.component == component.name and moment > since]
            if len(earlier) >= _RESTARTS:
                self._give_up(component, f"{_RESTARTS} restarts within {_WITHIN // 60} minutes: ending the rest")
            self._remember(component, "started again")
            self._event(f"{component.name} has ended by itself, {ended_processes.why(component)}: starting it again")
            component.kill(signal.SIGKILL)  # what it leaves behind, such as tasks: they are tried again
            self._pause(2.0 ** len(earlier))
            environment = airflow_config.environment(self._home, self._address)
            again = Component(component.name, _COMPONENTS[component.name], self._home.logs, environment)
            self._components[number] = again
        return bool(numbers)

    def _remember(self, component: Component, then: str) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        log = component.log.with_name(f"{component.log.name}.1") if then == "started again" else component.log
        one = Ended(component.name, now, ended_processes.why(component), then, str(log))
        self._ended.append((time.monotonic(), one))
        ended_processes.keep(self._home, [each for _, each in self._ended])

    def _give_up(self, component: Component, then: str) -> None:
        self._remember(component, then)
        self._event(f"{component.name} has ended by itself, {ended_processes.why(component)}: {then}")
        message = f"the {component.name} has ended by itself ({component.status}); its last words:\n"
        hint = f"see {component.log}; then say `diurnal airflow up` again"
        raise TransientError(message + component.last_lines(), hint=hint)

    def _end(self) -> None:
        """End the components in order: what runs in the scheduler reports to the API server, which ends last."""
        if not self._components:
            return
        *others, last = self._components
        for group in (others, [last]):
            for component in group:
                component.ask_to_end()
            self._await(group, _TO_END)
            for how in (signal.SIGTERM, signal.SIGKILL):
                left = [component for component in group if not component.is_gone()]
                for component in left:
                    self._event(f"what is left of {component.name} is ended by {how.name}")
                    component.kill(how)
                self._await(left, _TO_OBEY)
        self._event("all of it has ended")

    def _await(self, group: list[Component], seconds: float) -> None:
        """Wait until some components are gone; a second signal ends the patience."""
        asked, deadline = max(1, len(self._signals)), time.monotonic() + seconds
        while not all(component.is_gone() for component in group):
            if time.monotonic() > deadline or len(self._signals) > asked:
                return
            time.sleep(0.1)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        heard = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {one: signal.signal(one, self._hear) for one in heard}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _pause(self, seconds: float) -> None:
        if not self._signals:
            time.sleep(seconds)
        if self._signals:
            raise _EndAsked

    def _event(self, words: str) -> None:
        self._say(f"{time.monotonic() - self._began:6.1f} s  {words}")
