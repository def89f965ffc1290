"""Access to private names of scikit-learn and SciPy.

Everything that this module reads can change with a minor release. Each name is looked up when it is used; if it is
missing or has another form, :class:`PrivateApiChanged` is raised, and the caller falls back to the public API, which is
slower and gives the same numbers.
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
_GLOBALS_OF_LOOP = {"clone", "delayed", "_fit_and_score"}
_FIT_AND_SCORE_KWARGS = frozenset({
    "train", "test", "parameters", "split_progress", "candidate_progress", "scorer", "fit_params", "score_params",
    "return_train_score", "return_n_test_samples", "return_times", "return_parameters", "error_score", "verbose",
    "caller", "callback_ctx",
})  # fmt: skip


class PrivateApiChanged(Exception):
    """A private name is missing, or has another form than in the supported releases."""


def private_attr(module: str, name: str) -> Any:
    """Return a private attribute of a module, or raise :class:`PrivateApiChanged`."""
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise PrivateApiChanged(f"{module}.{name}") from error


@dataclass(frozen=True, eq=False, slots=True)
class FitAndScoreCall:
    """The arguments of one call of scikit-learn's `_fit_and_score`: one candidate on one fold."""

    estimator: Any
    X: Any
    y: Any
    kwargs: Mapping[str, Any]

    def run(self) -> dict[str, Any]:
        """Make the call with scikit-learn's own `_fit_and_score`."""
        result: dict[str, Any] = private_attr(_SEARCH, "_fit_and_score")(*self.args(), **self.kwargs)
        return result

    def args(self) -> tuple[Any, Any, Any]:
        """Return the positional arguments: a new clone of the estimator, X and y."""
        return private_attr(_SEARCH, "clone")(self.estimator), self.X, self.y


Runner = Callable[[list[FitAndScoreCall]], list[dict[str, Any]] | None]


# `BaseSearchCV.fit` of scikit-learn 1.9 defines a closure and passes it to the public hook `_run_search`:
#
#     with parallel:                                        # joblib.Parallel, a free variable of the closure
#         def evaluate_candidates(candidate_params, cv=None, more_results=None, callback_ctx=None):
#             ...                                           # splits, and pairs candidates with folds
#             out = parallel(
#                 delayed(_fit_and_score)(                  # `delayed`, `_fit_and_score` and `clone` are globals
#                     clone(base_estimator), X, y, train=train, test=test, parameters=parameters,
#                     split_progress=(split_idx, n_splits), candidate_progress=(cand_idx, n_candidates),
#                     **fit_and_score_kwargs, caller=self, callback_ctx=evaluation_ctx,
#                 )
#                 for (((cand_idx, parameters), (split_idx, (train, test))), evaluation_ctx)
#                 in zip(candidate_split_pairs, evaluation_contexts)
#             )
#             ...                                           # reports failed fits, and builds cv_results_ from `out`
#
# `redirect_fit_and_score` builds a function of the same code with three other globals and another `parallel`:
#
#     clone -> identity    delayed -> identity    _fit_and_score -> _record_call    parallel -> run_recorded
#
# `parallel` then receives `FitAndScoreCall` objects in place of delayed tasks, and returns what `_fit_and_score` would.
# The function of scikit-learn itself is not changed, so other searches in the process are not affected.
def redirect_fit_and_score(
    evaluate: Callable[..., Any], run: Runner, on_progress: Callable[[int], None]
) -> Callable[..., Any]:
    """Return a copy of `evaluate_candidates` whose fits and scores are delegated to `run`.

    Parameters
    ----------
    evaluate : callable
        The function `evaluate_candidates` that scikit-learn passes to `_run_search`.
    run : callable
        Takes the calls of one round and returns their results in the same order, or None; then scikit-learn's own
        `Parallel` makes the calls.
    on_progress : callable
        Receives the number of calls that this `Parallel` has completed since the last report.

    Raises
    ------
    PrivateApiChanged
        If `evaluate_candidates` has another form than in the supported releases.
    """
    if not isinstance(evaluate, FunctionType) or evaluate.__closure__ is None:
        raise PrivateApiChanged("evaluate_candidates is not a plain function")
    free = evaluate.__code__.co_freevars
    if "parallel" not in free or not _global_names(evaluate.__code__) >= _GLOBALS_OF_LOOP:
        raise PrivateApiChanged("the loop of evaluate_candidates has another form")
    position = free.index("parallel")
    parallel = evaluate.__closure__[position].cell_contents
    delayed, fit_and_score = evaluate.__globals__["delayed"], evaluate.__globals__["_fit_and_score"]

    def run_recorded(recorded: Iterable[FitAndScoreCall]) -> list[dict[str, Any]]:
        calls = list(recorded)
        # A new keyword may change what a call means, so calls with other keywords go to scikit-learn.
        results = run(calls) if all(c.kwargs.keys() == _FIT_AND_SCORE_KWARGS for c in calls) else None
        if results is None:
            with _report_progress(parallel, on_progress):
                results = parallel(delayed(fit_and_score)(*c.args(), **c.kwargs) for c in calls)
        return results

    replaced = {"clone": lambda e: e, "delayed": lambda f: f, "_fit_and_score": _record_call}
    # A closure stores its free variables in cells, in the order of co_freevars. Only that of `parallel` is replaced.
    cells = (*evaluate.__closure__[:position], _closure_cell(run_recorded), *evaluate.__closure__[position + 1 :])
    copied = FunctionType(
        evaluate.__code__, evaluate.__globals__ | replaced, evaluate.__name__, evaluate.__defaults__, cells
    )
    copied.__kwdefaults__ = evaluate.__kwdefaults__
    return copied


