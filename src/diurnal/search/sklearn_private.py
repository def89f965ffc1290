"""The one door to what scikit-learn and SciPy keep to themselves.

Everything here may move with a minor release. Each name is fetched when it is needed; where one is gone or has
changed its shape, :class:`Moved` is raised, and whoever asked takes the public way, which is slower and right.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

_SEARCH = "sklearn.model_selection._search"
_TAKEN = {"clone", "delayed", "_fit_and_score"}
_CALL = frozenset({
    "train", "test", "parameters", "split_progress", "candidate_progress", "scorer", "fit_params", "score_params",
    "return_train_score", "return_n_test_samples", "return_times", "return_parameters", "error_score", "verbose",
    "caller", "callback_ctx",
})  # fmt: skip


class Moved(Exception):
    """A private name is not where, or not what, it was."""


def named(module: str, name: str) -> Any:
    """Fetch a private name, or raise :class:`Moved`."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Moved(f"{module}.{name}") from error


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """One call of scikit-learn's "fit and score this candidate on this fold", taken down instead of made."""

    estimator: Any
    X: Any
    y: Any
    words: Mapping[str, Any]

    def make(self) -> dict[str, Any]:
        """Make the call after all, in scikit-learn's own way."""
        given: dict[str, Any] = named(_SEARCH, "_fit_and_score")(*self.arguments(), **self.words)
        return given

    def arguments(self) -> tuple[Any, Any, Any]:
        """Give what the call is made of beside its words: a clone of its own, X and y."""
        return named(_SEARCH, "clone")(self.estimator), self.X, self.y


Runner = Callable[[list[Call]], list[dict[str, Any]] | None]


def redirect(evaluate: Callable[..., Any], run: Runner, done: Callable[[int], None]) -> Callable[..., Any]:
    """Give the same `evaluate_candidates`, except that its fits and scores are asked of `run`.

    `evaluate_candidates` is the function that scikit-learn hands to the public hook `_run_search`. It goes on to split,
    to report failures and to lay out `cv_results_`; its loop over candidates and folds is taken down as calls.
    Where `run` gives None, the calls are made as scikit-learn would have made them, by its own `Parallel`, which tells
    `done` how many more are made.
    """
    if not isinstance(evaluate, FunctionType) or evaluate.__closure__ is None:
        raise Moved("evaluate_candidates is no plain function")
    free = evaluate.__code__.co_freevars
    if "parallel" not in free or not _names(evaluate.__code__) >= _TAKEN:
        raise Moved("evaluate_candidates does not loop as it did")
    cell = free.index("parallel")
    theirs = evaluate.__closure__[cell].cell_contents
    delayed, fit_and_score = evaluate.__globals__["delayed"], evaluate.__globals__["_fit_and_score"]

    def ours(taken: Iterable[Call]) -> list[dict[str, Any]]:
        calls = list(taken)
        results = run(calls) if all(c.words.keys() == _CALL for c in calls) else None
        if results is None:
            with _watched(theirs, done):
                made: list[dict[str, Any]] = theirs(delayed(fit_and_score)(*c.arguments(), **c.words) for c in calls)
            return made
        return results

    words = evaluate.__globals__ | {"clone": lambda e: e, "delayed": lambda f: f, "_fit_and_score": _take_down}
    closure = (*evaluate.__closure__[:cell], _cell(ours), *evaluate.__closure__[cell + 1 :])
    again = FunctionType(evaluate.__code__, words, evaluate.__name__, evaluate.__defaults__, closure)
    again.__kwdefaults__ = evaluate.__kwdefaults__
    return again


def safe_split(estimator: Any, X: Any, y: Any, rows: Any, train: Any = None) -> tuple[Any, Any]:
    """Cut rows out of X and y as scikit-learn's searches do."""
    cut: tuple[Any, Any] = named("sklearn.utils.metaestimators", "_safe_split")(estimator, X, y, rows, train)
    return cut


def cut_params(X: Any, params: Mapping[str, Any] | None, rows: Any) -> dict[str, Any]:
    """Cut what is as long as X out of the words of a fit or a score."""
    cut: dict[str, Any] = named("sklearn.utils.validation", "_check_method_params")(
        X, params=params or {}, indices=rows
    )
    return cut


