"""Profiles of batches, evaluation data, drift, and failed attempts."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

_NAME = "text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$')"

STATEMENTS = (
    "ALTER TABLE experiments ADD COLUMN evaluation text",
    "ALTER TABLE experiments ADD COLUMN evaluation_sample text",
    "ALTER TABLE experiments ADD COLUMN drift jsonb",
    f"""
CREATE TABLE profiles (
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    batch_digest text NOT NULL CHECK (batch_digest ~ '^[0-9a-f]{{64}}$'),
    path text NOT NULL,
    digest text NOT NULL CHECK (digest ~ '^[0-9a-f]{{64}}$'),
    summary jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (experiment, data_interval_start, batch_digest)
)""",
    f"""
CREATE TABLE failures (
    failure_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    step text NOT NULL,
    error jsonb NOT NULL,
    quarantine text,
    failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (data_interval_end > data_interval_start)
)""",
    "CREATE INDEX ON failures (experiment, data_interval_start, failed_at)",
    "CREATE INDEX ON experiments (experiment, data_interval_start DESC, recorded_at DESC)",
    "COMMENT ON COLUMN experiments.evaluation IS 'Curves and histograms of the evaluation: a JSON file of the lake'",
    "COMMENT ON COLUMN experiments.evaluation_sample IS 'Results for a bounded sample of test rows: a package'",
    "COMMENT ON COLUMN experiments.drift IS 'The batch against the training window of the champion; null: no champion'",
    "COMMENT ON TABLE profiles IS 'One row per batch: the distribution of each column, in a package of the lake'",
    "COMMENT ON COLUMN profiles.summary IS 'A few numbers for each column, for charts over many data intervals'",
    "COMMENT ON TABLE failures IS 'One row for each attempt that a step ended with an error'",
    "COMMENT ON COLUMN failures.error IS 'Type, message, hint and location'",
    "COMMENT ON COLUMN failures.quarantine IS 'The URL of the folder of a rejected batch'",
)


def upgrade() -> None:
    """Add the columns and the tables."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
