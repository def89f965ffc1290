"""Versions of contracts."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE schemas RENAME TO contracts",
    "ALTER TABLE contracts DROP CONSTRAINT schemas_pkey",
    "ALTER TABLE contracts RENAME COLUMN created_at TO accepted_at",
    """
ALTER TABLE contracts
    ADD COLUMN version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    ADD COLUMN since timestamptz,
    ADD COLUMN accepted_by text NOT NULL DEFAULT 'diurnal',
    ADD COLUMN why text NOT NULL DEFAULT 'the first batch fixed it',
    ADD COLUMN changes jsonb NOT NULL DEFAULT '[]',
    ADD PRIMARY KEY (experiment, version)""",
    "ALTER TABLE contracts ALTER COLUMN version DROP DEFAULT, ALTER COLUMN accepted_by DROP DEFAULT",
    """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = 'the table ' || TG_TABLE_NAME || ' is append-only: its history stays as it was',
        HINT = CASE TG_TABLE_NAME
            WHEN 'contracts' THEN 'change a contract by one more version: diurnal contract NAME accept'
            ELSE 'undo a promotion by one more row: diurnal rollback' END;
END $$""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON contracts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    "ALTER TABLE experiments ADD COLUMN contract_version integer",
    "UPDATE experiments SET contract_version = 1",
    "COMMENT ON TABLE contracts IS 'Append-only; what batches must satisfy: the newest version of an experiment holds'",
    "COMMENT ON COLUMN contracts.since IS 'Start of the data interval whose batch the version was accepted for'",
    "COMMENT ON COLUMN experiments.contract_version IS 'Through which version of the contract rows were read'",
)


def upgrade() -> None:
    """Convert the table of schemas to one of contracts with versions."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
