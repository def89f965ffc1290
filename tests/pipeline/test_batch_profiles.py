"""Profiles of batches in the stores."""

from datetime import timedelta

import pytest

from diurnal.data import Schema, profile_builder
from diurnal.data.profile_builder import ProfileBuilder
from diurnal.data.profiles import Profile
from diurnal.pipeline import garbage, store_verification
from diurnal.storage.lake import partitions
from diurnal.types import Package
from projects import patients


def stored_profile(stores, row):
    return Profile.from_table(stores.lake.read(Package(row["path"], row["digest"], 0)))


def test_fetch_stores_the_profile_of_the_batch(project, stores):
    rows = project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    (row,) = stores.warehouse.profiles("clinic")
    profile = stored_profile(stores, row)
    columns = {column.column: column for column in profile.columns}
    assert {name: column.role for name, column in columns.items()} == {
        "patient": "other",
        "age": "feature",
        "pressure": "feature",
        "ward": "other",
        "ill": "target",
    }
    assert columns["age"].mean == pytest.approx(rows["age"].mean())
    assert dict(zip(columns["ill"].categories, columns["ill"].counts, strict=True)) == (
        rows["ill"].value_counts().to_dict()
    )
    summary = row["summary"]["columns"]["age"]
    assert summary["q50"] == pytest.approx(rows["age"].median(), abs=0.2)
    assert row["summary"]["n_rows"] == 240


def test_a_repeated_fetch_and_a_correction(project, stores):
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    (first,) = stores.warehouse.profiles("clinic")
    project.run("2026-11-01", stores, force=True)
    (again,) = stores.warehouse.profiles("clinic")
    assert again == first, "the same bytes at the same path"
    project.bring("2026-11-01", patients("2026-11-01", shift=1.0))
    project.run("2026-11-01", stores)
    (corrected,) = stores.warehouse.profiles("clinic")
    assert corrected["batch_digest"] != first["batch_digest"]
    assert len(stores.warehouse.all_profiles("clinic")) == 2
    assert {one.state for one in store_verification.verify_stores(stores)} == {"good"}
    assert not [name for name in garbage.collect_garbage(stores, older_than=timedelta(0)) if "profiles" in name]
    stores.lake.delete(first["path"])
    states = {(one.kind, one.state) for one in store_verification.verify_stores(stores)}
    assert ("profile", "missing") in states


def test_a_package_in_parts_has_the_profile_of_its_stored_rows(project, stores, monkeypatch):
    monkeypatch.setattr(stores.lake, "cells_per_part", 256)
    monkeypatch.setattr(profile_builder, "MAX_SAMPLE_ROWS", 100)
    project.bring("2026-11-01")
    assert partitions.compute_n_parts(240, 5, 256) > 4
    project.run("2026-11-01", stores)
    (row,) = stores.warehouse.profiles("clinic")
    batch = next(one for one in stores.warehouse.packages() if one["role"] == "batch")
    batch = Package(batch["path"], batch["digest"], batch["n_rows"])
    assert len(stores.lake.manifest(batch).parts) > 1
    builder = ProfileBuilder(Schema.from_dict(stores.warehouse.schema("clinic")))
    for rows in stores.lake.batches(batch):
        builder.update(rows)
    assert builder.build().to_table().equals(stored_profile(stores, row).to_table())
    assert stored_profile(stores, row).n_rows == 240


def test_a_failed_profile_is_a_warning(project, stores, monkeypatch):
    def fail(self, rows):
        raise RuntimeError("no memory left")

    monkeypatch.setattr(ProfileBuilder, "_add_block", fail)
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    (run,) = stores.warehouse.runs("clinic")
    assert "the batch has no profile: RuntimeError: no memory left" in run["warnings"]
    assert stores.warehouse.profiles("clinic") == []


def test_a_profile_that_cannot_be_stored_is_a_warning(project, stores, monkeypatch):
    def fail(*_):
        raise ValueError("no place")

    monkeypatch.setattr(type(stores.warehouse), "add_profile", fail)
    project.bring("2026-11-01")
    project.run("2026-11-01", stores)
    (run,) = stores.warehouse.runs("clinic")
    assert "the batch has no profile: ValueError: no place" in run["warnings"]
