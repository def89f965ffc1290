"""The form of a model file: a zip archive that can only be read in one way, and cannot grow while it is read.

Members are stored uncompressed, one right after the other, with fixed dates and plain names, and the directory
ends the file. Uncompressed, because deflate's output differs between builds of zlib, and the digest of a model
would with it; and because a file that cannot inflate needs no guess at how much inflation is honest.
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
MAX_MEMBERS = 65_534  # what a zip directory can count without its 64-bit extension, which we never write
MAX_SCHEMA_BYTES = 128 * 2**20  # ten thousand trees take about a third of it

_EPOCH = (1980, 1, 1, 0, 0, 0)
_END = struct.Struct("<4s4H2LH")
_ENTRY_BYTES = 46  # one entry of the directory, beside its name
_LONGEST_NAME = 24
_NAMES = re.compile(r"schema\.json|[1-9][0-9]{0,8}\.(npy|npz|bin)", re.ASCII)
_SPARSE_NAMES = re.compile(r"(data|indices|indptr|row|col|coords|offsets|shape|format|_is_array)\.npy", re.ASCII)
_KNOWN = (
    (b"\x80", "a pickle"),
    (b"\x1f\x8b", "gzip"),
    (b"x", "joblib or zlib"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
)


def pack(members: Mapping[str, bytes]) -> bytes:
    """Write members in the one form, in the order given."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for name, data in members.items():
            entry = ZipInfo(name, _EPOCH)
            entry.create_system = 3  # the same bytes, whatever the platform
            entry.external_attr = 0o600 << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, bytes]:
    """Read the members of a model file, or refuse it.

    Raises
    ------
    InvalidModelError
        If the file is not in the one form, or an array is not as long as its header says.
    """
    found = members(data, _NAMES)
    if "schema.json" not in found or len(found["schema.json"]) > MAX_SCHEMA_BYTES:
        raise _refused(f"it needs one schema.json of at most {MAX_SCHEMA_BYTES} bytes")
    for name, content in found.items():
        if name.endswith(".npy"):
            _check_array(name, content)
        elif name.endswith(".npz"):
            for part, array in members(content, _SPARSE_NAMES).items():
                _check_array(f"{name}/{part}", array)
    return found


def members(data: bytes, names: re.Pattern[str], *, longest_name: int = _LONGEST_NAME) -> dict[str, bytes]:
    """Read the members of an archive in the one form, whatever they hold.

    Raises
    ------
    InvalidModelError
        If it is not in that form, or a member has another name than these.
    """
    count, directory = _end_of(data, _ENTRY_BYTES + longest_name)
    with ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if len(entries) != count:
            raise _refused(f"its directory holds {len(entries)} members and claims {count}")
        position = 0
        for entry in entries:
            _check_entry(entry, names, position)
            position += 30 + len(entry.filename) + entry.file_size
        if position != directory:
            raise _refused("there are bytes between its members")
        found = {entry.filename: archive.read(entry) for entry in entries}
    if len(found) != count:
        raise _refused("two of its members have one name")
    return found


def _end_of(data: bytes, entry_bytes: int) -> tuple[int, int]:
    """Read the last record: how many members there are, and where their directory begins."""
    if not data.startswith(b"PK\x03\x04"):
        kind = next((f" (it looks like {kind})" for magic, kind in _KNOWN if data.startswith(magic)), "")
        raise _refused(f"it does not begin as a zip archive{kind}; pickle, joblib and cloudpickle files are never read")
    if len(data) < _END.size:
        raise _refused("it is cut short")
    mark, disk, first, here, count, size, directory, comment = _END.unpack(data[-_END.size :])
    if mark != b"PK\x05\x06" or disk or first or comment:
        raise _refused("it does not end as a zip archive: it is cut short, or something was appended")
    if not 0 < count <= MAX_MEMBERS or here != count or size > count * entry_bytes:
        raise _refused(f"it claims {count} members; up to {MAX_MEMBERS} are allowed, with short names")
    if directory + size + _END.size != len(data):
        raise _refused("its directory is not where it says: it is cut short, or something was put between")
    return count, directory


def _check_entry(entry: ZipInfo, names: re.Pattern[str], position: int) -> None:
    if not names.fullmatch(entry.filename):
        raise _refused(f"its member {entry.filename[:40]!r} is none that a model has")
    if entry.compress_type != ZIP_STORED or entry.compress_size != entry.file_size:
        raise _refused(f"its member {entry.filename!r} is compressed; members are stored as they are")
    if entry.flag_bits or entry.extra or entry.comment or entry.header_offset != position:
        raise _refused(f"its member {entry.filename!r} is not where, or what, our writer would have put")


def _check_array(name: str, data: bytes) -> None:
    """Refuse an array that would allocate more, or less, than what is there."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, _, dtype = read(stream)
    except (KeyError, ValueError, SyntaxError, TypeError, RecursionError) as error:
        raise _refused(f"the header of its array {name} cannot be read") from error
    if dtype.hasobject or not dtype.itemsize or any(n < 0 for n in shape):
        raise _refused(
            f"its array {name} is of {dtype} and shape {shape}; only plain arrays of numbers or text are read"
        )
    if stream.tell() + math.prod(shape) * dtype.itemsize != len(data):
        raise _refused(f"its array {name} is not as long as its header says")


def _refused(why: str) -> InvalidModelError:
    return InvalidModelError(
        f"the file is not a model as diurnal writes it: {why}",
        hint="restore the file from a backup, or run its data interval again; only files that diurnal wrote are read",
    )
