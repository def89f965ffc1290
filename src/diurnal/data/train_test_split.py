"""The train/test split: whether a sample is for training or for testing, which its hash alone decides.

The 64-bit hash of a row (:mod:`diurnal.data.row_hash`), read as a fraction of 2**64, is uniform between 0 and 1. A
sample whose fraction is below `test_size` is for testing, any other one is for training. The role depends on nothing
else: neither on other rows, nor on their order, nor on the date. A sample therefore never changes sides, however many
batches are added, and rows with the same features and another target are on the same side. With a split by groups,
the group is hashed, so that all rows of a group have one role.

With ``split="time"`` the newest batch is the test set instead: :mod:`diurnal.pipeline.window_split`.

The same rule selects a random sample of rows (`sample=` of an experiment), with another hash: :func:`sample_hasher`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal

from diurnal.data.row_hash import Scalar, canonical_bytes, hash_rows, number_hashes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from diurnal.data.row_hash import Hasher, Hashes

Role = Literal["train", "test"]


def assign_role(values: Sequence[Scalar], experiment: str, test_size: float, number: int = 0) -> Role:
    """Return the role of a sample.

    Parameters
    ----------
    values : sequence
        Its key, or its features if the experiment has no key, in the order of the names of columns.
    experiment : str
        Name of the experiment.
    test_size : float
        Fraction of test samples, between 0 and 1.
    number : int
        Its number among the equal rows of its batch, if content does not identify a row.

    Returns
    -------
    str
        ``"train"`` or ``"test"``.

    Examples
    --------
    >>> assign_role(["patient-7"], "breast_cancer", 0.3)
    'train'
    >>> assign_role(["patient-5"], "breast_cancer", 0.3)
    'test'
    """
    import numpy as np

    payload = experiment.encode() + b"\0" + b"".join(map(canonical_bytes, values))
    hashed = np.frombuffer(blake2b(payload, digest_size=8).digest(), dtype="<u8")
    return "test" if select_test(number_hashes(hashed, np.array([number])), test_size)[0] else "train"


def hash_threshold(test_size: float) -> int:
    """Return the smallest hash of a training sample."""
    return math.floor(test_size * 2**64)


@dataclass(frozen=True)
class TrainTestRoles:
    """Assigns the rows of a package to train and test.

    Attributes
    ----------
    make_hasher : callable
        Returns, for each package, a new function that hashes the identity of its rows.
    test_size : float
        Share of samples that are for testing.
    target : str
        The column to predict; a row without it has no role.
    is_hash_ordered : bool
        Whether the rows of a package are sorted by these hashes, so that the test rows come first.
    """

    make_hasher: Callable[[], Hasher]
    test_size: float
    target: str
    is_hash_ordered: bool = True

    def make_masks(self) -> Callable[[pa.RecordBatch], tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        """Return the function that returns the masks of train and test rows of consecutive batches of one package."""
        hasher = self.make_hasher()

        def of(rows: pa.RecordBatch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
            labelled = rows.column(self.target).is_valid().to_numpy(zero_copy_only=False)
            tested = select_test(hasher(rows), self.test_size)
            return labelled & ~tested, labelled & tested

        return of


def select_test(hashes: Hashes, test_size: float) -> npt.NDArray[np.bool_]:
    """Return the mask of the test rows."""
    import numpy as np

    return hashes < np.uint64(hash_threshold(test_size))


def sample_hasher(columns: Sequence[str], experiment: str) -> Hasher:
    """Return the function whose hashes below a fraction (:func:`select_test`) select a random sample of all rows.

    The hash differs from that of the role, so that a sample has train and test rows in their usual proportion. A row in
    the sample of some fraction is in the sample of every larger fraction.
    """
    return lambda rows: hash_rows(rows, columns, sample_salt(experiment))


def sample_salt(experiment: str) -> str:
    """Return the salt that makes the hash of a sample differ from the hash of a role."""
    return f"{experiment}\0sample"
