"""The first schema."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

_NAME = "text NOT NULL CHECK (experiment ~ '^[a-z][a-z0-9_]{0,49}$')"
_SHA256 = "text NOT NULL CHECK ({} ~ '^[0-9a-f]{{64}}$')"
_NOW = "timestamptz NOT NULL DEFAULT clock_timestamp()"

STATEMENTS = (
    f"""
CREATE TABLE loads (
    load_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    digest {_SHA256.format("digest")},
    n_rows bigint NOT NULL CHECK (n_rows >= 0),
    epoch bigint NOT NULL CHECK (epoch >= 1),
    state text NOT NULL DEFAULT 'loading' CHECK (state IN ('loading', 'complete')),
    created_at {_NOW},
    completed_at timestamptz,
    UNIQUE (experiment, data_interval_start, load_id),
    CHECK ((state = 'complete') = (completed_at IS NOT NULL))
)""",
    """
CREATE UNIQUE INDEX loads_complete ON loads (experiment, data_interval_start, digest)
    WHERE state = 'complete'""",
    f"""
CREATE TABLE heads (
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 1),
    claimed_by text NOT NULL,
    claimed_at {_NOW},
    batch_digest text,
    load_id bigint,
    PRIMARY KEY (experiment, data_interval_start),
    FOREIGN KEY (experiment, data_interval_start, load_id) REFERENCES loads (experiment, data_interval_start, load_id),
    CHECK (data_interval_end > data_interval_start)
)""",
    f"""
CREATE TABLE schemas (
    experiment {_NAME} PRIMARY KEY,
    columns jsonb NOT NULL,
    batch_digest text NOT NULL,
    created_at {_NOW}
)""",
    f"""
CREATE TABLE packages (
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    role text NOT NULL CHECK (role IN ('batch', 'train', 'test')),
    digest {_SHA256.format("digest")},
    path text NOT NULL,
    n_rows bigint NOT NULL CHECK (n_rows >= 0),
    created_at {_NOW},
    PRIMARY KEY (experiment, data_interval_start, role, digest)
)""",
    f"""
CREATE TABLE splits (
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    batch_digest text NOT NULL,
    test_size double precision NOT NULL CHECK (test_size > 0 AND test_size < 1),
    train_digest text NOT NULL,
    test_digest text NOT NULL,
    created_at {_NOW},
    PRIMARY KEY (experiment, data_interval_start, batch_digest, test_size)
)""",
    f"""
CREATE TABLE experiments (
    run_id text PRIMARY KEY,
    experiment {_NAME},
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    epoch bigint NOT NULL CHECK (epoch >= 1),
    repeat integer NOT NULL CHECK (repeat >= 0),
    recorded_at {_NOW},
    batch_digest text NOT NULL,
    window_digest text NOT NULL,
    code_digest text NOT NULL,
    packages jsonb NOT NULL DEFAULT '{{}}',
    library_versions jsonb NOT NULL DEFAULT '{{}}',
    target text NOT NULL,
    test_size double precision NOT NULL CHECK (test_size > 0 AND test_size < 1),
    "window" text NOT NULL,
    n_train bigint NOT NULL CHECK (n_train >= 0),
    n_test bigint NOT NULL CHECK (n_test >= 0),
    cv_folds integer NOT NULL CHECK (cv_folds >= 0),
    n_candidates integer NOT NULL CHECK (n_candidates >= 0),
    scoring text NOT NULL,
    best_params jsonb NOT NULL DEFAULT '{{}}',
    cv_score_mean double precision,
    cv_score_std double precision,
    test_score double precision,
    test_scores jsonb NOT NULL DEFAULT '{{}}',
    champion_version integer,
    champion_score double precision,
    comparison jsonb,
    candidates text,
    durations jsonb NOT NULL DEFAULT '{{}}',
    warnings jsonb NOT NULL DEFAULT '[]',
    decided_at timestamptz,
    promoted boolean,
    reason text,
    UNIQUE (experiment, data_interval_start, data_interval_end, window_digest, code_digest, repeat),
    FOREIGN KEY (experiment, data_interval_start) REFERENCES heads (experiment, data_interval_start),
    CHECK (data_interval_end > data_interval_start),
    CHECK ((decided_at IS NULL) = (promoted IS NULL) AND (decided_at IS NULL) = (reason IS NULL))
)""",
    f"""
