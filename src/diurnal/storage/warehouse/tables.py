"""The tables of the warehouse, as the queries name them. The migrations make them; a test holds that both agree."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from diurnal.errors import UsageError

metadata = sa.MetaData()
_INSTANT = sa.DateTime(timezone=True)
_SCORE = sa.Double


def _json(name: str, *, optional: bool = False) -> sa.Column[Any]:
    default = None if optional else sa.text("'{}'")
    return sa.Column(name, JSONB(none_as_null=True), nullable=optional, server_default=default)


def _needed(name: str, kind: Any, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=sa.text(default) if default else None)


def _interval() -> list[sa.Column[Any]]:
    return [_needed("data_interval_start", _INSTANT), _needed("data_interval_end", _INSTANT)]


_NOW = "clock_timestamp()"

identity = sa.Table("identity", metadata, _needed("warehouse_id", sa.Uuid(), "gen_random_uuid()"))
heads = sa.Table(
    "heads",
    metadata,
    _needed("experiment", sa.Text()),
    *_interval(),
    _needed("epoch", sa.BigInteger()),
    _needed("claimed_by", sa.Text()),
    _needed("claimed_at", _INSTANT, _NOW),
    sa.Column("batch_digest", sa.Text()),
    sa.Column("load_id", sa.BigInteger()),
    sa.Column("lacking", sa.Text()),
)
contracts = sa.Table(
    "contracts",
    metadata,
    _needed("experiment", sa.Text()),
    sa.Column("columns", JSONB(), nullable=False),
    _needed("batch_digest", sa.Text()),
    _needed("accepted_at", _INSTANT, _NOW),
    _needed("version", sa.Integer()),
    sa.Column("since", _INSTANT),
    _needed("accepted_by", sa.Text()),
    _needed("why", sa.Text(), "'the first batch fixed it'"),
    sa.Column("changes", JSONB(), nullable=False, server_default=sa.text("'[]'")),
)
packages = sa.Table(
    "packages",
    metadata,
    _needed("experiment", sa.Text()),
    _needed("data_interval_start", _INSTANT),
    _needed("role", sa.Text()),
    _needed("digest", sa.Text()),
    _needed("path", sa.Text()),
    _needed("n_rows", sa.BigInteger()),
    _needed("created_at", _INSTANT, _NOW),
)
splits = sa.Table(
    "splits",
    metadata,
    _needed("experiment", sa.Text()),
    _needed("data_interval_start", _INSTANT),
    _needed("batch_digest", sa.Text()),
    _needed("test_size", sa.Double()),
    _needed("train_digest", sa.Text()),
    _needed("test_digest", sa.Text()),
    _needed("created_at", _INSTANT, _NOW),
)
loads = sa.Table(
    "loads",
    metadata,
    sa.Column("load_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _needed("experiment", sa.Text()),
    _needed("data_interval_start", _INSTANT),
    _needed("digest", sa.Text()),
    _needed("n_rows", sa.BigInteger()),
    _needed("epoch", sa.BigInteger()),
    _needed("state", sa.Text(), "'loading'"),
    _needed("created_at", _INSTANT, _NOW),
    sa.Column("completed_at", _INSTANT),
)
experiments = sa.Table(
    "experiments",
    metadata,
    _needed("run_id", sa.Text()),
    _needed("experiment", sa.Text()),
    *_interval(),
    _needed("epoch", sa.BigInteger()),
    _needed("repeat", sa.Integer()),
    _needed("recorded_at", _INSTANT, _NOW),
    _needed("batch_digest", sa.Text()),
    _needed("window_digest", sa.Text()),
    _needed("code_digest", sa.Text()),
    _json("packages"),
    _json("library_versions"),
    _needed("target", sa.Text()),
    _needed("test_size", sa.Double()),
    _needed("window", sa.Text()),
    _needed("n_train", sa.BigInteger()),
    _needed("n_test", sa.BigInteger()),
    _needed("cv_folds", sa.Integer()),
    _needed("n_candidates", sa.Integer()),
    _needed("scoring", sa.Text()),
    _json("best_params"),
    sa.Column("cv_score_mean", _SCORE),
    sa.Column("cv_score_std", _SCORE),
    sa.Column("test_score", _SCORE),
    _json("test_scores"),
    sa.Column("champion_version", sa.Integer()),
    sa.Column("champion_score", _SCORE),
    _json("comparison", optional=True),
    sa.Column("candidates", sa.Text()),
    _json("durations"),
    sa.Column("warnings", JSONB(none_as_null=True), nullable=False, server_default=sa.text("'[]'")),
    sa.Column("decided_at", _INSTANT),
    sa.Column("promoted", sa.Boolean()),
    sa.Column("reason", sa.Text()),
    sa.Column("code", sa.Text()),
    _json("environment"),
    _json("twin", optional=True),
    sa.Column("uncompared", sa.Text()),
    sa.Column("model_version", sa.Integer()),
    sa.Column("contract_version", sa.Integer()),
)
model_versions = sa.Table(
    "model_versions",
    metadata,
    _needed("experiment", sa.Text()),
    _needed("version", sa.Integer()),
    _needed("run_id", sa.Text()),
    *_interval(),
    _needed("path", sa.Text()),
    _needed("digest", sa.Text()),
    _json("signature"),
    _json("library_versions"),
    sa.Column("trusted", JSONB(none_as_null=True), nullable=False, server_default=sa.text("'[]'")),
    _needed("created_at", _INSTANT, _NOW),
    _json("environment"),
)
promotions = sa.Table(
    "promotions",
    metadata,
    _needed("experiment", sa.Text()),
    _needed("seq", sa.Integer()),
    _needed("version", sa.Integer()),
    _needed("kind", sa.Text()),
    _needed("promoted_at", _INSTANT, _NOW),
    _needed("promoted_by", sa.Text()),
    _needed("reason", sa.Text()),
    _json("evidence"),
)


def batch_rows(experiment: str) -> str:
    """Name the table of all rows of an experiment's batches, quoted for SQL.

    Raises
    ------
    UsageError
        If the name cannot be an experiment's, so that nothing else ever reaches the text of a statement.

    Examples
    --------
    >>> batch_rows("breast_cancer")
    '"batch_rows_breast_cancer"'
    """
    return f'"batch_rows_{_checked(experiment)}"'


def batch_data(experiment: str) -> str:
    """Name the view of those rows that the pointers show, quoted for SQL."""
    return f'"batch_data_{_checked(experiment)}"'


def _checked(experiment: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", experiment):
        message = f"{experiment!r} is no name of an experiment: a small letter, then up to 49 of a-z, 0-9 and _"
        raise UsageError(message, hint="rename the function that declares it")
    return experiment
