"""What the splitters of a search need of the declaration: rows in the order of time, or groups.

The rows of a batch have no order of their own: they are read in the order of a hash. A splitter that goes by the order
of rows, such as `TimeSeriesSplit`, would make a random split of them, and its scores would be of another kind than its
name says. So it needs ``order_by=``. This looks at the object that the experiment returns and loads no scikit-learn.
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
"""What the classes of splitters are called that go by order, or by place, without capitals and underscores."""

_ORDERED_ATTRIBUTES = frozenset({
    "gap", "gap_size", "gap_before", "gap_after", "gap_duration", "embargo", "embargo_size", "embargo_td",
    "pct_embargo", "purge", "purge_size", "purged_size", "max_train_size", "initial_train_size", "window_length",
})  # fmt: skip
"""What they are set by: a distance or a length, in rows that follow each other."""


def refuse_unmet(experiment: Experiment, made: Any) -> None:
    """Refuse a splitter that needs an order or groups which the experiment does not declare.

    Parameters
    ----------
    experiment : Experiment
        The declaration.
    made : estimator
        What its function returned.

    Raises
    ------
    ExperimentError
        If a splitter goes by the order of rows and there is no `order_by`, or needs groups and there is no `groups`.
    """
    for place, splitter in splitters(made):
        what = f"{experiment.place}: {place}={_shown(splitter)}"
        if experiment.order_by is None and goes_by_order(splitter):
            raise ExperimentError(
                f"{what} splits by the order of rows, and the experiment declares no order_by",
                hint='declare order_by="...", the column that orders rows in time, or take another splitter',
            )
        if experiment.order_by is None and experiment.split == "time" and _is_kfold_in_blocks(splitter):
            raise ExperimentError(
                f'{what} makes blocks of rows that follow each other, and split="time" orders none in an interval',
                hint='declare order_by="...", the column that orders them, or shuffle=True and a random_state',
            )
        if experiment.groups is None and needs_groups(splitter):
            raise ExperimentError(
                f"{what} splits by groups, and the experiment declares no groups",
                hint='declare groups="...", the column with the group of a row',
            )


def splitters(made: Any) -> Iterator[tuple[str, Any]]:
    """Give what splits rows anywhere in an object: each with the name of its parameter.

    Splitters have `split` and `get_n_splits`; a list of (train, test) pairs stands for one.
    """
    for name, value in _parameters(made):
        if _is_splitter(value) or (name.rpartition("__")[2] == "cv" and _lists_rows(value)):
            yield name, value


def goes_by_order(splitter: Any) -> bool:
    """Tell whether a splitter goes by the order of rows, by its class's names and by what it is set by.

    Examples
    --------
    >>> from sklearn.model_selection import KFold, TimeSeriesSplit
    >>> goes_by_order(TimeSeriesSplit(4)), goes_by_order(KFold(4))
    (True, False)
    """
    if _lists_rows(splitter):
        return True
    names = [name.replace("_", "").lower() for one in _all(splitter) for name in _public_names(type(one))]
    if any(word in name for name in names for word in _ORDERED_NAMES):
        return True
    return any(not _ORDERED_ATTRIBUTES.isdisjoint(_set(one)) for one in _all(splitter))


def needs_groups(splitter: Any) -> bool:
    """Tell whether a splitter needs to know the group of each row.

    Examples
    --------
    >>> from sklearn.model_selection import GroupKFold, KFold
    >>> needs_groups(GroupKFold()), needs_groups(KFold())
    (True, False)
    """
    return any("group" in kind.lower() for one in _all(splitter) for kind in _public_names(type(one)))


def _parameters(made: Any) -> Iterable[tuple[str, Any]]:
    """Give the parameters of an object and of all within it, as scikit-learn does where it has them."""
    if callable(getattr(made, "get_params", None)):
        with suppress(AttributeError, RuntimeError, TypeError, ValueError):  # the fit will say what is wrong with it
            return list(made.get_params(deep=True).items())
    return list(getattr(made, "__dict__", {}).items())


def _is_splitter(value: Any) -> bool:
    has = callable(getattr(value, "split", None)) and callable(getattr(value, "get_n_splits", None))
    return has and not isinstance(value, type)


def _lists_rows(value: Any) -> bool:
    """Tell whether it is pairs of rows, in a list or to be iterated, by their places."""
    if isinstance(value, (str, bytes, int, float)) or value is None or _is_splitter(value):
        return False
    return isinstance(value, (list, tuple)) or hasattr(value, "__next__")


def _all(splitter: Any) -> Iterator[Any]:
    """Give a splitter and those that it is made of."""
    yield splitter
    for value in _set(splitter).values():
        if _is_splitter(value):
            yield from _all(value)


def _set(splitter: Any) -> dict[str, Any]:
    return getattr(splitter, "__dict__", {})


def _public_names(kind: type) -> list[str]:
    """Give the names of a class and of those that it is made of; scikit-learn's private ones say what it is not."""
    return [kind.__name__, *(base.__name__ for base in kind.__mro__[1:] if not base.__name__.startswith("_"))]


def _is_kfold_in_blocks(splitter: Any) -> bool:
    return "KFold" in _public_names(type(splitter)) and not getattr(splitter, "shuffle", False)


def _shown(splitter: Any) -> str:
    if _lists_rows(splitter):
        return "a list of rows by their places"
    return " ".join(repr(splitter).split())[:80]
