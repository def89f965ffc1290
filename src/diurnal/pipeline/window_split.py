"""The train and test packages of a window: split by row, or by time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from diurnal.backends.sample_reader import SampleReader
from diurnal.types import Package

if TYPE_CHECKING:
    from diurnal.data import Schema
    from diurnal.experiment.run_context import RunContext, Window

Sides = tuple[tuple[Package, ...], tuple[Package, ...]]


def split_window(context: RunContext, window: Window, schema: Schema) -> Sides:
    """Return the train packages and the test packages of a window, oldest first.

    Parameters
    ----------
    context : RunContext
        The context of the run.
    window : tuple of (DataInterval, Package)
        Its batches, oldest first.
    schema : Schema
        The version of the contract that the run reads rows through.
    """
    return _by_time(window) if context.experiment.split == "time" else _by_role(context, window, schema)


def _by_role(context: RunContext, window: Window, schema: Schema) -> Sides:
    """Split each batch by the roles of its rows, and store both sides."""
    lake, warehouse = context.stores.lake, context.stores.warehouse
    name, test_size = context.experiment.name, context.experiment.test_size
    pairs = []
    for interval, package in window:
        pair = warehouse.find_split(name, interval, package.digest, test_size)
        if pair is None or (interval == context.interval and not all(lake.exists(one.path) for one in pair)):
            erasure = warehouse.last_erasure(name)  # one that follows may delete the files of this split
            pair = lake.split_package(package, SampleReader(context, schema).roles(package))
            warehouse.save_split(name, interval, package.digest, test_size, *pair, erasure=erasure)
        pairs.append(pair)
    return tuple(train for train, _ in pairs), tuple(test for _, test in pairs)


def _by_time(window: Window) -> Sides:
    """Return the newest batch as the test set and the earlier ones for training, without copies of the newest."""
    *earlier, (_, newest) = window
    return tuple(package for _, package in earlier if package.digest != newest.digest), (newest,)
