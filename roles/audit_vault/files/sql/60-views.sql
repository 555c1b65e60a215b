-- What people ask. Sealed transactions are read from what the sealer counted, the few newer ones from the history.
CREATE OR REPLACE FUNCTION vault.horizon() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce((SELECT s.horizon_xid FROM vault.seal s ORDER BY s.n DESC LIMIT 1), 0)
$$;

CREATE OR REPLACE VIEW vault.transactions AS
SELECT t.tx, (SELECT max(e.n) FROM vault.epoch e WHERE e.from_tx <= t.tx) AS epoch,
       t.xid, t.commit_at, t.lsn, coalesce(c.at, d.at, f.at) AS at, coalesce(c.pg_session_id, d.pg_session_id, f.pg_session_id) AS pg_session_id,
       c.pid, coalesce(c.db_user, d.db_user, f.db_user) AS db_user, coalesce(c.db_role, d.db_role, f.db_role) AS db_role,
       coalesce(c.client_addr, d.client_addr, f.client_addr) AS client_addr, c.client_port,
       coalesce(c.application_name, d.application_name, f.application_name) AS application_name,
       coalesce(c.command, d.tag) AS command, coalesce(c.table_name, d.object_name) AS table_name,
       coalesce(c.statement, d.statement) AS statement, coalesce(c.ctx, d.ctx, f.ctx) AS ctx, coalesce(c.reason, d.reason, f.reason) AS reason,
       c.replication_role, (SELECT count(*) FROM audit.context n WHERE n.tx = t.tx)::int AS context_rows
FROM (
  SELECT s.tx, s.xid, s.commit_at, s.lsn FROM vault.sealed_transaction s
  UNION ALL
  SELECT l.tx, vault.xid_of(l.tx), vault.commit_at(l.tx), (SELECT min(h.lsn) FROM vault.history h WHERE h.tx = l.tx)
  FROM (SELECT h.tx FROM vault.history h WHERE h.tx >= vault.horizon()
        UNION SELECT d.tx FROM audit.ddl d WHERE d.tx >= vault.horizon()
        UNION SELECT f.tx FROM audit.finding f WHERE f.tx >= vault.horizon()) l
) t
LEFT JOIN audit.context c ON c.tx = t.tx AND c.nth = 1
LEFT JOIN audit.ddl d ON d.tx = t.tx AND d.nth = 1
LEFT JOIN audit.finding f ON f.tx = t.tx AND f.nth = 1;

CREATE OR REPLACE VIEW vault.changes AS
SELECT c.tx, c.relation, r.schema_name, r.table_name, c.op, c.rows, c.first_id, c.last_id
FROM (
  SELECT s.tx, s.relation, s.op, s.rows, s.first_id, s.last_id FROM vault.sealed_change s
  UNION ALL
  SELECT h.tx, h.relation, h.op, count(*), min(h.id), max(h.id) FROM vault.history h WHERE h.tx >= vault.horizon()
  GROUP BY h.tx, h.relation, h.op
) c JOIN vault.relation r ON r.id = c.relation;

CREATE OR REPLACE VIEW vault.finding AS
SELECT f.tx, f.at, f.xid, f.db_user, f.db_role, f.client_addr, f.application_name, f.pg_session_id, f.ctx, f.reason, f.kind,
       f.severity, f.detail, 'production' AS source
FROM audit.finding f
UNION ALL
SELECT o.tx, o.at, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, o.kind, o.severity, o.detail, 'vault' FROM vault.own_finding o;

-- The name and columns of the original guide's table, and what it lacked. For who may not see before-images, both are NULL.
CREATE OR REPLACE FUNCTION vault.as_json(claim text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN claim::jsonb;
EXCEPTION WHEN OTHERS THEN
  RETURN NULL;  -- a claim may be anything
END
$$;
CREATE OR REPLACE VIEW vault.audit_log AS
SELECT h.id AS audit_id, r.table_name,
       CASE h.op WHEN 'I' THEN 'INSERT' WHEN 'U' THEN 'UPDATE' WHEN 'D' THEN 'DELETE' WHEN 'T' THEN 'TRUNCATE' ELSE 'DROP' END AS action,
       coalesce(c.db_user, 'unknown') AS user_name,
       (coalesce(s.commit_at, vault.commit_at(h.tx), h.recorded_at) AT TIME ZONE 'UTC')::timestamp AS "timestamp",
       CASE WHEN pg_has_role('vault_investigator', 'USAGE') THEN h.old END AS old_data,
       CASE WHEN pg_has_role('vault_investigator', 'USAGE') THEN h.new END AS new_data,
       c.statement, c.application_name,
       vault.as_json(c.ctx) ->> 'cid' AS correlation_id,
       split_part(vault.as_json(c.ctx) ->> 'tp', '-', 2) AS trace_id,
       vault.as_json(c.ctx) ->> 'uid' AS app_user,
       coalesce(vault.as_json(c.ctx) ->> 'ip', host(c.client_addr)) AS ip_address, h.tx, r.schema_name
FROM vault.history h
JOIN vault.relation r ON r.id = h.relation
LEFT JOIN audit.context c ON c.tx = h.tx AND c.nth = 1
LEFT JOIN vault.sealed_transaction s ON s.tx = h.tx;

GRANT USAGE ON SCHEMA vault, audit TO vault_reader;
GRANT USAGE ON SCHEMA vault_archive TO vault_investigator;
GRANT SELECT ON vault.transactions, vault.changes, vault.finding, vault.audit_log, vault.relation, vault.epoch, vault.gap,
  vault.seal, vault.sealed_change, vault.sealed_transaction, audit.context, audit.ddl, audit.finding, audit.heartbeat TO vault_reader;
GRANT SELECT ON vault.history, vault.leaf_text TO vault_investigator;
