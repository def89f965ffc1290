"""Challengers, and what is bet on them."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    "ALTER TABLE experiments ADD COLUMN challenge jsonb",
    """
CREATE TABLE bets (
    experiment text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$'),
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    run_id text NOT NULL UNIQUE REFERENCES experiments (run_id),
    challenge integer NOT NULL CHECK (challenge >= 1),
    challenger integer NOT NULL,
    champion integer NOT NULL,
    promotion integer NOT NULL,
    year integer NOT NULL,
    share double precision NOT NULL CHECK (share > 0 AND share < 1),
    spare double precision NOT NULL CHECK (spare >= 0 AND spare < 1),
    n_batches integer NOT NULL CHECK (n_batches >= 1),
    payoff double precision NOT NULL CHECK (payoff >= -1 AND payoff <= 1),
    fortunes jsonb NOT NULL,
    wealth double precision NOT NULL CHECK (wealth >= 0),
    ended text CHECK (ended IN ('won', 'lost', 'exhausted', 'unusable')),
    placed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (experiment, data_interval_start),
    UNIQUE (experiment, challenge, n_batches),
    FOREIGN KEY (experiment, challenger) REFERENCES model_versions (experiment, version),
    FOREIGN KEY (experiment, champion) REFERENCES model_versions (experiment, version),
    CHECK (data_interval_end > data_interval_start),
    CHECK (challenger <> champion)
)""",
    """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = 'the table ' || TG_TABLE_NAME || ' is append-only: its history stays as it was',
        HINT = CASE TG_TABLE_NAME
            WHEN 'contracts' THEN 'change a contract by one more version: diurnal contract NAME accept'
            WHEN 'bets' THEN 'end a challenge by promoting a version: diurnal promote'
            ELSE 'undo a promotion by one more row: diurnal rollback' END;
END $$""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bets
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    "COMMENT ON COLUMN experiments.challenge IS 'The challenger on its batch, and the bet; null unless proven'",
    "COMMENT ON TABLE bets IS 'Append-only; one row per data interval whose batch was bet on for a challenger'",
    "COMMENT ON COLUMN bets.promotion IS 'The promotion of the champion; after another one the challenge is over'",
    "COMMENT ON COLUMN bets.share IS 'Of the budget of false promotions of its year; it wins at a wealth of 1 / share'",
    "COMMENT ON COLUMN bets.spare IS 'What that budget has beside the share'",
    "COMMENT ON COLUMN bets.fortunes IS 'What each stake has made of one; the wealth is their mean'",
)


def upgrade() -> None:
    """Add the table and the column."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
