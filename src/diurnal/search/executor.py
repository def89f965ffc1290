"""Execution of one round of a search: its folds on one thread, several threads or several processes.

The unit of work is a fold; folds share nothing but the data. Threads read the data without a copy, and are faster where
the data are large enough for most of the time to be spent in compiled code, which releases the interpreter lock.
Processes are for code that keeps the lock, and are used only if the search sets `n_jobs`, as in scikit-learn.

Each worker has one BLAS thread: several threads on small matrices cost more than one, and several workers with several
threads each use more threads than there are processors.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import joblib
import sklearn
from threadpoolctl import ThreadpoolController

from diurnal.search import scoring
from diurnal.search.column_branches import has_shared_branches
from diurnal.search.fold import FoldRunner
from diurnal.search.side_effects import (
    GlobalRngUsed,
    RecordedWarning,
    SideEffectMonitor,
    reissue_warnings,
    warnings_are_errors,
)
from diurnal.search.sklearn_private import FitAndScoreCall
from diurnal.search.traversal import fit_and_score_subtree, has_families
from diurnal.search.tree import PipelineStep, PrefixNode, PrefixTree

WorkerKind = Literal["one", "threads", "processes"]
T = TypeVar("T")

MIN_PARALLEL_SIZE = 1 << 18  # elements of X; below, most of the time of a fit is spent in Python


@dataclass(frozen=True, eq=False, slots=True)
class FoldResults:
    """The results of one fold by candidate, and the recorded warnings by call."""

    results: dict[int, dict[str, Any]]
    warned: dict[int, list[RecordedWarning]]


def run_round(
    tree: PrefixTree, calls: Sequence[FitAndScoreCall], on_progress: Callable[[int], None]
) -> list[dict[str, Any]] | None:
    """Make all calls of a round; fit once what they share.

    Parameters
    ----------
    tree : PrefixTree
        The calls as a tree.
    calls : sequence of FitAndScoreCall
        Every candidate on every fold; the fold varies fastest.
    on_progress : callable
        Receives the number of calls that are done since the last report.

    Returns
    -------
    list of dict, or None
        The results in the order of the calls; None if there is nothing to share, or a fit has used the global random
        generator.
    """
    if not (tree.has_shared_fits() or has_families(tree.root) or has_shared_branches(tree.root)):
        return None
    n_splits, lock = len(tree.splits), threading.Lock()

    def report(n: int) -> None:
        with lock:
            on_progress(n)

    monitor = SideEffectMonitor()
    try:
        folds = _run_folds(tree, calls[:n_splits], monitor, report)
    except GlobalRngUsed:
        monitor.restore_rng()
        return None
    return [_result_of_call(i, call, folds[i % n_splits], n_splits, report) for i, call in enumerate(calls)]


def _result_of_call(
    i: int, call: FitAndScoreCall, fold: FoldResults, n_splits: int, report: Callable[[int], None]
) -> dict[str, Any]:
    """Return the result of a call, with its warnings; let scikit-learn make the call if there is no result."""
    result, warned = fold.results.get(i // n_splits), fold.warned.get(i, [])
    # Where a warning may be an error, the call is repeated: then the error is raised within the fit, and scikit-learn
    # treats it as a failed fit.
    if result is None or (warned and warnings_are_errors()):
        report(0 if result else 1)
        return call.run()
    reissue_warnings(warned)
    return result


def _run_folds(
    tree: PrefixTree, calls: Sequence[FitAndScoreCall], monitor: SideEffectMonitor, report: Callable[[int], None]
) -> list[FoldResults]:
    """Run every fold on suitable workers."""
    kind, n_workers = choose_workers(tree, calls[0])
    splits = range(len(calls))
    if kind == "processes":
        return _run_in_processes(tree, calls, n_workers, report)

    def run(split: int) -> dict[int, dict[str, Any]]:
        return _run_fold(tree, calls[split], split, monitor, report)

    with single_blas_thread(), monitor.capture_warnings():
        results = map_threads(run, splits, n_workers) if kind == "threads" else [run(split) for split in splits]
    return [FoldResults(of_fold, monitor.warned) for of_fold in results]


def _run_fold(
    tree: PrefixTree,
    call: FitAndScoreCall,
    split: int,
    monitor: SideEffectMonitor,
    report: Callable[[int], None],
) -> dict[int, dict[str, Any]]:
    """Run one fold in this thread; return the result of each candidate that has one."""
    fold = FoldRunner(tree, call, split, monitor, report)
    fit_and_score_subtree(fold, tree.root, fold.root_data())
    return fold.results


def _run_in_processes(
    tree: PrefixTree, calls: Sequence[FitAndScoreCall], n_workers: int, report: Callable[[int], None]
) -> list[FoldResults]:
    config = sklearn.get_config()
    folds = joblib.Parallel(n_jobs=n_workers)(
        joblib.delayed(_run_fold_in_worker)(tree, call, split, config) for split, call in enumerate(calls)
    )
    if any(fold is None for fold in folds):
        raise GlobalRngUsed
    for fold in folds:
        report(len(fold.results))
    return list(folds)


def _run_fold_in_worker(
    tree: PrefixTree, call: FitAndScoreCall, split: int, config: Mapping[str, Any]
) -> FoldResults | None:
    """Run one fold in a worker process with scikit-learn's settings of the parent; None if it used the global RNG."""
    monitor = SideEffectMonitor()
    try:
        with sklearn.config_context(**config), single_blas_thread(), monitor.capture_warnings():
            results = _run_fold(tree, call, split, monitor, ignore_progress)
            return FoldResults(results, dict(monitor.warned))
    except GlobalRngUsed:
        return None


