"""The plain protocol: an array of objects, and predictions with the version that gave them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from diurnal.serving.request_errors import RequestError

if TYPE_CHECKING:
    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.served_model import Predictions, ServedModel


class _Body(msgspec.Struct):
    rows: msgspec.Raw


_body = msgspec.json.Decoder(_Body)
_encoder = msgspec.json.Encoder()


def decode_records(model: ServedModel, body: bytes) -> Rows:
    """Decode an array of objects, ``{"rows": [...]}``, or the object of one row."""
    text = body.lstrip()
    if text[:1] != b"{":
        return model.inputs.from_records(text)
    try:
        rows = _body.decode(text).rows
    except msgspec.ValidationError:
        return model.inputs.from_records(b"[" + text + b"]")
    except msgspec.DecodeError:
        raise RequestError("the request is not valid JSON", hint="send an array of objects") from None
    is_column = bytes(rows).lstrip()[:1] != b"["  # a column of the model that is named rows
    return model.inputs.from_records(b"[" + text + b"]" if is_column else rows)


def encode_predictions(model: ServedModel, predictions: Predictions) -> bytes:
    """Encode predictions as JSON."""
    answer: dict[str, Any] = {
        "experiment": model.experiment,
        "version": model.version,
        "digest": model.digest,
        "predictions": predictions.labels.tolist(),
    }
    if predictions.probabilities is not None:
        answer |= {"classes": model.classes, "probabilities": predictions.probabilities.tolist()}
    return _encoder.encode(answer)


def encode_record_error(error: RequestError) -> bytes:
    """Encode an error as JSON."""
    return _encoder.encode({"error": error.to_dict()})
