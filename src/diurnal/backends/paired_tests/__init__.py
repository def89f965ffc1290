"""Paired tests of two models on the same samples: pure functions of vectors, one for each kind of score.

========================================  ==========================================================================
score                                     test
========================================  ==========================================================================
accuracy                                  :func:`mcnemar`, exact
area under the ROC curve, two classes     :func:`delong`
mean of a loss of each sample             :func:`sign_flips`, a permutation test
any other                                 :func:`resampled`, a stratified bootstrap and random swaps
========================================  ==========================================================================

All of them take samples as independent, give both one-sided p-values and a 95 % interval of the difference, and draw
no random number that is not seeded: the same samples give the same result.
"""

from diurnal.backends.paired_tests.bootstrap import resampled
from diurnal.backends.paired_tests.delong import delong
from diurnal.backends.paired_tests.mcnemar import mcnemar
from diurnal.backends.paired_tests.sign_flip import sign_flips
from diurnal.backends.paired_tests.test_descriptions import RESAMPLED, TEST_DESCRIPTIONS
from diurnal.backends.paired_tests.test_result import Paired, undefined

__all__ = [
    "RESAMPLED",
    "TEST_DESCRIPTIONS",
    "Paired",
    "delong",
    "mcnemar",
    "resampled",
    "sign_flips",
    "undefined",
]