def score(estimator: Any, X: Any, y: Any, scorer: Any, params: Mapping[str, Any]) -> Any:
    """Score as scikit-learn's searches do; what fails is raised."""
    return named("sklearn.model_selection._validation", "_score")(estimator, X, y, scorer, params, "raise")


def scorer_parts(scorer: Any) -> list[Any] | None:
    """Give the scorers that this one is made of if all are scikit-learn's own, which only predict; else None."""
    module = "sklearn.metrics._scorer"
    if type(scorer) is named(module, "_MultimetricScorer"):
        nested = [scorer_parts(s) for s in scorer._scorers.values()]
        return None if any(n is None for n in nested) else [part for n in nested for part in n or ()]
    return [scorer] if type(scorer) in {named(module, "_Scorer"), named(module, "_PassthroughScorer")} else None


def is_search(estimator: Any) -> bool:
    """Tell whether an estimator is a search of scikit-learn's kind; none is if their base class has moved."""
    try:
        return isinstance(estimator, named(_SEARCH, "BaseSearchCV"))
    except Moved:
        return False


def has_callbacks(estimator: Any) -> bool:
    """Tell whether somebody listens to this estimator's fit."""
    return bool(getattr(estimator, "_skl_callbacks", None))


def routing_enabled() -> bool:
    """Tell whether metadata is routed by request."""
    import sklearn

    return bool(sklearn.get_config().get("enable_metadata_routing", False))


def routed(estimator: Any, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Give those of some metadata that a method of an estimator requests, under its own names, as its parent does."""
    return dict(_router([], estimator, "fit", method).route_params(caller="fit", params=params)["final"][method])


def check_fit_routing(way: Iterable[Any], final: Any, params: Mapping[str, Any]) -> None:
    """Raise what a pipeline of these steps raises in its `fit` if nothing in it requests some metadata."""
    _router(way, final, "fit", "fit").validate_metadata(method="fit", params=params)


def routed_to_score(way: Iterable[Any], final: Any, params: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Give what the `score` of a pipeline of these steps gives to the last one, and to the others' `transform`."""
    router = _router(way, final, "score", "score")
    router.validate_metadata(method="score", params={"sample_weight": None, **params})  # a pipeline always passes it on
    found = router.route_params(caller="score", params=params)
    return dict(found.pop("final")["score"]), [step["transform"] for step in found.values() if step["transform"]]


def _router(way: Iterable[Any], final: Any, caller: str, callee: str) -> Any:
    from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

    router = MetadataRouter(owner="pipeline").add(
        final=final, method_mapping=MethodMapping().add(caller=caller, callee=callee)
    )
    for i, step in enumerate(way):
        fits = ["fit_transform"] if hasattr(step, "fit_transform") else ["fit", "transform"]
        mapping = MethodMapping()
        for method in fits if caller == "fit" else ["transform"]:
            mapping.add(caller=caller, callee=method)
        router.add(**{f"step{i}": step}, method_mapping=mapping)
    return router


@contextmanager
def _watched(parallel: Any, done: Callable[[int], None]) -> Iterator[None]:
    """Tell how many more tasks this `Parallel` has completed, whenever it would print its progress."""
    if not hasattr(parallel, "print_progress"):
        yield
        return
    theirs, told = parallel.print_progress, 0

    def ours() -> None:
        nonlocal told
        completed = getattr(parallel, "n_completed_tasks", 0)
        if completed > told:
            done(completed - told)
            told = completed
        theirs()

    parallel.print_progress = ours
    try:
        yield
    finally:
        del parallel.print_progress


def _take_down(estimator: Any, X: Any, y: Any, **words: Any) -> Call:
    return Call(estimator, X, y, words)


def _names(code: CodeType) -> set[str]:
    nested = [_names(c) for c in code.co_consts if inspect.iscode(c)]
    return set(code.co_names).union(*nested)


def _cell(content: Any) -> Any:
    return (lambda: content).__closure__[0]  # type: ignore[index]  # the lambda closes over content
