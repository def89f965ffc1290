"""One form for one model: the same fit gives the same bytes, in any process.

skops names objects and members by memory addresses or random numbers, dates each member, writes sets in the
order of a salted hash, and the bytes between the fields of a tree's nodes as memory has them. Here objects and
members are numbered in the order in which they are first met, dates are fixed
(:mod:`~diurnal.storage.models.zip_archive`), sets are sorted, and padding is zero. Objects keep a number only where it
matters: mutable ones that are met more than once. Whether two equal strings are one object is the
interpreter's business.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from zipfile import ZipFile

import numpy as np

from diurnal.storage.models.skops_nodes import nodes
from diurnal.storage.models.zip_archive import pack

# Nodes whose objects never change: that two of them are one object makes no difference.
_IMMUTABLE = {"JsonNode", "TypeNode", "FunctionNode", "SliceNode", "TupleNode", "BytesNode", "DTypeNode"}

# Attributes in which scikit-learn keeps a memory address; its readers take any other value as "look again".
_ADDRESSES = ("_stop_words_id",)

_NONE = {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": "null", "is_json": True}


def canonical(data: bytes, name_of: Callable[[str], str | None] = lambda _: None) -> bytes:
    """Rewrite what ``skops.io.dumps`` gives in the one form.

    Parameters
    ----------
    data : bytes
        A skops file.
    name_of : callable
        Returns the one name of a module of the project's own code, and None for any other module.
    """
    with ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(members.pop("schema.json"))
    for node in nodes(schema):
        _forget_memory(node)
    found = list(nodes(schema))
    _name_modules(found, name_of)
    _number_objects(found)
    kept = _number_members(found, members)
    for node in reversed(found):  # from the inside out, so that a set in a set is sorted by what it ends up as
        _sort_set(node)
    return pack({"schema.json": json.dumps(schema, separators=(",", ":")).encode()} | kept)


def _name_modules(found: list[dict[str, Any]], name_of: Callable[[str], str | None]) -> None:
    """Name modules of own code by their files: what they are imported as differs from process to process."""
    names = {module: name_of(module) for module in {node["__module__"] for node in found}}
    for node in found:
        node["__module__"] = names[node["__module__"]] or node["__module__"]


def _forget_memory(node: dict[str, Any]) -> None:
    """Drop what tells of the process, not of the model."""
    if node["__loader__"] == "DictNode":
        for name in _ADDRESSES:
            if name in node["content"]:
                node["content"][name] |= {"content": "0"}
    # a partial's attributes are None until somebody looks, then an empty dict
    if node["__loader__"] == "PartialNode" and node["content"]["namespace"].get("content") == {}:
        node["content"]["namespace"] = dict(_NONE)
    # neighbour trees count, in four places of their state, how often they were asked
    if node["__loader__"] == "ObjectNode" and node["__class__"] in ("KDTree", "BallTree"):
        for count in node["content"]["content"][7:11]:
            count["content"] = "0"


def _number_objects(found: list[dict[str, Any]]) -> None:
    met = Counter(node["__id__"] for node in found if _is_mutable(node))
    numbers: dict[int, int] = {}
    for node in found:
        address = node.pop("__id__", None)
        if _is_mutable(node) and met[address] > 1:
            node["__id__"] = numbers.setdefault(address, len(numbers) + 1)


def _is_mutable(node: dict[str, Any]) -> bool:
    scalar = node["__loader__"] == "NdArrayNode" and node["__class__"] != "ndarray"
    return not scalar and node["__loader__"] not in _IMMUTABLE


def _number_members(found: list[dict[str, Any]], members: dict[str, bytes]) -> dict[str, bytes]:
    """Name each member by the order in which its content is first met; equal ones are kept once."""
    numbered: dict[tuple[str, bytes], str] = {}
    for node in found:
        if isinstance(node.get("file"), str):
            suffix = node["file"].rpartition(".")[2]
            content = _stored(suffix, members[node["file"]])
            node["file"] = numbered.setdefault((suffix, content), f"{len(numbered) + 1}.{suffix}")
    return {name: content for (_, content), name in numbered.items()}


def _sort_set(node: dict[str, Any]) -> None:
    if node["__loader__"] == "SetNode":
        node["content"].sort(key=json.dumps)
    elif node["__loader__"] == "ConstructorFromReduceNode" and node["__class__"] == "frozenset":
        node["content"]["content"][0]["content"].sort(key=json.dumps)


def _stored(suffix: str, data: bytes) -> bytes:
    """Give a member's bytes, without what differs between equal ones."""
    if suffix == "npz":  # a sparse matrix is an archive of its own, dated and deflated
        with ZipFile(io.BytesIO(data)) as archive:
            return pack({part: archive.read(part) for part in archive.namelist()})
    if suffix == "npy" and b"'descr': [" in data[:128]:
        return _without_padding(data)
    return data


def _without_padding(data: bytes) -> bytes:
    """Zero the bytes between the fields of records: in trees that came from another process they are not set."""
    records = np.load(io.BytesIO(data), allow_pickle=False)
    clean = np.zeros(records.shape, records.dtype)
    for name in records.dtype.names:
        clean[name] = records[name]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()
