"""The list of the parts of a package. Its bytes are canonical: their digest is that of the package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from diurnal.errors import CorruptPackageError
from diurnal.storage.lake.partitions import PackagePart

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "diurnal-parts-1"
SUFFIX = ".json"


@dataclass(frozen=True)
class Manifest:
    """The parts of a package, in order.

    Attributes
    ----------
    n_parts : int
        The number of parts into which the batch is partitioned; empty ones are not listed.
    schema : str
        The digest of the columns' names and types.
    parts : tuple of PackagePart
        The parts with rows. A package without rows lists one empty part, which has the schema.
    """

    n_parts: int
    schema: str
    parts: tuple[PackagePart, ...]

    @classmethod
    def of(cls, parts: Iterable[PackagePart], schema: pa.Schema, n_parts: int) -> Manifest:
        """Return the manifest of parts, which may be in any order."""
        ordered = sorted(parts, key=lambda part: part.number)
        return cls(n_parts, schema_digest(schema), tuple([part for part in ordered if part.n_rows] or ordered[:1]))

    @property
    def n_rows(self) -> int:
        """The number of rows of the package."""
        return sum(part.n_rows for part in self.parts)

    def dumps(self) -> bytes:
        """Return the manifest as canonical JSON."""
        content = {"format": FORMAT, "n_rows": self.n_rows, **asdict(self)}
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def loads(cls, data: bytes) -> Manifest:
        """Parse the result of :meth:`dumps`, whose digest the caller has verified."""
        content = json.loads(data)
        if content["format"] != FORMAT:
            raise CorruptPackageError(
                f"a package has the format {content['format']!r}; this diurnal reads {FORMAT!r}",
                hint="read it with the version of diurnal that wrote it, or a newer one",
            )
        return cls(content["n_parts"], content["schema"], tuple(PackagePart(**part) for part in content["parts"]))


def schema_digest(schema: pa.Schema) -> str:
    """Return the SHA-256 of the columns' names and types."""
    return hashlib.sha256("\n".join(f"{field.name} {field.type}" for field in schema).encode()).hexdigest()
