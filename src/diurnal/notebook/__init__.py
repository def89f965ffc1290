"""From a notebook to an experiment: reads a notebook or a script, without running it, and writes its search down.

The statements are put in one line (:mod:`~diurnal.notebook.inlining`), with what each does to names
(:mod:`~diurnal.notebook.effects`, :mod:`~diurnal.notebook.program`). The search is the last one that is fitted
(:mod:`~diurnal.notebook.fits`); what it is made of is a backward slice (:mod:`~diurnal.notebook.slices`) in which
nothing may depend on the data (:mod:`~diurnal.notebook.search_statements`). What it is fitted on is followed back to
the frame that it is taken from (:mod:`~diurnal.notebook.frame_trail`), and becomes a source
(:mod:`~diurnal.notebook.fit_data`).
"""

from diurnal.notebook.conversion import Draft, draft

__all__ = ["Draft", "draft"]
