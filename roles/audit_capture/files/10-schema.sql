-- First of all, so that what follows does not report itself; 90-rights.sql makes them anew in the same transaction.
DROP EVENT TRIGGER IF EXISTS zz_audit_alter;
DROP EVENT TRIGGER IF EXISTS zz_audit_ddl;
DROP EVENT TRIGGER IF EXISTS zz_audit_drop;
DROP EVENT TRIGGER IF EXISTS zz_audit_rewrite;
DROP EVENT TRIGGER IF EXISTS zz_audit_start;

-- What everything else stands on: two roles, the schema, its tables. Written to only by SECURITY DEFINER functions.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_owner') THEN
    CREATE ROLE audit_owner NOLOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_replicator') THEN
    CREATE ROLE audit_replicator LOGIN REPLICATION;
  END IF;
END $$;
GRANT pg_read_all_stats TO audit_owner;          -- when the caller's session began
COMMENT ON ROLE audit_owner IS 'Owns what the audit writes';
COMMENT ON ROLE audit_replicator IS 'The vault reads changes as this role';

CREATE SCHEMA IF NOT EXISTS audit;
ALTER SCHEMA audit OWNER TO postgres;
GRANT USAGE ON SCHEMA audit TO PUBLIC;           -- to reach the functions that its triggers call, nothing more

CREATE TABLE IF NOT EXISTS audit.setting (name text PRIMARY KEY, value text NOT NULL);

CREATE TABLE IF NOT EXISTS audit.tracked (
  schema_name text NOT NULL,
  table_name  text NOT NULL,
  guard       text NOT NULL DEFAULT 'warn' CHECK (guard IN ('off', 'warn', 'block')),
  max_delete  bigint NOT NULL DEFAULT 1000 CHECK (max_delete >= 0),
  max_update  bigint NOT NULL DEFAULT 1000 CHECK (max_update >= 0),
  columns     jsonb NOT NULL DEFAULT '{}',       -- {"password_hash": "encrypt"}; not named means plain
  origin      text NOT NULL DEFAULT 'inventory' CHECK (origin IN ('inventory', 'discovered')),
  PRIMARY KEY (schema_name, table_name));

-- Which relations carry our triggers, and under which entry: what DROP has removed can only be looked up here.
CREATE TABLE IF NOT EXISTS audit.attached (
  relid        oid PRIMARY KEY,
  schema_name  text NOT NULL,
  table_name   text NOT NULL,
  entry_schema text NOT NULL,
  entry_table  text NOT NULL);

CREATE TABLE IF NOT EXISTS audit.context (
  xid bigint, at timestamptz, pg_session_id text, pid int, db_user text, db_role text, client_addr inet, client_port int,
  application_name text, command text, table_name text, statement text, ctx text, reason text, replication_role text,
  backend_xid_started timestamptz);

CREATE TABLE IF NOT EXISTS audit.ddl (
  xid bigint, at timestamptz, db_user text, db_role text, client_addr inet, application_name text, pg_session_id text,
  ctx text, reason text, event text, tag text, statement text, object_type text, schema_name text, object_name text,
  relid oid, columns jsonb);

CREATE TABLE IF NOT EXISTS audit.finding (
  xid bigint, at timestamptz, db_user text, db_role text, client_addr inet, application_name text, pg_session_id text,
  ctx text, reason text, kind text, severity text, detail jsonb);

CREATE TABLE IF NOT EXISTS audit.heartbeat (
  at timestamptz, system_identifier bigint, timeline int, lsn pg_lsn, xid_snapshot_min bigint, fingerprint text,
  state jsonb);

-- A backend's own memory that no client can write: currval() is private to the session, and only audit_owner may set it.
CREATE SEQUENCE IF NOT EXISTS audit.session_started;

ALTER TABLE audit.context OWNER TO audit_owner;
ALTER TABLE audit.ddl OWNER TO audit_owner;
ALTER TABLE audit.finding OWNER TO audit_owner;
ALTER SEQUENCE audit.session_started OWNER TO audit_owner;
REVOKE ALL ON ALL TABLES IN SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO audit_owner;
GRANT SELECT ON audit.tracked, audit.attached, audit.setting TO audit_owner;
