-- One row per writing transaction. note() runs for every statement, so it is as small as can be and runs as the caller;
-- write_context() runs once per transaction, as audit_owner.

-- Of this session, as the server's log writes it: hex(start).hex(pid). Asking pg_stat_activity costs more than the whole
-- row, so it is asked once per connection.
CREATE OR REPLACE FUNCTION audit.session_id() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  started bigint;
BEGIN
  BEGIN
    started := currval('audit.session_started'::regclass);
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    started := setval('audit.session_started'::regclass,
                      (SELECT extract(epoch FROM date_trunc('second', backend_start))::bigint
                       FROM pg_stat_get_activity(pg_backend_pid())));
  END;
  RETURN to_hex(started) || '.' || to_hex(pg_backend_pid());
END $$;

-- Literals of a statement that may carry a column which must stay illegible: all between the first quote and the last.
CREATE OR REPLACE FUNCTION audit.statement(masked text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  whole text := current_query();
  said text := left(whole, 4096);
BEGIN
  IF masked <> '' AND (said ~* masked OR said ~* '\m(insert|copy|merge)\M') THEN
    -- The cut may fall into a literal: then all after the first quote goes.
    said := regexp_replace(said, '(''|\$\w*\$).*' || CASE WHEN length(whole) > 4096 THEN '$' ELSE '(''|\$\w*\$)' END, '''…''');
  END IF;
  RETURN said;
END $$;

CREATE OR REPLACE FUNCTION audit.write_context(caller name, command text, relation oid, masked text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  xid text := pg_current_xact_id()::text;
  role text := current_setting('session_replication_role');
  session text;
BEGIN
  IF pg_trigger_depth() = 0 THEN
    RAISE EXCEPTION 'audit.write_context() is called by triggers only' USING ERRCODE = 'insufficient_privilege';
  END IF;
  BEGIN                                -- audit.session_id(), without the cost of another call
    session := to_hex(currval('audit.session_started'::regclass)) || '.' || to_hex(pg_backend_pid());
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    session := audit.session_id();
  END;
  INSERT INTO audit.context VALUES (
    xid::bigint, clock_timestamp(), session, pg_backend_pid(), session_user, caller,
    inet_client_addr(), inet_client_port(), current_setting('application_name'), command, relation::regclass::text,
    CASE WHEN masked = '' THEN left(current_query(), 4096) ELSE audit.statement(masked) END,
    left(nullif(current_setting('audit.ctx', true), ''), 2048),
    left(nullif(current_setting('audit.reason', true), ''), 1024), role, now());
  IF role <> 'origin' THEN
    PERFORM audit.add_finding(caller, 'replica_role', 'high',
                              jsonb_build_object('table', relation::regclass::text, 'replication_role', role));
  END IF;
  -- For the session, although it is true of one transaction only: it is compared with the transaction's number, so what
  -- is left of an earlier one says nothing, and setting it locally costs more.
  xid := set_config('audit.noted', xid, false);
END $$;

CREATE OR REPLACE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF pg_catalog.current_setting('audit.noted', true) IS DISTINCT FROM pg_catalog.pg_current_xact_id()::text THEN
    PERFORM audit.write_context(current_user, TG_OP, TG_RELID, TG_ARGV[0]);
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION audit.add_finding(caller name, kind text, severity text, detail jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO audit.finding VALUES (
    pg_current_xact_id()::text::bigint, clock_timestamp(), session_user, caller, inet_client_addr(),
    current_setting('application_name'), audit.session_id(), left(nullif(current_setting('audit.ctx', true), ''), 2048),
    left(nullif(current_setting('audit.reason', true), ''), 1024), kind, severity, detail)
$$;
