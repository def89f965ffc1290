"""Why the batch of a data interval gave no result: its window holds too little to learn from."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE heads ADD COLUMN lacking text")
