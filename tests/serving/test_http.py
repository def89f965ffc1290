"""What the server does with requests as HTTP allows them: methods, compression, chunks, pipelines, and limits."""

import gzip
import http.client
import json
import socket
import time
import zlib
from contextlib import ExitStack

import numpy as np
import pyarrow as pa
import pytest

from diurnal.serving.request_bodies import BodyBudget, decompress
from diurnal.serving.request_errors import RequestError

PREDICT = "/experiments/clinic/predict"
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


def connect(running, data=b""):
    host, port = running[0].removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    connection.sendall(data)
    return connection


def read_all(connection):
    """Read until the server closes the connection."""
    parts = []
    with connection:
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def stream_of(table, **options):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("path", [PREDICT, "/invocations", "/v2/models/clinic/infer"])
def test_other_methods_than_post_are_not_allowed(client, path):
    for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = client.post("/experiments/clinic")
    assert (answer.status_code, "GET" in answer.headers["allow"]) == (405, True)
    assert answer.json()["error"]["message"]


def test_compressed_bodies(clinic, client):
    body = clinic.body.encode()
    for encoding, content in [("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("identity", body)]:
        answer = client.post(PREDICT, content=content, headers={"content-encoding": encoding})
        assert clinic.is_right(answer.json()), encoding
    answer = client.post(PREDICT, content=body, headers={"content-encoding": "br"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip, deflate")
    for content in (body, gzip.compress(body)[:-3], gzip.compress(body) + b"x", b""):
        assert client.post(PREDICT, content=content, headers={"content-encoding": "gzip"}).status_code == 400
    bomb = gzip.compress(b"[" * (65 * 2**20), 1)
    assert client.post(PREDICT, content=bomb, headers={"content-encoding": "gzip"}).status_code == 413


def test_chunks_pipelines_and_a_client_that_waits_for_100_continue(clinic, running, client):
    body = clinic.body.encode()
    answer = client.post(PREDICT, content=(body[i : i + 7] for i in range(0, len(body), 7)))
    assert clinic.is_right(answer.json())
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
    last = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = read_all(connect(running, 3 * (head + b"\r\n" + body) + last))
    assert answers.count(b"HTTP/1.1 200 OK") == 4
    assert answers.count(b'"predictions"') == 3
    with connect(running, head + b"Expect: 100-continue\r\n\r\n") as connection:
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
@pytest.mark.parametrize("path", [PREDICT, "/invocations", "/v2/models/clinic/infer"])
@pytest.mark.parametrize("body", [None, b"[", b"", b"[]"])
def test_a_request_has_the_same_answer_whether_it_comes_at_once_or_in_parts(clinic, running, path, body, version):
    body = clinic.body.encode() if body is None else body
    head = f"POST {path} {version}\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    answers = [read_all(connect(running, head + body))]
    with connect(running, head[:-1]) as connection:  # the server reads this, before more can come
        time.sleep(0.02)
        connection.sendall(head[-1:] + body[:1])
        time.sleep(0.02)
        connection.sendall(body[1:])
        answers.append(read_all(connection))
    whole, parts = (sorted(answer.partition(b"\r\n\r\n")[0].split(b"\r\n")) for answer in answers)
    assert [line for line in whole if line[:5] != b"date:"] == [line for line in parts if line[:5] != b"date:"]
    assert b"connection: close" in whole
    assert answers[0].partition(b"\r\n\r\n")[2] == answers[1].partition(b"\r\n\r\n")[2] != b""


def test_headers_without_end_are_not_held(running):
    def send_headers(connection):
        for number in range(10_000):
            connection.sendall(b"X-%d: %s\r\n" % (number, b"x" * 1000))
            time.sleep(0.001)

    with connect(running, b"GET /ping HTTP/1.1\r\n") as connection, pytest.raises(ConnectionError):
        send_headers(connection)


@pytest.mark.parametrize("shape", [[0, 2**64], [2**63, 0], [1] * 100, [2**40], [], [-1], [1, 1, 1]])
def test_shapes_of_tensors_that_are_not_possible(client, shape):
    tensor = {"name": "age", "shape": shape, "datatype": "FP64", "data": []}
    answer = client.post("/v2/models/clinic/infer", json={"inputs": [tensor, tensor | {"name": "pressure"}]})
    assert answer.status_code in (400, 413), answer.text


def test_numbers_with_too_many_digits(client):
    digits = "9" * 5000
    assert client.get(f"/v2/models/clinic/versions/{digits}").status_code == 404
    headers = {"inference-header-content-length": digits}
    assert client.post("/v2/models/clinic/infer", content=b"{}", headers=headers).status_code == 400
    for number in (f"1{digits}", "1e999", "-0", "0." + digits):
        answer = client.post(PREDICT, content=f'[{{"age": {number}, "pressure": 1}}]')
        assert answer.status_code in (200, 400), answer.text


def test_arrow_streams_that_become_large(clinic, client):
    small = pa.table({"age": [50.0] * 1000, "pressure": [120.0] * 1000})
    assert client.post(PREDICT, content=stream_of(small), headers=ARROW).status_code == 200
    answer = client.post(PREDICT, content=stream_of(small, compression="zstd"), headers=ARROW)
    assert (answer.status_code, "compressed" in answer.text) == (400, True)
    nulls = pa.record_batch([pa.nulls(2**30), pa.nulls(2**30)], names=["age", "pressure"])
    answer = client.post(PREDICT, content=stream_of(pa.Table.from_batches([nulls])), headers=ARROW)
    assert answer.status_code == 413


def test_an_answer_without_the_body_closes_the_connection(running):
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: {2**40}\r\n\r\n".encode()
    answer = read_all(connect(running, head))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_a_connection_is_kept_between_requests(clinic, running):
    host, port = running[0].removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    for status, body in [(200, clinic.body), (400, "["), (200, clinic.body)]:
        connection.request("POST", PREDICT, body)
        answer = connection.getresponse()
        assert (answer.status, bool(json.loads(answer.read()))) == (status, True)
    connection.close()


def test_all_bodies_together_are_bounded_and_small_ones_are_always_read():
    budget = BodyBudget(2**20)
    total = budget.free
    with ExitStack() as stack:
        for _ in range(4):
            held = stack.enter_context(budget.hold())
            held.add(bytes(2**19))
            held.add(bytes(2**19))
        with pytest.raises(RequestError, match="larger than 1048576 bytes") as error:
            held.add(b"x")
        assert error.value.status == 413
        with pytest.raises(RequestError, match="too many large requests") as error:
            stack.enter_context(budget.hold()).check(2**20)
        assert error.value.status == 503
        with pytest.raises(RequestError, match="too many large requests"):
            stack.enter_context(budget.hold()).add(bytes(2**20))
        stack.enter_context(budget.hold()).add(bytes(1000))
    assert budget.free == total


@pytest.mark.parametrize("expected", [True, False])
@pytest.mark.parametrize("n_bytes", [0, 1, 2**16, 2**16 + 1, 2**18])
def test_a_body_is_that_of_its_parts(n_bytes, expected):
    body, budget = bytes(i % 251 for i in range(n_bytes)), BodyBudget(2**18)
    for size in (1000, 2**16, 2**17):
        with budget.hold() as held:
            if expected:
                held.expect(n_bytes)
            for start in range(0, n_bytes, size):
                held.add(body[start : start + size])
            assert held.content == body


def test_a_large_arrow_stream_is_predicted(clinic, client):
    table = pa.concat_tables([pa.Table.from_pandas(clinic.rows)] * 4000)
    answer = client.post(PREDICT, content=stream_of(table), headers=ARROW)
    frame = pa.ipc.open_stream(answer.content).read_all()
    expected = np.tile(clinic.probabilities[int(frame.schema.metadata[b"version"])][:, 1], 4000)
    np.testing.assert_allclose(frame["probability_yes"], expected, rtol=0, atol=1e-12)


def test_decompression_is_bounded():
    assert decompress(gzip.compress(b"12"), 2) == b"12"
    with pytest.raises(RequestError) as error:
        decompress(gzip.compress(b"123"), 2)
    assert error.value.status == 413
