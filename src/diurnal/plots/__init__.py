"""Charts of recorded results, for notebooks, the page and reports.

The functions in ``__all__`` read the records of a project and return Altair charts. The modules ``*_chart`` build the
same charts from rows that the caller has, as Vega-Lite specifications (see :mod:`diurnal.plots.chart_output`).
"""

from diurnal.plots.recorded_charts import compare, drift, evaluation, live_scores, timeline, tuning

__all__ = ["compare", "drift", "evaluation", "live_scores", "timeline", "tuning"]
