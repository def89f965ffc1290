"""Requests at a constant rate to a server of predictions, each answer of which is checked."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

N_CLIENTS = 4


class PacedLoad:
    """Clients that send one request at its time, until the context ends; a late one is sent at once.

    Parameters
    ----------
    url : str
        The address of the server.
    path : str
        The path of the requests.
    body : str
        The rows.
    is_right : callable
        Returns whether an answer is right, for the digest that it names.
    rate : float
        Requests a second, of all clients together.

    Attributes
    ----------
    wrong : list of str
        Answers with another status than 200, and wrong ones.
    broken : list of str
        Errors of connections.
    answered : list of tuple of (float, float)
        When each right answer came, and its latency, in seconds.
    digests : set of str
        The digests of the right answers.
    """

    def __init__(
        self, url: str, path: str, body: str, is_right: Callable[[dict[str, Any]], bool], rate: float = 200.0
    ) -> None:
        self._address, self._path, self._body = url.removeprefix("http://"), path, body
        self._is_right, self._pause = is_right, N_CLIENTS / rate
        self.wrong: list[str] = []
        self.broken: list[str] = []
        self.answered: list[tuple[float, float]] = []
        self.digests: set[str] = set()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on, args=[i]) for i in range(N_CLIENTS)]

    def __enter__(self) -> PacedLoad:
        self.started = time.perf_counter()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.perf_counter() - self.started

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.answered) / self.seconds

    @property
    def longest_gap(self) -> float:
        """The longest time without a right answer, in seconds."""
        times = [self.started, *sorted(at for at, _ in self.answered)]
        return max(after - before for before, after in pairwise(times))

    def latency(self, share: float) -> float:
        """Return a quantile of the latencies, in milliseconds."""
        ordered = sorted(latency for _, latency in self.answered)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        return (
            f"{len(self.answered)} right answers ({self.rate:.0f} a second) by {len(self.digests)} models, "
            f"{len(self.wrong)} wrong, {len(self.broken)} broken connections; p50 {self.latency(0.5):.1f} ms, "
            f"p99 {self.latency(0.99):.1f} ms, longest gap {self.longest_gap:.2f} s"
        )

    def _ask_on(self, number: int) -> None:
        due, connection = self.started + number * self._pause / N_CLIENTS, self._connect()
        while not self._stopped.is_set():
            time.sleep(max(0.0, due - time.perf_counter()))
            begin = time.perf_counter()
            due = max(due + self._pause, begin)
            try:
                connection.request("POST", self._path, self._body, {"content-type": "application/json"})
                answer = connection.getresponse()
                self._add(answer.status, answer.read(), begin)
            except (OSError, http.client.HTTPException) as error:
                self.broken.append(repr(error))
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address, timeout=20)

    def _add(self, status: int, body: bytes, begin: float) -> None:
        content = json.loads(body) if status == 200 else {}
        if status != 200 or not self._is_right(content):
            self.wrong.append(f"{status}: {body[:500]!r}")
            return
        now = time.perf_counter()
        self.digests.add(content["digest"])
        self.answered.append((now, now - begin))
