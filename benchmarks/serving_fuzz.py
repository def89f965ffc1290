"""Hostile and broken requests to a running `diurnal serve`: no server error, bounded memory, and others are served.

Requests of its OpenAPI description are changed at random: bytes, JSON values, headers, paths and methods. Meanwhile a
client with valid requests measures its latency beside idle and slow connections. Run it against a server of this
machine: ``python benchmarks/serving_fuzz.py http://127.0.0.1:8088 --requests 20000 --pid PID``.
"""

from __future__ import annotations

import argparse
import copy
import gzip
import http.client
import json
import random
import re
import socket
import statistics
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, -0.0, 1e308, -1e308, 5e-324, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, "",
    "x", "NaN", "1", "true", "2026-02-31", "2026-11-23", "2026-11-23T10:00:00", "2026-11-23T10:00:00+00:00", "\0",
    "\ud800", "é" * 1000, [], {}, [[]], [{}], {"a": 1}, [0] * 1000, "x" * 100_000,
]  # fmt: skip
TOKENS = [b"NaN", b"Infinity", b"-", b"1e999", b"9" * 400, b"\xff", b"\x00", b"[" * 2000, b"{" * 2000, b'"', b",", b"}"]
TYPES = [
    "application/json", "application/json; charset=utf-8", "text/csv", "application/vnd.apache.arrow.stream",
    "application/octet-stream", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "\x7f",
]  # fmt: skip
HEADERS = [
    ("Content-Encoding", "gzip"), ("Content-Encoding", "br"), ("Content-Encoding", "deflate"), ("Accept", "image/png"),
    ("Accept", "application/vnd.apache.arrow.stream"), ("Authorization", "Bearer x"), ("Authorization", "\xff"),
    ("Inference-Header-Content-Length", "1"), ("Inference-Header-Content-Length", "-1"), ("X-Long", "x" * 20_000),
    ("Inference-Header-Content-Length", "9" * 5000), ("Expect", "100-continue"), ("Range", "bytes=0-1"),
]  # fmt: skip
PARTS = ["%00", "%ff", "/", "..", "//", "versions/1/", "%C3%A9", "?x=1", "%2e", "%"]  # of paths
METHODS = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"]


def main() -> int:
    """Send the requests; return 1 if one of the demands is not met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--idle", type=int, default=1000, help="idle and slow connections")
    parser.add_argument("--pid", type=int, help="of the server, to measure its memory")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    host, port = arguments.url.removeprefix("http://").split(":")
    examples = read_examples(arguments.url)
    chance = random.Random(arguments.seed)
    statuses: Counter[int | str] = Counter()
    for body in (one for _ in range(20) for one in examples.values()):  # the server is warm
        ask(host, int(port), "POST", next(iter(examples)), body, {})
    before = memory_of(arguments.pid)
    with ExitStack() as stack:
        bystander = stack.enter_context(Bystander(host, int(port), examples))
        stack.enter_context(SlowClients(host, int(port), arguments.idle))
        started, failed = time.monotonic(), []
        for _ in range(arguments.requests):
            request = change_request(chance, examples)
            status = ask(host, int(port), *request)
            statuses[status] += 1
            if isinstance(status, int) and status >= 500 and status != 503:
                failed.append((status, request))
        seconds = time.monotonic() - started
    after = memory_of(arguments.pid)
    counts = ", ".join(f"{status}: {statuses[status]}" for status in sorted(statuses, key=str))
    print(f"{arguments.requests} requests in {seconds:.0f} s: {counts}")
    print(f"memory: {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after")
    print(f"meanwhile: {bystander.describe()}, beside {arguments.idle} idle and slow connections")
    for status, request in failed[:5]:
        print(status, repr(request)[:500], file=sys.stderr)
    return int(bool(failed or bystander.failures or after > before + 100e6))


def read_examples(url: str) -> dict[str, Any]:
    """Return the path and the example of each operation of the description."""
    with urllib.request.urlopen(f"{url}/openapi.json") as response:
        description = json.load(response)
    found = {}
    for path, operations in description["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            if "example" in content:
                found[path] = json.dumps(content["example"]).encode()
    return found


def change_request(chance: random.Random, examples: dict[str, bytes]) -> tuple[str, str, bytes, dict[str, str]]:
    """Return an example that is changed at random: its method, path, body and headers."""
    path = chance.choice(list(examples))
    body, method, headers = examples[chance.choice(list(examples)) if chance.random() < 0.1 else path], "POST", {}
    if chance.random() < 0.6:
        body = json.dumps(change_value(chance, json.loads(body))).encode("utf-8", "surrogatepass")
    if chance.random() < 0.4:
        body = change_bytes(chance, body)
    if chance.random() < 0.3:
        headers["Content-Type"] = chance.choice(TYPES)
    if chance.random() < 0.2:
        headers.update([chance.choice(HEADERS)])
    if headers.get("Content-Encoding") == "gzip" and chance.random() < 0.7:
        body = gzip.compress(body, 1)
    if chance.random() < 0.05:
        method = chance.choice(METHODS)
    if chance.random() < 0.1:
        place = chance.randrange(len(path))
        path = path[:place] + chance.choice(PARTS) + path[place:]
    return method, path, body, headers


def change_value(chance: random.Random, value: Any) -> Any:
    """Return JSON of which some places have another value, or none, or two."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        places = list(containers(value))
        if not places:
            return copy.deepcopy(chance.choice(VALUES))
        container = chance.choice(places)
        key = chance.choice(list(container) if isinstance(container, dict) else range(len(container)))
        kind = chance.random()
        if kind < 0.7:
            container[key] = copy.deepcopy(chance.choice(VALUES))
        elif kind < 0.85:
            del container[key]
        elif isinstance(container, list):
            container.extend([container[key]] * chance.choice([1, 10, 300]))
        else:
            container[f"{key}x"] = container[key]
    return value