CREATE TABLE model_versions (
    experiment {_NAME},
    version integer NOT NULL CHECK (version >= 1),
    run_id text NOT NULL UNIQUE REFERENCES experiments (run_id),
    data_interval_start timestamptz NOT NULL,
    data_interval_end timestamptz NOT NULL,
    path text NOT NULL,
    digest {_SHA256.format("digest")},
    signature jsonb NOT NULL DEFAULT '{{}}',
    library_versions jsonb NOT NULL DEFAULT '{{}}',
    trusted jsonb NOT NULL DEFAULT '[]',
    created_at {_NOW},
    PRIMARY KEY (experiment, version),
    CHECK (data_interval_end > data_interval_start)
)""",
    """
ALTER TABLE experiments
    ADD FOREIGN KEY (experiment, champion_version) REFERENCES model_versions (experiment, version)""",
    f"""
CREATE TABLE promotions (
    experiment {_NAME},
    seq integer NOT NULL CHECK (seq >= 1),
    version integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('promote', 'rollback')),
    promoted_at {_NOW},
    promoted_by text NOT NULL,
    reason text NOT NULL,
    evidence jsonb NOT NULL DEFAULT '{{}}',
    PRIMARY KEY (experiment, seq),
    FOREIGN KEY (experiment, version) REFERENCES model_versions (experiment, version)
)""",
    """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = 'the table ' || TG_TABLE_NAME || ' is append-only: its history stays as it was',
        HINT = 'undo a promotion by one more row: diurnal rollback';
END $$""",
    """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON promotions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()""",
    """
CREATE VIEW champions AS
SELECT DISTINCT ON (p.experiment) p.experiment, p.version, p.seq, p.promoted_at, v.run_id, v.path, v.digest
FROM promotions p JOIN model_versions v USING (experiment, version)
ORDER BY p.experiment, p.seq DESC""",
    "CREATE TABLE identity (warehouse_id uuid PRIMARY KEY DEFAULT gen_random_uuid())",
    "INSERT INTO identity DEFAULT VALUES",
    "COMMENT ON TABLE identity IS 'One row: which warehouse this is; the lake is marked with it'",
    "COMMENT ON TABLE heads IS 'One row per data interval: the fence of its attempts, its batch and its load'",
    "COMMENT ON COLUMN heads.epoch IS 'Counts the claims; a write of an attempt with another epoch is refused'",
    "COMMENT ON COLUMN heads.load_id IS 'The rows that the view batch_data_<experiment> shows'",
    "COMMENT ON TABLE schemas IS 'What every batch of an experiment must satisfy, fixed by its first batch'",
    "COMMENT ON TABLE packages IS 'The immutable files of the lake, by their SHA-256'",
    "COMMENT ON TABLE splits IS 'Into which train and test packages a batch was cut'",
    "COMMENT ON TABLE loads IS 'Each copy of a package in batch_rows_<experiment>; shown where a head points to it'",
    "COMMENT ON TABLE experiments IS 'One row per run: what it read, how it was tuned and how good it is'",
    "COMMENT ON COLUMN experiments.test_score IS 'Of the best candidate fitted on train samples, on test samples'",
    "COMMENT ON COLUMN experiments.decided_at IS 'When it was decided whether its model is promoted; null: unfinished'",
    "COMMENT ON TABLE model_versions IS 'Published models, numbered from 1 without gaps in each experiment'",
    "COMMENT ON TABLE promotions IS 'Append-only; the newest row of an experiment names its champion'",
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
