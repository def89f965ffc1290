"""One L-BFGS minimisation that can be stopped whenever it asks for the function, so that many can ask at once.

SciPy's `minimize` calls the function itself. The routine beneath it works by reverse communication: it returns when it
wants a value. Each candidate drives its own, step by step as SciPy does, with scikit-learn's tolerances.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from diurnal.search import sklearn_private

_ASKS, _NEW_ITERATE, _CONVERGED, _STOP = 3, 1, 4, 5
_MAX_ITERATIONS, _MAX_EVALUATIONS = 504, 502
_MEMORY, _LINE_SEARCH, _EVALUATIONS = 10, 50, 15_000


class Minimisation:
    """One minimisation: while :meth:`ask` is true, put the value at `x` into `f` and its gradient into `g`.

    Parameters
    ----------
    x, g : numpy.ndarray, shape (n,)
        Where the point and the gradient live; the point starts at what it is.
    gtol : float
        It has converged where no element of the gradient is greater.
    max_iter : int
        After how many iterations it gives up.
    """

    def __init__(self, x: np.ndarray, g: np.ndarray, gtol: float, max_iter: int) -> None:
        self._step = sklearn_private.named("scipy.optimize._lbfgsb", "setulb")
        whole = np.int64 if sklearn_private.named("scipy.linalg.lapack", "HAS_ILP64") else np.int32
        n, m = len(x), _MEMORY
        self.x, self.f, self.g = x, 0.0, g
        self.max_iter, self.n_iter, self.n_asked = max_iter, 0, 0
        self._task = np.zeros(2, whole)
        self._head = (m, x, np.zeros(n), np.zeros(n), np.zeros(n, whole))
        self._tail = (
            64.0, float(gtol), np.zeros(2 * m * n + 5 * n + 11 * m * m + 8 * m), np.zeros(3 * n, whole), self._task,
            np.zeros(4, whole), np.zeros(44, whole), np.zeros(29), _LINE_SEARCH, np.zeros(2, whole),
        )  # fmt: skip

    def ask(self) -> bool:
        """Go on until the value at `x` is wanted; False at the end."""
        task = self._task
        while True:
            self._step(*self._head, self.f, self.g, *self._tail)
            if task[0] == _ASKS:
                self.n_asked += 1
                return True
            if task[0] != _NEW_ITERATE:
                return False
            self.n_iter += 1
            if self.n_iter >= self.max_iter:
                task[:] = _STOP, _MAX_ITERATIONS
            elif self.n_asked > _EVALUATIONS:
                task[:] = _STOP, _MAX_EVALUATIONS

    def result(self) -> Any:
        """Give what SciPy's `minimize` would say about how it ended."""
        from scipy.optimize import OptimizeResult

        module = "scipy.optimize._lbfgsb_py"
        said, why = sklearn_private.named(module, "status_messages"), sklearn_private.named(module, "task_messages")
        gave_up = self.n_asked > _EVALUATIONS or self.n_iter >= self.max_iter
        status = 0 if self._task[0] == _CONVERGED else 1 if gave_up else 2
        message = f"{said[int(self._task[0])]}: {why[int(self._task[1])]}"
        return OptimizeResult(x=self.x, fun=self.f, nit=self.n_iter, status=status, message=message)
