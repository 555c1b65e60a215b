-- Mirrors of production's meta tables (publication tovplay_audit_meta), and what the vault itself keeps.
CREATE TABLE IF NOT EXISTS audit.context (
  xid bigint, at timestamptz, pg_session_id text, pid int, db_user text, db_role text, client_addr inet, client_port int,
  application_name text, command text, table_name text, statement text, ctx text, reason text, replication_role text,
  backend_xid_started timestamptz
);
CREATE TABLE IF NOT EXISTS audit.ddl (
  xid bigint, at timestamptz, db_user text, db_role text, client_addr inet, application_name text, pg_session_id text,
  ctx text, reason text, event text, tag text, statement text, object_type text, schema_name text, object_name text,
  relid oid, columns jsonb
);
CREATE TABLE IF NOT EXISTS audit.finding (
  xid bigint, at timestamptz, db_user text, db_role text, client_addr inet, application_name text, pg_session_id text,
  ctx text, reason text, kind text, severity text, detail jsonb
);
CREATE TABLE IF NOT EXISTS audit.heartbeat (
  at timestamptz, system_identifier bigint, timeline int, lsn pg_lsn, xid_snapshot_min bigint, fingerprint text, state jsonb
);

-- What every mirrored row has besides: tx joins it with the history, id orders it, received_at says when it came.
CREATE SEQUENCE IF NOT EXISTS vault.meta_id;
DO $$
DECLARE
  mirror text;
BEGIN
  FOREACH mirror IN ARRAY ARRAY['context', 'ddl', 'finding', 'heartbeat'] LOOP
    EXECUTE format($sql$
      ALTER TABLE audit.%1$I
        ADD COLUMN IF NOT EXISTS tx bigint DEFAULT pg_current_xact_id()::text::bigint,
        ADD COLUMN IF NOT EXISTS received_at timestamptz DEFAULT clock_timestamp(),
        ADD COLUMN IF NOT EXISTS id bigint DEFAULT nextval('vault.meta_id'),
        ADD COLUMN IF NOT EXISTS nth int  -- within its transaction: the first row of each kind says who it was
    $sql$, mirror);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON audit.%I (tx)', mirror || '_tx', mirror);
  END LOOP;
END
$$;
CREATE INDEX IF NOT EXISTS context_session ON audit.context (pg_session_id);
CREATE INDEX IF NOT EXISTS heartbeat_id ON audit.heartbeat (id);

-- From which production, and through which slot, the rows came. A production that was restored, failed over or replaced
-- opens the next epoch.
CREATE TABLE IF NOT EXISTS vault.epoch (
  n int PRIMARY KEY, started_at timestamptz NOT NULL DEFAULT clock_timestamp(), from_tx bigint NOT NULL,
  system_identifier bigint, timeline int, slot text, reason text NOT NULL,
  gap_from_lsn pg_lsn, gap_to_lsn pg_lsn,
  after_seal bigint NOT NULL DEFAULT 0   -- last seal that was anchored outside; the numbers go on from there
);
CREATE TABLE IF NOT EXISTS vault.gap (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  from_at timestamptz, to_at timestamptz, from_lsn pg_lsn, to_lsn pg_lsn, kind text NOT NULL, detail jsonb NOT NULL DEFAULT '{}'
);
-- What the vault itself found: drift, lag, silence, lost slot, edits by hand.
CREATE TABLE IF NOT EXISTS vault.own_finding (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(), tx bigint,
  kind text NOT NULL, severity text NOT NULL, detail jsonb NOT NULL DEFAULT '{}'
);

-- One row per version of a table: a change of its shape, name or key makes a new one.
CREATE TABLE IF NOT EXISTS vault.relation (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, epoch int NOT NULL, source_relid oid NOT NULL,
  schema_name text NOT NULL, table_name text NOT NULL, columns jsonb NOT NULL, key_columns text[] NOT NULL,
  valid_from timestamptz NOT NULL DEFAULT clock_timestamp(), valid_to timestamptz,
  dropped_at timestamptz, archived_as text,
  shaped_by bigint NOT NULL DEFAULT 0,   -- id in audit.ddl
  described_at timestamptz               -- production's clock when its catalog was read; older events are contained
);
-- Columns whose policy is not plain, from group_vars (audit_capture_databases).
CREATE TABLE IF NOT EXISTS vault.policy (
  schema_name text, table_name text, column_name text, policy text NOT NULL CHECK (policy IN ('hash', 'encrypt', 'exclude')),
  PRIMARY KEY (schema_name, table_name, column_name)
);

-- id = commit order, since one worker applies production's transactions one after the other.
CREATE SEQUENCE IF NOT EXISTS vault.history_id;
CREATE TABLE IF NOT EXISTS vault.history (
  id bigint NOT NULL DEFAULT nextval('vault.history_id'),
  tx bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
  relation int NOT NULL, op "char" NOT NULL, key text, old jsonb, new jsonb, lsn pg_lsn,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
) PARTITION BY RANGE (recorded_at);
CREATE INDEX IF NOT EXISTS history_tx ON vault.history (tx, id);
CREATE TABLE IF NOT EXISTS vault.history_rest PARTITION OF vault.history DEFAULT;

-- A batch covers every transaction with prev.horizon_xid <= tx < horizon_xid: its history rows in the order of their ids,
-- then its rows of audit.context, audit.ddl and audit.finding.
CREATE TABLE IF NOT EXISTS vault.seal (
  n bigint PRIMARY KEY, prev_root bytea, root bytea NOT NULL, first_id bigint, last_id bigint, rows bigint NOT NULL,
  horizon_xid bigint NOT NULL, lsn pg_lsn, at timestamptz NOT NULL DEFAULT clock_timestamp(), counts jsonb NOT NULL
);
-- 32 bytes a record, whose root is anchored: they name the record that was changed.
ALTER TABLE vault.seal ADD COLUMN IF NOT EXISTS leaves bytea;
ALTER TABLE vault.seal ALTER COLUMN leaves SET STORAGE EXTERNAL;
-- What the sealer counted, so that a question about 10 million rows reads a few.
CREATE TABLE IF NOT EXISTS vault.sealed_change (
  tx bigint, relation int, op "char", rows bigint NOT NULL, first_id bigint NOT NULL, last_id bigint NOT NULL, seal bigint NOT NULL,
  PRIMARY KEY (tx, relation, op)
);
-- Production's commit time, which PostgreSQL itself forgets; sealed like the rows.
CREATE TABLE IF NOT EXISTS vault.sealed_transaction (
  tx bigint PRIMARY KEY, xid bigint, commit_at timestamptz, lsn pg_lsn, seal bigint NOT NULL
);
CREATE INDEX IF NOT EXISTS sealed_transaction_xid ON vault.sealed_transaction (xid);
CREATE INDEX IF NOT EXISTS sealed_transaction_commit_at ON vault.sealed_transaction (commit_at);

-- Keys of the policies; only vault.decrypt() reads them for people.
CREATE TABLE IF NOT EXISTS vault.secret (name text PRIMARY KEY, key bytea NOT NULL);
INSERT INTO vault.secret VALUES ('columns', vault.gen_random_bytes(32)), ('digests', vault.gen_random_bytes(32)) ON CONFLICT DO NOTHING;
