"""Immutable Parquet packages, named by their digest.

A small package is one file, ``<experiment>/<category>/<interval>/<digest>.parquet``. A large package has many: parts,
in ``<experiment>/parts/<interval>/``, and a manifest that lists them with their digests. The manifest is written last,
as ``<experiment>/<category>/<interval>/<digest>.json``. Each file is written elsewhere and then moved to a name that is
derived from its content and is never rewritten (:mod:`diurnal.storage.file_store`). A reader therefore sees a complete
package or none. Pages have checksums, which are verified on every read: without them, most flipped bits are read as
other data without an error.

Rows are in the order of the hash of their identity (:mod:`diurnal.data.row_hash`). Rows that do not fit in memory are
partitioned on disk by the leading bits of that hash, and each partition is sorted by itself. The files are the same,
byte for byte, as if all rows had been sorted at once. A part, too, consists of rows whose hashes have the same leading
bits.
"""

from diurnal.storage.lake.lake_store import Lake
from diurnal.storage.lake.package_key import PackageKey
from diurnal.storage.lake.parquet_writer import ROWS_PER_GROUP, write_parquet
from diurnal.storage.lake.partitions import CELLS_PER_PART, PackagePart, compute_n_parts, part_numbers, write_part
from diurnal.storage.lake.temp_arrow_file import TempArrowFile

__all__ = [
    "CELLS_PER_PART",
    "ROWS_PER_GROUP",
    "Lake",
    "PackageKey",
    "PackagePart",
    "TempArrowFile",
    "compute_n_parts",
    "part_numbers",
    "write_parquet",
    "write_part",
]
