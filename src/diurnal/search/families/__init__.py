"""The families that we know: what one fit serves for many candidates, each proved by a test against scikit-learn.

To declare another: a class with the methods of :class:`~diurnal.search.families.protocol.Nested` or
:class:`~diurnal.search.families.protocol.Final`, its entry here, and its test.
"""

from diurnal.search.families import ensembles, logistic_regression, neighbors, ridge
from diurnal.search.families.pca import NestedPCA
from diurnal.search.families.protocol import Final, Nested
from diurnal.search.families.select_k_best import NestedSelection

NESTED: tuple[Nested, ...] = (NestedPCA(), NestedSelection())
FINALS: tuple[Final, ...] = (logistic_regression.Family(), ridge.Family(), neighbors.Family(), ensembles.Family())
