"""The structure of an estimator in JSON's types, so that it can be shown without the model.

It has the blocks of scikit-learn's HTML diagram, which estimators describe by ``_sk_visual_block_``: parts in series or
in parallel, each with its name, its columns, and the parameters that are not the defaults.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_PARTS = 200
MAX_TEXT = 300
_MAX_DEPTH = 12


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
    kind, children = _block_of(estimator)
    parts = []
    for name, details, child in children if depth < _MAX_DEPTH else ():
        if budget.parts <= 0:
            break
        part = _describe_part(child, budget, depth + 1)
        parts.append({"name": name, "details": details, **part})
    is_block = type(estimator).__name__ == "_VisualBlock"
    own = _changed_parameters(estimator) if not is_block else {}
    nested = {name for name, _, _ in children}
    return {
        "title": "" if is_block else type(estimator).__name__,
        "module": "" if is_block else _public_module(type(estimator)),
        "params": {name: text for name, text in own.items() if name not in nested},
        "kind": kind if parts else "single",
        "parts": parts,
    }


def _block_of(estimator: Any) -> tuple[str, list[tuple[str, str, Any]]]:
    """Return whether an estimator's parts are in series or in parallel, and for each name, details and estimator."""
    if isinstance(stages := getattr(estimator, "stages", None), list):  # a pipeline of Spark
        return "serial", [("", "", stage) for stage in stages]
    if hasattr(estimator, "_sk_visual_block_"):
        estimator = estimator._sk_visual_block_()
    if type(estimator).__name__ == "_VisualBlock":
        if estimator.kind == "single":
            return "single", []
        children = list(estimator.estimators)
        names, details = (_as_list(texts, len(children)) for texts in (estimator.names, estimator.name_details))
        return estimator.kind, [
            (_step_name(name), _columns_text(detail, child), child)
            for name, detail, child in zip(names, details, children, strict=True)
        ]
    wrapped = [(name, "", value) for name, value in _parameters_of(estimator) if _is_estimator(value)]
    return ("parallel", wrapped) if wrapped else ("single", [])


def _as_list(texts: Any, n: int) -> list[Any]:
    return list(texts) if texts is not None and len(texts) == n else [None] * n


def _step_name(name: Any) -> str:
    """Return the name of a step; scikit-learn appends the class in some blocks."""
    return _clip_text(str(name).partition(": ")[0]) if name else ""


def _columns_text(details: Any, child: Any) -> str:
    """Return the columns of a transformer; for other parts scikit-learn's details are the text of the estimator."""
    if details is None or callable(details) or (isinstance(details, str) and details == str(child)):
        return ""
    if isinstance(details, str):
        return _clip_text(details) if not _is_estimator(child) else ""
    values = details.tolist() if hasattr(details, "tolist") else details
    return _clip_text(", ".join(map(str, values)) if isinstance(values, list | tuple) else str(values))


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
    return {
        name: _clip_text(repr(value))
        for name, value in _parameters_of(estimator)
        if not _contains_estimators(value) and (name not in defaults or repr(defaults[name]) != repr(value))
    }


def _contains_estimators(value: Any) -> bool:
    """Return whether a parameter is an estimator, or a list of steps."""
    if isinstance(value, list | tuple):
        return any(_contains_estimators(item) for item in value)
    return _is_estimator(value)


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
