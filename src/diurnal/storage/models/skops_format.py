"""Models to bytes and back: :func:`dumps` and :func:`loads`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import skops.io

from diurnal.errors import InvalidModelError, UsageError
from diurnal.runtime.project_files import Codebase
from diurnal.storage.models import library_types, skops_nodes
from diurnal.storage.models.canonical_skops import canonical
from diurnal.storage.models.tree_checks import refuse_bad_structure
from diurnal.storage.models.unsupported_objects import NO_PICKLE, Reason, joined, lost, unsaved
from diurnal.storage.models.zip_archive import MAX_BYTES, pack, unpack

# Of skops 0.16. It ships readers for protocols 0 and 1 too, and the file says which one reads it.
PROTOCOL = 2

NO_CODE = Codebase()


def dumps(estimator: Any, trusted: Collection[str] = (), code: Codebase | None = None) -> bytes:
    """Turn a fitted estimator into bytes: the same ones for the same fit, in any process.

    What is given has been read back, so :func:`loads` accepts it.

    Parameters
    ----------
    estimator : object
        A fitted estimator.
    trusted : collection of str
        Full names of further types that it may hold, beside those on the reader's lists.
    code : Codebase, optional
        The project's own code, whose classes and functions it may hold too.

    Returns
    -------
    bytes

    Raises
    ------
    InvalidModelError
        If it cannot be saved, or contains types that are not allowed; with every reason.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> data = dumps(DummyClassifier().fit([[0], [1]], ["a", "b"]))
    >>> loads(data).classes_.tolist()
    ['a', 'b']
    """
    return dump_and_read_back(estimator, trusted, code)[0]


def refuse_untrusted(estimator: Any, trusted: Collection[str] = (), code: Codebase | None = None) -> None:
    """Refuse an estimator that :func:`loads` would not read; it need not be fitted.

    Its structure is not looked at, for only a fit gives it one.

    Raises
    ------
    InvalidModelError
        If it cannot be saved, or contains types that are not allowed; with every reason.
    """
    _bytes_of(estimator, _named(trusted), code or NO_CODE)


def dump_and_read_back(
    estimator: Any, trusted: Collection[str] = (), code: Codebase | None = None
) -> tuple[bytes, Any]:
    """Give the bytes of an estimator, and what they give when read."""
    data = _bytes_of(estimator, _named(trusted), code or NO_CODE)
    return data, loads(data, trusted, code)


def _bytes_of(estimator: Any, trusted: Collection[str], code: Codebase) -> bytes:
    found = lost(estimator, code.name_of)
    names, data = [], b""
    try:
        data = _written(estimator, code)
        schema = json.loads(unpack(data)["schema.json"])
        used = {skops_nodes.name_of(node) for node in skops_nodes.nodes(schema)}
        names = [name for name in skops_nodes.strange(schema, trusted, code.allows) if name not in found]
        reasons = [reason for name, reason in found.items() if name in used]
    except Exception as error:  # noqa: BLE001 - skops calls the object's own methods: anything may come of it
        reasons = list(found.values())
        reasons += unsaved(estimator, lambda part: _written(part, code)) or [(str(error), NO_PICKLE)]
    if not reasons:
        _refuse_types(names)
        return data
    reasons += [_untrusted(names)] if names else []
    text, hint = joined(reasons)
    what = estimator[0] if isinstance(estimator, list) and estimator else estimator
    raise InvalidModelError(f"a {type(what).__name__} cannot be saved: {text}", hint=hint)


def _written(estimator: Any, code: Codebase) -> bytes:
    from diurnal.storage.models.states.state_node import states_known

    with states_known():
        return canonical(skops.io.dumps(estimator), code.name_of)


def loads(
    data: bytes, trusted: Collection[str] = (), code: Codebase | None = None, *, max_bytes: int = MAX_BYTES
) -> Any:
    """Read an estimator from bytes whose origin is known: form, protocol, types and structure are checked.

    The digest is the caller's to check, before; :meth:`Models.load` does.

    Parameters
    ----------
    data : bytes
        What :func:`dumps` gave.
    trusted : collection of str
        Full names of further types that it may hold, beside those on the reader's lists.
    code : Codebase, optional
        The project's own code, whose classes and functions it may hold too.
    max_bytes : int
        Larger ones are refused.

    Returns
    -------
    object
        The estimator.

    Raises
    ------
    InvalidModelError
        If anything is not as :func:`dumps` would have written it, or of a type that is not allowed.
    """
    from diurnal.storage.models.states.state_node import states_known

    named, code = _named(trusted), code or NO_CODE
    if len(data) > max_bytes:
        raise InvalidModelError(
            f"the model takes {len(data)} bytes; up to {max_bytes} are allowed", hint="fit a smaller model"
        )
    try:
        members = unpack(data)
        _refuse_other_protocols(members["schema.json"])
        schema = json.loads(members["schema.json"])
        _refuse_types(skops_nodes.strange(schema, named, code.allows))
        accepted = {skops_nodes.name_of(node) for node in skops_nodes.nodes(schema)}
        if _find_own(schema, code):
            data = pack(members | {"schema.json": json.dumps(schema).encode()})
            accepted |= {skops_nodes.name_of(node) for node in skops_nodes.nodes(schema)}
        with warnings.catch_warnings(), states_known():
            # NumPy's old names of dtypes, met on the way; nothing that a user could act on
            warnings.simplefilter("ignore", DeprecationWarning)
            estimator = skops.io.loads(data, trusted=sorted(accepted | named))
        refuse_bad_structure(estimator)
    except InvalidModelError:
        raise
    except Exception as error:  # whatever a crafted file makes a reader raise, the file is refused
        raise InvalidModelError(
            f"the model cannot be read: {type(error).__name__}: {str(error)[:500]}",
            hint="restore the file from a backup, or run its data interval again",
        ) from error
    return estimator


def _named(trusted: Collection[str]) -> set[str]:
    if isinstance(trusted, str) or not all(isinstance(name, str) and "." in name for name in trusted):
        raise UsageError(
            f"trusted is {trusted!r}; a collection of full names of types is allowed",
            hint='write it as in trusted=("package.module.Type",)',
        )
    return set(trusted)


def _find_own(schema: Any, code: Codebase) -> bool:
    """Name each module of own code as it is named in this process; tell whether one has another name here."""
    names: dict[str, str] = {}
    for node in skops_nodes.nodes(schema):
        if code.allows(skops_nodes.name_of(node)):
            module = node["__module__"]
            node["__module__"] = names.setdefault(module, code.load_module(module).__name__)
    return any(module != here for module, here in names.items())


def _refuse_other_protocols(schema: bytes) -> None:
    root = json.loads(schema)
    protocol = root.get("protocol") if isinstance(root, dict) else None
    if type(protocol) is not int or protocol != PROTOCOL:
        raise InvalidModelError(
            f"the model is written in skops' protocol {protocol!r}; only {PROTOCOL} is read",
            hint="run its data interval again with this environment",
        )


def _refuse_types(types: Sequence[str]) -> None:
    if not types:
        return
    missing = [name for name in types if not library_types.is_installed(name.partition(".")[0])]
    if missing:
        library = missing[0].partition(".")[0]
        raise InvalidModelError(
            f"the model contains types of {library}, which is not installed here: {', '.join(missing[:20])}",
            hint=f"install {library}, in the version that the model's row names",
        )
    what, cure = _untrusted(types)
    raise InvalidModelError(what, hint=cure)


def _untrusted(types: Sequence[str]) -> Reason:
    what = (
        f"the model contains types that are not allowed: {', '.join(types)}; allowed are those of scikit-learn, NumPy, "
        "pandas and the libraries of docs/models.md, the project's own code, and what the experiment names"
    )
    return what, _how_to_trust(types)


def _how_to_trust(types: Sequence[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in types)
    return (
        f"read their code first; then name them in the experiment: @experiment(..., trusted_types=({quoted},)), or, "
        f"where the model is loaded outside of its project, in load_model(..., trusted=({quoted},))"
    )
