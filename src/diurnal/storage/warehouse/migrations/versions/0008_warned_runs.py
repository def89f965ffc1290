"""An index of the runs with warnings, which the page counts for all experiments."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the index."""
    op.execute("CREATE INDEX ON experiments (experiment, data_interval_start) WHERE warnings <> '[]'")
