"""The reason why the batch of a data interval has no result: its window has too little training data."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.execute("ALTER TABLE heads ADD COLUMN lacking text")
