-- One row per writing transaction.

DROP FUNCTION IF EXISTS audit.write_context(name, text, oid, text);   -- an earlier release's

-- When this session began, in hex, as the server's log writes it. Asking pg_stat_activity costs more than the whole row, so it
-- is asked once per connection.
CREATE OR REPLACE FUNCTION audit.start_session() RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT to_hex(setval('audit.session_started'::regclass, extract(epoch FROM date_trunc('second', backend_start))::bigint))
  FROM pg_stat_get_activity(pg_backend_pid())
$$;

-- The session's name in the server's log: hex(start).hex(pid).
CREATE OR REPLACE FUNCTION audit.session_id() RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  started text;
BEGIN
  BEGIN
    started := to_hex(currval('audit.session_started'));
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    started := audit.start_session();
  END;
  RETURN started || '.' || to_hex(pg_backend_pid());
END $$;

-- Literals of a statement that may carry a column which must stay illegible: all between the first quote and the last.
CREATE OR REPLACE FUNCTION audit.statement(masked text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  whole text := current_query();
  said text := left(whole, 4096);
BEGIN
  IF masked <> '' AND said ~* masked THEN
    -- The cut may fall into a literal: then all after the first quote goes.
    said := regexp_replace(said, '(''|\$\w*\$).*' || CASE WHEN length(whole) > 4096 THEN '$' ELSE '(''|\$\w*\$)' END, '''…''');
  END IF;
  RETURN said;
END $$;

-- The functions that a statement ran in, as a comment behind it: whoever calls one may act with the rights of its owner.
-- PostgreSQL's own account of the stack has statements with their literals, too; only names are taken from it.
CREATE OR REPLACE FUNCTION audit.callers(stack text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT left(' /* in ' || string_agg(replace(called[1], '*/', '* /'), ', in ' ORDER BY nth), 1024) || ' */'
  FROM unnest((string_to_array(stack, E'\n'))[2:]) WITH ORDINALITY AS of_stack (line, nth),
       regexp_match(line, '^(?:PL/\S+|SQL) function "?(.+?)"? (?:line|statement) \d+') AS called
$$;

-- The trigger of every tracked table: it runs for every statement and writes for the first of a transaction. It is one piece
-- and runs as audit_owner, because pgaudit logs each call of a function that is not PostgreSQL's own; what is called below
-- is for a session's first transaction, or a rare case. It has no search_path
-- of its own, since setting one costs more than the check does: so every name and operator here says its schema.
-- TG_ARGV: pattern of statements whose literals are cut; 'count' where the database has a guarded table.
CREATE OR REPLACE FUNCTION audit.note_guarded() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_variable
DECLARE
  session text;
  said text;
  stack text;
BEGIN
  IF (pg_catalog.current_setting('audit.noted', true) OPERATOR(pg_catalog.=) pg_catalog.pg_current_xact_id()::pg_catalog.text) IS TRUE THEN
    RETURN NULL;
  END IF;
  BEGIN                                -- audit.session_id(), without the cost of another call
    session := pg_catalog.to_hex(pg_catalog.currval('audit.session_started'));
  EXCEPTION WHEN object_not_in_prerequisite_state THEN
    session := audit.start_session();
  END;
  IF TG_ARGV[1] OPERATOR(pg_catalog.=) 'count' THEN
    IF pg_catalog.pg_stat_get_xact_tuples_inserted('audit.context'::pg_catalog.regclass) OPERATOR(pg_catalog.>) 0 THEN
      PERFORM audit.count_from_here();
    END IF;
    stack := pg_catalog.pg_stat_force_next_flush();   -- see 30-guard.sql
  END IF;
  said := pg_catalog."left"(pg_catalog.current_query(), 4096);
  IF TG_ARGV[0] OPERATOR(pg_catalog.<>) '' THEN
    IF said OPERATOR(pg_catalog.~*) TG_ARGV[0] THEN    -- as audit.statement() does
      said := pg_catalog.regexp_replace(said, CASE WHEN pg_catalog.length(pg_catalog.current_query()) OPERATOR(pg_catalog.>) 4096
                THEN '(''|\$\w*\$).*$' ELSE '(''|\$\w*\$).*(''|\$\w*\$)' END, '''…''');
    END IF;
  END IF;
  GET DIAGNOSTICS stack = PG_CONTEXT;
  IF pg_catalog.strpos(stack, E'\n') OPERATOR(pg_catalog.>) 0 THEN
    said := pg_catalog.concat(said, audit.callers(stack));
  END IF;
  INSERT INTO audit.context VALUES (
    pg_catalog.txid_current(), pg_catalog.clock_timestamp(),
    pg_catalog.concat(session, '.', pg_catalog.to_hex(pg_catalog.pg_backend_pid())), pg_catalog.pg_backend_pid(),
    session_user, CASE WHEN pg_catalog.current_setting('role') OPERATOR(pg_catalog.=) 'none' THEN session_user
                       ELSE pg_catalog.current_setting('role') END,
    pg_catalog.inet_client_addr(), pg_catalog.inet_client_port(), pg_catalog.current_setting('application_name'),
    TG_OP, pg_catalog.format('%I.%I', TG_TABLE_SCHEMA, TG_TABLE_NAME), said,
    CASE WHEN pg_catalog.current_setting('audit.ctx', true) OPERATOR(pg_catalog.<>) ''
         THEN pg_catalog."left"(pg_catalog.current_setting('audit.ctx', true), 2048) END,
    CASE WHEN pg_catalog.current_setting('audit.reason', true) OPERATOR(pg_catalog.<>) ''
         THEN pg_catalog."left"(pg_catalog.current_setting('audit.reason', true), 1024) END,
    pg_catalog.current_setting('session_replication_role'), pg_catalog.now());
  IF pg_catalog.current_setting('session_replication_role') OPERATOR(pg_catalog.<>) 'origin' THEN
    PERFORM audit.replica_role(TG_RELID);
  END IF;
  -- For the session, although it is true of one transaction only: it is compared with the transaction's number, so what
  -- is left of an earlier one says nothing, and setting it locally costs more.
  said := pg_catalog.set_config('audit.noted', pg_catalog.pg_current_xact_id()::pg_catalog.text, false);
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION audit.replica_role(relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM audit.add_finding(
    CASE current_setting('role') WHEN 'none' THEN session_user ELSE current_setting('role')::name END, 'replica_role', 'high',
    jsonb_build_object('table', relation::regclass::text, 'replication_role', current_setting('session_replication_role')));
END $$;

CREATE OR REPLACE FUNCTION audit.add_finding(caller name, kind text, severity text, detail jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO audit.finding VALUES (
    pg_current_xact_id()::text::bigint, clock_timestamp(), session_user, caller, inet_client_addr(),
    current_setting('application_name'), audit.session_id(), left(nullif(current_setting('audit.ctx', true), ''), 2048),
    left(nullif(current_setting('audit.reason', true), ''), 1024), kind, severity, detail)
$$;
