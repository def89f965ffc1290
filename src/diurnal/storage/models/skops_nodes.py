"""Nodes: what a file asks the reader to do with a name, and which names it may do that with.

A skops file is a tree of nodes. Each names a loader (make an object, give a function, call a constructor, ...) and the
type or function that it does it with. skops checks the names, and not the use: whatever is trusted may be called, by
one loader or another. Here each use has a list of its own, and the whole file is held against them before skops sees
it:

- an object is made of a listed estimator or helper type, by ``__new__`` and its state, without a call;
- a function or a type is given as it is, and called by the estimator that holds it, on data;
- a constructor is called for a dozen plain types only (dates, ranges, frozen sets);
- a table of pandas, a booster and the like have states that :mod:`~diurnal.storage.models.states` reads and checks.

What the experiment itself trusts by name may be used in every way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from diurnal.errors import InvalidModelError
from diurnal.storage.models import library_types
from diurnal.storage.models.states import KINDS, LOADER
from diurnal.storage.models.trusted_types import allowed_types

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
# Types that a model holds as they are: dtypes that a selector or an encoder is given.
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
        f"numpy.{kind}"
        for kind in ["character", "flexible", "floating", "generic", "inexact", "integer", "number", "signedinteger"]
    ),
    "numpy.complexfloating",
    "numpy.unsignedinteger",
}
_FACTORIES = {f"builtins.{kind}" for kind in ("dict", "float", "int", "list", "set", "str")} | {
    "collections.OrderedDict"
}
_LOSSES = ("sklearn._loss._loss.", "sklearn.linear_model._sgd_fast.")

Names = Collection[str]


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Return each node of a schema, from the outside in, in the order in which the reader meets them."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            # a dict of the user's own may have a key of this name; what is under it is then a node, not a string
            if isinstance(one.get("__loader__"), str):
                yield one
            waiting += reversed(one.values())
        elif isinstance(one, list):
            waiting += reversed(one)


def name_of(node: Mapping[str, Any]) -> str:
    """Return the full name of the type or function that a node is about."""
    return f"{node.get('__module__')}.{node.get('__class__')}"


def strange(schema: Any, trusted: Names, own: Callable[[str], bool] = lambda _: False) -> list[str]:
    """Return the names that a schema uses and may not, in order; all of them.

    Parameters
    ----------
    schema : object
        A model file's ``schema.json``, read.
    trusted : collection of str
        Names that the experiment trusts.
    own : callable
        Returns whether a name is of the project's own code.
    """
    used: dict[str, set[str]] = {}
    for node in nodes(schema):
        used.setdefault(node["__loader__"], set()).add(name_of(node))
    _refuse_strange_keys(schema, trusted)
    known = library_types.mentioned(name for names in used.values() for name in names)
    found = set()
    for loader, names in used.items():
        allowed = _allowed(loader, known)
        found |= {name for name in names if name not in allowed and name not in trusted and not (
            loader in _OWN and own(name)
        )}  # fmt: skip
    return sorted(found)


_OWN = {"FunctionNode", "ObjectNode", "TypeNode"}  # the project's own code is given, never called, while a file is read


@functools.cache
def _allowed(loader: str, known: frozenset[str]) -> frozenset[str]:
    """Return the names that a loader may be used with, where some libraries are known."""
    from skops.io import _trusted_types as skops

    plain = {*skops.PRIMITIVE_TYPE_NAMES, *skops.CONTAINER_TYPE_NAMES, *skops.NUMPY_DTYPE_TYPE_NAMES}
    lists: dict[str, Callable[[], Collection[str]]] = {
        LOADER: lambda: KINDS,
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
            *library_types.functions_of(known),
        },
        "JsonNode": lambda: ["builtins.str"],
        "ListNode": lambda: ["builtins.list"],
        "LossNode": lambda: [name for name in allowed_types() | _skops_losses() if name.startswith(_LOSSES)],
        "MaskedArrayNode": lambda: ["numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray"],
        "NdArrayNode": lambda: {"numpy.ndarray", *skops.NUMPY_DTYPE_TYPE_NAMES},
        "ObjectNode": lambda: {
            *allowed_types(),
            *skops.SKLEARN_INTERNAL_TYPE_NAMES,
            *library_types.types_of(known),
        },
        "PartialNode": lambda: ["functools.partial"],
        "RandomGeneratorNode": lambda: ["numpy.random._generator.Generator"],
        "RandomStateNode": lambda: ["numpy.random.mtrand.RandomState"],
        "SetNode": lambda: ["builtins.set"],
        "SliceNode": lambda: ["builtins.slice"],
        "SparseMatrixNode": lambda: [name for name in allowed_types() if name.startswith("scipy.sparse.")],
        "TreeNode": lambda: ["sklearn.tree._tree.Tree"],
        "TupleNode": lambda: ["builtins.tuple", "sklearn.impute._iterative._ImputerTriplet"],
        "TypeNode": lambda: {*plain, *_VALUES, *(name for name in allowed_types() if name.startswith("sklearn."))},
    }
    return frozenset(lists.get(loader, frozenset)())


def _skops_losses() -> set[str]:
    from skops.io._sklearn import ALLOWED_LOSSES

    return {f"{loss.__module__}.{loss.__name__}" for loss in ALLOWED_LOSSES}


def _refuse_strange_keys(schema: Any, trusted: Names) -> None:
    """Refuse a dict that has something called on its keys, or on nothing: skops calls what the file names there."""
    for node in nodes(schema):
        if node["__loader__"] == "DictNode":
            kinds = node.get("key_types")
            listed = isinstance(kinds, dict) and kinds.get("__loader__") == "ListNode"
            types: list[Any] = kinds["content"] if listed and kinds else [{}]
        elif node["__loader__"] == "DefaultDictNode":
            types = [node["content"]["default_factory"]]
            types = [] if types[0].get("content") == "null" else types
        else:
            continue
        plain = _FACTORIES if node["__loader__"] == "DefaultDictNode" else _allowed("TypeNode", frozenset())
        for kind in types:
            if kind.get("__loader__") != "TypeNode" or (name_of(kind) not in plain and name_of(kind) not in trusted):
                raise InvalidModelError(
                    f"the model contains a dict that calls {name_of(kind)} for its keys or values",
                    hint="no fit gives such a model: find out who wrote the file, and run its data interval again",
                )
