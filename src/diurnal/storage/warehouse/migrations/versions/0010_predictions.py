"""Predictions of batches: their loads, and for each data interval the load that is visible."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

_NAME = "text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$')"
_SHA256 = "text NOT NULL CHECK ({0} ~ '^[0-9a-f]{{64}}$')"
_NOW = "timestamptz NOT NULL DEFAULT clock_timestamp()"

STATEMENTS = (
    f"""
CREATE TABLE prediction_loads (
    load_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    version integer NOT NULL,
    digest {_SHA256.format("digest")},
    source_digest {_SHA256.format("source_digest")},
    n_rows bigint CHECK (n_rows >= 0),
    epoch bigint NOT NULL CHECK (epoch >= 1),
    state text NOT NULL DEFAULT 'loading' CHECK (state IN ('loading', 'complete')),
    requested_by text NOT NULL,
    created_at {_NOW},
    completed_at timestamptz,
    UNIQUE (experiment, data_interval_start, load_id),
    FOREIGN KEY (experiment, version) REFERENCES model_versions (experiment, version),
    CHECK (data_interval_end > data_interval_start),
    CHECK ((state = 'complete') = (completed_at IS NOT NULL)),
    CHECK ((state = 'complete') = (n_rows IS NOT NULL))
)""",
    """
CREATE UNIQUE INDEX prediction_loads_complete ON prediction_loads
    (experiment, data_interval_start, source_digest, version) WHERE state = 'complete'""",
    f"""
CREATE TABLE prediction_heads (
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 1),
    claimed_by text NOT NULL,
    claimed_at {_NOW},
    load_id bigint,
    PRIMARY KEY (experiment, data_interval_start),
    FOREIGN KEY (experiment, data_interval_start, load_id)
        REFERENCES prediction_loads (experiment, data_interval_start, load_id),
    CHECK (data_interval_end > data_interval_start)
)""",
    "COMMENT ON TABLE prediction_loads IS 'One row for each copy of predictions in prediction_rows_<experiment>'",
    "COMMENT ON COLUMN prediction_loads.source_digest IS 'Of the rows that were scored, or of their package'",
    "COMMENT ON TABLE prediction_heads IS 'One row for each data interval that was scored: its visible load'",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
