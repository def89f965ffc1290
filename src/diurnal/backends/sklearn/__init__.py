"""Tuning, fitting and scoring with scikit-learn.

A fit sees rows in the order of their hash and runs with one BLAS thread: the same rows shuffled move a random
forest's probabilities, and another number of threads moves the last digits of nearly everything.
"""

from diurnal.backends.sklearn.fit_metadata import NO_METADATA, FitMetadata, MetadataCollector
from diurnal.backends.sklearn.label_checks import check_labels
from diurnal.backends.sklearn.matrices import to_matrices
from diurnal.backends.sklearn.random_state import find_unseeded
from diurnal.backends.sklearn.scorers import build_scorer, detect_task, is_search
from diurnal.backends.sklearn.sklearn_backend import BACKEND, InMemoryData
from diurnal.backends.sklearn.sklearn_frames import to_features, to_target
from diurnal.backends.sklearn.tuning import candidates_table, refit_estimator, score_search_shard, tune_estimator

__all__ = [
    "BACKEND",
    "NO_METADATA",
    "FitMetadata",
    "InMemoryData",
    "MetadataCollector",
    "build_scorer",
    "candidates_table",
    "check_labels",
    "detect_task",
    "find_unseeded",
    "is_search",
    "refit_estimator",
    "score_search_shard",
    "to_features",
    "to_matrices",
    "to_target",
    "tune_estimator",
]
