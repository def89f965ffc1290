"""What an experiment declares of columns, and what its contract has fixed: the two must agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from diurnal.errors import ExperimentError
from diurnal.experiment.declaration import Experiment

if TYPE_CHECKING:
    from diurnal.data import Schema


def agreed(experiment: Experiment, schema: Schema) -> Schema:
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
    for argument, declared, fixed in (
        ("target", experiment.target, schema.target),
        ("key", experiment.key, schema.key),
        ("duplicates", experiment.duplicates or schema.duplicates, schema.duplicates),
        ("groups", experiment.groups, schema.metadata.groups),
    ):
        if declared != fixed:
            by = "contract has" if schema.has_changed else "first batch fixed"
            raise ExperimentError(
                f"{name} declares the {argument} {declared!r}; its {by} {fixed!r}",
                hint=f"declare {argument}={fixed!r}, or make it an experiment of its own, under another name; a new "
                f"name is accepted first: diurnal contract {name} accept --date DATE --rename OLD=NEW --why TEXT",
            )
    if experiment.drop != schema.drop and not schema.key and not schema.has_changed:
        raise ExperimentError(
            f"{name} drops {experiment.drop}, and dropped {schema.drop} when its first batch came; without a key the "
            "features say which samples are for testing",
            hint=f"declare drop={schema.drop!r}, or a key and another name",
        )
    return _as_declared(experiment, schema)


def _as_declared(experiment: Experiment, schema: Schema) -> Schema:
    """Return the schema with what may be declared anew; without a key, it must leave the features as they are."""
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
