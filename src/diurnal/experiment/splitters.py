"""Arguments that the splitters of a search require: `order_by` for the order of rows, or `groups`.

The rows of a batch are read in the order of a hash. A splitter that uses the order of rows, such as `TimeSeriesSplit`,
would thus split them at random, and its scores would not mean what its name promises: it requires ``order_by=``. This
module inspects the object that the experiment returns and imports no scikit-learn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from diurnal.errors import ExperimentError

if TYPE_CHECKING:
    from diurnal.experiment.declaration import Experiment

_ORDERED_NAMES = (
    "time", "temporal", "chronolog", "forward", "prequential", "rolling", "expanding", "sliding", "purged", "embargo",
    "gapkfold", "gapleave", "predefinedsplit",
)  # fmt: skip
"""Parts of the names of splitters that use the order or the position of rows, in lower case, without underscores."""

_ORDERED_ATTRIBUTES = frozenset({
    "gap", "gap_size", "gap_before", "gap_after", "gap_duration", "embargo", "embargo_size", "embargo_td",
    "pct_embargo", "purge", "purge_size", "purged_size", "max_train_size", "initial_train_size", "window_length",
})  # fmt: skip
"""Attributes of such splitters: a distance or a length, in consecutive rows."""


def check_splitters(experiment: Experiment, estimator: Any) -> None:
    """Reject a splitter that requires an order or groups which the experiment does not declare.

    Parameters
    ----------
    experiment : Experiment
        The declaration.
    estimator : estimator
        The return value of its function.

    Raises
    ------
    ExperimentError
        If a splitter uses the order of rows and there is no `order_by`, or uses groups and there is no `groups`.
    """
    for parameter, splitter in find_splitters(estimator):
        subject = f"{experiment.location}: {parameter}={_describe_splitter(splitter)}"
        if experiment.order_by is None and uses_row_order(splitter):
            raise ExperimentError(
                f"{subject} splits by the order of rows, and the experiment declares no order_by",
                hint='declare order_by="...", the column that orders rows in time, or use another splitter',
            )
        if experiment.order_by is None and experiment.split == "time" and _is_unshuffled_kfold(splitter):
            raise ExperimentError(
                f'{subject} makes blocks of consecutive rows, and split="time" does not order the rows of an interval',
                hint='declare order_by="...", the column that orders rows, or shuffle=True and a random_state',
            )
        if experiment.groups is None and uses_groups(splitter):
            raise ExperimentError(
                f"{subject} splits by groups, and the experiment declares no groups",
                hint='declare groups="...", the column with the group of each row',
            )


def find_splitters(estimator: Any) -> Iterator[tuple[str, Any]]:
    """Yield the splitters anywhere in an object, each with the name of its parameter.

    A splitter has `split` and `get_n_splits`; a list of (train, test) pairs counts as one.
    """
    for name, value in _all_parameters(estimator):
        if _is_splitter(value) or (name.rpartition("__")[2] == "cv" and _is_index_list(value)):
            yield name, value


def uses_row_order(splitter: Any) -> bool:
    """Return whether a splitter uses the order of rows, by the names of its classes and by its attributes.

    Examples
    --------
    >>> from sklearn.model_selection import KFold, TimeSeriesSplit
    >>> uses_row_order(TimeSeriesSplit(4)), uses_row_order(KFold(4))
    (True, False)
    """
    if _is_index_list(splitter):
        return True
    names = [name.replace("_", "").lower() for one in _with_parts(splitter) for name in _public_class_names(type(one))]
    if any(part in name for name in names for part in _ORDERED_NAMES):
        return True
    return any(not _ORDERED_ATTRIBUTES.isdisjoint(_attributes(one)) for one in _with_parts(splitter))


def uses_groups(splitter: Any) -> bool:
    """Return whether a splitter uses the group of each row.

    Examples
    --------
    >>> from sklearn.model_selection import GroupKFold, KFold
    >>> uses_groups(GroupKFold()), uses_groups(KFold())
    (True, False)
    """
    return any("group" in name.lower() for one in _with_parts(splitter) for name in _public_class_names(type(one)))


def _all_parameters(estimator: Any) -> Iterable[tuple[str, Any]]:
    """Return the parameters of an object and of its parts, as scikit-learn's ``get_params(deep=True)`` does."""
    if callable(getattr(estimator, "get_params", None)):
        with suppress(AttributeError, RuntimeError, TypeError, ValueError):  # the fit raises the error with its reason
            return list(estimator.get_params(deep=True).items())
    return list(getattr(estimator, "__dict__", {}).items())


def _is_splitter(value: Any) -> bool:
    has_methods = callable(getattr(value, "split", None)) and callable(getattr(value, "get_n_splits", None))
    return has_methods and not isinstance(value, type)


def _is_index_list(value: Any) -> bool:
    """Return whether it is a list or an iterator of (train, test) pairs of row positions."""
    if isinstance(value, (str, bytes, int, float)) or value is None or _is_splitter(value):
        return False
    return isinstance(value, (list, tuple)) or hasattr(value, "__next__")


def _with_parts(splitter: Any) -> Iterator[Any]:
    """Yield a splitter and the splitters in its attributes."""
    yield splitter
    for value in _attributes(splitter).values():
        if _is_splitter(value):
            yield from _with_parts(value)


def _attributes(splitter: Any) -> dict[str, Any]:
    return getattr(splitter, "__dict__", {})


def _public_class_names(cls: type) -> list[str]:
    """Return the names of a class and its public bases; scikit-learn's private bases have misleading names."""
    return [cls.__name__, *(base.__name__ for base in cls.__mro__[1:] if not base.__name__.startswith("_"))]


def _is_unshuffled_kfold(splitter: Any) -> bool:
    return "KFold" in _public_class_names(type(splitter)) and not getattr(splitter, "shuffle", False)


def _describe_splitter(splitter: Any) -> str:
    if _is_index_list(splitter):
        return "a list of row positions"
    return " ".join(repr(splitter).split())[:80]
