"""Spark's folder of a model in one form: the same fit gives the same bytes, in any process.

Spark dates the metadata of each stage, numbers its objects at random, names files by random ids and leaves checksum
and success files beside them. Here dates are 0, the random part of a name is the number under which it is first met,
and files are ``part-00000`` and so on. Parquet files are written again, without compression: what Spark writes holds
its random names, too.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_ROW = b"org.apache.spark.sql.parquet.row.metadata"
_PART = re.compile(r"part-(\d{5})[\w.-]*?(\.parquet)?")
_UID = re.compile(r'"uid":"(\w+_[0-9a-f]{12})"', re.ASCII)


def canonical(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Bring the files of a model's folder, by their paths, into the one form."""
    kept = {_plain(path): data for path, data in sorted(files.items()) if _is_content(path)}
    rename = _Renaming(kept)
    return {rename(path): _rewritten(path, data, rename) for path, data in sorted(kept.items())}


def documents(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Give the metadata of each stage, from the outside in; each names the class that reads it."""
    for path, data in sorted(files.items(), key=lambda item: (item[0].count("/"), item[0])):
        if path.endswith(".txt"):
            for line in data.decode().splitlines():
                yield json.loads(line)


def user_types(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Give what the Parquet files say of types that are not Spark's plain ones: each, too, names what reads it."""
    for path, data in sorted(files.items()):
        if path.endswith(".parquet"):
            told = (pq.read_schema(io.BytesIO(data)).metadata or {}).get(_ROW, b"{}")
            yield from _udts(json.loads(told))


def _udts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") == "udt":
            yield value
        for child in value.values():
            yield from _udts(child)
    elif isinstance(value, list):
        for child in value:
            yield from _udts(child)


def _is_content(path: str) -> bool:
    name = path.rpartition("/")[2]
    return not name.startswith((".", "_"))


def _plain(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    match = _PART.fullmatch(name)
    if match is None:
        return path
    return f"{folder}{slash}part-{match[1]}{match[2] or '.txt'}"


class _Renaming:
    """Replaces the random part of the names that Spark gave to the model's own objects, and of no others."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._numbers: dict[str, str] = {}
        for path, data in files.items():
            for text in _texts(path, data):
                for uid in _UID.findall(text):
                    self._numbers.setdefault(uid, f"{uid[:-12]}{len(self._numbers):012x}")

    def __call__(self, text: str) -> str:
        for uid, number in self._numbers.items():  # also inside of words: 0_PCA_1f.., PCA_1f..__output
            text = text.replace(uid, number)
        return text


def _texts(path: str, data: bytes) -> Iterator[str]:
    if path.endswith(".txt"):
        yield data.decode()
        return
    table = pq.read_table(io.BytesIO(data))
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_string(field.type):
            yield from (cell for cell in column.to_pylist() if cell)


def _rewritten(path: str, data: bytes, rename: _Renaming) -> bytes:
    if path.endswith(".txt"):
        return "".join(f"{_undated(rename(line))}\n" for line in data.decode().splitlines()).encode()
    table = pq.read_table(io.BytesIO(data))
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = [None if cell is None else _undated(rename(cell)) for cell in table.column(i).to_pylist()]
            table = table.set_column(i, field, pa.array(cells, field.type))
    metadata = {name: rename(value.decode()).encode() for name, value in (table.schema.metadata or {}).items()}
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="none", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)  # Spark's own types, such as vectors, are told there
    return buffer.getvalue()


def _undated(text: str) -> str:
    """Set the date of a stage's metadata to 0, and put its names in order; any other text stays."""
    if not text.startswith('{"class":'):
        return text
    return json.dumps(json.loads(text) | {"timestamp": 0}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
