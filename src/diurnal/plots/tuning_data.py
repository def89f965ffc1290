"""The candidates of a search as the rows of its charts."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diurnal.errors import UsageError, did_you_mean
from diurnal.plots.chart_values import as_number, clean_text, is_log_spaced, thin_evenly, value_text

if TYPE_CHECKING:
    import pandas as pd

MAX_LEVELS = 30
MAX_BEST = 250
MAX_OTHERS = 250
_FEW = 8  # a number with more distinct values, most of them once, is drawn from a distribution


@dataclass(frozen=True)
class SearchParameter:
    """A parameter with several values among the candidates.

    Attributes
    ----------
    name, label : str
        Its name, and the shortest end of it that is unique.
    values : list
        One for each candidate: numbers, or texts of other values.
    levels : list of str
        The texts of its distinct values, numbers first in their order; empty for a number with many values.
    is_number, is_log : bool
        Whether all values are numbers, and whether these are spaced evenly on a logarithmic axis.
    """

    name: str
    label: str
    values: list[Any]
    levels: list[str]
    is_number: bool
    is_log: bool

    @property
    def is_drawn(self) -> bool:
        """Whether values are drawn from a distribution rather than from a list."""
        return self.is_number and not self.levels

    def text(self, candidate: int) -> str:
        """Return the value of a candidate as a text."""
        return value_text(self.values[candidate], 40)


@dataclass(frozen=True)
class SearchScores:
    """The scores of the candidates by one metric; candidates without a score are left out.

    Attributes
    ----------
    metric : str
        Name of the metric.
    mean, std, low, high : ndarray of shape (n_candidates,)
        Mean, standard deviation, lowest and highest score of the folds; NaN where unknown.
    folds : ndarray of shape (n_candidates, n_folds)
        The score of each fold.
    parameters : list of SearchParameter
        The parameters that vary, those with the largest effect on the mean score first.
    constants : list of str
        The others, as ``name = value``.
    n_failed : int
        The number of candidates without a score.
    iterations, resources : ndarray or None
        For successive halving: the iteration and the resources of each candidate.
    """

    metric: str
    mean: npt.NDArray[np.float64]
    std: npt.NDArray[np.float64]
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    folds: npt.NDArray[np.float64]
    parameters: list[SearchParameter]
    constants: list[str]
    n_failed: int
    iterations: npt.NDArray[np.float64] | None = None
    resources: npt.NDArray[np.float64] | None = None

    @cached_property
    def order(self) -> list[int]:
        """The candidates, best first."""
        last = np.zeros(len(self.mean)) if self.iterations is None else -self.iterations
        keys = (np.arange(len(self.mean)), -self.mean, last)  # of successive halving the last iteration counts
        return [int(i) for i in np.lexsort(keys)]

    @property
    def best(self) -> int:
        """The best candidate."""
        return self.order[0]

    @cached_property
    def floor(self) -> float | None:
        """A score below which scores are outliers that would compress the others; None if there are none."""
        if len(self.mean) < 8:
            return None
        low, high = np.quantile(self.mean, [0.25, 0.75])
        fence = low - 3 * (high - low)
        return float(fence) if high > low and self.mean.min() < fence else None

    def describe(self, candidate: int) -> str:
        """Return the parameters of a candidate as a text."""
        texts = [f"{one.label} = {one.text(candidate)}" for one in self.parameters]
        return clean_text(", ".join(texts) or "no parameters", 160)

    def selection(self, best: int = MAX_BEST, others: int = MAX_OTHERS) -> list[int]:
        """Return the best candidates, and others evenly spaced by rank, worst first so that the best are on top."""
        order = self.order
        rest = order[best:]
        chosen = order[:best] + [rest[i] for i in thin_evenly(len(rest), others)]
        return chosen[::-1]


def metric_names(candidates: pd.DataFrame) -> list[str]:
    """Return the names of the metrics of a table of candidates.

    Examples
    --------
    >>> import pandas as pd
    >>> metric_names(pd.DataFrame({"mean_test_score": [0.5], "rank_test_score": [1]}))
    ['score']
    """
    prefix = "mean_test_"
    return [str(name).removeprefix(prefix) for name in candidates.columns if str(name).startswith(prefix)]


def collect_scores(candidates: pd.DataFrame, metric: str | None = None) -> SearchScores:
    """Return the scores of the candidates by one metric.

    Parameters
    ----------
    candidates : DataFrame
        As :func:`diurnal.candidates` returns it.
    metric : str, optional
        By default ``"score"``, else the first one.

    Raises
    ------
    UsageError
        If there is no such metric, or no candidate has a score.
    """
    metrics = metric_names(candidates)
    metric = metric or ("score" if "score" in metrics else next(iter(metrics), "score"))
    if metric not in metrics:
        raise UsageError(
            f"the candidates have no metric {metric!r}{did_you_mean(metric, metrics)}",
            hint=f"metrics are {', '.join(metrics)}" if metrics else "pass the table of diurnal.candidates",
        )
    mean = candidates[f"mean_test_{metric}"].to_numpy(dtype=float, na_value=np.nan)
    scored = np.isfinite(mean)
    if not scored.any():
        raise UsageError(
            f"none of the {len(mean)} candidates has a finite {metric}",
            hint="see the warnings of the run: their fits or the scorer failed",
        )
    frame, mean = candidates[scored], mean[scored]
    pattern = re.compile(rf"split\d+_test_{re.escape(metric)}")
    splits = [name for name in frame.columns if pattern.fullmatch(str(name))]
    folds = frame[splits].to_numpy(dtype=float, na_value=np.nan).reshape(len(mean), len(splits))
    std = _number_column(frame, f"std_test_{metric}")
    std = np.full(len(mean), np.nan) if std is None else std
    parameters, constants = _parameters(frame, mean)
    has_folds = folds.shape[1] > 0
    return SearchScores(
        metric=metric,
        mean=mean,
        std=std,
        low=np.fmin(folds.min(axis=1), mean) if has_folds else mean - std,
        high=np.fmax(folds.max(axis=1), mean) if has_folds else mean + std,
        folds=folds,
        parameters=parameters,
        constants=constants,
        n_failed=int((~scored).sum()),
        iterations=_number_column(frame, "iter"),
        resources=_number_column(frame, "n_resources"),
    )


def _number_column(frame: pd.DataFrame, name: str) -> npt.NDArray[np.float64] | None:
    return frame[name].to_numpy(dtype=float, na_value=np.nan) if name in frame else None


def _parameters(frame: pd.DataFrame, mean: npt.NDArray[np.float64]) -> tuple[list[SearchParameter], list[str]]:
    names = [str(name) for name in frame.columns if str(name).startswith("param_")]
    labels = _short_labels([name.removeprefix("param_") for name in names])
    varying, constants = [], []
    for name, label in zip(names, labels, strict=True):
        one = _parameter(name.removeprefix("param_"), label, frame[name].tolist())
        if len(set(map(_key, one.values))) > 1:
            varying.append(one)
        else:
            constants.append(f"{label} = {one.text(0)}")
    effects = {one.name: _effect(one, mean) for one in varying}
    return sorted(varying, key=lambda one: -effects[one.name]), constants


def _parameter(name: str, label: str, values: Sequence[Any]) -> SearchParameter:
    numbers = [as_number(value) for value in values]
    is_number = all(value is not None for value in numbers)
    plain = numbers if is_number else [value_text(None if value != value else value, 40) for value in values]  # noqa: PLR0124
    distinct = set(plain)
    is_drawn = is_number and len(distinct) > max(_FEW, 0.5 * len(plain))
    return SearchParameter(
        name=clean_text(name),
        label=clean_text(label, 32),
        values=list(plain),
        levels=[] if is_drawn or (is_number and len(distinct) > MAX_LEVELS) else _levels(values),
        is_number=is_number,
        is_log=is_number and is_log_spaced([value for value in numbers if value is not None]),
    )


def _levels(values: Sequence[Any]) -> list[str]:
    """Return the texts of distinct values: numbers in their order, others as they come, None last."""
    numbers = sorted({number for value in values if (number := as_number(value)) is not None})
    others = dict.fromkeys(
        value_text(None if value != value else value, 40)  # noqa: PLR0124 - NaN in a column with None
        for value in values
        if as_number(value) is None
    )
    has_none = others.pop("None", "") is None
    return [*dict.fromkeys(value_text(number) for number in numbers), *others, *(["None"] if has_none else [])]


def _key(value: Any) -> Hashable:
    return (type(value).__name__ == "str", value)


def _effect(parameter: SearchParameter, mean: npt.NDArray[np.float64]) -> float:
    """Return the variance between the mean scores of a parameter's values, or of its quintiles."""
    if parameter.is_number and not parameter.levels:
        ranks = np.argsort(np.argsort(np.asarray(parameter.values, dtype=float)))
        groups = (ranks * 5 // len(ranks)).tolist()
    else:
        groups = list(map(_key, parameter.values))
    sums: dict[Hashable, list[float]] = {}
    for group, score in zip(groups, mean.tolist(), strict=True):
        entry = sums.setdefault(group, [0.0, 0.0])
        entry[0] += score
        entry[1] += 1
    means = np.array([total / count for total, count in sums.values()])
    weights = np.array([count for _, count in sums.values()])
    return float(np.average((means - np.average(means, weights=weights)) ** 2, weights=weights))


def _short_labels(names: Sequence[str]) -> list[str]:
    """Return the shortest ends of names of parameters that are unique.

    Examples
    --------
    >>> _short_labels(["svc__C", "pca__whiten", "svc__kernel__C"])
    ['svc__C', 'whiten', 'kernel__C']
    """
    labels = []
    for name in names:
        parts = name.split("__")
        ends = ["__".join(parts[i:]) for i in range(len(parts) - 1, -1, -1)]
        others = [other for other in names if other != name]
        unique = [end for end in ends if end and not any(f"__{other}".endswith(f"__{end}") for other in others)]
        labels.append(unique[0] if unique else name)
    return labels
