"""Notifications of promotions: servers of predictions follow the champion."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    """
CREATE FUNCTION notify_promotion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('diurnal_promotions', NEW.experiment);
    RETURN NULL;
END $$""",
    """
CREATE TRIGGER notify AFTER INSERT ON promotions
    FOR EACH ROW EXECUTE FUNCTION notify_promotion()""",
)


def upgrade() -> None:
    """Create the trigger."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
