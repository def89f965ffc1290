"""Tuning as fast as the arithmetic allows, with scikit-learn's own numbers.

A search over a pipeline fits the same beginnings again and again: two candidates that differ in the last pipeline step
share all that comes before. Here each distinct prefix is fitted once on each fold, and families of fits (every size of
an exact PCA, every strength of a penalty) are served by one. scikit-learn still splits, ranks, reports and refits; only
its loop over candidates and folds is ours. What is not proved to give the same numbers is left to it, unchanged.

This package knows nothing of the rest of diurnal.
"""

from diurnal.search.search_api import tune, understands
from diurnal.search.search_shards import combine, score_shard, shards

__all__ = ["combine", "score_shard", "shards", "tune", "understands"]
