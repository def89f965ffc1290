"""The compression of a message of an Arrow IPC stream, read before any buffer of it is decompressed.

pyarrow decompresses a batch when it reads it, whatever its size: a stream of 60 kB can become gigabytes. The fields are
those of ``Message.fbs`` of Arrow, in the format of FlatBuffers.
"""

from __future__ import annotations

import struct
from typing import Any

_MESSAGE_TYPE, _MESSAGE_HEADER = 1, 2  # numbers of fields
_DICTIONARY_DATA = 1
_BATCH_COMPRESSION = 3
_IS_DICTIONARY = 2  # of the types of messages; a record batch is 3


def is_compressed(metadata: Any) -> bool:
    """Return whether the buffers of a record batch or dictionary are compressed.

    Parameters
    ----------
    metadata : Buffer
        The metadata of a message.

    Raises
    ------
    OSError
        If it is not valid.

    Examples
    --------
    >>> import pyarrow as pa
    >>> batch, sink = pa.record_batch({"a": [1.0]}), pa.BufferOutputStream()
    >>> options = pa.ipc.IpcWriteOptions(compression="zstd")
    >>> with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
    ...     writer.write_batch(batch)
    >>> messages = pa.ipc.MessageReader.open_stream(sink.getvalue())
    >>> [is_compressed(message.metadata) for message in messages if message.type == "record batch"]
    [True]
    """
    data = bytes(metadata)
    try:
        message = struct.unpack_from("<I", data, 0)[0]
        kind = _field(data, message, _MESSAGE_TYPE)
        batch = _table(data, message, _MESSAGE_HEADER)
        if kind is not None and data[kind] == _IS_DICTIONARY and batch is not None:
            batch = _table(data, batch, _DICTIONARY_DATA)
        return batch is not None and _field(data, batch, _BATCH_COMPRESSION) is not None
    except (struct.error, IndexError):
        raise OSError("the metadata of a message are not valid") from None


def _field(data: bytes, table: int, number: int) -> int | None:
    """Return the position of a field of a table; None if it is absent."""
    (back,) = struct.unpack_from("<i", data, table)
    layout = table - back
    (size,) = struct.unpack_from("<H", data, layout)
    place = 4 + 2 * number
    if place + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", data, layout + place)
    return table + int(offset) if offset else None


def _table(data: bytes, table: int, number: int) -> int | None:
    """Return the position of a table that a field refers to."""
    place = _field(data, table, number)
    return None if place is None else place + int(struct.unpack_from("<I", data, place)[0])
