"""Tuning, fitting and scoring with scikit-learn.

A fit sees rows in the order of their hash and runs with one BLAS thread: the same rows shuffled move a random
forest's probabilities, and another number of threads moves the last digits of nearly everything.
"""

from diurnal.backends.sklearn.fit_metadata import NOTHING, Beside, Needs
from diurnal.backends.sklearn.label_checks import refuse_labels
from diurnal.backends.sklearn.matrices import filled
from diurnal.backends.sklearn.random_state import unseeded
from diurnal.backends.sklearn.scorers import is_search, scorer, task
from diurnal.backends.sklearn.sklearn_backend import BACKEND, InMemoryData
from diurnal.backends.sklearn.sklearn_frames import matrix, vector
from diurnal.backends.sklearn.tuning import candidates_table, refit, score_shard, tune

__all__ = [
    "BACKEND",
    "NOTHING",
    "Beside",
    "InMemoryData",
    "Needs",
    "candidates_table",
    "filled",
    "is_search",
    "matrix",
    "refit",
    "refuse_labels",
    "score_shard",
    "scorer",
    "task",
    "tune",
    "unseeded",
    "vector",
]
