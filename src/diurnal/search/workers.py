"""The workers of a round: how many, of which kind, and with which part of the processors."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import joblib
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController

from diurnal.search import fork_join, scoring
from diurnal.search.cache_keys import is_from_sklearn
from diurnal.search.fork_join import MAX_OWN_CORES, CoreUsage
from diurnal.search.side_effects import is_unseeded
from diurnal.search.sklearn_private import FitAndScoreCall
from diurnal.search.tree import PipelineStep, PrefixNode, PrefixTree

WorkerKind = Literal["one", "threads", "processes"]

# They use all cores by OpenMP, and their numbers may depend on its number of threads: by equal distances, or by sums.
_OPENMP_MODULES = ("sklearn.neighbors.", "sklearn.cluster.")
PROCESS_SECONDS = 3.0  # what processes must save: twice the time in which they start and import scikit-learn
SHORT_FIT_ROWS, SHORT_FIT_FACTOR = 1_000, 16  # fits on fewer rows; threads wait 16 times as long: half a second
_HIST_GRADIENT_BOOSTING = {HistGradientBoostingClassifier, HistGradientBoostingRegressor}


def choose_workers(tree: PrefixTree, call: FitAndScoreCall, max_cores: int | None = None) -> tuple[WorkerKind, int]:
    """Choose the kind of workers that a round may use.

    Returns
    -------
    kind : {"one", "threads", "processes"}
        Threads and processes start later, and only if they gain.
    n_workers : int
        At most `max_cores`, and at most the `n_jobs` of the search if it is set.
    """
    n_workers = _max_workers(call.kwargs["caller"].n_jobs, max_cores)
    if n_workers < 2 or any(
        type(step.template).__module__.startswith(_OPENMP_MODULES) for step in _all_steps(tree.root)
    ):
        return "one", 1
    return ("threads" if _is_thread_safe(tree, call) else "processes"), n_workers


def gains_threads(tree: PrefixTree) -> bool:
    """Return whether threads can gain for a round that shares nothing: not if scikit-learn repeats it for its draws."""
    steps = _all_steps(tree.root)
    return len(tree.unsupported) < len(tree.params) and not any(
        is_unseeded({**step.template.get_params(deep=True), **step.changes}, step.template) for step in steps
    )


def start_seconds(tree: PrefixTree) -> float:
    """Return how long a round runs on one thread before others start.

    Logistic regressions on few rows release the interpreter lock thousands of times for microseconds each. Threads take
    it from each other, and gain nothing, so they start only if there is much other work.
    """
    n_rows = max(len(train) for train, _ in tree.splits)
    is_short = n_rows < SHORT_FIT_ROWS and all(
        type(leaf.step.template) is LogisticRegression for leaf in tree.root.all_finals()
    )
    return fork_join.START_SECONDS * (SHORT_FIT_FACTOR if is_short else 1)


class ProcessDecision:
    """Decides, after every fold, whether processes gain for the folds that are left.

    Parameters
    ----------
    n_folds, n_workers : int
    """

    def __init__(self, n_folds: int, n_workers: int) -> None:
        self.n_folds, self.n_workers = n_folds, n_workers
        self._seconds: list[float] = []
        self._usage = CoreUsage()

    def add_fold(self, seconds: float) -> None:
        """Add the time of a fold that was fitted in this process."""
        self._seconds.append(seconds)

    def saves_time(self) -> bool:
        """Return whether processes save more time than they take to start."""
        if not self._seconds or self.n_workers < 2:
            return False
        n_left = self.n_folds - len(self._seconds)
        n_rounds = -(-n_left // self.n_workers)
        return max(self._seconds) * (n_left - n_rounds) > PROCESS_SECONDS

    def uses_several_cores(self) -> bool:
        """Return whether fits use threads of their own."""
        return self._usage.n_cores() > MAX_OWN_CORES


@contextmanager
def thread_context(tree: PrefixTree, n_threads: int, config: Mapping[str, Any]) -> Iterator[None]:
    """Give a thread scikit-learn's settings of the caller, and its part of the processors.

    OpenMP is limited only where the numbers do not depend on its number of threads.
    """
    with ExitStack() as stack:
        stack.enter_context(sklearn.config_context(**config))
        if n_threads > 1 and any(type(step.template) in _HIST_GRADIENT_BOOSTING for step in _all_steps(tree.root)):
            n_tasks = len(tree.splits) * tree.root.size()[1]
            limit = max(1, n_threads // n_tasks)
            stack.enter_context(threadpool_controller().limit(limits=limit, user_api="openmp"))
        yield


@contextmanager
def single_blas_thread() -> Iterator[None]:
    """Limit BLAS to one thread, in the whole process."""
    with threadpool_controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def threadpool_controller() -> ThreadpoolController:
    """Return the controller of the BLAS and OpenMP libraries of this process; it takes milliseconds to create."""
    return ThreadpoolController()


def _max_workers(n_jobs: int | None, max_cores: int | None) -> int:
    """Return the greatest number of workers: all cores without `n_jobs`, unless the search runs in a joblib worker."""
    n_cores = int(joblib.cpu_count())
    backend, n_active = joblib.parallel.get_active_backend()
    if n_jobs is not None or n_active not in (None, 1):  # of the search, or of a joblib.parallel_config around it
        n_cores = int(joblib.effective_n_jobs(n_jobs))
    elif getattr(backend, "nesting_level", 0):
        n_cores = 1
    return n_cores if max_cores is None else min(n_cores, max_cores)


def _is_thread_safe(tree: PrefixTree, call: FitAndScoreCall) -> bool:
    """Return whether all estimators and scorers are scikit-learn's own, which are safe on threads."""
    if not scoring.uses_predictions_only(call.kwargs["scorer"]):
        return False
    steps = list(_all_steps(tree.root))
    templates = {id(step.template): step.template for step in steps}  # hundreds of steps share one
    return all(map(is_from_sklearn, templates.values())) and all(
        is_from_sklearn(value) for step in steps for value in step.changes.values()
    )


def _all_steps(node: PrefixNode) -> Iterator[PipelineStep]:
    yield from (leaf.step for leaf in node.finals.values())
    for child in node.children.values():
        yield child.step
        yield from _all_steps(child)
