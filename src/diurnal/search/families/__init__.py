"""Families of fits: groups of candidates of which one fit serves all, each proved against scikit-learn by a test.

To add a family, write a class with the methods of
:class:`~diurnal.search.families.family_protocol.TransformerFamily` or
:class:`~diurnal.search.families.family_protocol.FinalEstimatorFamily`, add an instance here, and add its test.
"""

from diurnal.search.families.boosters import BoosterFamily
from diurnal.search.families.ensembles import EnsembleFamily
from diurnal.search.families.family_protocol import FinalEstimatorFamily, TransformerFamily
from diurnal.search.families.logistic_labels import LogisticLabelFamily
from diurnal.search.families.logistic_regression import LogisticFamily
from diurnal.search.families.neighbors import NeighborsFamily
from diurnal.search.families.pca import PCAFamily
from diurnal.search.families.pruned_trees import PrunedTreeFamily
from diurnal.search.families.ridge import RidgeFamily
from diurnal.search.families.select_k_best import SelectionFamily

TRANSFORMER_FAMILIES: tuple[TransformerFamily, ...] = (PCAFamily(), SelectionFamily())
# They are tried first where scores are of labels only; what they are not certain of is left to FINAL_FAMILIES.
LABEL_FAMILIES: tuple[FinalEstimatorFamily, ...] = (LogisticLabelFamily(),)
FINAL_FAMILIES: tuple[FinalEstimatorFamily, ...] = (
    LogisticFamily(), RidgeFamily(), NeighborsFamily(), EnsembleFamily(), BoosterFamily(),
    PrunedTreeFamily(),
)  # fmt: skip
