"""Parameters of fits and scores beside X and y, such as sample weights, and the pipeline step that each is for.

Without metadata routing the name selects the step: ``step__sample_weight``. With routing each step requests what it
needs, under its own name or an alias, and an estimator that a candidate puts in its place can request something else.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from diurnal.search import scoring, sklearn_private
from diurnal.search.tree import Path, PipelineStep, UnsupportedSearch, flatten_pipeline


class FitParams:
    """The parameters of the fits of one fold.

    Parameters
    ----------
    base : estimator
        The estimator that the search tunes.
    fit_params : Mapping of str to Any
        The parameters of its `fit`, restricted to the rows of the fold.
    """

    def __init__(self, base: Any, fit_params: Mapping[str, Any]) -> None:
        self._fit_params = fit_params
        self._routes = bool(fit_params) and sklearn_private.is_routing_enabled()
        self._by_path = {} if self._routes else _params_by_path(base, fit_params)
        self._routed: dict[Hashable, dict[str, Any]] = {}
        self._checked: set[Hashable] = set()

    def for_final(self, step: PipelineStep) -> dict[str, Any]:
        """Return the parameters for the `fit` of a final estimator."""
        return self._for_method(step, "fit")

    def for_transformer(self, step: PipelineStep) -> dict[str, Any]:
        """Return the parameters for the fit of a step that is not the last one."""
        if not self._routes:
            return self._for_method(step, "fit")
        if hasattr(step.template, "fit_transform"):
            return self._for_method(step, "fit_transform")
        if self._for_method(step, "transform"):
            raise UnsupportedSearch("a pipeline step transforms with metadata")
        return self._for_method(step, "fit")

    def for_finals(self, steps: Sequence[PipelineStep]) -> dict[str, Any]:
        """Return the parameters that the `fit` of each of these final estimators receives, if they are the same."""
        # Compared by identity: routing passes the arrays of this fold on without a copy.
        first, *others = ({name: id(value) for name, value in self.for_final(step).items()} for step in steps)
        if any(other != first for other in others):
            raise UnsupportedSearch("the final estimators request different metadata")
        return self.for_final(steps[0])

    def check_requested(self, prefix: Sequence[PipelineStep], final: PipelineStep) -> None:
        """Raise scikit-learn's error if no step of the pipeline requests some of the metadata."""
        key = tuple(step.routing_key for step in (*prefix, final))
        if self._routes and final.path and key not in self._checked:
            sklearn_private.check_fit_routing([step.build() for step in prefix], final.build(), self._fit_params)
            self._checked.add(key)

    def _for_method(self, step: PipelineStep, method: str) -> dict[str, Any]:
        if not self._routes:
            return self._by_path.get(step.path, {})
        if not step.path:  # not a pipeline: the search has already selected what the estimator requests
            return dict(self._fit_params)
        key = step.routing_key, method
        if key not in self._routed:
            self._routed[key] = sklearn_private.route_params(step.build(), method, self._fit_params)
        return self._routed[key]


class ScoreParams:
    """The parameters of the scores of one fold.

    Parameters
    ----------
    scorer : callable
    on_train, on_test : Mapping of str to Any
        The parameters of the scorer, restricted to the train rows and to the test rows of the fold.
    """

    def __init__(self, scorer: Any, on_train: Mapping[str, Any], on_test: Mapping[str, Any]) -> None:
        self.on_train, self.on_test = on_train, on_test
        self._routes = sklearn_private.is_routing_enabled() and scoring.uses_estimator_score(scorer)
        self._checked: set[Hashable] = set()

    def __bool__(self) -> bool:
        return bool(self.on_train or self.on_test)

    @property
    def only_weights(self) -> bool:
        """Whether there are no parameters other than sample weights."""
        return all(params.keys() <= {"sample_weight"} for params in (self.on_train, self.on_test))

    def check_routing(self, prefix: Sequence[PipelineStep], final: PipelineStep) -> None:
        """Raise UnsupportedSearch if the pipeline's `score` passes other metadata than the search received.

        This is the case if its last step receives something else, or `transform` of another step receives any. Errors
        of scikit-learn are raised unchanged.
        """
        key = tuple(step.routing_key for step in (*prefix, final))
        if self._routes and final.path and key not in self._checked:
            steps = [step.build() for step in prefix]
            to_final, to_others = sklearn_private.route_score_params(steps, final.build(), self.on_test)
            if to_final.keys() != self.on_test.keys() or to_others:
                raise UnsupportedSearch("the score of the pipeline requests other metadata than it receives")
            self._checked.add(key)


def _params_by_path(base: Any, fit_params: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Group parameters of a pipeline's fit, ``step__name``, by the pipeline step that they are for."""
    paths = [path for path, _ in flatten_pipeline(base)]
    by_path: dict[Path, dict[str, Any]] = {}
    for name, value in fit_params.items():
        parts = tuple(name.split("__"))
        # The longest path that the name begins with: a nested pipeline is not a path itself, its steps are.
        path = max((p for p in paths if parts[: len(p)] == p), key=len, default=None)
        if path is None or len(path) == len(parts):
            raise UnsupportedSearch(f"the fit does not take {name}")
        by_path.setdefault(path, {})["__".join(parts[len(path) :])] = value
    return by_path
