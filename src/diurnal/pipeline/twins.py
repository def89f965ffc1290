"""The twin: the model that a search fits on train rows, kept so that later steps compare and refit the same one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from diurnal.errors import InvalidModelError

if TYPE_CHECKING:
    from diurnal.experiment.run_context import RunContext
    from diurnal.types import SearchResult


def save_twin(context: RunContext, twin: Any) -> tuple[str, str]:
    """Save a twin in the lake; return its path and its digest."""
    from diurnal.storage import models

    model_format = models.format_of(twin)
    trusted = context.experiment.trusted_types
    data, _ = model_format.dump_and_reload(twin, trusted, context.code, scratch=context.temp_url)
    digest = hashlib.sha256(data).hexdigest()
    path = f"{context.experiment.name}/twins/{context.interval.key}/{digest}.{model_format.suffix}"
    return context.stores.lake.write_immutable(path, data), digest


def load_twin(context: RunContext, search: SearchResult) -> Any:
    """Load the twin of a search.

    Raises
    ------
    InvalidModelError
        If its file does not have the digest of the search.
    """
    from diurnal.storage import models

    data = context.stores.lake.get(search.twin)
    if hashlib.sha256(data).hexdigest() != search.twin_digest:
        raise InvalidModelError(
            f"the twin {search.twin} does not have the digest {search.twin_digest[:12]} of its search",
            hint="run the data interval again",
        )
    suffix = search.twin.rpartition("/")[2].partition(".")[2]
    code = context.code.restrict_to(search.own_code)
    trusted = context.experiment.trusted_types
    return models.get_format(suffix).loads(data, trusted, code, scratch=context.temp_url)
