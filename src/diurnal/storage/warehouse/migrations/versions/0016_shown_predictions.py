"""When each load of predictions became visible."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

STATEMENTS = (
    """
CREATE TABLE shown_predictions (
    experiment text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$'),
    data_interval_start timestamptz NOT NULL,
    load_id bigint NOT NULL,
    shown_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (experiment, data_interval_start, shown_at)
)""",
    "COMMENT ON TABLE shown_predictions IS 'One row for each time that a load of predictions became visible'",
    """
INSERT INTO shown_predictions
SELECT experiment, data_interval_start, load_id, max(completed_at)
FROM prediction_loads WHERE state = 'complete' GROUP BY 1, 2, 3""",
    # an older load may have been shown again, at a time that was not recorded
    """
INSERT INTO shown_predictions (experiment, data_interval_start, load_id)
SELECT h.experiment, h.data_interval_start, h.load_id FROM prediction_heads h
WHERE h.load_id <> (SELECT s.load_id FROM shown_predictions s
    WHERE (s.experiment, s.data_interval_start) = (h.experiment, h.data_interval_start)
    ORDER BY shown_at DESC LIMIT 1)""",
    """
CREATE FUNCTION record_shown_predictions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shown_predictions (experiment, data_interval_start, load_id)
    VALUES (NEW.experiment, NEW.data_interval_start, NEW.load_id);
    RETURN NULL;
END $$""",
    # not by the code that moves the pointer: older code of a process under way does not know the table
    """
CREATE TRIGGER record_shown AFTER UPDATE OF load_id ON prediction_heads
    FOR EACH ROW WHEN (NEW.load_id IS NOT NULL AND NEW.load_id IS DISTINCT FROM OLD.load_id)
    EXECUTE FUNCTION record_shown_predictions()""",
)


def upgrade() -> None:
    """Create the table, with the loads that were shown before."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
