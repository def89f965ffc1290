"""The access log: lines of JSON that never keep a request waiting."""

import json
import os
import time

from diurnal.serving import access_log
from diurnal.serving.access_log import AccessLog


def read_lines(descriptor):
    parts = []
    while part := os.read(descriptor, 65536):
        parts.append(part)
    return [json.loads(line) for line in b"".join(parts).splitlines()]


def test_lines_have_a_time_and_come_in_order():
    reader, writer = os.pipe()
    log = AccessLog(writer)
    for number in range(100):
        log.add(1_790_000_000.25 + number, {"status": 200, "rows": number})
    log.close()
    os.close(writer)
    lines = read_lines(reader)
    os.close(reader)
    assert [line["rows"] for line in lines] == list(range(100))
    assert lines[0]["time"] == "2026-09-21T14:13:20.250+00:00"


def test_a_reader_that_stops_blocks_nothing_and_dropped_lines_are_counted(monkeypatch):
    monkeypatch.setattr(access_log, "_MAX_WAITING", 50)
    reader, writer = os.pipe()
    log = AccessLog(writer)
    started = time.monotonic()
    for number in range(5000):
        log.add(0.0, {"rows": number, "text": "x" * 1000})
    assert time.monotonic() - started < 2
    log.close(timeout=0.1)
    received = b""
    while b"dropped_lines" not in received:
        received += os.read(reader, 65536)
    assert json.loads(received.splitlines()[0])["rows"] == 0
    log.close()  # what still waits fits into the pipe
    os.close(reader)
    os.close(writer)


def test_a_closed_reader_ends_the_log_only(caplog):
    reader, writer = os.pipe()
    log = AccessLog(writer)
    os.close(reader)
    for _ in range(3):
        log.add(0.0, {"rows": 1})
        time.sleep(0.05)
    log.close()
    os.close(writer)
    assert caplog.text.count("the access log ends") == 1
