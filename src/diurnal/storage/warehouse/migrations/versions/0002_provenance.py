"""The provenance of a run: its code as text, its environment, its twin and its model version."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
ALTER TABLE experiments
    ADD COLUMN code text,
    ADD COLUMN environment jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN twin jsonb,
    ADD COLUMN uncompared text,
    ADD COLUMN model_version integer""",
    "ALTER TABLE model_versions ADD COLUMN environment jsonb NOT NULL DEFAULT '{}'",
    """
UPDATE experiments e SET model_version = v.version FROM model_versions v WHERE v.run_id = e.run_id""",
    """
ALTER TABLE experiments
    ADD FOREIGN KEY (experiment, model_version) REFERENCES model_versions (experiment, version)""",
    "COMMENT ON COLUMN experiments.code IS 'Where the text of its code is in the lake'",
    "COMMENT ON COLUMN experiments.environment IS 'Python, machine, CPU and threads that it was tuned with'",
    "COMMENT ON COLUMN experiments.twin IS 'The best candidate, fitted on train samples: where it is, and its digest'",
    "COMMENT ON COLUMN experiments.uncompared IS 'Why the champion was not compared, where there was one'",
    "COMMENT ON COLUMN experiments.model_version IS 'The version that it published; null: none'",
)


def upgrade() -> None:
    """Add the columns."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
