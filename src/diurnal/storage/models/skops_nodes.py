"""Nodes of a skops file: the names that a file contains, and the uses that are allowed for each.

A skops file is a tree of nodes. Each node names a loader (create an object, refer to a function, call a constructor,
...) and the type or function that the loader uses. skops checks the name and not the use, so one loader or another may
call any trusted name. Here each loader has a list of its own, and the whole file is checked before skops reads it:

- an object is created from a listed estimator or helper type by ``__new__`` and its state, without a call;
- a function or a type is referenced as it is, and called by the estimator that contains it, on data;
- a constructor is called for a dozen plain types only (dates, ranges, frozen sets);
- a table of pandas, a booster and similar objects have states, which :mod:`~diurnal.storage.models.states` checks.

All uses are allowed for the names that the experiment trusts.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from diurnal.errors import InvalidModelError
from diurnal.storage.models import library_types
from diurnal.storage.models.states import LOADER, STATE_NAMES
from diurnal.storage.models.trusted_types import allowed_types, import_packages_of, imported_types

_CONSTRUCTED = {
    "builtins.frozenset",
    "builtins.range",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "datetime.timezone",
    "decimal.Decimal",
    "zoneinfo.ZoneInfo",
}
_DICTS = {
    "builtins.dict",
    "collections.OrderedDict",
    "sklearn.utils._bunch.Bunch",
}
# Types that a model refers to: dtypes that are parameters of a selector or an encoder.
_VALUES = {
    "builtins.bytes",
    "builtins.complex",
    "builtins.frozenset",
    "builtins.object",
    "builtins.range",
    "collections.OrderedDict",
    "datetime.date",
    "datetime.datetime",
    "datetime.time",
    "datetime.timedelta",
    "decimal.Decimal",
    *(
        f"numpy.{name}"
        for name in ["character", "flexible", "floating", "generic", "inexact", "integer", "number", "signedinteger"]
    ),
    "numpy.complexfloating",
    "numpy.unsignedinteger",
}
_FACTORIES = {f"builtins.{name}" for name in ("dict", "float", "int", "list", "set", "str")} | {
    "collections.OrderedDict"
}
_LOSSES = ("sklearn._loss._loss.", "sklearn.linear_model._sgd_fast.")

_CONTAINERS = (dict, list)

Names = Collection[str]


def iter_nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each node of a schema, from the outside in, in the order in which skops reads them."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            # a dict in the model may have a key of this name; its value in the schema is a node then, not a string
            if isinstance(item.get("__loader__"), str):
                yield item
            pending += [part for part in reversed(item.values()) if isinstance(part, _CONTAINERS)]
        elif isinstance(item, list):
            pending += [part for part in reversed(item) if isinstance(part, _CONTAINERS)]


def qualified_name(node: Mapping[str, Any]) -> str:
    """Return the full name of the type or function that a node names."""
    return f"{node.get('__module__')}.{node.get('__class__')}"


def find_disallowed(schema: Any, trusted: Names, is_project: Callable[[str], bool] = lambda _: False) -> list[str]:
    """Return all names that a schema uses in a way that is not allowed, in order.

    Parameters
    ----------
    schema : object
        The parsed ``schema.json`` of a model file.
    trusted : collection of str
        Names that the experiment trusts.
    is_project : callable
        Returns whether a name is one of the project's own code.
    """
    used: dict[str, set[str]] = {}
    nodes = list(iter_nodes(schema))
    for node in nodes:
        used.setdefault(node["__loader__"], set()).add(qualified_name(node))
    import_packages_of(used.get("ObjectNode", ()))
    _check_dict_keys(nodes, trusted)
    libraries = library_types.libraries_of(name for names in used.values() for name in names)
    disallowed: set[str] = set()
    for loader, names in used.items():
        # the full list of a loader is the last to be asked, as it may take the import of all of scikit-learn
        disallowed |= {name for name in names - _known_names(loader) if name not in trusted and not (
            loader in _PROJECT_LOADERS and is_project(name)
        ) and name not in _allowed_names(loader, libraries)}  # fmt: skip
    return sorted(disallowed)


# The loaders for the project's own code: reading a file refers to it and never calls it.
_PROJECT_LOADERS = {"FunctionNode", "ObjectNode", "TypeNode"}


def _known_names(loader: str) -> frozenset[str]:
    """Return the names of :func:`_allowed_names` that can be listed without a further import."""
    if loader == "ObjectNode":
        return imported_types()
    return _plain_types() if loader == "TypeNode" else frozenset()


@functools.cache
def _plain_types() -> frozenset[str]:
    python = {f"builtins.{name}" for name in ("bool", "float", "int", "list", "map", "set", "str", "tuple")}
    return frozenset(python | _VALUES | _dtype_names())


@functools.cache
def _allowed_names(loader: str, libraries: frozenset[str]) -> frozenset[str]:
    """Return the names that are allowed for a loader in a file that contains types of some libraries."""
    from skops.io import _trusted_types as skops

    lists: dict[str, Callable[[], Collection[str]]] = {
        LOADER: lambda: STATE_NAMES,
        "BytearrayNode": lambda: ["builtins.bytearray"],
        "BytesNode": lambda: ["builtins.bytes"],
        "ConstructorFromReduceNode": lambda: _CONSTRUCTED,
        "DTypeNode": lambda: ["numpy.dtype"],
        "DefaultDictNode": lambda: ["collections.defaultdict"],
        "DictNode": lambda: _DICTS,
        "FunctionNode": lambda: {
            *allowed_types(),
            *skops.NUMPY_UFUNC_TYPE_NAMES,
            *skops.SCIPY_UFUNC_TYPE_NAMES,
            *library_types.functions_of(libraries),
        },
        "JsonNode": lambda: ["builtins.str"],
        "ListNode": lambda: ["builtins.list"],
        "LossNode": lambda: [name for name in allowed_types() | _skops_losses() if name.startswith(_LOSSES)],
        "MaskedArrayNode": lambda: ["numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray"],
        "NdArrayNode": lambda: {"numpy.ndarray", *_dtype_names()},
        "ObjectNode": lambda: {*allowed_types(), *library_types.types_of(libraries)},
        "PartialNode": lambda: ["functools.partial"],
        "RandomGeneratorNode": lambda: ["numpy.random._generator.Generator"],
        "RandomStateNode": lambda: ["numpy.random.mtrand.RandomState"],
        "SetNode": lambda: ["builtins.set"],
        "SliceNode": lambda: ["builtins.slice"],
        "SparseMatrixNode": lambda: [name for name in allowed_types() if name.startswith("scipy.sparse.")],
        "TreeNode": lambda: ["sklearn.tree._tree.Tree"],
        "TupleNode": lambda: ["builtins.tuple", "sklearn.impute._iterative._ImputerTriplet"],
        "TypeNode": lambda: {*_plain_types(), *(name for name in allowed_types() if name.startswith("sklearn."))},
    }
    return frozenset(lists.get(loader, frozenset)())


def _dtype_names() -> set[str]:
    import numpy as np

    return {f"{dtype.__module__}.{dtype.__name__}" for dtype in np.sctypeDict.values()}


def _skops_losses() -> set[str]:
    from skops.io._sklearn import ALLOWED_LOSSES

    return {f"{loss.__module__}.{loss.__name__}" for loss in ALLOWED_LOSSES}


def _check_dict_keys(nodes: Iterable[dict[str, Any]], trusted: Names) -> None:
    """Check the types of dict keys and the factories of default dicts: skops calls whatever the file names there."""
    for node in nodes:
        if node["__loader__"] == "DictNode":
            key_types = node.get("key_types")
            is_list = isinstance(key_types, dict) and key_types.get("__loader__") == "ListNode"
            types: list[Any] = key_types["content"] if is_list and key_types else [{}]  # {} is rejected below
        elif node["__loader__"] == "DefaultDictNode":
            types = [node["content"]["default_factory"]]
            types = [] if types[0].get("content") == "null" else types
        else:
            continue
        for called in types:
            name = qualified_name(called)
            is_allowed = name in _FACTORIES if node["__loader__"] == "DefaultDictNode" else _is_key_type(name)
            if called.get("__loader__") != "TypeNode" or not (is_allowed or name in trusted):
                raise InvalidModelError(
                    f"the model contains a dict that calls {name} for its keys or values",
                    hint="no fit creates such a model: find out who wrote the file, and run its data interval again",
                )


def _is_key_type(name: str) -> bool:
    return name in _known_names("TypeNode") or name in _allowed_names("TypeNode", frozenset())