def containers(value: Any) -> Iterator[Any]:
    """Give the containers of a document that are not empty."""
    if isinstance(value, dict | list) and value:
        yield value
        for item in value.values() if isinstance(value, dict) else value[:50]:
            yield from containers(item)


def change_bytes(chance: random.Random, body: bytes) -> bytes:
    """Return bytes of which some are removed, repeated or replaced."""
    place, kind = chance.randrange(len(body) + 1), chance.random()
    if kind < 0.4:
        return body[:place] + chance.choice(TOKENS) + body[place + chance.randint(0, 3) :]
    if kind < 0.7:
        return body[:place]
    if kind < 0.9:
        return body[:place] + bytes(chance.randrange(256) for _ in range(chance.randint(1, 20))) + body[place:]
    return chance.randbytes(chance.randint(0, 2000))


def ask(host: str, port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> int | str:
    """Return the status of an answer, or the name of the error."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request(method, path, body, {**headers, "Connection": "close"})
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 400 and len(text) > 4096:
            return "an error above 4 kB"
    except (OSError, http.client.HTTPException, ValueError) as error:
        return type(error).__name__
    finally:
        connection.close()
    return answer.status


class Bystander(threading.Thread):
    """A client with valid requests, whose answers must be right and in time."""

    def __init__(self, host: str, port: int, examples: dict[str, bytes]) -> None:
        super().__init__(daemon=True)
        self._address, self._examples = (host, port), examples
        self._stopped = threading.Event()
        self.milliseconds: list[float] = []
        self.failures: Counter[int | str] = Counter()

    def run(self) -> None:
        while not self._stopped.wait(0.01):
            for path, body in self._examples.items():
                started = time.perf_counter()
                status = ask(*self._address, "POST", path, body, {})
                self.milliseconds.append(1000 * (time.perf_counter() - started))
                if status != 200:
                    self.failures[status] += 1

    def describe(self) -> str:
        ordered = sorted(self.milliseconds)
        p99 = ordered[int(0.99 * (len(ordered) - 1))]
        median = statistics.median(ordered)
        return f"{len(ordered)} valid requests, p50 {median:.1f} ms, p99 {p99:.1f} ms, failed: {dict(self.failures)}"

    def __enter__(self) -> Bystander:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()


class SlowClients(threading.Thread):
    """Connections that send nothing, or a byte now and then; those that the server closes are opened again."""

    def __init__(self, host: str, port: int, n_connections: int) -> None:
        super().__init__(daemon=True)
        self._address, self._n_connections = (host, port), n_connections
        self._stopped = threading.Event()
        self._connections: list[socket.socket] = []

    def run(self) -> None:
        while not self._stopped.wait(1):
            for number, connection in enumerate(self._connections):
                try:
                    if number % 3:
                        connection.sendall(b"x")
                except OSError:
                    connection.close()
                    self._connections[number] = self._open(number)

    def _open(self, number: int) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=10)
        if number % 3 == 1:
            connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        elif number % 3 == 2:
            connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
        return connection

    def __enter__(self) -> SlowClients:
        self._connections = [self._open(number) for number in range(self._n_connections)]
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self.join()
        for connection in self._connections:
            connection.close()


def memory_of(pid: int | None) -> float:
    """Return the resident memory of a process in bytes; 0 if it is not known."""
    if pid is None:
        return 0.0
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
