"""The tables of the warehouse for queries. The migrations create them; a test compares both."""

from __future__ import annotations

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from diurnal.errors import UsageError

metadata = sa.MetaData()
_INSTANT = sa.DateTime(timezone=True)
_SCORE = sa.Double


def _json_column(name: str, *, optional: bool = False) -> sa.Column[Any]:
    default = None if optional else sa.text("'{}'")
    return sa.Column(name, JSONB(none_as_null=True), nullable=optional, server_default=default)


def _required(name: str, column_type: Any, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, column_type, nullable=False, server_default=sa.text(default) if default else None)


def _interval_columns() -> list[sa.Column[Any]]:
    return [_required("data_interval_start", _INSTANT), _required("data_interval_end", _INSTANT)]


_NOW = "clock_timestamp()"

identity = sa.Table("identity", metadata, _required("warehouse_id", sa.Uuid(), "gen_random_uuid()"))
heads = sa.Table(
    "heads",
    metadata,
    _required("experiment", sa.Text()),
    *_interval_columns(),
    _required("epoch", sa.BigInteger()),
    _required("claimed_by", sa.Text()),
    _required("claimed_at", _INSTANT, _NOW),
    sa.Column("batch_digest", sa.Text()),
    sa.Column("load_id", sa.BigInteger()),
    sa.Column("lacking", sa.Text()),
)
contracts = sa.Table(
    "contracts",
    metadata,
    _required("experiment", sa.Text()),
    sa.Column("columns", JSONB(), nullable=False),
    _required("batch_digest", sa.Text()),
    _required("accepted_at", _INSTANT, _NOW),
    _required("version", sa.Integer()),
    sa.Column("since", _INSTANT),
    _required("accepted_by", sa.Text()),
    _required("why", sa.Text(), "'the first batch fixed it'"),
    sa.Column("changes", JSONB(), nullable=False, server_default=sa.text("'[]'")),
)
packages = sa.Table(
    "packages",
    metadata,
    _required("experiment", sa.Text()),
    _required("data_interval_start", _INSTANT),
    _required("role", sa.Text()),
    _required("digest", sa.Text()),
    _required("path", sa.Text()),
    _required("n_rows", sa.BigInteger()),
    _required("created_at", _INSTANT, _NOW),
)
splits = sa.Table(
    "splits",
    metadata,
    _required("experiment", sa.Text()),
    _required("data_interval_start", _INSTANT),
    _required("batch_digest", sa.Text()),
    _required("test_size", sa.Double()),
    _required("train_digest", sa.Text()),
    _required("test_digest", sa.Text()),
    _required("created_at", _INSTANT, _NOW),
)
loads = sa.Table(
    "loads",
    metadata,
    sa.Column("load_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _required("experiment", sa.Text()),
    _required("data_interval_start", _INSTANT),
    _required("digest", sa.Text()),
    _required("n_rows", sa.BigInteger()),
    _required("epoch", sa.BigInteger()),
    _required("state", sa.Text(), "'loading'"),
    _required("created_at", _INSTANT, _NOW),
    sa.Column("completed_at", _INSTANT),
)
experiments = sa.Table(
    "experiments",
    metadata,
    _required("run_id", sa.Text()),
    _required("experiment", sa.Text()),
    *_interval_columns(),
    _required("epoch", sa.BigInteger()),
    _required("repeat", sa.Integer()),
    _required("recorded_at", _INSTANT, _NOW),
    _required("batch_digest", sa.Text()),
    _required("window_digest", sa.Text()),
    _required("code_digest", sa.Text()),
    _json_column("packages"),
    _json_column("library_versions"),
    _required("target", sa.Text()),
    _required("test_size", sa.Double()),
    _required("window", sa.Text()),
    _required("n_train", sa.BigInteger()),
    _required("n_test", sa.BigInteger()),
    _required("cv_folds", sa.Integer()),
    _required("n_candidates", sa.Integer()),
    _required("scoring", sa.Text()),
    _json_column("best_params"),
    sa.Column("cv_score_mean", _SCORE),
    sa.Column("cv_score_std", _SCORE),
    sa.Column("test_score", _SCORE),
    _json_column("test_scores"),
    sa.Column("champion_version", sa.Integer()),
    sa.Column("champion_score", _SCORE),
    _json_column("comparison", optional=True),
    sa.Column("candidates", sa.Text()),
    _json_column("durations"),
    sa.Column("warnings", JSONB(none_as_null=True), nullable=False, server_default=sa.text("'[]'")),
    sa.Column("decided_at", _INSTANT),
    sa.Column("promoted", sa.Boolean()),
    sa.Column("reason", sa.Text()),
    sa.Column("code", sa.Text()),
    _json_column("environment"),
    _json_column("twin", optional=True),
    sa.Column("uncompared", sa.Text()),
    sa.Column("model_version", sa.Integer()),
    sa.Column("contract_version", sa.Integer()),
)
model_versions = sa.Table(
    "model_versions",
    metadata,
    _required("experiment", sa.Text()),
    _required("version", sa.Integer()),
    _required("run_id", sa.Text()),
    *_interval_columns(),
    _required("path", sa.Text()),
    _required("digest", sa.Text()),
    _json_column("signature"),
    _json_column("library_versions"),
    sa.Column("trusted", JSONB(none_as_null=True), nullable=False, server_default=sa.text("'[]'")),
    _required("created_at", _INSTANT, _NOW),
    _json_column("environment"),
)
promotions = sa.Table(
    "promotions",
    metadata,
    _required("experiment", sa.Text()),
    _required("seq", sa.Integer()),
    _required("version", sa.Integer()),
    _required("kind", sa.Text()),
    _required("promoted_at", _INSTANT, _NOW),
    _required("promoted_by", sa.Text()),
    _required("reason", sa.Text()),
    _json_column("evidence"),
)


def batch_rows(experiment: str) -> str:
    """Return the name of the table with the rows of an experiment's batches, quoted for SQL.

    Raises
    ------
    UsageError
        If the name is not a valid name of an experiment: names are part of the text of statements.

    Examples
    --------
    >>> batch_rows("breast_cancer")
    '"batch_rows_breast_cancer"'
    """
    return f'"batch_rows_{_check_name(experiment)}"'


def batch_data(experiment: str) -> str:
    """Return the name of the view of the current rows, quoted for SQL."""
    return f'"batch_data_{_check_name(experiment)}"'


def _check_name(experiment: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", experiment):
        message = (
            f"{experiment!r} is not a valid name of an experiment: a lower-case letter, then up to 49 of a-z, 0-9 and _"
        )
        raise UsageError(message, hint="rename the function that declares it")
    return experiment
