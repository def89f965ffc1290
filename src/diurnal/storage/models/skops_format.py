"""The format of scikit-learn models: a skops file in one canonical form."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import skops.io

from diurnal.errors import InvalidModelError, UsageError
from diurnal.runtime.project_files import Codebase
from diurnal.storage.models import library_types, skops_nodes
from diurnal.storage.models.canonical_skops import canonicalize_skops
from diurnal.storage.models.formats import NO_CODE, ModelFormat
from diurnal.storage.models.skops_lists import trust_nothing_else
from diurnal.storage.models.tree_checks import check_structure
from diurnal.storage.models.unsupported_objects import (
    NO_PICKLE,
    Reason,
    join_reasons,
    unimportable_objects,
    unsavable_parts,
)
from diurnal.storage.models.zip_archive import read_model_archive, write_archive

# Of skops 0.16. It has readers for protocols 0 and 1 too, and the file chooses its reader.
PROTOCOL = 2


class SkopsFormat(ModelFormat):
    """Models of scikit-learn and of the libraries that follow its interface."""

    suffix = "skops"
    library = "scikit-learn"
    _reported_errors = (InvalidModelError, UsageError)

    def dumps(self, estimator: Any, trusted: Collection[str] = (), code: Codebase | None = None) -> bytes:
        """Convert a fitted estimator to bytes that :meth:`loads` accepts: the same bytes for the same fit.

        Examples
        --------
        >>> from sklearn.dummy import DummyClassifier
        >>> data = FORMAT.dumps(DummyClassifier().fit([[0], [1]], ["a", "b"]))
        >>> FORMAT.loads(data).classes_.tolist()
        ['a', 'b']
        """
        return self.dump_and_reload(estimator, trusted, code)[0]

    def check_types(self, estimator: Any, trusted: Collection[str] = (), code: Codebase | None = None) -> None:
        """Reject an estimator of types that are not allowed; it need not be fitted.

        Its structure is not checked, since only a fitted estimator has one.
        """
        self._dump(estimator, trusted, code or NO_CODE, None)

    def _dump(self, estimator: Any, trusted: Collection[str], code: Codebase, scratch: str | None) -> bytes:  # noqa: ARG002
        trusted = _check_type_names(trusted)
        unimportable = unimportable_objects(estimator, code.name_of)
        disallowed, data = [], b""
        try:
            data = _write_canonical(estimator, code)
            schema = json.loads(read_model_archive(data)["schema.json"])
            used = {skops_nodes.qualified_name(node) for node in skops_nodes.iter_nodes(schema)}
            disallowed = [
                name for name in skops_nodes.find_disallowed(schema, trusted, code.allows) if name not in unimportable
            ]
            reasons = [reason for name, reason in unimportable.items() if name in used]
        except Exception as error:  # noqa: BLE001 - skops calls the object's own methods, which raise anything
            reasons = list(unimportable.values())
            reasons += unsavable_parts(estimator, lambda part: _write_canonical(part, code)) or [
                (str(error), NO_PICKLE)
            ]
        if not reasons:
            _check_disallowed(disallowed)
            return data
        reasons += [_disallowed_reason(disallowed)] if disallowed else []
        text, hint = join_reasons(reasons)
        subject = estimator[0] if isinstance(estimator, list) and estimator else estimator
        raise InvalidModelError(f"a {type(subject).__name__} cannot be saved: {text}", hint=hint)

    def _load(self, data: bytes, trusted: Collection[str], code: Codebase, scratch: str | None) -> Any:  # noqa: ARG002
        from diurnal.storage.models.states.state_node import enable_states

        trusted = _check_type_names(trusted)
        members = read_model_archive(data)
        _check_protocol(members["schema.json"])
        schema = json.loads(members["schema.json"])
        _check_disallowed(skops_nodes.find_disallowed(schema, trusted, code.allows))
        # All names of the file are allowed for their use, which is more than skops checks. So skops may trust them all.
        accepted = {skops_nodes.qualified_name(node) for node in skops_nodes.iter_nodes(schema)}
        if _resolve_project_modules(schema, code):
            data = write_archive(members | {"schema.json": json.dumps(schema).encode()})
            accepted |= {skops_nodes.qualified_name(node) for node in skops_nodes.iter_nodes(schema)}
        with warnings.catch_warnings(), enable_states(), trust_nothing_else():
            # old names of NumPy's dtypes; a user can do nothing about them
            warnings.simplefilter("ignore", DeprecationWarning)
            estimator = skops.io.loads(data, trusted=sorted(accepted | trusted))
        check_structure(estimator)
        return estimator


FORMAT = SkopsFormat()


def _write_canonical(estimator: Any, code: Codebase) -> bytes:
    from diurnal.storage.models.states.state_node import enable_states, write_skops

    with enable_states():
        return canonicalize_skops(write_skops(estimator), code.name_of)


def _check_type_names(trusted: Collection[str]) -> set[str]:
    if isinstance(trusted, str) or not all(isinstance(name, str) and "." in name for name in trusted):
        raise UsageError(
            f"trusted is {trusted!r}; a collection of full names of types is allowed",
            hint='write it as in trusted=("package.module.Type",)',
        )
    return set(trusted)


def _resolve_project_modules(schema: Any, code: Codebase) -> bool:
    """Replace the stored name of each project module by its name in this process; return whether one differs."""
    nodes: dict[str, list[dict[str, Any]]] = {}
    for node in skops_nodes.iter_nodes(schema):
        nodes.setdefault(skops_nodes.qualified_name(node), []).append(node)
    renamed = False
    for name, named in nodes.items():
        if code.allows(name):
            stored = named[0]["__module__"]
            current = code.load_module(stored).__name__
            renamed |= current != stored
            for node in named:
                node["__module__"] = current
    return renamed


def _check_protocol(schema: bytes) -> None:
    root = json.loads(schema)
    protocol = root.get("protocol") if isinstance(root, dict) else None
    if type(protocol) is not int or protocol != PROTOCOL:
        raise InvalidModelError(
            f"the model is written in skops' protocol {protocol!r}; only protocol {PROTOCOL} is read",
            hint="run its data interval again with this environment",
        )


def _check_disallowed(types: Sequence[str]) -> None:
    if not types:
        return
    missing = [name for name in types if not library_types.is_installed(name.partition(".")[0])]
    if missing:
        library = missing[0].partition(".")[0]
        raise InvalidModelError(
            f"the model contains types of {library}, which is not installed here: {', '.join(missing[:20])}",
            hint=f"install {library}, in the version that the model's row names",
        )
    message, hint = _disallowed_reason(types)
    raise InvalidModelError(message, hint=hint)


def _disallowed_reason(types: Sequence[str]) -> Reason:
    quoted = ", ".join(f'"{name}"' for name in types)
    message = (
        f"the model contains types that are not allowed: {', '.join(types)}; allowed are those of scikit-learn, NumPy, "
        "pandas and the libraries of docs/models.md, the project's own code, and the types that the experiment trusts"
    )
    hint = (
        f"read their code first; then name them in the experiment: @experiment(..., trusted_types=({quoted},)), or, "
        f"where the model is loaded outside of its project, in load_model(..., trusted=({quoted},))"
    )
    return message, hint
