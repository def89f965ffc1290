"""Failures of scorings, which a later scoring resolves."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

STATEMENTS = (
    "ALTER TABLE failures ADD COLUMN resolved_at timestamptz",
    "COMMENT ON COLUMN failures.resolved_at IS 'Of the step score: when a batch was scored later; a run needs none'",
)


def upgrade() -> None:
    """Add the column."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
