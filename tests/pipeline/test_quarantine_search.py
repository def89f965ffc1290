"""Rejected batches that may have a key, however a file writes it."""

import gzip
from decimal import Decimal

import pyarrow as pa
import pytest

from diurnal.pipeline.quarantine_search import find_rejected, searchable_texts
from diurnal.storage.lake import Lake

FOLDER = "clinic/quarantine/20261101T000000Z/0a1b2c"


class Stores:
    """A lake, as the search needs no other store."""

    def __init__(self, root):
        self.lake = Lake(str(root))


def is_found(root, name, content, key):
    stores = Stores(root)
    stores.lake.write_immutable(f"{FOLDER}/{name}", content)
    return bool(find_rejected(stores, "clinic", searchable_texts([key])))


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("4711,1", 4711, True),
        ("0004711,1", 4711, True),
        ('"4,711",1', 4711, True),
        ("-4'711,1", -4711, True),
        ("14711,47110", 4711, False),
        ("Ada,north-7", "north-7", True),
        ("Ada,north-78", "north-7", False),
        ("007,1", "7", True),
        ("7,1", "007", False),
        (r'{"id": "a\u002bb"}', "a+b", True),
    ],
)
def test_word_of_a_text_file(tmp_path, text, key, expected):
    assert is_found(tmp_path, "rows.csv", f"id,x\n{text}\n".encode(), key) is expected


@pytest.mark.parametrize("encode", [lambda text: text.encode("utf-16"), lambda text: gzip.compress(text.encode())])
def test_file_that_cannot_be_searched(tmp_path, encode):
    assert is_found(tmp_path, "rows.csv", encode("id,x\n4711,1\n"), 4711)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        *((cell, True) for cell in (4711, 4711.0, " 4711 ", "004711", Decimal("4711.00"), [4711])),
        *((cell, False) for cell in (4711.5, "bed 4711", 47110, None)),
    ],
)
def test_cell_of_any_type(tmp_path, cell, expected):
    rows, sink = pa.record_batch({"x": pa.array([cell])}), pa.BufferOutputStream()
    with pa.ipc.new_file(sink, rows.schema) as writer:
        writer.write_batch(rows)
    assert is_found(tmp_path, "rows.arrow", sink.getvalue().to_pybytes(), 4711) is expected
