"""Removed experiments."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

_NAME = "text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$')"

STATEMENTS = (
    f"""
CREATE TABLE removals (
    removal_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment {_NAME},
    removed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    removed_by text NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 0),
    counts jsonb NOT NULL,
    files_deleted_at timestamptz
)""",
    "CREATE INDEX ON removals (experiment)",
    """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('diurnal.removal', true) <> '' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = 'the table ' || TG_TABLE_NAME || ' is append-only: its history stays as it was',
        HINT = CASE TG_TABLE_NAME
            WHEN 'contracts' THEN 'change a contract by one more version: diurnal contract NAME accept'
            WHEN 'bets' THEN 'end a challenge by promoting a version: diurnal promote'
            WHEN 'promotions' THEN 'undo a promotion by one more row: diurnal rollback'
            ELSE 'diurnal remove NAME deletes all of an experiment' END;
END $$""",
    "COMMENT ON TABLE removals IS 'One row for each time that an experiment was removed'",
    "COMMENT ON COLUMN removals.epoch IS 'The highest epoch of its attempts; later ones have higher epochs'",
    "COMMENT ON COLUMN removals.counts IS 'Numbers of rows that were deleted'",
    "COMMENT ON COLUMN removals.files_deleted_at IS 'Null: files in the lake or models may be left'",
)


def upgrade() -> None:
    """Create the table; `diurnal remove` may delete rows of append-only tables."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
