"""The Open Inference Protocol, version 2, with its extension for binary tensors, as KServe and Triton speak it."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from diurnal.serving.request_errors import RequestError, list_names

if TYPE_CHECKING:
    from diurnal.serving.model_inputs import Rows
    from diurnal.serving.served_model import Predictions, ServedModel

LABELS, PROBABILITIES = "predict", "predict_proba"
TENSOR_TYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_KIND_TYPES = {"int": "INT64", "float": "FP64", "bool": "BOOL"}
MAX_VALUES = 2**26  # of a request
_MAX_DIMENSIONS = 8


class _Tensor(msgspec.Struct):
    name: str
    shape: list[Annotated[int, msgspec.Meta(ge=0)]]
    datatype: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    parameters: dict[str, Any] = {}
    outputs: list[_Output] = []


class InferenceRequest(msgspec.Struct):
    """What an answer needs of its request: the id, the outputs, and which of them are binary."""

    id: str | None
    outputs: list[str]
    binary: list[str]


_decoder, _encoder = msgspec.json.Decoder(_Request), msgspec.json.Encoder()


def decode_inference(
    model: ServedModel, body: bytes, header_length: int | None = None
) -> tuple[Rows, InferenceRequest]:
    """Decode a request.

    Parameters
    ----------
    model : ServedModel
        The model.
    body : bytes
        JSON, followed by the values of binary tensors.
    header_length : int, optional
        The number of bytes of the JSON; None if there are no binary tensors.

    Returns
    -------
    rows, InferenceRequest
        The rows: from one tensor of shape ``[n_rows, n_columns]``, or from one tensor for each column.
    """
    length = len(body) if header_length is None else header_length
    try:
        request = _decoder.decode(body[:length])
    except msgspec.DecodeError as error:
        is_form = isinstance(error, msgspec.ValidationError)
        problem = "the request does not have the form of the Open Inference Protocol" if is_form else "it is not JSON"
        raise RequestError(problem, hint='send {"inputs": [{"name", "shape", "datatype", "data"}]}') from None
    arrays = _read_tensors(request.inputs, memoryview(body)[length:])
    known = [LABELS, PROBABILITIES] if model.has_probabilities else [LABELS]
    outputs = [output.name for output in request.outputs] or known
    if unknown := [name for name in outputs if name not in known]:
        raise RequestError(f"{len(unknown)} requested outputs are unknown", hint=f"the outputs are {', '.join(known)}")
    all_binary = request.parameters.get("binary_data_output") is True
    chosen = {output.name: output.parameters.get("binary_data", all_binary) for output in request.outputs}
    binary = [name for name in outputs if chosen.get(name, all_binary) is True]
    return _to_rows(model, arrays), InferenceRequest(request.id, outputs, binary)


def encode_inference(
    model: ServedModel, predictions: Predictions, request: InferenceRequest
) -> tuple[bytes, int | None]:
    """Encode predictions; return the body, and the number of bytes of its JSON if binary tensors follow."""
    outputs, tail = [], []
    for name in request.outputs:
        values = predictions.labels if name == LABELS else predictions.probabilities
        array = np.asarray(values)
        datatype = _datatype_of(array)
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if name in request.binary:
            data = _to_bytes(array, datatype)
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            tensor["data"] = array.reshape(-1).tolist()
        outputs.append(tensor)
    answer: dict[str, Any] = {
        "model_name": model.experiment,
        "model_version": str(model.version),
        "parameters": {"digest": model.digest},
        "outputs": outputs,
    }
    if request.id is not None:
        answer["id"] = request.id
    head = _encoder.encode(answer)
    return b"".join([head, *tail]), len(head) if tail else None


def encode_inference_error(error: RequestError) -> bytes:
    """Encode an error: its text as the protocol has it, and its parts."""
    text = f"{error.message}; {error.hint}" if error.hint else error.message
    return _encoder.encode({"error": text, **error.to_dict()})


def describe_model(model: ServedModel) -> dict[str, Any]:
    """Return the metadata of a model: its versions, inputs and outputs."""
    columns = zip(model.inputs.names, model.inputs.kinds, strict=True)
    labels = _datatype_of(np.asarray(model.signature["golden"]["predictions"] or [0.0]))
    outputs = [{"name": LABELS, "datatype": labels, "shape": [-1]}]
    if model.has_probabilities:
        outputs.append({"name": PROBABILITIES, "datatype": "FP64", "shape": [-1, len(model.classes or ())]})
    return {
        "name": model.experiment,
        "versions": [str(model.version)],
        "platform": "diurnal",
        "inputs": [{"name": name, "datatype": _KIND_TYPES.get(kind, "BYTES"), "shape": [-1]} for name, kind in columns],
        "outputs": outputs,
        "parameters": {"digest": model.digest},
    }


def _read_tensors(tensors: list[_Tensor], tail: memoryview) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {}
    position = 0
    for tensor in tensors:
        count = _count_values(tensor.shape)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            values = _decode_values(tensor, count)
        else:
            if not isinstance(size, int) or not 0 <= size <= len(tail) - position:
                raise RequestError("binary_data_size is not the number of bytes that follow", hint="correct it")
            values = _from_bytes(tail[position : position + size], tensor.datatype, count)
            position += size
        arrays[tensor.name] = values.reshape(tensor.shape)
    if len(arrays) < len(tensors):
        raise RequestError("a tensor is given twice", hint="send each tensor once")
    return arrays


def _count_values(shape: list[int]) -> int:
    if len(shape) > _MAX_DIMENSIONS:
        raise RequestError(f"a tensor has {len(shape)} dimensions", hint="send tensors of one or two dimensions")
    count = 1
    for length in shape:
        count *= length
        if max(count, length) > MAX_VALUES:
            raise RequestError("a tensor has too many values", status=413, hint="send fewer rows at a time")
    return count


def _decode_values(tensor: _Tensor, count: int) -> npt.NDArray[Any]:
    """Decode the values of a tensor from JSON; they are flat or nested, row by row."""
    if tensor.data is msgspec.UNSET:
        raise RequestError("a tensor has no data", hint="send data, or binary_data_size and the bytes after the JSON")
    if tensor.datatype == "BYTES":
        kind: Any = str
    elif tensor.datatype in TENSOR_TYPES:
        kind = bool if tensor.datatype == "BOOL" else float if tensor.datatype.startswith("FP") else int
    else:
        raise _unknown_datatype()
    nested: Any = kind | None if kind is float else kind
    for _ in range(max(1, len(tensor.shape)) if _is_nested(tensor.data) else 1):
        nested = list[nested]
    try:
        values = msgspec.json.decode(tensor.data, type=nested)
        array = np.array(values, dtype=object if kind is str else TENSOR_TYPES[tensor.datatype]).reshape(-1)
    except (msgspec.DecodeError, ValueError, OverflowError, TypeError):
        raise RequestError(
            f"a tensor has values that are not {tensor.datatype}, or rows of different lengths", hint="correct its data"
        ) from None
    if array.size != count:
        raise RequestError(f"a tensor has {array.size} values, and its shape has {count}", hint="correct its shape")
    return array


def _is_nested(data: Any) -> bool:
    return bytes(data).lstrip()[1:].lstrip()[:1] == b"["


def _from_bytes(data: memoryview, datatype: str, count: int) -> npt.NDArray[Any]:
    if datatype == "BYTES":
        return np.array(_split_texts(data, count), dtype=object)
    if datatype not in TENSOR_TYPES:
        raise _unknown_datatype()
    kind = np.dtype(TENSOR_TYPES[datatype])
    if len(data) != count * kind.itemsize:
        raise RequestError(
            f"a binary tensor has {len(data)} bytes; its shape and type need {count * kind.itemsize}",
            hint="correct its shape",
        )
    return np.frombuffer(data, dtype=kind)


def _split_texts(data: memoryview, count: int) -> list[str]:
    """Split texts, each after its length in four bytes."""
    texts, position = [], 0
    try:
        for _ in range(count):
            (length,) = struct.unpack_from("<I", data, position)
            position += 4
            texts.append(str(data[position : position + length], "utf-8"))
            position += length
    except (struct.error, UnicodeDecodeError):
        position = -1
    if position != len(data):
        raise RequestError("a binary tensor of texts is not valid", hint="write each text after its length")
    return texts


def _to_rows(model: ServedModel, arrays: Mapping[str, npt.NDArray[Any]]) -> Rows:
    names = model.inputs.names
    if len(arrays) == 1:
        (array,) = arrays.values()
        if array.ndim == 2 and array.shape[1] == len(names) and (len(names) > 1 or names[0] not in arrays):
            return model.inputs.from_arrays({name: array[:, place] for place, name in enumerate(names)})
    columns = {}
    for name, array in arrays.items():
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]  # noqa: PLW2901
        if array.ndim != 1:
            raise RequestError(
                f"a tensor has {array.ndim} dimensions",
                hint=f"send one tensor of shape [n_rows, {len(names)}], or one for each of {list_names(names)}",
            )
        columns[name] = array
    return model.inputs.from_arrays(columns)


def _datatype_of(array: npt.NDArray[Any]) -> str:
    kinds = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64"}
    return kinds.get(array.dtype.kind, "BYTES")


def _to_bytes(array: npt.NDArray[Any], datatype: str) -> bytes:
    if datatype != "BYTES":
        return np.ascontiguousarray(array, dtype=TENSOR_TYPES[datatype]).tobytes()
    texts = [str(value).encode() for value in array.reshape(-1)]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def _unknown_datatype() -> RequestError:
    return RequestError(
        "a tensor has an unknown datatype", hint=f"the datatypes are {', '.join(TENSOR_TYPES)} and BYTES"
    )
