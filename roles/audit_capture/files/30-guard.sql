-- Mass changes. PostgreSQL counts them anyway, but per session: a session hands its counts over when it goes idle, at most
-- once a second unless it is asked to. So the context's trigger asks for that in each transaction, and each begins at zero.
-- Where transactions follow each other without a rest (a procedure that commits, pipelined statements), the counter of
-- audit.context itself, one row per transaction, is not at zero either; then what has been counted so far is noted.

DROP FUNCTION IF EXISTS audit.judge_rows(name, text, oid, bigint, text, bigint, text);   -- an earlier release's

-- The only place that decides: allowed with a reason, blocked in mode block, else warned. A refused statement rolls back
-- all that it wrote, so every verdict goes to the server's log, too.
CREATE OR REPLACE FUNCTION audit.verdict(caller name, kind text, mode text, message text, detail jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  reason text := left(nullif(current_setting('audit.reason', true), ''), 1024);
  verdict text := CASE WHEN reason IS NOT NULL THEN 'allowed' WHEN mode = 'block' THEN 'blocked' ELSE 'warned' END;
  severity text := CASE verdict WHEN 'allowed' THEN 'notice' ELSE 'high' END;
BEGIN
  RAISE LOG 'AUDIT-GUARD: %', jsonb_build_object(
    'xid', pg_current_xact_id()::text::bigint, 'at', clock_timestamp(), 'db_user', session_user, 'db_role', caller,
    'client_addr', host(inet_client_addr()), 'application_name', current_setting('application_name'),
    'pg_session_id', audit.session_id(), 'ctx', left(nullif(current_setting('audit.ctx', true), ''), 2048),
    'reason', reason, 'kind', kind, 'severity', severity, 'verdict', verdict, 'detail', detail);
  IF verdict = 'blocked' THEN
    RAISE EXCEPTION 'audit guard: % is refused', message USING
      ERRCODE = 'AU001',
      HINT = 'If it is meant, say why in the same transaction, SET LOCAL audit.reason = ''…'', '
             'or for a whole deploy job: PGOPTIONS="-c audit.reason=release-42".';
  END IF;
  PERFORM audit.add_finding(caller, kind, severity, detail || jsonb_build_object('verdict', verdict, 'mode', mode));
END $$;

-- What mode `block` would have refused since the beginning, the latest first: to choose limits by, before anything is refused.
DROP VIEW IF EXISTS audit.would_block;
CREATE VIEW audit.would_block AS
SELECT detail ->> 'table' AS relation, coalesce(detail ->> 'command', detail ->> 'tag') AS command, db_user, application_name,
       pg_catalog.count(*) AS times, pg_catalog.max((detail ->> 'rows')::bigint) AS most_rows,
       pg_catalog.max((detail ->> 'limit')::bigint) AS limit_then, pg_catalog.max(at) AS last_at,
       (pg_catalog.array_agg(detail ->> 'statement' ORDER BY at DESC))[1] AS last_statement
FROM audit.finding
WHERE detail ->> 'verdict' = 'warned' AND detail ->> 'event' IS DISTINCT FROM 'renamed or detached'   -- which `block` lets pass, too
GROUP BY 1, 2, 3, 4 ORDER BY last_at DESC;

-- Rows that the session has deleted or updated in a table and, if it is partitioned, in its partitions, since it was idle.
CREATE OR REPLACE FUNCTION audit.changed_rows(relation oid, deleted boolean) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(sum(CASE WHEN deleted THEN pg_stat_get_xact_tuples_deleted(relid)
                           ELSE pg_stat_get_xact_tuples_updated(relid) END), 0)::bigint
  FROM (SELECT relation UNION SELECT t.relid FROM pg_partition_tree(relation) t) AS tree (relid)
$$;

-- Note what earlier transactions have left in the counters: '<xid> {"<relid>": [deleted, updated]}'.
CREATE OR REPLACE FUNCTION audit.count_from_here() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT set_config('audit.base', concat(pg_current_xact_id(), ' ', jsonb_object_agg(
           relid, jsonb_build_array(pg_stat_get_xact_tuples_deleted(relid), pg_stat_get_xact_tuples_updated(relid)))), false)
  FROM audit.attached
$$;

-- After each UPDATE or DELETE: TG_ARGV = mode, max_delete, max_update. As the caller and with its search_path, in which another
-- operator must not decide.
CREATE OR REPLACE FUNCTION audit.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
    IF pg_catalog.pg_stat_get_xact_tuples_deleted(TG_RELID) OPERATOR(pg_catalog.>) TG_ARGV[1]::bigint THEN
      PERFORM audit.judge_rows(current_user, TG_OP, TG_RELID, TG_ARGV[0], TG_ARGV[1]::bigint);
    END IF;
  ELSIF pg_catalog.pg_stat_get_xact_tuples_updated(TG_RELID) OPERATOR(pg_catalog.>) TG_ARGV[2]::bigint THEN
    PERFORM audit.judge_rows(current_user, TG_OP, TG_RELID, TG_ARGV[0], TG_ARGV[2]::bigint);
  END IF;
  RETURN NULL;
END $$;

-- The same where rows are in partitions.
CREATE OR REPLACE FUNCTION audit.guard_tree() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  audit_deletes boolean := TG_OP OPERATOR(pg_catalog.=) 'DELETE';
  audit_most bigint := CASE WHEN audit_deletes THEN TG_ARGV[1] ELSE TG_ARGV[2] END;
BEGIN
  IF audit.changed_rows(TG_RELID, audit_deletes) OPERATOR(pg_catalog.>) audit_most THEN
    PERFORM audit.judge_rows(current_user, TG_OP, TG_RELID, TG_ARGV[0], audit_most);
  END IF;
  RETURN NULL;
END $$;

-- Called only when the raw counter is over the limit. One finding per transaction, table and kind of statement.
CREATE OR REPLACE FUNCTION audit.judge_rows(caller name, command text, relation oid, mode text, most bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  xid text := pg_current_xact_id()::text;
  base text := current_setting('audit.base', true);
  rows bigint := audit.changed_rows(relation, command = 'DELETE');
  judged text := format('%s %s %s', xid, relation, command);
BEGIN
  IF pg_trigger_depth() = 0 THEN
    RAISE EXCEPTION 'audit.judge_rows() is called by triggers only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF starts_with(base, xid || ' ') THEN
    rows := rows - (SELECT coalesce(sum((counted -> CASE command WHEN 'DELETE' THEN 0 ELSE 1 END)::bigint), 0)
                    FROM jsonb_each(substr(base, length(xid) + 2)::jsonb) AS b (relid, counted)
                    WHERE relid::oid IN (SELECT relation UNION SELECT t.relid FROM pg_partition_tree(relation) t));
  END IF;
  IF rows <= most OR current_setting('audit.judged', true) IS NOT DISTINCT FROM judged THEN
    RETURN;
  END IF;
  PERFORM audit.verdict(
    caller, 'mass_change', mode, format('%s of %s rows of %s (at most %s)', command, rows, relation::regclass, most),
    jsonb_build_object('table', relation::regclass::text, 'command', command, 'rows', rows, 'limit', most,
                       'statement', audit.statement(audit.masked())));
  judged := set_config('audit.judged', judged, false);
END $$;

-- Before TRUNCATE: TG_ARGV[0] = mode. The table's own trigger fires for each table that CASCADE takes along.
CREATE OR REPLACE FUNCTION audit.guard_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM audit.judge_truncate(current_user, TG_RELID, TG_ARGV[0]);
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION audit.judge_truncate(caller name, relation oid, mode text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_trigger_depth() = 0 THEN
    RAISE EXCEPTION 'audit.judge_truncate() is called by triggers only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  PERFORM audit.verdict(
    caller, 'mass_change', mode, format('TRUNCATE of %s', relation::regclass),
    jsonb_build_object('table', relation::regclass::text, 'command', 'TRUNCATE',
                       'rows', pg_stat_get_live_tuples(relation), 'statement', audit.statement(audit.masked())));
END $$;

