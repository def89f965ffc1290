"""Serialization of results that steps pass to steps in other processes, as JSON types.

Results hold references and digests. The signature of a model contains rows, so that only its digest is passed on; the
signature is read again from the file beside the model.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from diurnal.errors import InvalidModelError
from diurnal.experiment.run_context import RunContext
from diurnal.types import ModelFile
from diurnal.types.json_values import encode_non_finite

if TYPE_CHECKING:
    from diurnal.storage.models import Models


def to_json(value: Any) -> Any:
    """Return a result as JSON types.

    Examples
    --------
    >>> from diurnal.types import Package
    >>> to_json(Package("a.parquet", "abc", 3))
    {'path': 'a.parquet', 'digest': 'abc', 'n_rows': 3}
    """
    if isinstance(value, ModelFile):
        value = replace(value, signature={"sha256": _signature_digest(value.signature)})
    return encode_non_finite(msgspec.to_builtins(value))


def result_from_json(function: Callable[..., Any], content: Any) -> Any:
    """Return the result of a step as an instance of the return type of its function."""
    return msgspec.convert(content, _types_of(function)["return"], strict=False)


def inputs_from_json(function: Callable[..., Any], inputs: Sequence[Any], models: Models) -> list[Any]:
    """Return the arguments of a step beside the context, as instances of the types of its parameters."""
    types = [type_ for name, type_ in _types_of(function).items() if name not in ("context", "return")]
    # Results of mapped tasks come as a sequence class of Airflow. NaN is passed on as a string, which strict rejects.
    plain = [value if isinstance(value, dict | list) else value[:] for value in inputs]
    values = [msgspec.convert(value, type_, strict=False) for value, type_ in zip(plain, types, strict=False)]
    return [_with_signature(value, models) if isinstance(value, ModelFile) else value for value in values]


def _types_of(function: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(function, localns={"RunContext": RunContext})


def _with_signature(model: ModelFile, models: Models) -> ModelFile:
    card = json.loads(models.fs.cat_file(f"{models.url(model.path)}/model.json"))
    signature = card["signature"]
    if not hmac.compare_digest(_signature_digest(signature), model.signature["sha256"]):
        raise InvalidModelError(
            f"the signature in model.json of {model.path} was changed after it was written",
            hint=f"remove {models.url(model.path)}, and run the data interval again",
        )
    return replace(model, signature=signature)


def _signature_digest(signature: Any) -> str:
    return hashlib.sha256(json.dumps(signature, sort_keys=True).encode()).hexdigest()
