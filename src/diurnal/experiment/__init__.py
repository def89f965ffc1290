"""The declaration of an experiment, checked when it is written, and how experiments are found.

Importing this loads no scikit-learn, pandas or pyarrow: Airflow imports every experiment again and again.
"""

from diurnal.experiment.code import Code
from diurnal.experiment.declaration import Experiment, experiment
from diurnal.experiment.discovery import discover, find

__all__ = ["Code", "Experiment", "discover", "experiment", "find"]
