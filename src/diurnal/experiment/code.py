"""The code of an experiment: the text of its files and its declared arguments, under one digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Code:
    """The code that the numbers of an experiment depend on, as they do on its data and libraries.

    Attributes
    ----------
    digest : str
        The SHA-256 of `parts` and `declared`: equal if the numbers must be equal.
    name : str
        Name of the experiment's function.
    file : str or None
        Path of its file in the project; None without a file, as in a notebook.
    parts : Mapping of str to str
        The SHA-256 of each part, by name: a file without comments and docstrings, the source, closures.
    declared : Mapping of str to Any
        The arguments of ``@experiment`` that affect numbers.
    files : Mapping of str to str
        The text of that file and of the project's modules that it imports, by path in the project; empty unless the
        code is to be stored.
    """

    digest: str
    name: str
    file: str | None
    parts: Mapping[str, str] = field(repr=False)
    declared: Mapping[str, Any]
    files: Mapping[str, str] = field(default_factory=dict, repr=False)

    def dumps(self) -> bytes:
        """Return the code as JSON; equal code has equal bytes."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def loads(cls, data: bytes) -> Code:
        """Return the code from the JSON of :meth:`dumps`."""
        return cls(**json.loads(data))

    def changes(self, earlier: Code) -> list[str]:
        """Return the differences from an earlier state, each as a short text.

        Examples
        --------
        >>> before = Code("a", "late", "late.py", {"late.py": "1", "own.py": "2"}, {"test_size": 0.3})
        >>> Code("b", "late", "late.py", {"late.py": "3"}, {"test_size": 0.2}).changes(before)
        ['late.py', 'own.py is no longer used', 'test_size=0.2 in place of 0.3']
        """
        changes = [name for name, digest in self.parts.items() if earlier.parts.get(name, digest) != digest]
        changes += [f"{name} is new" for name in self.parts if name not in earlier.parts]
        changes += [f"{name} is no longer used" for name in earlier.parts if name not in self.parts]
        return changes + [
            f"{name}={self.declared.get(name)!r} in place of {earlier.declared.get(name)!r}"
            for name in sorted({*self.declared, *earlier.declared})
            if _to_json(self.declared.get(name)) != _to_json(earlier.declared.get(name))
        ]


def _to_json(value: Any) -> Any:
    """Return a value as JSON has it, where a tuple is a list."""
    return json.loads(json.dumps(value))
