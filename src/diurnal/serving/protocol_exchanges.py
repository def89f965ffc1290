"""A request and its answer in each protocol: rows from the body and headers, and the answer from predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from diurnal.serving import inference_protocol, mlflow_protocol, record_protocol, table_protocols
from diurnal.serving.request_errors import RequestError

if TYPE_CHECKING:
    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.request_bodies import Body
    from diurnal.serving.served_model import Predictions, ServedModel

_ARROW = table_protocols.ARROW.encode()
NO_SNIFF = (b"x-content-type-options", b"nosniff")  # a header of each answer
_CSV = (b"text/csv", b"application/csv")


@dataclass(frozen=True)
class Answer:
    """The answer to a request, and what the log and the metrics contain of it."""

    body: bytes
    content_type: bytes = b"application/json"
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()
    n_rows: int = 0
    version: int | str = ""


class Exchange:
    """A request and its answer in the plain protocol, as JSON, CSV or Arrow.

    Parameters
    ----------
    model : ServedModel
        The model.
    headers : dict of bytes to bytes
        The headers of the request, with names in lower case.
    """

    encode_error = staticmethod(record_protocol.encode_record_error)

    def __init__(self, model: ServedModel, headers: dict[bytes, bytes]) -> None:
        self.model, self._headers = model, headers
        self._content_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()

    def decode(self, body: Body) -> Rows:
        """Decode the rows of a request."""
        if self._content_type == _ARROW:
            return table_protocols.decode_arrow(self.model, body)
        if self._content_type in _CSV:
            return table_protocols.decode_csv(self.model, body)
        return self._decode_json(bytes(body))

    def encode(self, predictions: Predictions) -> Answer:
        """Encode predictions in the format of the request, or in that of its ``Accept``."""
        if _ARROW in (self._content_type, self._headers.get(b"accept")):
            return self._answer(table_protocols.encode_arrow(self.model, predictions), predictions, _ARROW)
        return self._answer(self._encode_json(predictions), predictions)

    def _decode_json(self, body: bytes) -> Rows:
        return record_protocol.decode_records(self.model, body)

    def _encode_json(self, predictions: Predictions) -> bytes:
        return record_protocol.encode_predictions(self.model, predictions)

    def _answer(
        self,
        body: bytes,
        predictions: Predictions,
        content_type: bytes = b"application/json",
        *headers: tuple[bytes, bytes],
    ) -> Answer:
        version = self.model.headers
        return Answer(body, content_type, 200, (*version, *headers), len(predictions), self.model.version)


class MlflowExchange(Exchange):
    """A request and its answer in MLflow's protocol."""

    encode_error = staticmethod(mlflow_protocol.encode_scoring_error)

    def _decode_json(self, body: bytes) -> Rows:
        return mlflow_protocol.decode_scoring_request(self.model, body)

    def _encode_json(self, predictions: Predictions) -> bytes:
        return mlflow_protocol.encode_scores(predictions)


class InferenceExchange(Exchange):
    """A request and its answer in the Open Inference Protocol."""

    encode_error = staticmethod(inference_protocol.encode_inference_error)

    def decode(self, body: Body) -> Rows:
        """Decode the rows of a request."""
        length = self._headers.get(b"inference-header-content-length")
        if length is not None and not (length.isdigit() and len(length) < 16 and int(length) <= len(body)):
            raise RequestError("Inference-Header-Content-Length is not the length of the JSON", hint="correct it")
        n_bytes = None if length is None else int(length)
        rows, self._request = inference_protocol.decode_inference(self.model, bytes(body), n_bytes)
        return rows

    def encode(self, predictions: Predictions) -> Answer:
        """Encode predictions."""
        body, length = inference_protocol.encode_inference(self.model, predictions, self._request)
        if length is None:
            return self._answer(body, predictions)
        header = (b"inference-header-content-length", b"%d" % length)
        return self._answer(body, predictions, b"application/octet-stream", header)


EXCHANGES: Mapping[str, type[Exchange]] = {
    "records": Exchange,
    "mlflow": MlflowExchange,
    "inference": InferenceExchange,
}
"""The protocols by their name in the log and the metrics."""


def render_error(protocol: str, error: RequestError) -> Answer:
    """Return the answer to a request that failed, in its protocol."""
    headers = tuple((name.encode(), value.encode()) for name, value in error.headers.items())
    return Answer(EXCHANGES[protocol].encode_error(error), status=error.status, headers=headers)
