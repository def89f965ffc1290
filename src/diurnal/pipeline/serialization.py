"""How the values that steps hand each other travel from process to process: as plain JSON, references and digests only.

A model's signature stays behind, as it holds rows: its digest travels, and it is read again from beside the model.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from diurnal.errors import InvalidModelError
from diurnal.experiment.run_context import RunContext
from diurnal.types import ModelFile

if TYPE_CHECKING:
    from diurnal.storage.models import Models


def to_json(value: Any) -> Any:
    """Give a value in JSON's types.

    Examples
    --------
    >>> from diurnal.types import Package
    >>> packed(Package("a.parquet", "abc", 3))
    {'path': 'a.parquet', 'digest': 'abc', 'n_rows': 3}
    """
    if isinstance(value, ModelFile):
        value = replace(value, signature={"sha256": _digest(value.signature)})
    return _plain(msgspec.to_builtins(value))


def result_from_json(function: Callable[..., Any], told: Any) -> Any:
    """Give back what a step's function gave, of the type that it names."""
    return msgspec.convert(told, _kinds(function)["return"], strict=False)


def inputs_from_json(function: Callable[..., Any], given: Sequence[Any], models: Models) -> list[Any]:
    """Give back the values that a step's function takes beside the day, of the types that it names."""
    kinds = [kind for name, kind in _kinds(function).items() if name not in ("day", "return")]
    # what mapped tasks gave comes as a sequence of Airflow's own; not strict, as a nan travels as its name
    plain = [value if isinstance(value, dict | list) else value[:] for value in given]
    values = [msgspec.convert(value, kind, strict=False) for value, kind in zip(plain, kinds, strict=False)]
    return [_with_signature(value, models) if isinstance(value, ModelFile) else value for value in values]


def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function, localns={"Day": RunContext})


def _with_signature(model: ModelFile, models: Models) -> ModelFile:
    card = json.loads(models.fs.cat_file(f"{models.url(model.path)}/model.json"))
    signature = card["signature"]
    if not hmac.compare_digest(_digest(signature), model.signature["sha256"]):
        raise InvalidModelError(
            f"the signature in model.json of {model.path} is not the one that was written",
            hint=f"somebody changed it: remove {models.url(model.path)}, and run the data interval again",
        )
    return replace(model, signature=signature)


def _digest(signature: Any) -> str:
    return hashlib.sha256(json.dumps(signature, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
