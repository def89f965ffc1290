"""Live scores: what a load of predictions is worth by the truth that came since."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

STATEMENTS = (
    """
CREATE TABLE live_scores (
    load_id bigint PRIMARY KEY,
    experiment text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$'),
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    version integer NOT NULL,
    n_predictions bigint NOT NULL CHECK (n_predictions >= 0),
    n_labelled bigint NOT NULL CHECK (n_labelled BETWEEN 0 AND n_predictions),
    n_in_sample bigint NOT NULL CHECK (n_in_sample BETWEEN 0 AND n_labelled),
    n_scored bigint NOT NULL CHECK (n_scored >= 0),
    scoring text NOT NULL,
    score double precision,
    scores jsonb NOT NULL DEFAULT '{}',
    reason text,
    truth jsonb NOT NULL DEFAULT '{}',
    checked_load_id bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CHECK (data_interval_end > data_interval_start)
)""",
    "CREATE INDEX live_scores_of_intervals ON live_scores (experiment, data_interval_start)",
    "COMMENT ON TABLE live_scores IS 'One row for each load of predictions: its scores by the truth that came since'",
    "COMMENT ON COLUMN live_scores.n_in_sample IS 'Labelled rows that the version has learnt; no score counts them'",
    "COMMENT ON COLUMN live_scores.n_scored IS 'Rows that the scores are of; a sample of many'",
    "COMMENT ON COLUMN live_scores.reason IS 'Why there is no score'",
    "COMMENT ON COLUMN live_scores.truth IS 'By start of a data interval: the load of the batch that has the truth'",
    "COMMENT ON COLUMN live_scores.checked_load_id IS 'The newest load of a batch that was searched for truth'",
)


def upgrade() -> None:
    """Create the table."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
