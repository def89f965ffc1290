"""Evaluation data: curves, histograms and counts that describe how models answer on test samples.

A run stores them so that no view of it loads a model or a batch. The forms are in :doc:`docs/monitoring.md`. All
functions here take numbers that a backend has counted, in memory or on executors, and return values of JSON with a
bounded number of points.
"""

from diurnal.backends.evaluation_data.description import EvaluationData
from diurnal.backends.evaluation_data.score_counts import ScoreCounts

__all__ = ["EvaluationData", "ScoreCounts"]
