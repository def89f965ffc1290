"""The OpenAPI description of the served models, from their signatures, with their golden rows as examples."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from diurnal.serving.inference_protocol import TENSOR_TYPES, describe_model

if TYPE_CHECKING:
    from diurnal.serving.served_model import ServedModel

_TYPES: dict[str, dict[str, Any]] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "text": {"type": "string"},
    "date": {"type": "string", "format": "date"},
    "instant": {"type": "string", "format": "date-time"},
    "timestamp": {"type": "string", "format": "date-time"},
}


def create_openapi(models: Sequence[ServedModel]) -> dict[str, Any]:
    """Return the description, with a path for each model and protocol."""
    paths: dict[str, Any] = {}
    for model in models:
        paths[f"/experiments/{model.experiment}/predict"] = {"post": _describe_predict(model)}
        paths[f"/experiments/{model.experiment}/invocations"] = {"post": _describe_invocations(model)}
        paths[f"/v2/models/{model.experiment}/infer"] = {"post": _describe_infer(model)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "diurnal serve", "version": version("diurnal")},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _describe_predict(model: ServedModel) -> dict[str, Any]:
    rows, answer = example_rows(model), _example_answer(model)
    return _operation(
        model,
        f"predict_{model.experiment}",
        f"Predict {model.signature['target']} of an array of rows",
        {"type": "array", "items": _row_schema(model)},
        rows,
        {"type": "object", "required": ["experiment", "version", "digest", "predictions"]},
        answer,
    )


def _describe_invocations(model: ServedModel) -> dict[str, Any]:
    records = {"type": "array", "items": _row_schema(model)}
    return _operation(
        model,
        f"invoke_{model.experiment}",
        "The scoring protocol of MLflow",
        {"type": "object", "properties": {"dataframe_records": records}, "required": ["dataframe_records"]},
        {"dataframe_records": example_rows(model)},
        {"type": "object", "required": ["predictions"]},
        {"predictions": _example_answer(model)["predictions"]},
    )


def _describe_infer(model: ServedModel) -> dict[str, Any]:
    tensor = {
        "type": "object",
        "required": ["name", "shape", "datatype", "data"],
        "properties": {
            "name": {"type": "string", "examples": model.inputs.names},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "datatype": {"enum": [*TENSOR_TYPES, "BYTES"]},
            "data": {"type": "array"},
        },
    }
    inputs = {"type": "array", "items": tensor}
    return _operation(
        model,
        f"infer_{model.experiment}",
        "The Open Inference Protocol, version 2",
        {"type": "object", "properties": {"inputs": inputs}, "required": ["inputs"]},
        {"inputs": _example_tensors(model)},
        {"type": "object", "required": ["model_name", "model_version", "outputs"]},
        None,
    )


def _operation(
    model: ServedModel,
    name: str,
    summary: str,
    request: dict[str, Any],
    example: Any,
    response: dict[str, Any],
    answer: Any,
) -> dict[str, Any]:
    given = {"schema": request} | ({} if example is None else {"example": example})
    returned = {"schema": response} | ({} if answer is None else {"example": answer})
    failed = {"application/json": {"schema": {"type": "object"}}}
    codes = {"400": "The rows are not valid", "401": "A token is required", "403": "The token does not allow it"}
    codes |= {"404": "There is no such model", "408": "The body did not arrive in time", "413": "The body is too large"}
    codes |= {"422": "The model fails on the rows", "503": "Try it again later"}
    return {
        "operationId": name,
        "summary": summary,
        "tags": [model.experiment],
        "requestBody": {"required": True, "content": {"application/json": given}},
        "responses": {
            "200": {"description": "Predictions", "content": {"application/json": returned}},
            **{code: {"description": text, "content": failed} for code, text in codes.items()},
        },
    }


def _row_schema(model: ServedModel) -> dict[str, Any]:
    properties = {}
    for name, kind, optional in zip(
        model.inputs.names, model.inputs.kinds, model.inputs.accepts_missing.tolist(), strict=True
    ):
        kind_schema = _TYPES[kind]
        properties[name] = {**kind_schema, "type": [kind_schema["type"], "null"]} if optional else kind_schema
    return {"type": "object", "properties": properties, "required": model.inputs.names}


def example_rows(model: ServedModel) -> list[dict[str, Any]]:
    """Return two of the golden rows as a request has them."""
    golden = model.signature["golden"]["rows"][:2]
    kinds = model.inputs.kinds
    rows = [[_example_value(value, kind) for value, kind in zip(row, kinds, strict=True)] for row in golden]
    return [dict(zip(model.inputs.names, row, strict=True)) for row in rows]


def _example_tensors(model: ServedModel) -> list[dict[str, Any]]:
    rows = example_rows(model)
    described = describe_model(model)["inputs"]
    return [{**tensor, "shape": [len(rows)], "data": [row[tensor["name"]] for row in rows]} for tensor in described]


def _example_value(value: Any, kind: str) -> Any:
    """Return a value as a request has it: golden rows have dates as times at midnight."""
    return value[:10] if kind == "date" and isinstance(value, str) else value


def _example_answer(model: ServedModel) -> dict[str, Any]:
    golden = model.signature["golden"]
    answer = {
        "experiment": model.experiment,
        "version": model.version,
        "digest": model.digest,
        "predictions": golden["predictions"][:2],
    }
    if golden["probabilities"] is not None:
        answer |= {"classes": model.classes, "probabilities": golden["probabilities"][:2]}
    return answer
