"""Erasures of samples."""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

STATEMENTS = (
    """
CREATE TABLE erasures (
    erasure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$'),
    key_hash bigint NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    erased_by text NOT NULL,
    counts jsonb NOT NULL,
    files_deleted_at timestamptz
)""",
    "CREATE INDEX ON erasures (experiment)",
    "COMMENT ON TABLE erasures IS 'One row for each erasure of a sample; its key is not stored'",
    "COMMENT ON COLUMN erasures.key_hash IS 'By which its rows are left out if the source returns them again'",
    "COMMENT ON COLUMN erasures.files_deleted_at IS 'Null: files that have the sample may be left'",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
