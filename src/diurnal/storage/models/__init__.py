"""Models: a file format without code, the checks before a file is read, and the store.

A model is stored as one file in skops' format, which contains names of types, and arrays, but no code. The format alone
does not make reading safe. The order of the checks does (:mod:`~diurnal.storage.models.skops_format`, and
:class:`Models`):

1. The maximum size of the file, and its SHA-256 against the digest in the warehouse, in constant time. Nothing is
   parsed before that. The further checks protect against an attacker who can write to the warehouse too, and against
   files of other origin.
2. The form of the file (:mod:`~diurnal.storage.models.zip_archive`): a zip archive of stored, uncompressed, adjacent
   members with plain names. Nothing can expand, overlap or refer to another path, and the size of each array equals the
   one in its header. A pickle, joblib or cloudpickle file is rejected without being read.
3. The current protocol of skops: code for older protocols checks less.
4. Types (:mod:`~diurnal.storage.models.skops_nodes`): lists of the names that are allowed, for each use. The lists are
   part of the reader; a list in the file would be the attacker's. Allowed are types of scikit-learn, types of a few
   well-known libraries (:mod:`~diurnal.storage.models.library_types`), and the project's own classes and functions that
   the version's row names (:mod:`~diurnal.runtime.project_files`). The experiment may trust further types. Boosters and
   tables of pandas are stored as plain data, which is checked before their library reads it
   (:mod:`~diurnal.storage.models.states`).
5. Structure (:mod:`~diurnal.storage.models.tree_checks`): compiled code follows the indices in trees without a bounds
   check. They are checked here, which is why trees are allowed, although skops by itself does not trust them.
6. Golden rows (:mod:`~diurnal.storage.models.golden_rows`): five rows and their predictions, from the warehouse.

Step 5 does not check every array of every estimator against every other one. A crafted model with contradictory arrays
can still make compiled code read outside of them, if its digest is in the warehouse.

Models of pyspark.ml are stored in Spark's own format, with the same order of checks
(:mod:`~diurnal.storage.models.spark`): maximum size, digest, form of the file, classes, golden rows.

A digest requires a canonical form: skops names members and objects by their memory addresses, and zip files contain
dates. :mod:`~diurnal.storage.models.canonical_skops` replaces both, so that the same fit gives the same bytes in any
process.
"""

from __future__ import annotations

from diurnal.storage.models.formats import format_of, get_format, is_spark_model
from diurnal.storage.models.golden_rows import make_signature
from diurnal.storage.models.library_versions import library_versions
from diurnal.storage.models.model_store import Models
from diurnal.storage.models.project_objects import add_project_objects, find_project_objects
from diurnal.storage.models.skops_lists import defer_lists

__all__ = [
    "Models",
    "add_project_objects",
    "find_project_objects",
    "format_of",
    "get_format",
    "is_spark_model",
    "library_versions",
    "make_signature",
]

defer_lists()  # before any module here imports skops
