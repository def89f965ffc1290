"""The columns that a model was fitted on, and their present names and kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from diurnal.data.schema import Schema


@dataclass(frozen=True)
class FittedColumns:
    """The columns that a model takes, as the newest version of the contract knows them.

    Attributes
    ----------
    names : Mapping of str to str
        From the name of each column at the time of the fit to its present name.
    incompatibility : str
        The reasons why the model cannot read rows of the newest version; empty if it can.
    """

    names: Mapping[str, str]
    incompatibility: str = ""

    @classmethod
    def from_schema(cls, schema: Schema) -> FittedColumns:
        """Return the columns of a model that is fitted on the newest version."""
        return cls({name: name for name in schema.features})

    @classmethod
    def from_signature(cls, signature: Mapping[str, Any], schema: Schema) -> FittedColumns:
        """Return the columns of a stored model, from its signature."""
        names, reasons = {}, []
        for column in signature["columns"]:
            name = schema.find_name(column["name"], schema.names)
            if name is None:
                reasons.append(f"it needs the column {column['name']!a}, which batches no longer have")
            elif (kind := schema.column(name).kind) not in (column["kind"], *_SCORED_AS.get(column["kind"], ())):
                reasons.append(f"the column {name!a} is {kind} and was {column['kind']} when it was fitted")
            else:
                names[column["name"]] = name
        return cls(names, "; ".join(reasons))

    def with_features(self, schema: Schema) -> Schema:
        """Return the schema with the columns of the model among its features.

        Without a key and without origins, the features are the identity of a row: the schema is then returned as it is.
        """
        if not (schema.key or schema.origins):
            return schema
        return replace(schema, drop=tuple(name for name in schema.drop if name not in self.names.values()))


_SCORED_AS = {"int": ("float",)}
"""For each kind of a column at the time of the fit, the wider kinds that the model accepts as well."""
