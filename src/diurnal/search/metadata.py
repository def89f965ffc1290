"""What the fits and scores of a search are given beside X and y, and for which pipeline step it is.

Without metadata routing the name says which: ``step__sample_weight``. With routing each pipeline step requests what it
wants, by name or by an alias, and an estimator that a candidate puts in place of it may request something else.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from diurnal.search import scoring, sklearn_private
from diurnal.search.tree import NotUnderstood, Path, Step, flatten


class FitParams:
    """What the fits of one fold are given.

    Parameters
    ----------
    base : estimator
        What the search tunes.
    fit_params : Mapping of str to Any
        What its `fit` is given, cut to the rows of the fold.
    """

    def __init__(self, base: Any, fit_params: Mapping[str, Any]) -> None:
        self._given = fit_params
        self._routes = bool(fit_params) and sklearn_private.routing_enabled()
        self._sorted = {} if self._routes else _by_step(base, fit_params)
        self._routed: dict[Hashable, dict[str, Any]] = {}
        self._checked: set[Hashable] = set()

    def of_fit(self, step: Step) -> dict[str, Any]:
        """Give what the `fit` of a final estimator is given."""
        return self._of(step, "fit")

    def of_fit_transform(self, step: Step) -> dict[str, Any]:
        """Give what the fit of a pipeline step is given that is not the last one."""
        if not self._routes:
            return self._of(step, "fit")
        if hasattr(step.template, "fit_transform"):
            return self._of(step, "fit_transform")
        if self._of(step, "transform"):
            raise NotUnderstood("a pipeline step transforms with metadata")
        return self._of(step, "fit")

    def of_fits(self, steps: Sequence[Step]) -> dict[str, Any]:
        """Give what the `fit` of each of some final estimators is given, if that is the same."""
        first, *others = ({name: id(value) for name, value in self.of_fit(step).items()} for step in steps)
        if any(other != first for other in others):
            raise NotUnderstood("they request different metadata")
        return self.of_fit(steps[0])

    def check(self, way: Sequence[Step], final: Step) -> None:
        """Raise scikit-learn's error if no step of a pipeline requests something that is given."""
        key = tuple(step.requests for step in (*way, final))
        if self._routes and final.path and key not in self._checked:
            sklearn_private.check_fit_routing([step.make() for step in way], final.make(), self._given)
            self._checked.add(key)

    def _of(self, step: Step, method: str) -> dict[str, Any]:
        if not self._routes:
            return self._sorted.get(step.path, {})
        if not step.path:  # the search itself has given it what it requests
            return dict(self._given)
        key = step.requests, method
        if key not in self._routed:
            self._routed[key] = sklearn_private.routed(step.make(), method, self._given)
        return self._routed[key]


class ScoreParams:
    """What the scores of one fold are given.

    Parameters
    ----------
    scorer : callable
        What scores.
    on_train, on_test : Mapping of str to Any
        What it is given, cut to the rows of the fold.
    """

    def __init__(self, scorer: Any, on_train: Mapping[str, Any], on_test: Mapping[str, Any]) -> None:
        self.on_train, self.on_test = on_train, on_test
        self._routes = sklearn_private.routing_enabled() and scoring.asks_own_score(scorer)
        self._checked: set[Hashable] = set()

    def __bool__(self) -> bool:
        return bool(self.on_train or self.on_test)

    @property
    def are_weights(self) -> bool:
        """Whether they are weights, or nothing."""
        return all(params.keys() <= {"sample_weight"} for params in (self.on_train, self.on_test))

    def check(self, way: Sequence[Step], final: Step) -> None:
        """Raise NotUnderstood if a pipeline's own score would give its last step other metadata, or any to the others.

        What scikit-learn refuses is raised as it raises it.
        """
        key = tuple(step.requests for step in (*way, final))
        if self._routes and final.path and key not in self._checked:
            made = [step.make() for step in way]
            to_final, to_others = sklearn_private.routed_to_score(made, final.make(), self.on_test)
            if to_final.keys() != self.on_test.keys() or to_others:
                raise NotUnderstood("the score wants other metadata than the pipeline is given")
            self._checked.add(key)


def _by_step(base: Any, fit_params: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Sort what a fit is given, ``step__name``, by the pipeline step that it is for."""
    paths = [path for path, _ in flatten(base)]
    sorted_by: dict[Path, dict[str, Any]] = {}
    for name, value in fit_params.items():
        parts = tuple(name.split("__"))
        path = max((p for p in paths if parts[: len(p)] == p), key=len, default=None)
        if path is None or len(path) == len(parts):
            raise NotUnderstood(f"the fit does not take {name}")
        sorted_by.setdefault(path, {})["__".join(parts[len(path) :])] = value
    return sorted_by
