"""Conversion of a notebook or script into an experiment, without running it.

1. :mod:`~diurnal.notebook.document` reads the cells; :mod:`~diurnal.notebook.inlining` puts the statements in the order
   in which they run.
2. :mod:`~diurnal.notebook.program` holds the statements with their effects on names
   (:mod:`~diurnal.notebook.effects`): which names each of them uses, binds and changes.
3. :mod:`~diurnal.notebook.fits` selects the search: the last one that the notebook fits.
4. :mod:`~diurnal.notebook.search_statements` collects the statements that build the search, with a backward slice
   (:mod:`~diurnal.notebook.backward_slice`), and replaces expressions that depend on the data.
5. :mod:`~diurnal.notebook.provenance` traces the fitted features and target back to the frame that they come from, and
   :mod:`~diurnal.notebook.fit_data` declares that frame as a source.
6. :mod:`~diurnal.notebook.experiment_file` writes the experiment, and :mod:`~diurnal.notebook.report_builder` reports
   the parts that were extracted and the lines that were left out.
"""

from diurnal.notebook.conversion import ExperimentDraft, draft_experiment

__all__ = ["ExperimentDraft", "draft_experiment"]
