"""Metadata requests of scikit-learn: what ``set_fit_request`` and the like say. They refer back to their estimator."""

from __future__ import annotations

from typing import Any

from sklearn.utils._metadata_requests import SIMPLE_METHODS, MetadataRequest

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import fields, require

_FIELDS = ("owner", "requests")


def _take(request: MetadataRequest) -> dict[str, Any]:
    owner = request.owner
    asked = {method: dict(getattr(request, method).requests) for method in SIMPLE_METHODS}
    return {"owner": owner if isinstance(owner, str) else type(owner).__name__, "requests": asked}


def _make(state: Any) -> MetadataRequest:
    given = fields(state, _FIELDS, "metadata request")
    require(isinstance(given["owner"], str), "a metadata request is of nothing that has a name")
    request = MetadataRequest(owner=given["owner"])  # for messages only
    require(set(given["requests"]) <= set(SIMPLE_METHODS), "a metadata request is for a method that is not there")
    for method, asked in given["requests"].items():
        for name, value in asked.items():
            require(isinstance(value, bool | str | None), "a metadata request is neither yes, no nor a name")
            getattr(request, method)._requests[name] = value
    return request


STATES = (State("sklearn.MetadataRequest", (MetadataRequest,), _take, _make),)