def safe_split(estimator: Any, X: Any, y: Any, rows: Any, train: Any = None) -> tuple[Any, Any]:
    """Select rows of X and y as scikit-learn's searches do (`_safe_split`)."""
    selected: tuple[Any, Any] = private_attr("sklearn.utils.metaestimators", "_safe_split")(
        estimator, X, y, rows, train
    )
    return selected


def slice_params(X: Any, params: Mapping[str, Any] | None, rows: Any) -> dict[str, Any]:
    """Select rows of those parameters of a fit or a score that have one value per row of X."""
    sliced: dict[str, Any] = private_attr("sklearn.utils.validation", "_check_method_params")(
        X, params=params or {}, indices=rows
    )
    return sliced


def score_estimator(estimator: Any, X: Any, y: Any, scorer: Any, params: Mapping[str, Any]) -> Any:
    """Score as scikit-learn's searches do (`_score`); errors are raised."""
    return private_attr("sklearn.model_selection._validation", "_score")(estimator, X, y, scorer, params, "raise")


def scorer_parts(scorer: Any) -> list[Any] | None:
    """Return the single scorers of a scorer if all are of scikit-learn's own classes, which only predict; else None."""
    module = "sklearn.metrics._scorer"
    if type(scorer) is private_attr(module, "_MultimetricScorer"):
        nested = [scorer_parts(s) for s in scorer._scorers.values()]
        return None if any(n is None for n in nested) else [part for n in nested for part in n or ()]
    known = {private_attr(module, "_Scorer"), private_attr(module, "_PassthroughScorer")}
    return [scorer] if type(scorer) in known else None


def is_sklearn_search(estimator: Any) -> bool:
    """Return whether an estimator derives from scikit-learn's `BaseSearchCV`; False if that class is missing."""
    try:
        return isinstance(estimator, private_attr(_SEARCH, "BaseSearchCV"))
    except PrivateApiChanged:
        return False


def has_callbacks(estimator: Any) -> bool:
    """Return whether callbacks are registered on an estimator."""
    return bool(getattr(estimator, "_skl_callbacks", None))


def is_routing_enabled() -> bool:
    """Return whether scikit-learn routes metadata by request."""
    import sklearn

    return bool(sklearn.get_config().get("enable_metadata_routing", False))


def route_params(estimator: Any, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that a method of an estimator requests, under the names of its own parameters."""
    router = _pipeline_router([], estimator, "fit", method)
    return dict(router.route_params(caller="fit", params=params)["final"][method])


def check_fit_routing(steps: Iterable[Any], final: Any, params: Mapping[str, Any]) -> None:
    """Raise the error of a pipeline's `fit` if none of its steps requests some of the metadata."""
    _pipeline_router(steps, final, "fit", "fit").validate_metadata(method="fit", params=params)


def route_score_params(
    steps: Iterable[Any], final: Any, params: Mapping[str, Any]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the metadata that the `score` of a pipeline passes to its last step, and to `transform` of the others."""
    router = _pipeline_router(steps, final, "score", "score")
    # Pipeline.score always passes sample_weight on, also if it is None.
    router.validate_metadata(method="score", params={"sample_weight": None, **params})
    routed = router.route_params(caller="score", params=params)
    return dict(routed.pop("final")["score"]), [step["transform"] for step in routed.values() if step["transform"]]


def _pipeline_router(steps: Iterable[Any], final: Any, caller: str, callee: str) -> Any:
    """Return the router that a pipeline of these steps has, without building the pipeline."""
    from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

    router = MetadataRouter(owner="pipeline").add(
        final=final, method_mapping=MethodMapping().add(caller=caller, callee=callee)
    )
    for i, step in enumerate(steps):
        # As Pipeline.get_metadata_routing: fit_transform where a step has it, else fit followed by transform.
        fits = ["fit_transform"] if hasattr(step, "fit_transform") else ["fit", "transform"]
        mapping = MethodMapping()
        for method in fits if caller == "fit" else ["transform"]:
            mapping.add(caller=caller, callee=method)
        router.add(**{f"step{i}": step}, method_mapping=mapping)
    return router


@contextmanager
def _report_progress(parallel: Any, on_progress: Callable[[int], None]) -> Iterator[None]:
    """Report the tasks that a `Parallel` has completed, each time it would print its progress."""
    if not hasattr(parallel, "print_progress"):
        yield
        return
    print_progress, reported = parallel.print_progress, 0

    def report() -> None:
        nonlocal reported
        completed = getattr(parallel, "n_completed_tasks", 0)
        if completed > reported:
            on_progress(completed - reported)
            reported = completed
        print_progress()

    parallel.print_progress = report
    try:
        yield
    finally:
        del parallel.print_progress


def _record_call(estimator: Any, X: Any, y: Any, **kwargs: Any) -> FitAndScoreCall:
    return FitAndScoreCall(estimator, X, y, kwargs)


def _global_names(code: CodeType) -> set[str]:
    """Return the global names that a code object and the code within it (generators, lambdas) use."""
    nested = [_global_names(c) for c in code.co_consts if inspect.iscode(c)]
    return set(code.co_names).union(*nested)


def _closure_cell(content: Any) -> Any:
    return (lambda: content).__closure__[0]  # type: ignore[index]  # the lambda closes over content
