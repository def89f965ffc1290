"""Metadata requests of scikit-learn, set by ``set_fit_request`` and similar methods. They refer to their estimator."""

from __future__ import annotations

from typing import Any

from sklearn.utils._metadata_requests import SIMPLE_METHODS, MetadataRequest

from diurnal.storage.models.states import State
from diurnal.storage.models.states.state_checks import check_fields, check_that

_FIELDS = ("owner", "requests")


def _request_to_state(request: MetadataRequest) -> dict[str, Any]:
    owner = request.owner
    requests = {method: dict(getattr(request, method).requests) for method in SIMPLE_METHODS}
    return {"owner": owner if isinstance(owner, str) else type(owner).__name__, "requests": requests}


def _request_from_state(state: Any) -> MetadataRequest:
    content = check_fields(state, _FIELDS, "metadata request")
    check_that(isinstance(content["owner"], str), "a metadata request has no name of an owner")
    request = MetadataRequest(owner=content["owner"])  # only messages use it
    check_that(set(content["requests"]) <= set(SIMPLE_METHODS), "a metadata request is for an unknown method")
    for method, values in content["requests"].items():
        for name, value in values.items():
            check_that(isinstance(value, bool | str | None), "a metadata request has an invalid value")
            getattr(request, method)._requests[name] = value
    return request


STATES = (State("sklearn.MetadataRequest", (MetadataRequest,), _request_to_state, _request_from_state),)
