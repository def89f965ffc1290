"""Retention, and what was deleted."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

_NAME = "text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$')"

STATEMENTS = (
    "ALTER TABLE declarations ADD COLUMN retention jsonb NOT NULL DEFAULT '{}'",
    f"""
CREATE TABLE deletions (
    deletion_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('retention', 'erasure')),
    path text,
    digest text,
    n_rows bigint,
    new_path text,
    new_digest text,
    new_n_rows bigint,
    deleted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted_by text NOT NULL,
    CHECK ((new_path IS NULL) = (new_digest IS NULL) AND (new_path IS NULL) = (new_n_rows IS NULL))
)""",
    "CREATE INDEX ON deletions (experiment, kind, digest)",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON deletions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    "COMMENT ON COLUMN declarations.retention IS 'Ages in seconds, by kind of data'",
    "COMMENT ON TABLE deletions IS 'Append-only; one row for each package or file that was deleted'",
    "COMMENT ON COLUMN deletions.kind IS 'batch, train, test, profile, candidates, evaluation, predictions, ...'",
    "COMMENT ON COLUMN deletions.new_digest IS 'The package that has replaced it, without the rows of a subject'",
)


def upgrade() -> None:
    """Add the column and the table."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
