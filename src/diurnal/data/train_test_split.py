"""The train/test split: whether a sample is for training or for testing, which its hash alone decides.

The 64-bit hash of a row (:mod:`diurnal.data.row_hash`), read as a fraction of 2**64, is uniform between 0 and 1. A
sample whose fraction is below `test_size` is for testing, any other one is for training. The role depends on nothing
else: neither on other rows, nor on their order, nor on the date. A sample therefore never changes sides, however many
batches are added, and rows with the same features and another target are on the same side. With a split by groups,
the group is hashed, so that all rows of a group have one role.

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
    """Tell the role of one sample.

    Parameters
    ----------
    values : sequence
        Its key, or its features where the experiment has no key, in the order of the columns' names.
    experiment : str
        Name of the experiment.
    test_size : float
        Share of samples that are for testing, between 0 and 1.
    number : int
        Its number among the equal rows of its batch, where content does not identify a row.

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
    """Give the hash from which on a sample is for training."""
    return math.floor(test_size * 2**64)


@dataclass(frozen=True)
class TrainTestRoles:
    """Tells which rows of a package are for training and which for testing.

    Attributes
    ----------
    make_hasher : callable
        Gives, for each package anew, the function that hashes the identity of its rows.
    test_size : float
        Share of samples that are for testing.
    target : str
        The column to predict; a row without it has no role.
    is_hash_ordered : bool
        Whether rows in the order of a package are in the order of these hashes, so that the test rows come first.
    """

    make_hasher: Callable[[], Hasher]
    test_size: float
    target: str
    is_hash_ordered: bool = True

    def make_masks(self) -> Callable[[pa.RecordBatch], tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]]:
        """Give the function that tells, of the rows of one package in order, which train and which test."""
        hasher = self.make_hasher()

        def of(rows: pa.RecordBatch) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
            labelled = rows.column(self.target).is_valid().to_numpy(zero_copy_only=False)
            tested = select_test(hasher(rows), self.test_size)
            return labelled & ~tested, labelled & tested

        return of


def select_test(hashes: Hashes, test_size: float) -> npt.NDArray[np.bool_]:
    """Tell which rows are for testing."""
    import numpy as np

    return hashes < np.uint64(hash_threshold(test_size))


def sample_hasher(columns: Sequence[str], experiment: str) -> Hasher:
    """Give the function whose hashes, below a share (:func:`select_test`), are a sample of all rows.

    The hash is another one than the role's, so that a sample holds train and test rows as there are. A row that is in
    the sample of some share is in that of every larger one, for life.
    """
    return lambda rows: hash_rows(rows, columns, sample_salt(experiment))


def sample_salt(experiment: str) -> str:
    """Give what tells the hash of a sample from that of a role."""
    return f"{experiment}\0sample"
