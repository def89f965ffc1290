"""The tables of the warehouse for queries. The migrations create them; a test compares both."""

from __future__ import annotations

import re
from hashlib import blake2b
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


def _required_column(name: str, column_type: Any, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, column_type, nullable=False, server_default=sa.text(default) if default else None)


def _interval_columns() -> list[sa.Column[Any]]:
    return [_required_column("data_interval_start", _INSTANT), _required_column("data_interval_end", _INSTANT)]


_NOW = "clock_timestamp()"
_PREFIXED = 63 - len("prediction_rows_")  # characters of the name of an experiment

identity = sa.Table("identity", metadata, _required_column("warehouse_id", sa.Uuid(), "gen_random_uuid()"))
heads = sa.Table(
    "heads",
    metadata,
    _required_column("experiment", sa.Text()),
    *_interval_columns(),
    _required_column("epoch", sa.BigInteger()),
    _required_column("claimed_by", sa.Text()),
    _required_column("claimed_at", _INSTANT, _NOW),
    sa.Column("batch_digest", sa.Text()),
    sa.Column("load_id", sa.BigInteger()),
    sa.Column("lacking", sa.Text()),
)
contracts = sa.Table(
    "contracts",
    metadata,
    _required_column("experiment", sa.Text()),
    sa.Column("columns", JSONB(), nullable=False),
    _required_column("batch_digest", sa.Text()),
    _required_column("accepted_at", _INSTANT, _NOW),
    _required_column("version", sa.Integer()),
    sa.Column("since", _INSTANT),
    _required_column("accepted_by", sa.Text()),
    _required_column("why", sa.Text(), "'the first batch fixed it'"),
    sa.Column("changes", JSONB(), nullable=False, server_default=sa.text("'[]'")),
)
packages = sa.Table(
    "packages",
    metadata,
    _required_column("experiment", sa.Text()),
    _required_column("data_interval_start", _INSTANT),
    _required_column("role", sa.Text()),
    _required_column("digest", sa.Text()),
    _required_column("path", sa.Text()),
    _required_column("n_rows", sa.BigInteger()),
    _required_column("created_at", _INSTANT, _NOW),
)
splits = sa.Table(
    "splits",
    metadata,
    _required_column("experiment", sa.Text()),
    _required_column("data_interval_start", _INSTANT),
    _required_column("batch_digest", sa.Text()),
    _required_column("test_size", sa.Double()),
    _required_column("train_digest", sa.Text()),
    _required_column("test_digest", sa.Text()),
    _required_column("created_at", _INSTANT, _NOW),
)
loads = sa.Table(
    "loads",
    metadata,
    sa.Column("load_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _required_column("experiment", sa.Text()),
    _required_column("data_interval_start", _INSTANT),
    _required_column("digest", sa.Text()),
    _required_column("n_rows", sa.BigInteger()),
    _required_column("epoch", sa.BigInteger()),
    _required_column("state", sa.Text(), "'loading'"),
    _required_column("created_at", _INSTANT, _NOW),
    sa.Column("completed_at", _INSTANT),
)
# one row for each run, with its batches, parameters and scores: see run_queries.py
experiments = sa.Table(
    "experiments",
    metadata,
    _required_column("run_id", sa.Text()),
    _required_column("experiment", sa.Text()),
    *_interval_columns(),
    _required_column("epoch", sa.BigInteger()),
    _required_column("repeat", sa.Integer()),
    _required_column("recorded_at", _INSTANT, _NOW),
    _required_column("batch_digest", sa.Text()),
    _required_column("window_digest", sa.Text()),
    _required_column("code_digest", sa.Text()),
    _json_column("packages"),
    _json_column("library_versions"),
    _required_column("target", sa.Text()),
    _required_column("test_size", sa.Double()),
    _required_column("window", sa.Text()),
    _required_column("n_train", sa.BigInteger()),
    _required_column("n_test", sa.BigInteger()),
    _required_column("cv_folds", sa.Integer()),
    _required_column("n_candidates", sa.Integer()),
    _required_column("scoring", sa.Text()),
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
    _json_column("challenge", optional=True),
    sa.Column("evaluation", sa.Text()),
    sa.Column("evaluation_sample", sa.Text()),
    _json_column("drift", optional=True),
)
model_versions = sa.Table(
    "model_versions",
    metadata,
    _required_column("experiment", sa.Text()),
    _required_column("version", sa.Integer()),
    _required_column("run_id", sa.Text()),
    *_interval_columns(),
    _required_column("path", sa.Text()),
    _required_column("digest", sa.Text()),
    _json_column("signature"),
    _json_column("library_versions"),
    sa.Column("trusted", JSONB(none_as_null=True), nullable=False, server_default=sa.text("'[]'")),
    _required_column("created_at", _INSTANT, _NOW),
    _json_column("environment"),
)
promotions = sa.Table(
    "promotions",
    metadata,
    _required_column("experiment", sa.Text()),
    _required_column("seq", sa.Integer()),
    _required_column("version", sa.Integer()),
    _required_column("kind", sa.Text()),
    _required_column("promoted_at", _INSTANT, _NOW),
    _required_column("promoted_by", sa.Text()),
    _required_column("reason", sa.Text()),
    _json_column("evidence"),
)
bets = sa.Table(
    "bets",
    metadata,
    _required_column("experiment", sa.Text()),
    *_interval_columns(),
    _required_column("run_id", sa.Text()),
    *(_required_column(name, sa.Integer()) for name in ("challenge", "challenger", "champion", "promotion", "year")),
    *(_required_column(name, sa.Double()) for name in ("share", "spare")),
    _required_column("n_batches", sa.Integer()),
    _required_column("payoff", sa.Double()),
    sa.Column("fortunes", JSONB(), nullable=False),
    _required_column("wealth", sa.Double()),
    sa.Column("ended", sa.Text()),
    _required_column("placed_at", _INSTANT, _NOW),
)
profiles = sa.Table(
    "profiles",
    metadata,
    _required_column("experiment", sa.Text()),
    _required_column("data_interval_start", _INSTANT),
    _required_column("batch_digest", sa.Text()),
    _required_column("path", sa.Text()),
    _required_column("digest", sa.Text()),
    sa.Column("summary", JSONB(), nullable=False),
    _required_column("created_at", _INSTANT, _NOW),
)
failures = sa.Table(
    "failures",
    metadata,
    sa.Column("failure_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _required_column("experiment", sa.Text()),
    *_interval_columns(),
    _required_column("step", sa.Text()),
    sa.Column("error", JSONB(), nullable=False),
    sa.Column("quarantine", sa.Text()),
    _required_column("failed_at", _INSTANT, _NOW),
    sa.Column("resolved_at", _INSTANT),
)
declarations = sa.Table(
    "declarations",
    metadata,
    _required_column("experiment", sa.Text()),
    _required_column("description", sa.Text()),
    sa.Column("schedule", JSONB(none_as_null=True)),
    _required_column("timezone", sa.Text()),
    sa.Column("start_date", _INSTANT),
    _required_column("label_delay", sa.Double()),
    _required_column("promotion", sa.Text()),
    _json_column("retention"),
    _required_column("updated_at", _INSTANT, _NOW),
)
# one row for each data interval that was scored: the fence, and the load that the view shows
prediction_heads = sa.Table(
    "prediction_heads",
    metadata,
    _required_column("experiment", sa.Text()),
    *_interval_columns(),
    _required_column("epoch", sa.BigInteger()),
    _required_column("claimed_by", sa.Text()),
    _required_column("claimed_at", _INSTANT, _NOW),
    sa.Column("load_id", sa.BigInteger()),
)
prediction_loads = sa.Table(
    "prediction_loads",
    metadata,
    sa.Column("load_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _required_column("experiment", sa.Text()),
    *_interval_columns(),
    _required_column("version", sa.Integer()),
    _required_column("digest", sa.Text()),
    _required_column("source_digest", sa.Text()),
    sa.Column("n_rows", sa.BigInteger()),
    _required_column("epoch", sa.BigInteger()),
    _required_column("state", sa.Text(), "'loading'"),
    _required_column("requested_by", sa.Text()),
    _required_column("created_at", _INSTANT, _NOW),
    sa.Column("completed_at", _INSTANT),
)
# one row for each time that a load of predictions became visible, by a trigger of prediction_heads
shown_predictions = sa.Table(
    "shown_predictions",
    metadata,
    _required_column("experiment", sa.Text()),
    _required_column("data_interval_start", _INSTANT),
    _required_column("load_id", sa.BigInteger()),
    _required_column("shown_at", _INSTANT, _NOW),
)
# one row for each load of predictions for which truth was searched; it stays when the predictions are removed
live_scores = sa.Table(
    "live_scores",
    metadata,
    _required_column("load_id", sa.BigInteger()),
    _required_column("experiment", sa.Text()),
    *_interval_columns(),
    _required_column("version", sa.Integer()),
    *(_required_column(f"n_{rows}", sa.BigInteger()) for rows in ("predictions", "labelled", "in_sample", "scored")),
    _required_column("scoring", sa.Text()),
    sa.Column("score", _SCORE),
    _json_column("scores"),
    sa.Column("reason", sa.Text()),
    _json_column("truth"),
    _required_column("checked_load_id", sa.BigInteger()),
    _required_column("updated_at", _INSTANT, _NOW),
)

# one row for each thing that was deleted; a package that an erasure has replaced has the new one
deletions = sa.Table(
    "deletions",
    metadata,
    sa.Column("deletion_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _required_column("experiment", sa.Text()),
    _required_column("data_interval_start", _INSTANT),
    _required_column("kind", sa.Text()),
    _required_column("reason", sa.Text()),
    sa.Column("path", sa.Text()),
    sa.Column("digest", sa.Text()),
    sa.Column("n_rows", sa.BigInteger()),
    sa.Column("new_path", sa.Text()),
    sa.Column("new_digest", sa.Text()),
    sa.Column("new_n_rows", sa.BigInteger()),
    _required_column("deleted_at", _INSTANT, _NOW),
    _required_column("deleted_by", sa.Text()),
)
# one row for each erasure of a sample
erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("erasure_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _required_column("experiment", sa.Text()),
    _required_column("key_hash", sa.BigInteger()),
    _required_column("erased_at", _INSTANT, _NOW),
    _required_column("erased_by", sa.Text()),
    sa.Column("counts", JSONB(), nullable=False),
    sa.Column("files_deleted_at", _INSTANT),
)
# one row for each removal of an experiment; all of its other rows are deleted
removals = sa.Table(
    "removals",
    metadata,
    sa.Column("removal_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
    _required_column("experiment", sa.Text()),
    _required_column("removed_at", _INSTANT, _NOW),
    _required_column("removed_by", sa.Text()),
    _required_column("epoch", sa.BigInteger()),
    sa.Column("counts", JSONB(), nullable=False),
    sa.Column("files_deleted_at", _INSTANT),
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


def prediction_rows(experiment: str) -> str:
    """Return the name of the table with the predictions of an experiment, quoted for SQL.

    Examples
    --------
    >>> prediction_rows("breast_cancer")
    '"prediction_rows_breast_cancer"'
    """
    return f'"prediction_rows_{_shorten_name(experiment)}"'


def predictions_view(experiment: str) -> str:
    """Return the name of the view of the current predictions, quoted for SQL."""
    return f'"predictions_{_check_name(experiment)}"'


def _shorten_name(experiment: str) -> str:
    """Return a name of at most 47 characters: PostgreSQL truncates names beyond 63, prefix included."""
    if len(_check_name(experiment)) <= _PREFIXED:
        return experiment
    # no name of an experiment contains "~"
    return f"{experiment[: _PREFIXED - 9]}~{blake2b(experiment.encode(), digest_size=4).hexdigest()}"


def _check_name(experiment: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", experiment):
        message = (
            f"{experiment!r} is not a valid name of an experiment: a lower-case letter, then up to 49 of a-z, 0-9 and _"
        )
        raise UsageError(message, hint="rename the function that declares it")
    return experiment
