"""Immutable Parquet packages, named by their digest: the only package that imports ``pyarrow.parquet``.

A small package is one file, ``<experiment>/<kind>/<interval>/<digest>.parquet``. A large one is many: parts, in
``<experiment>/parts/<interval>/``, and a manifest that lists them with their digests, written last, as
``<experiment>/<kind>/<interval>/<digest>.json``. Each file is written beside, and moved in whole under a name that
its content gives it and that is never rewritten, so that a reader sees a whole package or none. Pages carry
checksums, which are verified on every read: without them most single flipped bits read as different data without an
error.

Rows are ordered by the hash of their identity (:mod:`diurnal.data.row_hash`). What does not fit in memory is dealt into
buckets by the leading bits of that hash, on disk, and each bucket is ordered by itself: the files are the same, byte
for byte, as if all had been ordered at once. A part, too, holds the rows whose hashes begin alike.
"""

from diurnal.storage.lake.lake_store import Lake
from diurnal.storage.lake.parquet_writer import ROWS_A_GROUP, write_parquet
from diurnal.storage.lake.partitions import CELLS_A_PART, Part, n_parts, part_of, parts_folder, write_part
from diurnal.storage.lake.temp_arrow_file import Spool

__all__ = [
    "CELLS_A_PART",
    "ROWS_A_GROUP",
    "Lake",
    "Part",
    "Spool",
    "n_parts",
    "part_of",
    "parts_folder",
    "write_parquet",
    "write_part",
]
