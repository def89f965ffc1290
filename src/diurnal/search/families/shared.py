"""What several families of final fits need."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from diurnal.search.cache_keys import key_of
from diurnal.search.families.protocol import Design, NotServed
from diurnal.search.tree import Step


def rest_key(step: Step, *but: str) -> Hashable | None:
    """Give the class and all parameters but these; None where a parameter of an inner estimator is changed."""
    if any("__" in name for name in step.changes):
        return None
    params = step.params()
    kept = tuple((name, key_of(value)) for name, value in sorted(params.items()) if name not in but)
    return type(step.template), step.path, kept


def one_matrix(designs: Sequence[Design]) -> Any:
    """Give the one matrix that all members are fitted on; :class:`NotServed` if there are several."""
    first = designs[0]
    if any(d.matrix is not first.matrix or d.width is not None for d in designs):
        raise NotServed("they have not one matrix in common")
    return first.matrix


def like(big: Any, small: Any) -> Any:
    """Give `small` all that `big` has learnt."""
    params = small.get_params(deep=False)
    vars(small).update({name: value for name, value in vars(big).items() if name not in params})
    return small
