-- Mass changes. PostgreSQL counts them anyway; what earlier transactions of the session have left in its counters is
-- noted before a transaction's first statement on the table, and taken off.

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

-- Rows that the session has deleted or updated in a table and, if it is partitioned, in its partitions.
CREATE OR REPLACE FUNCTION audit.changed_rows(relation oid, deleted boolean) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(sum(CASE WHEN deleted THEN pg_stat_get_xact_tuples_deleted(relid)
                           ELSE pg_stat_get_xact_tuples_updated(relid) END), 0)::bigint
  FROM pg_partition_tree(relation)
$$;

-- audit.note() of a guarded table. TG_ARGV[1] names the session's setting that holds 'xid deleted updated'.
CREATE OR REPLACE FUNCTION audit.note_guarded() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  audit_xid text := pg_catalog.pg_current_xact_id()::text;
BEGIN
  IF pg_catalog.current_setting('audit.noted', true) IS DISTINCT FROM audit_xid THEN
    PERFORM audit.write_context(current_user, TG_OP, TG_RELID, TG_ARGV[0]);
  END IF;
  IF TG_OP <> 'INSERT'
     AND pg_catalog.starts_with(pg_catalog.current_setting(TG_ARGV[1], true), pg_catalog.concat(audit_xid, ' ')) IS NOT TRUE THEN
    audit_xid := pg_catalog.set_config(TG_ARGV[1], pg_catalog.concat(
      audit_xid, ' ', pg_catalog.pg_stat_get_xact_tuples_deleted(TG_RELID), ' ',
      pg_catalog.pg_stat_get_xact_tuples_updated(TG_RELID)), false);
  END IF;
  RETURN NULL;
END $$;

-- The same where rows are in partitions.
CREATE OR REPLACE FUNCTION audit.note_guarded_tree() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  audit_xid text := pg_catalog.pg_current_xact_id()::text;
BEGIN
  IF pg_catalog.current_setting('audit.noted', true) IS DISTINCT FROM audit_xid THEN
    PERFORM audit.write_context(current_user, TG_OP, TG_RELID, TG_ARGV[0]);
  END IF;
  IF TG_OP <> 'INSERT'
     AND pg_catalog.starts_with(pg_catalog.current_setting(TG_ARGV[1], true), pg_catalog.concat(audit_xid, ' ')) IS NOT TRUE THEN
    audit_xid := pg_catalog.set_config(TG_ARGV[1], pg_catalog.concat(
      audit_xid, ' ', audit.changed_rows(TG_RELID, true), ' ', audit.changed_rows(TG_RELID, false)), false);
  END IF;
  RETURN NULL;
END $$;

-- After each UPDATE or DELETE: TG_ARGV = mode, max_delete, max_update, name of the setting.
CREATE OR REPLACE FUNCTION audit.guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF pg_catalog.pg_stat_get_xact_tuples_deleted(TG_RELID) > TG_ARGV[1]::bigint THEN
      PERFORM audit.judge_rows(current_user, TG_OP, TG_RELID, pg_catalog.pg_stat_get_xact_tuples_deleted(TG_RELID),
                               TG_ARGV[0], TG_ARGV[1]::bigint, TG_ARGV[3]);
    END IF;
  ELSIF pg_catalog.pg_stat_get_xact_tuples_updated(TG_RELID) > TG_ARGV[2]::bigint THEN
    PERFORM audit.judge_rows(current_user, TG_OP, TG_RELID, pg_catalog.pg_stat_get_xact_tuples_updated(TG_RELID),
                             TG_ARGV[0], TG_ARGV[2]::bigint, TG_ARGV[3]);
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION audit.guard_tree() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  audit_rows bigint := audit.changed_rows(TG_RELID, TG_OP = 'DELETE');
  audit_most bigint := CASE TG_OP WHEN 'DELETE' THEN TG_ARGV[1] ELSE TG_ARGV[2] END;
BEGIN
  IF audit_rows > audit_most THEN
    PERFORM audit.judge_rows(current_user, TG_OP, TG_RELID, audit_rows, TG_ARGV[0], audit_most, TG_ARGV[3]);
  END IF;
  RETURN NULL;
END $$;

-- Called only when the raw counter is over the limit. One finding per transaction, table and kind of statement.
CREATE OR REPLACE FUNCTION audit.judge_rows(
  caller name, command text, relation oid, counted bigint, mode text, most bigint, setting text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  xid text := pg_current_xact_id()::text;
  noted text[] := string_to_array(current_setting(setting, true), ' ');
  rows bigint := counted;
  judged text := format('%s %s %s', xid, relation, command);
BEGIN
  IF pg_trigger_depth() = 0 THEN
    RAISE EXCEPTION 'audit.judge_rows() is called by triggers only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF noted[1] = xid THEN
    rows := rows - (CASE command WHEN 'DELETE' THEN noted[2] ELSE noted[3] END)::bigint;
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

