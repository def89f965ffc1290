"""Profiles of batches in the stores: made by `fetch`, read for the drift of a later batch."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from diurnal.errors import PermissionDeniedError, SupersededError, TransientError
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.backends.protocol import IngestedBatch
    from diurnal.data.profiles import Profile
    from diurnal.experiment.run_context import RunContext
    from diurnal.storage.stores import Stores

_log = logging.getLogger(__name__)


def store_batch_profile(context: RunContext, batch: IngestedBatch) -> list[str]:
    """Store the profile of a batch that was just written; return a warning if there is none."""
    if batch.profile is None:
        return []
    profile = batch.profile.build()
    if profile is None:
        return [f"the batch has no profile: {batch.profile.error}"]
    try:
        save_profile(context.stores, context.experiment.name, context.interval.start, batch.package, profile)
    except (TransientError, PermissionDeniedError, SupersededError, OSError):
        raise  # later writes of the step would fail as well; a retry stores the profile
    except Exception as error:  # noqa: BLE001 - a profile is no reason to fail a run
        _log.warning("the profile of the batch is not stored", exc_info=error)
        return [f"the batch has no profile: {type(error).__name__}: {str(error).splitlines()[0]}"]
    return []


def save_profile(stores: Stores, experiment: str, start: datetime, batch: Package, profile: Profile) -> None:
    """Store a profile as a package beside its batch, and its row in the warehouse."""
    package = write_profile(stores, batch, profile)
    stores.warehouse.add_profile(experiment, start, batch.digest, package, profile.summarize())


def write_profile(stores: Stores, batch: Package, profile: Profile) -> Package:
    """Store a profile as a package beside its batch."""
    from diurnal.storage.lake import PackageKey

    key = replace(PackageKey.of(batch.path), category="profiles")
    return stores.lake.write_table(key, profile.to_table())


def read_profiles(stores: Stores, rows: Sequence[Mapping[str, Any]]) -> list[Profile]:
    """Read the packages of rows of the table `profiles`."""
    from diurnal.data.profiles import Profile

    return [Profile.from_table(stores.lake.read(Package(row["path"], row["digest"], 0))) for row in rows]
