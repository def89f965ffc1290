"""The scoring protocol of MLflow: ``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``, and CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from diurnal.serving.request_errors import RequestError

if TYPE_CHECKING:
    from diurnal.serving.model_inputs import ModelInputs, Rows
    from diurnal.serving.served_model import Predictions, ServedModel

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_Optional = msgspec.Raw | msgspec.UnsetType


class _Body(msgspec.Struct):
    dataframe_split: _Optional = msgspec.UNSET
    dataframe_records: _Optional = msgspec.UNSET
    instances: _Optional = msgspec.UNSET
    inputs: _Optional = msgspec.UNSET


class _Split(msgspec.Struct):
    data: msgspec.Raw
    columns: list[str] | None = None


_body, _split = msgspec.json.Decoder(_Body), msgspec.json.Decoder(_Split)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()


def decode_scoring_request(model: ServedModel, body: bytes) -> Rows:
    """Decode a request of ``/invocations`` in JSON."""
    try:
        request = _body.decode(_replace_nan(body) if b"NaN" in body else body)
    except (msgspec.DecodeError, ValueError):
        raise RequestError("the request is not a JSON object", hint=f"send one of {', '.join(_FORMS)}") from None
    given = [name for name in _FORMS if getattr(request, name) is not msgspec.UNSET]
    if len(given) != 1:
        raise RequestError(
            f"the request has {' and '.join(given) or 'none of the known forms'}",
            hint=f"send exactly one of {', '.join(_FORMS)}",
        )
    value = getattr(request, given[0])
    if given[0] == "dataframe_split":
        return _decode_split(model.inputs, value)
    if given[0] == "dataframe_records":
        return model.inputs.from_records(value)
    return _decode_tensor(model.inputs, value)


def _replace_nan(body: bytes) -> bytes:
    """Replace NaN, which MLflow's client sends although JSON does not have it, by null."""

    def parse_constant(name: str) -> None:
        if name != "NaN":
            raise ValueError(name)

    return _encoder.encode(json.loads(body, parse_constant=parse_constant))


def encode_scores(predictions: Predictions) -> bytes:
    """Encode predictions as MLflow does."""
    return _encoder.encode({"predictions": predictions.labels.tolist()})


def encode_scoring_error(error: RequestError) -> bytes:
    """Encode an error as MLflow does."""
    code = "BAD_REQUEST" if error.status < 500 else "INTERNAL_ERROR"
    return _encoder.encode({"error_code": code, **error.to_dict()})


def _decode_split(inputs: ModelInputs, value: msgspec.Raw) -> Rows:
    try:
        split = _split.decode(value)
    except msgspec.DecodeError:
        raise RequestError(
            "dataframe_split is not an object with columns and data", hint='send {"columns": [...], "data": [[...]]}'
        ) from None
    return inputs.from_lists(split.data, split.columns)


def _decode_tensor(inputs: ModelInputs, value: msgspec.Raw) -> Rows:
    """Decode an object of columns, an array of objects, or an array of arrays; of one column, also its values."""
    text = bytes(value).lstrip()
    if text[:1] == b"{":
        try:
            return inputs.from_columns(_object.decode(text))
        except msgspec.DecodeError:
            raise RequestError("the request is not valid JSON", hint="send JSON in UTF-8") from None
    first = text[1:].lstrip()[:1] if text[:1] == b"[" else b""
    if first == b"{":
        return inputs.from_records(text)
    if first not in (b"[", b"]") and len(inputs.names) == 1:
        return inputs.from_columns({inputs.names[0]: msgspec.Raw(text)})
    return inputs.from_lists(text)
