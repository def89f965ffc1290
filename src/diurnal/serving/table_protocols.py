"""Rows and predictions as tables: Arrow IPC streams, and CSV."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from diurnal.data.predicted_labels import labels_to_arrow
from diurnal.data.schema import UNTYPED
from diurnal.serving.arrow_messages import is_compressed
from diurnal.serving.inference_protocol import MAX_VALUES
from diurnal.serving.request_errors import RequestError

if TYPE_CHECKING:
    import pyarrow as pa

    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.request_bodies import Body
    from diurnal.serving.served_model import Predictions, ServedModel

ARROW = "application/vnd.apache.arrow.stream"


def decode_arrow(model: ServedModel, body: Body) -> Rows:
    """Decode an Arrow IPC stream; columns that are not of the model are ignored."""
    import pyarrow as pa

    try:
        batches = _read_batches(model, body)
    except (pa.ArrowException, OSError):  # pyarrow raises OSError for a stream that ends early
        raise RequestError("the request is not a valid Arrow IPC stream", hint="write it with pyarrow.ipc") from None
    return model.inputs.from_arrow(batches)


def _read_batches(model: ServedModel, body: Body) -> list[pa.RecordBatch]:
    """Read record batches that hold not more than the request, and not more values than a request may have."""
    import pyarrow as pa

    messages = pa.ipc.MessageReader.open_stream(pa.py_buffer(body))
    if any(is_compressed(message.metadata) for message in messages if message.type != "schema"):
        raise RequestError("the Arrow stream is compressed", hint="write it without compression")
    batches, n_rows = [], 0
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        for batch in reader:
            n_rows += batch.num_rows
            if n_rows * len(model.inputs.names) > MAX_VALUES:  # a column of the type null has rows without bytes
                raise RequestError("the stream has too many rows", status=413, hint="send fewer rows at a time")
            batch.validate(full=True)
            batches.append(batch)
    return batches


def encode_arrow(model: ServedModel, predictions: Predictions) -> bytes:
    """Encode predictions as an Arrow IPC stream, whose metadata name the version."""
    import pyarrow as pa

    columns = {"prediction": labels_to_arrow(predictions.labels, model.classes)}
    if predictions.probabilities is not None:
        for label, column in zip(model.classes or (), predictions.probabilities.T, strict=True):
            columns[f"probability_{label}"] = pa.array(column)
    version = {"experiment": model.experiment, "version": str(model.version), "digest": model.digest}
    table = pa.table(columns).replace_schema_metadata(version)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def decode_csv(model: ServedModel, body: Body) -> Rows:
    """Decode CSV with a header line; columns that are not of the model are ignored."""
    import pyarrow as pa
    from pyarrow import csv

    options = csv.ConvertOptions(
        column_types=dict.fromkeys(model.inputs.names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    try:
        table = csv.read_csv(pa.py_buffer(body), convert_options=options)
    except (pa.ArrowException, OSError):
        raise RequestError(
            "the request is not valid CSV", hint="send a header line and rows of as many cells"
        ) from None
    model.inputs.check_names([name for name in table.column_names if name in model.inputs.names])
    texts = table.select(model.inputs.names).replace_schema_metadata(UNTYPED)
    return model.inputs.from_arrow(texts.to_batches())
