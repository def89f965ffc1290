"""Parts: the files of a large package, each with the rows whose hashes begin alike.

Which part a row is in depends on its hash and on the number of parts alone, and the number of parts on the number of
rows that came. So whoever writes a part, here or on another machine, and however often, writes the same bytes. The
name of a part holds the digest of its bytes: two attempts never overwrite each other with something else.

Nothing here needs a lake: an executor elsewhere calls :func:`write_part` with plain values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from diurnal.storage.lake.file_store import Place
from diurnal.storage.lake.parquet_writer import OrderedFile

if TYPE_CHECKING:
    import numpy.typing as npt

    from diurnal.data.row_hash import Hashes

CELLS_A_PART = 2**24
"""128 MiB of numbers: what one task orders in memory, and a file that is neither small nor large."""


@dataclass(frozen=True)
class Part:
    """One file of a package of parts.

    Attributes
    ----------
    name : str
        In its folder, ``part-<number>-<beginning of the digest>.parquet``.
    digest : str
        The SHA-256 of the file, in hexadecimal.
    n_rows, n_bytes : int
        How many rows it holds, and how large the file is.

    Examples
    --------
    >>> Part("part-00012-3f0c9a1e5b7d2468.parquet", "3f0c9a1e5b7d2468...", 500_000, 90_000_000).number
    12
    """

    name: str
    digest: str
    n_rows: int
    n_bytes: int

    @property
    def number(self) -> int:
        """Which part it is, from 0."""
        return int(self.name.split("-")[1])


def n_parts(n_rows: int, n_columns: int, cells_a_part: int = CELLS_A_PART) -> int:
    """Give the number of parts of a package: the least power of two that keeps parts below so many cells.

    Parameters
    ----------
    n_rows : int
        As they came, before repeated ones are dropped: that number is known before anything is ordered.
    n_columns : int
        All of them.
    cells_a_part : int
        Rows times columns of a part, as hashes spread them.

    Examples
    --------
    >>> n_parts(500_000, 31), n_parts(10_000_000, 31)
    (1, 32)
    """
    return 1 << (max(1, -(-n_rows * n_columns // cells_a_part)) - 1).bit_length()


def part_of(hashes: Hashes, n_parts: int) -> npt.NDArray[np.int64]:
    """Tell in which part each row is: its number is the leading bits of the hash.

    Examples
    --------
    >>> part_of(np.array([0, 2**62, 2**63, 2**64 - 1], dtype=np.uint64), 4)
    array([0, 1, 2, 3])
    """
    bits = n_parts.bit_length() - 1
    if not bits:
        return np.zeros(len(hashes), dtype=np.int64)
    return (hashes >> np.uint64(64 - bits)).astype(np.int64)


def parts_folder(experiment: str, key: str) -> str:
    """Give the folder, below the root of a lake, of all parts of a data interval, by that one's key.

    Batches, train and test share it: a part that lies on one side whole is theirs as it is the batch's.
    """
    return f"{experiment}/parts/{key}"


def write_part(root: str, folder: str, number: int, tables: Iterable[pa.Table], schema: pa.Schema) -> Part:
    """Write one part; whoever writes it again writes the same file.

    Parameters
    ----------
    root : str
        The lake's address (:attr:`Place.address`).
    folder : str
        Below it: see :func:`parts_folder`.
    number : int
        Which part it is.
    tables : iterable of pyarrow.Table
        Its rows, in the order of their hash, without repeated ones (:func:`diurnal.data.deduplication.settle`).
    schema : pyarrow.Schema
        The types to keep.
    """
    place = Place(root)
    with place.workspace() as scratch:
        temporary = scratch / "part.parquet"
        with OrderedFile(temporary, schema) as file:
            for table in tables:
                file.write(table)
        with temporary.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        part = Part(f"part-{number:05d}-{digest[:16]}.parquet", digest, file.n_rows, temporary.stat().st_size)
        place.move_in(temporary, f"{folder}/{part.name}", "lake.part")
    pa.default_memory_pool().release_unused()
    return part


def by_part(ordered: Iterable[tuple[Hashes, pa.Table]], n_parts: int) -> Iterator[tuple[int, Iterator[pa.Table]]]:
    """Cut rows in the order of their hash, in whatever pieces they come, where a part ends and the next begins.

    Yields
    ------
    int
        The number of a part; those without rows are passed over.
    iterator of pyarrow.Table
        Its rows, to be read before the next part is asked for.
    """

    def pieces() -> Iterator[tuple[int, pa.Table]]:
        for hashes, table in ordered:
            numbers = part_of(hashes, n_parts)
            starts = np.flatnonzero(np.diff(numbers, prepend=-1))
            for start, end in pairwise([*starts, len(numbers)]):
                yield int(numbers[start]), table.slice(start, end - start)
            del hashes, table  # before the next bucket is read

    for number, tables in groupby(pieces(), key=itemgetter(0)):
        yield number, (table for _, table in tables)
