"""Who does the work: one thread, several threads, or several processes, and with how many BLAS threads each.

Folds are what is handed out: they share nothing but the data. Threads share these without a copy; they pay where the
data are large enough for compiled code, which lets go of the interpreter, to be most of the work. Processes are for
what holds on to the interpreter, and only where the search asks for more than one job, as scikit-learn does.

Where ours is the only level of parallelism, each worker has one BLAS thread: two on small matrices cost more than one.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import joblib
import sklearn
from threadpoolctl import ThreadpoolController

from diurnal.search import scoring
from diurnal.search.sklearn_private import Call
from diurnal.search.tree import Node, Plan, Step

Kind = Literal["one", "threads", "processes"]
T = TypeVar("T")

LARGE = 1 << 18  # elements of X: below, a fit is mostly Python


def choose(plan: Plan, call: Call) -> tuple[Kind, int]:
    """Choose the kind of workers for a round, and how many.

    Returns
    -------
    {"one", "threads", "processes"}
    int
        Never more than the search's `n_jobs` where that is set, nor than there are folds.
    """
    asked = call.words["caller"].n_jobs
    n = min(_allowed(asked), len(plan.splits))
    if n < 2 or _n_elements(call.X) < LARGE:
        return "one", 1
    if _lets_go(plan, call):
        return "threads", n
    return ("processes", n) if asked not in (None, 1) else ("one", 1)


def on_threads(task: Callable[[T], Any], of: Sequence[T], n: int) -> list[Any]:
    """Do a task for each on n threads, each with its part of the processors, and scikit-learn's settings as here."""
    config, each = sklearn.get_config(), max(1, joblib.cpu_count() // n)

    def work(item: T) -> Any:
        with sklearn.config_context(**config), controller().limit(limits=each, user_api="openmp"):
            return task(item)

    with ThreadPoolExecutor(n) as pool:
        return [f.result() for f in [pool.submit(contextvars.copy_context().run, work, item) for item in of]]


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Give BLAS one thread, in the whole process."""
    with controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def controller() -> ThreadpoolController:
    """Give what knows the BLAS and OpenMP libraries of this process; looking for them takes some milliseconds."""
    return ThreadpoolController()


def _allowed(asked: int | None) -> int:
    if asked is not None:
        return int(joblib.effective_n_jobs(asked))
    backend, n = joblib.parallel.get_active_backend()
    nested = getattr(backend, "nesting_level", 0) or 0
    return 1 if nested else max(int(joblib.cpu_count()), n or 1)


def _lets_go(plan: Plan, call: Call) -> bool:
    """Tell whether all that is fitted and scored is scikit-learn's own, which is safe on threads."""
    return scoring.only_predicts(call.words["scorer"]) and all(step.is_theirs for step in _steps(plan.root))


def _steps(node: Node) -> Iterator[Step]:
    yield from (leaf.step for leaf in node.leaves.values())
    for child in node.children.values():
        yield child.step
        yield from _steps(child)


def _n_elements(X: Any) -> int:
    shape = getattr(X, "shape", None) or (len(X),)
    size = 1
    for n in shape:
        size *= int(n)
    return size
