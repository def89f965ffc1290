"""Declarations of experiments, for those that read the warehouse and not the project."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    """
CREATE TABLE declarations (
    experiment text PRIMARY KEY CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$'),
    description text NOT NULL,
    schedule jsonb,
    timezone text NOT NULL,
    start_date timestamptz,
    label_delay double precision NOT NULL CHECK (label_delay >= 0),
    promotion text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
)""",
    "COMMENT ON TABLE declarations IS 'One row per experiment: its declaration at the last run'",
    "COMMENT ON COLUMN declarations.description IS 'Its docstring'",
    "COMMENT ON COLUMN declarations.schedule IS 'A preset or cron expression, or seconds; null: started manually only'",
    "COMMENT ON COLUMN declarations.label_delay IS 'Seconds'",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
