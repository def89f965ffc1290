"""Agreement of the columns that an experiment declares with those of its contract."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from diurnal.errors import ExperimentError
from diurnal.experiment.declaration import Experiment

if TYPE_CHECKING:
    from diurnal.data import Schema


def apply_declaration(experiment: Experiment, schema: Schema) -> Schema:
    """Return the schema with the columns to drop and the metadata that the experiment declares now.

    Parameters
    ----------
    experiment : Experiment
        The declaration.
    schema : Schema
        A version of the experiment's contract.

    Raises
    ------
    ExperimentError
        If target, key, duplicates or groups are not those of the contract, or if, without a key, other features are
        declared: they decide which samples are for testing.
    """
    name = experiment.name
    for argument, declared, contracted in (
        ("target", experiment.target, schema.target),
        ("key", experiment.key, schema.key),
        ("duplicates", experiment.duplicates or schema.duplicates, schema.duplicates),
        ("groups", experiment.groups, schema.metadata.groups),
    ):
        if declared != contracted:
            owner = "contract has" if schema.has_changed else "first batch fixed"
            raise ExperimentError(
                f"{name} declares the {argument} {declared!r}; its {owner} {contracted!r}",
                hint=f"declare {argument}={contracted!r}, or declare an experiment under another name; a new "
                f"column name is accepted first: "
                f"diurnal contract {name} accept --date DATE --rename OLD=NEW --why TEXT",
            )
    if experiment.drop != schema.drop and not schema.key and not schema.has_changed:
        raise ExperimentError(
            f"{name} drops {experiment.drop}, and dropped {schema.drop} when its first batch came; without a key the "
            "features say which samples are for testing",
            hint=f"declare drop={schema.drop!r}, or a key and another name",
        )
    return _with_declared_roles(experiment, schema)


def _with_declared_roles(experiment: Experiment, schema: Schema) -> Schema:
    """Return the schema with the roles that may change; without a key, the features must stay the same."""
    declared = replace(schema, drop=experiment.drop, metadata=experiment.metadata)
    for problem in declared.metadata.find_problems(declared.columns):
        raise ExperimentError(f"{experiment.name}: {problem.message}", hint="name a column of the batches")
    present = [name for name in schema.identity if name in schema.names]
    if (not schema.key and not set(declared.features).issuperset(present)) or declared.identity != schema.identity:
        raise ExperimentError(
            f"{experiment.name} has the features {', '.join(declared.features)} now, and had "
            f"{', '.join(schema.identity)} when its first batch came; without a key they say which samples are for "
            "testing",
            hint="declare drop, sample_weight and order_by as before, or a key and another name",
        )
    return declared
