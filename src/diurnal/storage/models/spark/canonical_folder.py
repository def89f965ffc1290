"""The canonical form of Spark's model folder: the same fit gives the same bytes, in any process.

Spark writes the current date to the metadata of each stage, random ids to the names of objects and files, and checksum
and success files beside them. In the canonical form, dates are 0, the random part of an object's name is the number of
its first occurrence, and files are ``part-00000`` and so on. Parquet files are written again, without compression,
since their metadata contain the random names too.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_ROW_METADATA = b"org.apache.spark.sql.parquet.row.metadata"
_PART = re.compile(r"part-(\d{5})[\w.-]*?(\.parquet)?")
_UID = re.compile(r'"uid":"(\w+_[0-9a-f]{12})"', re.ASCII)


def canonicalize_folder(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Convert the files of a model's folder, by their paths, to the canonical form."""
    content = {_canonical_path(path): data for path, data in sorted(files.items()) if _is_content(path)}
    renamer = _UidRenamer(content)
    return {renamer(path): _canonicalize_file(path, data, renamer) for path, data in sorted(content.items())}


def read_metadata(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Yield the metadata of each stage, from the outside in; each names the class that reads it."""
    for path, data in sorted(files.items(), key=lambda item: (item[0].count("/"), item[0])):
        if path.endswith(".txt"):
            for line in data.decode().splitlines():
                yield json.loads(line)


def read_user_types(files: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Yield the user-defined types in the schemas of Parquet files; each names the class that reads its values."""
    for path, data in sorted(files.items()):
        if path.endswith(".parquet"):
            schema = (pq.read_schema(io.BytesIO(data)).metadata or {}).get(_ROW_METADATA, b"{}")
            yield from _iter_user_types(json.loads(schema))


def _iter_user_types(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("type") == "udt":
            yield value
        for child in value.values():
            yield from _iter_user_types(child)
    elif isinstance(value, list):
        for child in value:
            yield from _iter_user_types(child)


def _is_content(path: str) -> bool:
    name = path.rpartition("/")[2]
    return not name.startswith((".", "_"))


def _canonical_path(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    match = _PART.fullmatch(name)
    if match is None:
        return path
    return f"{folder}{slash}part-{match[1]}{match[2] or '.txt'}"


class _UidRenamer:
    """Replaces the random part of the uids of the model's own objects.

    The first object ``PCA_1f0c9a1e5b7d`` becomes ``PCA_000000000000``, the second one ends with ``1``.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._names: dict[str, str] = {}
        for path, data in files.items():
            for text in _iter_texts(path, data):
                for uid in _UID.findall(text):
                    self._names.setdefault(uid, f"{uid[:-12]}{len(self._names):012x}")

    def __call__(self, text: str) -> str:
        for uid, name in self._names.items():  # also within longer names: 0_PCA_1f.., PCA_1f..__output
            text = text.replace(uid, name)
        return text


def _iter_texts(path: str, data: bytes) -> Iterator[str]:
    if path.endswith(".txt"):
        yield data.decode()
        return
    table = pq.read_table(io.BytesIO(data))
    for field, column in zip(table.schema, table.columns, strict=True):
        if pa.types.is_string(field.type):
            yield from (cell for cell in column.to_pylist() if cell)


def _canonicalize_file(path: str, data: bytes, renamer: _UidRenamer) -> bytes:
    if path.endswith(".txt"):
        return "".join(f"{_reset_date(renamer(line))}\n" for line in data.decode().splitlines()).encode()
    table = pq.read_table(io.BytesIO(data))
    for i, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            cells = [None if cell is None else _reset_date(renamer(cell)) for cell in table.column(i).to_pylist()]
            table = table.set_column(i, field, pa.array(cells, field.type))
    metadata = {name: renamer(value.decode()).encode() for name, value in (table.schema.metadata or {}).items()}
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, table.schema, compression="none", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)  # contains the user-defined types, such as vectors
    return buffer.getvalue()


def _reset_date(text: str) -> str:
    """Set the date in a stage's metadata to 0 and sort its keys; return any other text as it is."""
    if not text.startswith('{"class":'):
        return text
    return json.dumps(json.loads(text) | {"timestamp": 0}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
