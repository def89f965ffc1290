"""The code of an experiment: its files as text and what it declares, under one digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Code:
    """What the numbers of an experiment depend on, beside its data and its libraries.

    Attributes
    ----------
    digest : str
        The SHA-256 of `parts` and `declared`: equal where the numbers must be equal.
    name : str
        Name of the experiment's function.
    file : str or None
        Place of its file in the project; None where it has none, as in a notebook.
    parts : Mapping of str to str
        The SHA-256 of each thing that counts, by name: a file without comments and docstrings, the source, closures.
    declared : Mapping of str to Any
        The arguments of ``@experiment`` that count.
    files : Mapping of str to str
        The text of that file and of the project's own modules that it imports, by place in the project; only where
        the code is to be kept.
    """

    digest: str
    name: str
    file: str | None
    parts: Mapping[str, str] = field(repr=False)
    declared: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    def dumps(self) -> bytes:
        """Return it as JSON, always in the same bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def loads(cls, data: bytes) -> Code:
        """Return what :meth:`dumps` gave."""
        return cls(**json.loads(data))

    def changes(self, earlier: Code) -> list[str]:
        """Say what is different from an earlier state, each thing in a few words.

        Examples
        --------
        >>> before = Code("a", "late", "late.py", {"late.py": "1", "own.py": "2"}, {"test_size": 0.3})
        >>> Code("b", "late", "late.py", {"late.py": "3"}, {"test_size": 0.2}).changes(before)
        ['late.py', 'own.py is not used any more', 'test_size=0.2 in place of 0.3']
        """
        found = [name for name, digest in self.parts.items() if earlier.parts.get(name, digest) != digest]
        found += [f"{name} is new" for name in self.parts if name not in earlier.parts]
        found += [f"{name} is not used any more" for name in earlier.parts if name not in self.parts]
        return found + [
            f"{name}={self.declared.get(name)!r} in place of {earlier.declared.get(name)!r}"
            for name in sorted({*self.declared, *earlier.declared})
            if _plain(self.declared.get(name)) != _plain(earlier.declared.get(name))
        ]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, where a tuple is a list."""
    return json.loads(json.dumps(value))
