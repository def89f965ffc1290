"""The canonical form of a skops file: the same fit gives the same bytes, in any process.

The output of skops differs from process to process: objects and members have memory addresses or random numbers as
names, members have dates, sets are in the order of a salted hash, and the bytes between the fields of a tree's nodes
are uninitialised. In the canonical form, objects and members are numbered in the order of their first occurrence, dates
are fixed (:mod:`~diurnal.storage.models.zip_archive`), sets are sorted, and padding is zero. Only mutable objects that
occur more than once keep a number: whether two equal strings are one object depends on the interpreter.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from zipfile import ZipFile

import numpy as np

from diurnal.storage.models.skops_nodes import iter_nodes
from diurnal.storage.models.zip_archive import write_archive

# Nodes of immutable objects: it makes no difference whether two of them are one object.
_IMMUTABLE = {"JsonNode", "TypeNode", "FunctionNode", "SliceNode", "TupleNode", "BytesNode", "DTypeNode"}

# Attributes in which scikit-learn stores a memory address. It computes them again where the value differs.
_ADDRESSES = ("_stop_words_id",)

_NONE = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": "null", "is_json": True}


def canonicalize_skops(data: bytes, name_of: Callable[[str], str | None] = lambda _: None) -> bytes:
    """Convert the output of ``skops.io.dumps`` to the canonical form.

    Parameters
    ----------
    data : bytes
        A skops file.
    name_of : callable
        Returns the stored name of a module of the project's own code, and None for any other module.
    """
    with ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    for node in iter_nodes(schema):
        _reset_process_state(node)
    # listed after the reset, which replaces some nodes
    nodes = list(iter_nodes(schema))
    _rename_modules(nodes, name_of)
    _number_objects(nodes)
    numbered = _number_members(nodes, members)
    for node in reversed(nodes):  # from the inside out: a set in a set is sorted before the outer one compares it
        _sort_set(node)
    return write_archive({"schema.json": json.dumps(schema, separators=(",", ":")).encode()} | numbered)


def _rename_modules(nodes: list[dict[str, Any]], name_of: Callable[[str], str | None]) -> None:
    """Name project modules by their files: the name of an import differs from process to process."""
    names = {module: name_of(module) for module in {node["__module__"] for node in nodes}}
    for node in nodes:
        node["__module__"] = names[node["__module__"]] or node["__module__"]


def _reset_process_state(node: dict[str, Any]) -> None:
    """Remove values that describe the process and not the model."""
    if node["__loader__"] == "DictNode":
        for name in _ADDRESSES:
            if name in node["content"]:
                node["content"][name] |= {"content": "0"}
    # the attributes of a partial are None until they are accessed, then an empty dict
    if node["__loader__"] == "PartialNode" and node["content"]["namespace"].get("content") == {}:
        node["content"]["namespace"] = dict(_NONE)
    # items 7 to 10 of the state of a neighbour tree are counters of its queries
    if node["__loader__"] == "ObjectNode" and node["__class__"] in ("KDTree", "BallTree"):
        for count in node["content"]["content"][7:11]:
            count["content"] = "0"


def _number_objects(nodes: list[dict[str, Any]]) -> None:
    """Replace the addresses of shared mutable objects by 1, 2, ..., and remove all others.

    Example: the addresses ``[70, 80, 70, 90]`` become ``[1, none, 1, none]``.
    """
    occurrences = Counter(node["__id__"] for node in nodes if _is_mutable(node))
    numbers: dict[int, int] = {}
    for node in nodes:
        address = node.pop("__id__", None)
        if _is_mutable(node) and occurrences[address] > 1:
            node["__id__"] = numbers.setdefault(address, len(numbers) + 1)


def _is_mutable(node: dict[str, Any]) -> bool:
    scalar = node["__loader__"] == "NdArrayNode" and node["__class__"] != "ndarray"
    return not scalar and node["__loader__"] not in _IMMUTABLE


def _number_members(nodes: list[dict[str, Any]], members: dict[str, bytes]) -> dict[str, bytes]:
    """Name each member by the order in which its content first occurs; equal ones become one member."""
    names: dict[tuple[str, bytes], str] = {}
    for node in nodes:
        if isinstance(node.get("file"), str):
            suffix = node["file"].rpartition(".")[2]
            content = _canonicalize_member(suffix, members[node["file"]])
            node["file"] = names.setdefault((suffix, content), f"{len(names) + 1}.{suffix}")
    return {name: content for (_, content), name in names.items()}


def _sort_set(node: dict[str, Any]) -> None:
    if node["__loader__"] == "SetNode":
        node["content"].sort(key=json.dumps)
    elif node["__loader__"] == "ConstructorFromReduceNode" and node["__class__"] == "frozenset":
        node["content"]["content"][0]["content"].sort(key=json.dumps)


def _canonicalize_member(suffix: str, data: bytes) -> bytes:
    """Return the bytes of a member without the differences between equal ones."""
    if suffix == "npz":  # a sparse matrix is an archive of its own, with dates and compression
        with ZipFile(io.BytesIO(data)) as archive:
            return write_archive({name: archive.read(name) for name in archive.namelist()})
    if suffix == "npy" and b"'descr': [" in data[:128]:
        return _zero_padding(data)
    return data


def _zero_padding(data: bytes) -> bytes:
    """Set the bytes between the fields of records to zero; in trees from another process they are uninitialised."""
    records = np.load(io.BytesIO(data), allow_pickle=False)
    clean = np.zeros(records.shape, records.dtype)
    for name in records.dtype.names:
        clean[name] = records[name]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()
