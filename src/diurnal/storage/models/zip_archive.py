"""The form of a model file: a zip archive with a single interpretation, which cannot expand while it is read.

Members are stored uncompressed and adjacent, with fixed dates and plain names, and the directory ends the file. They
are uncompressed for two reasons: the output of deflate differs between builds of zlib, and the digest of a model would
differ with it; and a file that cannot expand needs no limit on expansion.
"""

from __future__ import annotations

import io
import math
import re
import struct
from collections.abc import Mapping
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

from diurnal.errors import InvalidModelError

MAX_BYTES = 2**31 - 1  # of a model's file
MAX_MEMBERS = 65_534  # the maximum of a zip directory without its 64-bit extension, which is never written
MAX_SCHEMA_BYTES = 128 * 2**20  # ten thousand trees need about a third of it

_EPOCH = (1980, 1, 1, 0, 0, 0)
_END = struct.Struct("<4s4H2LH")
_ENTRY_BYTES = 46  # one entry of the directory, beside its name
_MAX_NAME_LENGTH = 24
_NAMES = re.compile(r"schema\.json|[1-9][0-9]{0,8}\.(npy|npz|bin)", re.ASCII)
_SPARSE_NAMES = re.compile(r"(data|indices|indptr|row|col|coords|offsets|shape|format|_is_array)\.npy", re.ASCII)
_OTHER_FORMATS = (
    (b"\x80", "a pickle"),
    (b"\x1f\x8b", "gzip"),
    (b"x", "joblib or zlib"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)


def write_archive(members: Mapping[str, bytes]) -> bytes:
    """Write members in the form of a model file, in their order."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name, data in members.items():
            entry = ZipInfo(name, _EPOCH)
            entry.create_system = 3  # the same bytes on every platform
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def read_model_archive(data: bytes) -> dict[str, bytes]:
    """Read the members of a skops model file and check its form.

    Raises
    ------
    InvalidModelError
        If the file has another form, or the size of an array differs from its header.
    """
    members = read_archive(data, _NAMES)
    if "schema.json" not in members or len(members["schema.json"]) > MAX_SCHEMA_BYTES:
        raise _invalid_archive(f"it needs one schema.json of at most {MAX_SCHEMA_BYTES} bytes")
    for name, content in members.items():
        if name.endswith(".npy"):
            _check_array(name, content)
        elif name.endswith(".npz"):
            for part, array in read_archive(content, _SPARSE_NAMES).items():
                _check_array(f"{name}/{part}", array)
    return members


def read_archive(data: bytes, names: re.Pattern[str], *, max_name_length: int = _MAX_NAME_LENGTH) -> dict[str, bytes]:
    """Read the members of an archive and check its form, but not the content of members.

    Raises
    ------
    InvalidModelError
        If it has another form, or the name of a member does not match `names`.
    """
    # The records of an archive repeat each other, and programs differ in which one they follow. Here all must agree:
    # the members fill the file from its first byte to the directory, and the directory the rest of it.
    count, directory = _read_end_record(data, _ENTRY_BYTES + max_name_length)
    with ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) != count:
            raise _invalid_archive(f"its directory has {len(entries)} members and claims {count}")
        position = 0
        for entry in entries:
            _check_entry(entry, names, position)
            position += 30 + len(entry.filename) + entry.file_size
        if position != directory:
            raise _invalid_archive("there are bytes between its members")
        members = {entry.filename: archive.read(entry) for entry in entries}
    if len(members) != count:
        raise _invalid_archive("two of its members have one name")
    return members


def _read_end_record(data: bytes, entry_bytes: int) -> tuple[int, int]:
    """Return the number of members and the position of their directory, from the last record."""
    if not data.startswith(b"PK\x03\x04"):
        guess = next((f" (it looks like {name})" for magic, name in _OTHER_FORMATS if data.startswith(magic)), "")
        raise _invalid_archive(
            f"it does not begin as a zip archive{guess}; pickle, joblib and cloudpickle files are never read"
        )
    if len(data) < _END.size:
        raise _invalid_archive("it is truncated")
    signature, disk, first_disk, count_here, count, size, directory, comment = _END.unpack(data[-_END.size :])
    if signature != b"PK\x05\x06" or disk or first_disk or comment:
        raise _invalid_archive("it does not end as a zip archive: it is truncated, or bytes were appended")
    if not 0 < count <= MAX_MEMBERS or count_here != count or size > count * entry_bytes:
        raise _invalid_archive(f"it claims {count} members; up to {MAX_MEMBERS} are allowed, with short names")
    if directory + size + _END.size != len(data):
        raise _invalid_archive(
            "its directory is at another position than it claims: it is truncated, or bytes were inserted"
        )
    return count, directory


def _check_entry(entry: ZipInfo, names: re.Pattern[str], position: int) -> None:
    if not names.fullmatch(entry.filename):
        raise _invalid_archive(f"its member {entry.filename[:40]!r} has a name that no member of a model has")
    if entry.compress_type != ZIP_STORED or entry.compress_size != entry.file_size:
        raise _invalid_archive(f"its member {entry.filename!r} is compressed; only uncompressed members are allowed")
    if entry.flag_bits or entry.extra or entry.comment or entry.header_offset != position:
        raise _invalid_archive(f"its member {entry.filename!r} has a position or a header that diurnal does not write")


def _check_array(name: str, data: bytes) -> None:
    """Check that the size of an array is that of its data, so that reading it allocates no more."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[
            version
        ]
        shape, _, dtype = read_header(stream)
    except (KeyError, ValueError, SyntaxError, TypeError, RecursionError) as error:
        raise _invalid_archive(f"the header of its array {name} cannot be read") from error
    if dtype.hasobject or not dtype.itemsize or any(n < 0 for n in shape):
        raise _invalid_archive(
            f"its array {name} is of {dtype} and shape {shape}; only arrays of numbers or text are allowed"
        )
    if stream.tell() + math.prod(shape) * dtype.itemsize != len(data):
        raise _invalid_archive(f"the size of its array {name} differs from its header")


def _invalid_archive(reason: str) -> InvalidModelError:
    return InvalidModelError(
        f"the file is not a model as diurnal writes it: {reason}",
        hint="restore the file from a backup, or run its data interval again; only files that diurnal wrote are read",
    )
