"""Profiles of batches in the stores."""

import json
from datetime import timedelta

import psycopg
import pytest

from diurnal.data import Column, Contract, ContractVersion, Schema, profile_builder
from diurnal.data.profile_builder import ProfileBuilder
from diurnal.data.profiles import Profile
from diurnal.pipeline import garbage, missing_profiles, store_verification
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
    assert len(stores.warehouse.profile_files("clinic")) == 2
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


def test_old_batches_get_their_profiles_by_a_command(project, stores):
    project.declare("drop='ward', promotion='never'")
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        project.run(date, stores)
    before = stores.warehouse.profiles("clinic")
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("DELETE FROM profiles")
    done = []
    made = list(missing_profiles.make_missing_profiles(stores, "clinic", progress=lambda *count: done.append(count)))
    assert [one.state for one in made] == ["made", "made"]
    assert done == [(0, 2), (1, 2), (2, 2)]
    after = stores.warehouse.profiles("clinic")
    for old, new in zip(before, after, strict=True):
        assert old | {"created_at": None} == new | {"created_at": None}, "the same bytes as those that fetch stored"
    assert list(missing_profiles.make_missing_profiles(stores)) == []
    shown = project.command("profile", "--json")
    assert (shown.returncode, json.loads(shown.stdout)) == (0, [])
    assert "2 profiles made" in project.command("profile", "clinic", "--force").stdout
    assert "every batch has a profile" in project.command("profile").stdout


def test_a_batch_that_cannot_be_read_does_not_stop_the_others(project, stores):
    for date in ("2026-11-01", "2026-11-02"):
        project.bring(date)
        project.run(date, stores)
    with psycopg.connect(project.warehouse_url) as connection:
        connection.execute("DELETE FROM profiles")
    stores.lake.delete(next(row["path"] for row in stores.warehouse.packages() if row["role"] == "batch"))
    found = project.command("profile", "clinic")
    assert found.returncode == 65
    assert "the lake has no package" in found.stdout
    assert "1 profile made" in found.stdout


def test_layouts_are_those_of_the_version_with_the_columns():
    versions = [
        ContractVersion(i + 1, Schema(tuple(Column(name, "float") for name in names), "y"))
        for i, names in enumerate((("y", "a"), ("y", "a", "b"), ("b", "a", "y")))
    ]
    contract = Contract(tuple(versions))
    assert missing_profiles.layout_of(contract, ["a", "y"]) is versions[0].schema
    assert missing_profiles.layout_of(contract, ["a", "b", "y"]) is versions[2].schema
    assert missing_profiles.layout_of(contract, ["a", "c", "y"]) is versions[2].schema
