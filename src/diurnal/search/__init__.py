"""Fast hyperparameter search with the numbers of scikit-learn.

A search over a pipeline fits the same first steps again and again: two candidates that differ in the last step share
all steps before it. This package fits each distinct prefix once per fold, and uses one fit for a whole family of
candidates where that is exact (every size of a PCA, every penalty of a ridge regression). scikit-learn still splits,
ranks, reports and refits; only its loop over candidates and folds is replaced. A search, a candidate or a data set for
which equal numbers are not proved is fitted by scikit-learn itself.

The package imports nothing of the rest of diurnal but :class:`~diurnal.errors.UsageError`.
"""

from diurnal.search.search_api import tune, unsupported_reason
from diurnal.search.search_shards import combine_scores, score_shard, split_search

# Former names of public functions, kept for one release.
combine = combine_scores
shards = split_search
understands = unsupported_reason

__all__ = [
    "combine",
    "combine_scores",
    "score_shard",
    "shards",
    "split_search",
    "tune",
    "understands",
    "unsupported_reason",
]
