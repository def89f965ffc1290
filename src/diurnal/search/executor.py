"""Execution of one round of a search: its folds on one thread, several threads or several processes.

Threads read the data without a copy, and divide folds among themselves. They gain where most of the time is spent in
compiled code, which releases the interpreter lock; :mod:`~diurnal.search.fork_join` measures that. Processes are for
code that keeps the lock, and for estimators that are not scikit-learn's, as these may not be safe on threads. They
start only after a fold was fitted without them, and if the time of that fold shows that they gain more than they take.

Each worker has one BLAS thread: several threads on small matrices cost more than one, and several workers with several
threads each use more threads than there are processors.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import sklearn

from diurnal.search.column_branches import has_shared_branches
from diurnal.search.fold import FoldRunner
from diurnal.search.fork_join import ForkJoinPool
from diurnal.search.kept_folds import FoldStore, KeptFolds
from diurnal.search.side_effects import (
    GlobalRngUsed,
    RecordedWarning,
    SideEffectMonitor,
    reissue_warnings,
    warnings_are_errors,
)
from diurnal.search.sklearn_private import FitAndScoreCall
from diurnal.search.traversal import fit_and_score_subtree, has_families
from diurnal.search.tree import PrefixTree
from diurnal.search.workers import (
    ProcessDecision,
    WorkerKind,
    choose_workers,
    gains_threads,
    single_blas_thread,
    start_seconds,
    thread_context,
)


@dataclass(frozen=True, eq=False, slots=True)
class FoldResults:
    """The results of one fold by candidate, and the recorded warnings by call."""

    results: dict[int, dict[str, Any]]
    warned: dict[int, list[RecordedWarning]]


def run_round(
    tree: PrefixTree,
    calls: Sequence[FitAndScoreCall],
    on_progress: Callable[[int], None],
    max_cores: int | None = None,
    fold_store: FoldStore | None = None,
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
    max_cores : int, optional
        The greatest number of cores. None: those that this process may use.
    fold_store : FoldStore, optional
        Keeps the results of each fold as soon as it is done. Those that it has are not made again.

    Returns
    -------
    list of dict, or None
        The results in the order of the calls; None if there is nothing to gain, or a fit has used the global random
        generator.
    """
    workers = choose_workers(tree, calls[0], max_cores)
    is_shared = tree.has_shared_fits() or has_families(tree.root) or has_shared_branches(tree.root)
    keeps_folds = fold_store is not None and calls[0].kwargs["caller"].n_jobs in (None, 1)
    if not (is_shared or keeps_folds or (workers[0] == "threads" and gains_threads(tree))):
        return None
    n_splits, lock = len(tree.splits), threading.Lock()

    def report(n: int) -> None:
        with lock:
            on_progress(n)

    monitor = SideEffectMonitor()
    try:
        folds = _run_folds(tree, calls, monitor, report, workers, fold_store)
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
    tree: PrefixTree,
    calls: Sequence[FitAndScoreCall],
    monitor: SideEffectMonitor,
    report: Callable[[int], None],
    workers: tuple[WorkerKind, int],
    fold_store: FoldStore | None,
) -> list[FoldResults]:
    """Run every fold that is not kept: here and on threads first, and what is left in processes if these gain."""
    kept, calls = KeptFolds(fold_store, calls, len(tree.splits)), calls[: len(tree.splits)]
    folds = _load_folds(kept, len(calls), report)
    kind, n_workers = workers
    n_threads = n_workers if kind == "threads" else 1
    config = sklearn.get_config()

    @contextmanager
    def context() -> Iterator[None]:
        with thread_context(tree, n_threads, config), monitor.capture_warnings():
            yield

    pool = ForkJoinPool(n_threads, context, start_seconds(tree))
    decision = ProcessDecision(len(calls), n_workers)

    def run(split: int) -> FoldResults:
        start = time.perf_counter()
        results = _run_fold(tree, calls[split], split, monitor, report, pool)
        decision.add_fold(time.perf_counter() - start)
        kept.save(split, results)
        return FoldResults(results, monitor.warned)

    def processes_gain() -> bool:
        threads_fail = pool.is_limited if kind == "threads" else not decision.uses_several_cores()
        return threads_fail and decision.saves_time()

    with single_blas_thread(), pool:
        left = _missing(folds)
        for split, fold in zip(left, pool.map(run, left, stops=processes_gain), strict=True):
            folds[split] = fold
        left = _missing(folds)
        for split, fold in zip(left, _run_in_processes(tree, calls, left, n_workers, report), strict=False):
            kept.save(split, fold.results)
            folds[split] = fold
        left = _missing(folds)  # those that processes cannot run
        for split, fold in zip(left, pool.map(run, left), strict=True):
            folds[split] = fold
    return [fold for fold in folds if fold is not None]


def _load_folds(kept: KeptFolds, n_folds: int, report: Callable[[int], None]) -> list[FoldResults | None]:
    """Return the folds that are kept, and None for each other one."""
    known = kept.load()
    report(sum(map(len, known.values())))
    return [FoldResults(known[split], {}) if split in known else None for split in range(n_folds)]


def _missing(folds: Sequence[FoldResults | None]) -> list[int]:
    return [split for split, fold in enumerate(folds) if fold is None]


def _run_fold(
    tree: PrefixTree,
    call: FitAndScoreCall,
    split: int,
    monitor: SideEffectMonitor,
    report: Callable[[int], None],
    pool: ForkJoinPool,
) -> dict[int, dict[str, Any]]:
    """Run one fold; return the result of each candidate that has one."""
    fold = FoldRunner(tree, call, split, monitor, report, pool.map)
    fit_and_score_subtree(fold, tree.root, fold.pop_root_data())
    return fold.results


def _run_in_processes(
    tree: PrefixTree,
    calls: Sequence[FitAndScoreCall],
    splits: Sequence[int],
    n_workers: int,
    report: Callable[[int], None],
) -> Iterator[FoldResults]:
    """Yield the results of these folds in their order, as far as they can be sent to processes."""
    n_jobs = min(n_workers, len(splits))
    if not n_jobs or joblib.effective_n_jobs(n_jobs) < 2:
        return
    config = sklearn.get_config()
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
    try:
        for fold in parallel(joblib.delayed(_run_fold_in_worker)(tree, calls[i], i, config) for i in splits):
            if fold is None:
                raise GlobalRngUsed
            report(len(fold.results))
            yield fold
    except (pickle.PicklingError, BrokenProcessPool):  # an object that cannot be sent, or too little memory
        return


def _run_fold_in_worker(
    tree: PrefixTree, call: FitAndScoreCall, split: int, config: Mapping[str, Any]
) -> FoldResults | None:
    """Run one fold in a worker process with scikit-learn's settings of the parent; None if it used the global RNG."""
    monitor = SideEffectMonitor()
    try:
        with sklearn.config_context(**config), single_blas_thread(), monitor.capture_warnings():
            results = _run_fold(tree, call, split, monitor, ignore_progress, ForkJoinPool(1))
            return FoldResults(results, dict(monitor.warned))
    except GlobalRngUsed:
        return None


def ignore_progress(_: int) -> None:
    """Report nothing: for runs whose progress is counted elsewhere, or not at all."""