def ignore_progress(_: int) -> None:
    """Report nothing: for runs whose progress is counted elsewhere, or not at all."""


def choose_workers(tree: PrefixTree, call: FitAndScoreCall) -> tuple[WorkerKind, int]:
    """Choose the kind of workers for a round.

    Returns
    -------
    kind : {"one", "threads", "processes"}
    n_workers : int
        At most the number of folds, and at most the `n_jobs` of the search if it is set.
    """
    n_jobs = call.kwargs["caller"].n_jobs
    n_workers = min(_max_workers(n_jobs), len(tree.splits))
    if n_workers < 2 or _n_elements(call.X) < MIN_PARALLEL_SIZE:
        return "one", 1
    if _is_thread_safe(tree, call):
        return "threads", n_workers
    return ("processes", n_workers) if n_jobs not in (None, 1) else ("one", 1)


def map_threads(function: Callable[[T], Any], items: Sequence[T], n_threads: int) -> list[Any]:
    """Call a function for each item on threads, with the context and scikit-learn's settings of the calling thread.

    The processors are divided evenly: each thread has as many OpenMP threads as its part.
    """
    config, n_openmp = sklearn.get_config(), max(1, joblib.cpu_count() // n_threads)

    def work(item: T) -> Any:
        with sklearn.config_context(**config), threadpool_controller().limit(limits=n_openmp, user_api="openmp"):
            return function(item)

    with ThreadPoolExecutor(n_threads) as pool:
        futures = [pool.submit(contextvars.copy_context().run, work, item) for item in items]
        return [future.result() for future in futures]


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, in the whole process."""
    with threadpool_controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def threadpool_controller() -> ThreadpoolController:
    """Return the controller of the BLAS and OpenMP libraries of this process; it takes milliseconds to create."""
    return ThreadpoolController()


def _max_workers(n_jobs: int | None) -> int:
    if n_jobs is not None:
        return int(joblib.effective_n_jobs(n_jobs))
    # Without n_jobs: all processors, unless the search itself runs in a worker of joblib.
    backend, n = joblib.parallel.get_active_backend()
    is_nested = getattr(backend, "nesting_level", 0) or 0
    return 1 if is_nested else max(int(joblib.cpu_count()), n or 1)


def _is_thread_safe(tree: PrefixTree, call: FitAndScoreCall) -> bool:
    """Return whether all estimators and scorers are scikit-learn's own, which are safe on threads."""
    return scoring.uses_predictions_only(call.kwargs["scorer"]) and all(
        step.is_from_sklearn for step in _all_steps(tree.root)
    )


def _all_steps(node: PrefixNode) -> Iterator[PipelineStep]:
    yield from (leaf.step for leaf in node.finals.values())
    for child in node.children.values():
        yield child.step
        yield from _all_steps(child)


def _n_elements(X: Any) -> int:
    shape = getattr(X, "shape", None) or (len(X),)
    size = 1
    for n in shape:
        size *= int(n)
    return size
