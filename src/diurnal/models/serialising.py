"""Models to bytes and back: :func:`dumps` and :func:`loads`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import skops.io

from diurnal.errors import ModelRefused, UsageError
from diurnal.models.archive import unpack
from diurnal.models.canonical import canonical
from diurnal.models.structure import refuse_bad_structure
from diurnal.models.trust import allowed_types

MAX_BYTES = 2**31 - 1

# Of skops 0.16. It ships readers for protocols 0 and 1 too, and the file says which one reads it.
PROTOCOL = 2


def dumps(estimator: Any, trusted: Collection[str] = ()) -> bytes:
    """Turn a fitted estimator into bytes: the same ones for the same fit, in any process.

    What is given has been read back, so :func:`loads` accepts it.

    Parameters
    ----------
    estimator : object
        A fitted estimator.
    trusted : collection of str
        Full names of further types that it may hold, beside scikit-learn's own.

    Returns
    -------
    bytes

    Raises
    ------
    ModelRefused
        If it cannot be saved, or holds types that the reader does not trust.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> data = dumps(DummyClassifier().fit([[0], [1]], ["a", "b"]))
    >>> loads(data).classes_.tolist()
    ['a', 'b']
    """
    return dump_and_read_back(estimator, trusted)[0]


def refuse_untrusted(estimator: Any, trusted: Collection[str] = ()) -> None:
    """Refuse an estimator that holds types which :func:`loads` would not read; it need not be fitted.

    Its structure is not looked at, for only a fit gives it one.

    Raises
    ------
    ModelRefused
        If it cannot be saved, or holds types that are not trusted.
    """
    _refuse_types(set(skops.io.get_untrusted_types(data=_bytes_of(estimator))) - allowed_types() - _named(trusted))


def dump_and_read_back(estimator: Any, trusted: Collection[str] = ()) -> tuple[bytes, Any]:
    """Give the bytes of an estimator, and what they give when read."""
    data = _bytes_of(estimator)
    return data, loads(data, trusted)


def _bytes_of(estimator: Any) -> bytes:
    try:
        return canonical(skops.io.dumps(estimator))
    except Exception as error:  # skops calls the object's own methods: anything may come of it
        raise ModelRefused(
            f"a {type(estimator).__name__} cannot be saved: {error}",
            advice="use an estimator, or a part of it, that skops can save; pickle is no way round",
        ) from error


def loads(data: bytes, trusted: Collection[str] = (), *, max_bytes: int = MAX_BYTES) -> Any:
    """Read an estimator from bytes whose origin is known: form, protocol, types and structure are checked.

    The digest is the caller's to check, before; :meth:`Models.load` does.

    Parameters
    ----------
    data : bytes
        What :func:`dumps` gave.
    trusted : collection of str
        Full names of further types that it may hold, beside scikit-learn's own.
    max_bytes : int
        Larger ones are refused.

    Returns
    -------
    object
        The estimator.

    Raises
    ------
    ModelRefused
        If anything is not as :func:`dumps` would have written it, or of a type that is not trusted.
    """
    named = _named(trusted)
    if len(data) > max_bytes:
        raise ModelRefused(
            f"the model takes {len(data)} bytes; up to {max_bytes} are allowed", advice="fit a smaller model"
        )
    try:
        _refuse_other_protocols(unpack(data)["schema.json"])
        needed = set(skops.io.get_untrusted_types(data=data))
        _refuse_types(needed - allowed_types() - named)
        with warnings.catch_warnings():
            # NumPy's old names of dtypes, met on the way; nothing that a user could act on
            warnings.simplefilter("ignore", DeprecationWarning)
            estimator = skops.io.loads(data, trusted=sorted(needed))
        refuse_bad_structure(estimator)
    except ModelRefused:
        raise
    except Exception as error:  # whatever a crafted file makes a reader raise, the file is refused
        raise ModelRefused(
            f"the model cannot be read: {type(error).__name__}: {str(error)[:500]}",
            advice="restore the file from a backup, or run its data interval again",
        ) from error
    return estimator


def _named(trusted: Collection[str]) -> set[str]:
    if isinstance(trusted, str) or not all(isinstance(name, str) and "." in name for name in trusted):
        raise UsageError(
            f"trusted is {trusted!r}; a collection of full names of types is allowed",
            advice='write it as in trusted=("package.module.Type",)',
        )
    return set(trusted)


def _refuse_other_protocols(schema: bytes) -> None:
    root = json.loads(schema)
    protocol = root.get("protocol") if isinstance(root, dict) else None
    if type(protocol) is not int or protocol != PROTOCOL:
        raise ModelRefused(
            f"the model is written in skops' protocol {protocol!r}; only {PROTOCOL} is read",
            advice="run its data interval again with this environment",
        )


def _refuse_types(types: Collection[str]) -> None:
    if not types:
        return
    listed = sorted(types)
    raise ModelRefused(
        f"the model holds what the reader does not trust: {', '.join(listed[:20])}; allowed are scikit-learn's own "
        "types, NumPy's, and those that the experiment names",
        advice=_how_to_trust(listed),
    )


def _how_to_trust(types: Sequence[str]) -> str:
    if any("<" in name or name.startswith("__main__.") for name in types):
        return "put the function or class, under a name of its own, into a module that can be imported; then trust it"
    quoted = ", ".join(f'"{name}"' for name in types)
    return f"read their code first; then name them in the experiment: @experiment(..., trusted=({quoted},))"
