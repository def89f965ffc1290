"""The structure of an estimator in JSON's types, so that it can be shown without the model.

It has the blocks of scikit-learn's HTML diagram: parts in series or in parallel, each with its name, its columns, and
the parameters that are not the defaults. Parts are found among the parameters, and not by ``_sk_visual_block_``, which
formats each part as text: the time for that doubles with each level of nested pipelines.
"""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MAX_PARTS = 200
MAX_TEXT = 300
_MAX_DEPTH = 12
_PLACEHOLDERS = ("passthrough", "drop")


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = MAX_TEXT
_REPR.maxlist = _REPR.maxtuple = _REPR.maxdict = _REPR.maxset = 30


@dataclass
class _Budget:
    """The number of parts that may still be described: a forest of a thousand trees is one part."""

    parts: int = MAX_PARTS


def describe_structure(estimator: Any) -> dict[str, Any] | None:
    """Return the structure of an estimator; None if it cannot be described.

    Parameters
    ----------
    estimator : object
        An estimator of scikit-learn's API or of pyspark.ml, fitted or not.

    Returns
    -------
    dict or None
        ``{"title", "module", "params", "kind", "parts"}``. ``params`` maps the parameters that are not the defaults to
        texts. ``kind`` is ``"serial"``, ``"parallel"`` or ``"single"``; each of the ``parts`` has a ``"name"`` and
        ``"details"``, such as the columns, besides.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> describe_structure(Ridge(alpha=2.0))
    {'title': 'Ridge', 'module': 'sklearn.linear_model', 'params': {'alpha': '2.0'}, 'kind': 'single', 'parts': []}
    """
    try:
        return _describe_part(estimator, _Budget(), 0)
    except Exception:  # noqa: BLE001 - estimators describe themselves by code of their own; a diagram fails no run
        return None


def _describe_part(estimator: Any, budget: _Budget, depth: int) -> dict[str, Any]:
    budget.parts -= 1
    if isinstance(estimator, str) or estimator is None:  # "passthrough", "drop"
        return {"title": str(estimator), "module": "", "params": {}, "kind": "single", "parts": []}
    parts = []
    for part in _parts_of(estimator) if depth < _MAX_DEPTH else ():
        if budget.parts <= 0:
            break
        described = _describe_part(part.estimator, budget, depth + 1)
        parts.append({"name": _clip_text(part.name), "details": part.details, **described})
    is_serial = hasattr(estimator, "steps") or isinstance(getattr(estimator, "stages", None), list)
    return {
        "title": type(estimator).__name__,
        "module": _public_module(type(estimator)),
        "params": _changed_parameters(estimator),
        "kind": ("serial" if is_serial else "parallel") if parts else "single",
        "parts": parts,
    }


class _Part(NamedTuple):
    name: str
    details: str
    estimator: Any


def _parts_of(estimator: Any) -> list[_Part]:
    """Return the estimators among the parameters, and in lists of them; of a fitted transformer of columns its own."""
    if isinstance(stages := getattr(estimator, "stages", None), list):  # a pipeline of Spark
        return [_Part("", "", stage) for stage in stages]
    if isinstance(fitted := getattr(estimator, "transformers_", None), list):
        return [_named_part(item) for item in fitted]
    parts = []
    for name, value in _parameters_of(estimator):
        if _is_estimator(value):
            parts.append(_Part(name, "", value))
        elif isinstance(value, list | tuple) and any(_is_named_estimator(item) for item in value):
            parts += [_named_part(item) for item in value if isinstance(item, tuple) and len(item) > 1]
    return parts


def _named_part(item: tuple[Any, ...]) -> _Part:
    """Return a part from a tuple of name, estimator and perhaps columns."""
    return _Part(str(item[0]), _columns_text(item[2]) if len(item) > 2 else "", item[1])


def _columns_text(columns: Any) -> str:
    values = columns.tolist() if hasattr(columns, "tolist") else columns
    if callable(values):
        return getattr(values, "__name__", type(values).__name__)
    return _clip_text(", ".join(map(str, values)) if isinstance(values, list | tuple) else str(values))


def _is_named_estimator(value: Any) -> bool:
    if not isinstance(value, tuple) or len(value) < 2:
        return False
    return _is_estimator(value[1]) or (isinstance(value[1], str) and value[1] in _PLACEHOLDERS)


def _is_estimator(value: Any) -> bool:
    return hasattr(value, "get_params") and hasattr(value, "fit") and not inspect.isclass(value)


def _parameters_of(estimator: Any) -> Iterator[tuple[str, Any]]:
    if hasattr(estimator, "get_params"):
        yield from estimator.get_params(deep=False).items()
    elif hasattr(estimator, "extractParamMap"):  # of pyspark.ml
        yield from ((param.name, value) for param, value in estimator.extractParamMap().items())


def _changed_parameters(estimator: Any) -> dict[str, str]:
    """Return the parameters that are not the defaults, as texts; those that are estimators are parts."""
    defaults = _default_parameters(estimator)
    texts = {
        name: _REPR.repr(value)
        for name, value in _parameters_of(estimator)
        if not _is_estimator(value)
        and not (isinstance(value, list | tuple) and any(_is_named_estimator(item) for item in value))
    }
    return {
        name: _clip_text(text)
        for name, text in texts.items()
        if name not in defaults or _REPR.repr(defaults[name]) != text
    }


def _default_parameters(estimator: Any) -> Mapping[str, Any]:
    if hasattr(estimator, "getOrDefault"):
        return {param.name: value for param, value in getattr(estimator, "_defaultParamMap", {}).items()}
    signature = inspect.signature(type(estimator).__init__)
    return {name: one.default for name, one in signature.parameters.items() if one.default is not one.empty}


def _public_module(cls: type) -> str:
    """Return the module of a class without the private ones within it.

    Examples
    --------
    >>> from sklearn.preprocessing import StandardScaler
    >>> _public_module(StandardScaler)
    'sklearn.preprocessing'
    """
    names = cls.__module__.split(".")
    private = next((i for i, name in enumerate(names) if name.startswith("_")), len(names))
    return ".".join(names[: max(private, 1)])


def _clip_text(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
