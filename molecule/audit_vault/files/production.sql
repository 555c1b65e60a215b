CREATE ROLE audit_replicator LOGIN REPLICATION; GRANT pg_read_all_data TO audit_replicator;
ALTER ROLE audit_replicator SET timezone='UTC'; ALTER ROLE audit_replicator SET datestyle='ISO';
CREATE SCHEMA audit;
CREATE TABLE audit.context (xid bigint, at timestamptz, pg_session_id text, pid int, db_user text, db_role text, client_addr inet, client_port int,
    application_name text, command text, table_name text, statement text, ctx text, reason text, replication_role text, backend_xid_started timestamptz);
CREATE TABLE audit.ddl (xid bigint, at timestamptz, db_user text, db_role text, client_addr inet, application_name text, pg_session_id text,
  ctx text, reason text, event text, tag text, statement text, object_type text, schema_name text, object_name text, relid oid, columns jsonb);
CREATE TABLE audit.finding (xid bigint, at timestamptz, db_user text, db_role text, client_addr inet, application_name text, pg_session_id text,
  ctx text, reason text, kind text, severity text, detail jsonb);
CREATE TABLE audit.heartbeat (at timestamptz, system_identifier bigint, timeline int, lsn pg_lsn, xid_snapshot_min bigint, fingerprint text, state jsonb);
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
 IF current_setting('audit.noted', true) IS DISTINCT FROM pg_current_xact_id()::text THEN
  INSERT INTO audit.context VALUES (pg_current_xact_id()::text::bigint, clock_timestamp(), 's', pg_backend_pid(), session_user, current_user, null,null, current_setting('application_name'), TG_OP, TG_RELID::regclass::text, current_query(), nullif(current_setting('audit.ctx',true),''), null, 'origin', now());
  PERFORM set_config('audit.noted', pg_current_xact_id()::text, false);
 END IF; RETURN NULL; END $$;
CREATE FUNCTION audit.cols(o oid) RETURNS jsonb LANGUAGE sql AS $$
 SELECT jsonb_agg(jsonb_build_object('name', a.attname, 'attnum', a.attnum, 'type', format_type(a.atttypid,a.atttypmod), 'default', pg_get_expr(d.adbin,d.adrelid), 'not_null', a.attnotnull, 'key', (SELECT array_position(i.indkey::int2[], a.attnum)+1 FROM pg_index i WHERE i.indrelid=o AND i.indisprimary)) ORDER BY attnum)
 FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid=o AND d.adnum=a.attnum WHERE a.attrelid=o AND a.attnum>0 AND NOT attisdropped $$;
CREATE FUNCTION audit.on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
 FOR r IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
  INSERT INTO audit.ddl SELECT pg_current_xact_id()::text::bigint, clock_timestamp(), session_user, current_user, null, current_setting('application_name'), 's', null,null,'ddl_command_end', r.command_tag, current_query(), r.object_type, r.schema_name, r.object_identity, r.objid, CASE WHEN r.object_type IN ('table','table column') THEN audit.cols(r.objid) END;
  IF r.object_type='table' AND r.command_tag LIKE 'CREATE TABLE%' AND r.schema_name='public' THEN
    EXECUTE format('ALTER PUBLICATION tovplay_audit_rows ADD TABLE %s', r.object_identity);
    EXECUTE format('CREATE TRIGGER audit_context BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s EXECUTE FUNCTION audit.note()', r.object_identity);
  END IF;
 END LOOP; END $$;
CREATE FUNCTION audit.on_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE r record; BEGIN
 FOR r IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
  INSERT INTO audit.ddl SELECT pg_current_xact_id()::text::bigint, clock_timestamp(), session_user, current_user, null, current_setting('application_name'), 's', null,null,'sql_drop', tg_tag, current_query(), r.object_type, r.schema_name, r.object_identity, r.objid, null;
 END LOOP; END $$;
CREATE FUNCTION audit.on_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO audit.ddl SELECT pg_current_xact_id()::text::bigint, clock_timestamp(), session_user, current_user, null, current_setting('application_name'), 's', null,null,'table_rewrite', tg_tag, current_query(), 'table', null, pg_event_trigger_table_rewrite_oid()::regclass::text, pg_event_trigger_table_rewrite_oid(), null; END $$;
CREATE PUBLICATION tovplay_audit_rows; CREATE PUBLICATION tovplay_audit_meta FOR TABLE audit.context, audit.ddl, audit.finding, audit.heartbeat WITH (publish='insert');
CREATE EVENT TRIGGER a ON ddl_command_end EXECUTE FUNCTION audit.on_ddl();
CREATE EVENT TRIGGER b ON sql_drop EXECUTE FUNCTION audit.on_drop();
CREATE EVENT TRIGGER c ON table_rewrite EXECUTE FUNCTION audit.on_rewrite();
CREATE TABLE "User" (id serial primary key, email text, password_hash text, n numeric(10,2), d timestamptz default now());
CREATE TABLE "Game" (id int primary key, title text);
INSERT INTO "User" (email,password_hash,n) SELECT 'u'||g||'@x', 'secret'||g, g*1.5 FROM generate_series(1,1000) g;
