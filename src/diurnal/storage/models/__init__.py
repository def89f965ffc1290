"""Models: a safe file format, the reader that trusts nothing but itself, and the store.

A model is kept as one file in skops' format, which names types and holds arrays, and holds no code. What makes
reading one safe is not the format but the order of the reader (:mod:`~diurnal.storage.models.skops_format`, and
:class:`Models` around it):

1. a cap on the file's size, and its SHA-256 against the digest in the warehouse, in constant time: before that,
   not a byte is parsed. What follows is for the day on which somebody could write to the warehouse too, or
   hands over a file of theirs;
2. the form of the file (:mod:`~diurnal.storage.models.zip_archive`): a zip archive of stored, uncompressed, adjacent
   members with plain names, as :func:`dumps` writes it. So nothing can inflate, overlap or point elsewhere, and each
   array is exactly as long as its header says. A pickle, joblib or cloudpickle file is refused unread;
3. skops' current protocol only: older ones are read by older, laxer code;
4. types (:mod:`~diurnal.storage.models.skops_nodes`): lists that live here, with the reader, of what each name may be
   used for. A list that travels with the file is the sender's list. Beside scikit-learn's own types there are those
   of a few well-known libraries (:mod:`~diurnal.storage.models.library_types`), and the project's own classes and
   functions that the version's row names (:mod:`~diurnal.runtime.project_files`); others are named by the experiment,
   in code. Boosters and tables of pandas are kept as plain data that is checked before a library sees it
   (:mod:`~diurnal.storage.models.states`);
5. structure (:mod:`~diurnal.storage.models.tree_checks`): trees hold raw indices that compiled code follows without a
   look; they are checked here, which is why this reader may trust trees and skops by itself does not;
6. golden rows (:mod:`~diurnal.storage.models.golden_rows`): five rows and their predictions, kept in the warehouse.

What step 5 does not do is check every array of every estimator against every other. A crafted model whose
arrays contradict each other can still make compiled code read beyond them, if its digest is in the warehouse.

Models of pyspark.ml are kept in Spark's own format, under the same order of checks
(:mod:`~diurnal.storage.models.spark`): a cap, the digest, the form of the file, classes, golden rows.

A digest needs one form for one model: skops names members and objects by their memory addresses, and zip files
carry dates. :mod:`~diurnal.storage.models.canonical_skops` replaces both, so that the same fit gives the same bytes in
any process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from diurnal.storage.models.formats import dump_and_read_back, form_of, is_of_spark, loads
from diurnal.storage.models.golden_rows import signature
from diurnal.storage.models.library_versions import library_versions
from diurnal.storage.models.model_store import Models, rehearse
from diurnal.storage.models.project_objects import OWN, own_names, with_own_names
from diurnal.storage.models.zip_archive import MAX_BYTES

if TYPE_CHECKING:
    from diurnal.storage.models.skops_format import dumps, refuse_untrusted

__all__ = [
    "MAX_BYTES",
    "OWN",
    "Models",
    "dump_and_read_back",
    "dumps",
    "form_of",
    "is_of_spark",
    "library_versions",
    "loads",
    "own_names",
    "refuse_untrusted",
    "rehearse",
    "signature",
    "with_own_names",
]


def __getattr__(name: str) -> Any:
    """Import skops when it is needed: it takes two seconds, and most commands neither read nor write a model."""
    if name in ("dumps", "refuse_untrusted"):
        from diurnal.storage.models import skops_format

        return getattr(skops_format, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
