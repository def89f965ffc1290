"""What a package of parts consists of. Its bytes are canonical: their digest is that of the package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from diurnal.errors import CorruptPackageError
from diurnal.storage.lake.partitions import Part

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
        Into how many parts the batch was dealt; those without rows are not listed.
    schema : str
        The digest of the columns' names and types.
    parts : tuple of Part
        Those with rows; one without any if there are no rows at all, for its schema.
    """

    n_parts: int
    schema: str
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, parts: Iterable[Part], schema: pa.Schema, n_parts: int) -> Manifest:
        """List the parts of a package, in whatever order they were written."""
        ordered = sorted(parts, key=lambda part: part.number)
        return cls(n_parts, fingerprint(schema), tuple([part for part in ordered if part.n_rows] or ordered[:1]))

    @property
    def n_rows(self) -> int:
        """How many rows the package has."""
        return sum(part.n_rows for part in self.parts)

    def dumps(self) -> bytes:
        """Give the manifest's bytes."""
        plain = {"format": FORMAT, "n_rows": self.n_rows, **asdict(self)}
        return json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def loads(cls, data: bytes) -> Manifest:
        """Read what :meth:`dumps` gave, once it was held against its digest."""
        plain = json.loads(data)
        if plain["format"] != FORMAT:
            raise CorruptPackageError(
                f"a package has the form {plain['format']!r}; this diurnal reads {FORMAT!r}",
                hint="read it with the diurnal that wrote it, or a newer one",
            )
        return cls(plain["n_parts"], plain["schema"], tuple(Part(**part) for part in plain["parts"]))


def fingerprint(schema: pa.Schema) -> str:
    """Give the SHA-256 of names and types."""
    return hashlib.sha256("\n".join(f"{field.name} {field.type}" for field in schema).encode()).hexdigest()
