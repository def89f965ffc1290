"""The families that we know: what one fit serves for many candidates, each proved by a test against scikit-learn.

To declare another: a class with the methods of :class:`~diurnal.search.families.kinds.Nested` or
:class:`~diurnal.search.families.kinds.Final`, its entry here, and its test.
"""

from diurnal.search.families import ensembles, logistic, neighbours, ridge
from diurnal.search.families.kinds import Final, Nested
from diurnal.search.families.pca import NestedPCA
from diurnal.search.families.univariate import NestedSelection

NESTED: tuple[Nested, ...] = (NestedPCA(), NestedSelection())
FINALS: tuple[Final, ...] = (logistic.Family(), ridge.Family(), neighbours.Family(), ensembles.Family())
