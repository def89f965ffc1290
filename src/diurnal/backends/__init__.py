"""Tuning, fitting, prediction and scoring: one implementation of :class:`Backend` for each library."""

from diurnal.backends.protocol import Backend, IngestedBatch, SampleData
from diurnal.backends.registry import get_backend

__all__ = ["Backend", "IngestedBatch", "SampleData", "get_backend"]
