-- What the capture rests on, its digest, and the position in WAL: every ten seconds.

CREATE OR REPLACE FUNCTION audit.state() RETURNS jsonb
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT jsonb_build_object(
    'event_triggers', (SELECT jsonb_agg(jsonb_build_array(evtname, evtevent, evtenabled, evtfoid::regproc::text, evtowner::regrole::text)
                                        ORDER BY evtname) FROM pg_event_trigger),
    'triggers', (SELECT jsonb_agg(jsonb_build_array(t.tgrelid::regclass::text, t.tgname, t.tgenabled, t.tgfoid::regproc::text)
                                  ORDER BY t.tgrelid::regclass::text, t.tgname)
                 FROM pg_trigger t JOIN audit.relation r ON r.relid = t.tgrelid WHERE NOT t.tgisinternal),
    'missing', (SELECT jsonb_agg(jsonb_build_array(relation, tgname) ORDER BY relation, tgname)
                FROM audit.trigger_state WHERE definition IS NOT NULL AND NOT present),
    'rules', (SELECT jsonb_agg(jsonb_build_array(w.ev_class::regclass::text, w.rulename) ORDER BY w.ev_class::regclass::text, w.rulename)
              FROM pg_rewrite w JOIN audit.relation r ON r.relid = w.ev_class),
    'publications', (SELECT jsonb_agg(jsonb_build_array(pubname, puballtables, pubinsert, pubupdate, pubdelete, pubtruncate, pubviaroot)
                                      ORDER BY pubname) FROM pg_publication),
    'published', (SELECT jsonb_agg(jsonb_build_array(p.pubname, m.prrelid::regclass::text, m.prattrs::text) ORDER BY p.pubname, m.prrelid::regclass::text)
                  FROM pg_publication_rel m JOIN pg_publication p ON p.oid = m.prpubid),
    -- but for those that a vault makes for the initial copy of one table
    'slots', (SELECT jsonb_agg(jsonb_build_array(slot_name, plugin, slot_type) ORDER BY slot_name)
              FROM pg_replication_slots WHERE database = current_database() AND NOT temporary AND slot_name !~ '^pg_\d+_sync_'),
    'identities', (SELECT jsonb_agg(jsonb_build_array(schema_name, table_name, relreplident, key IS NOT NULL) ORDER BY schema_name, table_name)
                   FROM audit.relation),
    'tracked', (SELECT jsonb_agg(to_jsonb(t) ORDER BY schema_name, table_name) FROM audit.tracked t),
    'settings', (SELECT jsonb_object_agg(name, setting) FROM pg_settings WHERE name IN (
                   'wal_level', 'track_commit_timestamp', 'track_counts', 'max_slot_wal_keep_size', 'max_replication_slots', 'max_wal_senders',
                   'shared_preload_libraries', 'session_replication_role', 'log_destination', 'logging_collector', 'log_connections',
                   'log_disconnections', 'log_min_messages', 'log_min_error_statement', 'pgaudit.log', 'pgaudit.role', 'pgaudit.log_catalog',
                   'pgaudit.log_relation', 'pgaudit.log_parameter', 'pgaudit.log_rows', 'archive_mode', 'allow_system_table_mods')),
    'settings_of', (SELECT jsonb_agg(jsonb_build_array(s.setdatabase, s.setrole, c) ORDER BY s.setdatabase, s.setrole, c)
                    FROM pg_db_role_setting s, unnest(s.setconfig) AS c),
    'parameters', (SELECT jsonb_agg(jsonb_build_array(parname, paracl::text) ORDER BY parname) FROM pg_parameter_acl),
    'template', (SELECT datistemplate FROM pg_database WHERE datname = current_database()),
    'powerful', (SELECT jsonb_agg(jsonb_build_array(rolname, rolsuper, rolreplication, rolbypassrls, rolcreaterole, rolcreatedb) ORDER BY rolname)
                 FROM pg_roles WHERE rolsuper OR rolreplication OR rolbypassrls OR rolcreaterole OR rolcreatedb),
    'members', (SELECT jsonb_agg(jsonb_build_array(roleid::regrole::text, member::regrole::text, admin_option)
                                 ORDER BY roleid::regrole::text, member::regrole::text) FROM pg_auth_members),
    'functions', (SELECT jsonb_agg(jsonb_build_array(p.oid::regprocedure::text, p.proowner::regrole::text, p.prosecdef, p.proacl::text,
                                                     encode(sha256(convert_to(p.prosrc || coalesce(p.proconfig::text, ''), 'UTF8')), 'hex'))
                                   ORDER BY p.oid::regprocedure::text)
                  FROM pg_proc p WHERE p.pronamespace = 'audit'::regnamespace),
    'grants', (SELECT jsonb_agg(jsonb_build_array(c.relname, c.relowner::regrole::text, c.relacl::text) ORDER BY c.relname)
               FROM pg_class c WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind IN ('r', 'v', 'S')))
$$;

CREATE OR REPLACE FUNCTION audit.beat() RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
  state jsonb;
  before text;
  known jsonb;
  beat audit.heartbeat;
BEGIN
  IF pg_is_in_recovery() THEN
    RETURN jsonb_build_object('event', 'audit_heartbeat', 'database', current_database(), 'standby', true);
  END IF;
  state := audit.state();
  SELECT h.fingerprint INTO before FROM audit.heartbeat h ORDER BY h.at DESC LIMIT 1;
  SELECT clock_timestamp(), system_identifier, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int, pg_current_wal_flush_lsn(),
         pg_snapshot_xmin(pg_current_snapshot())::text::bigint, encode(sha256(convert_to(state::text, 'UTF8')), 'hex'), NULL::jsonb
    INTO beat FROM pg_control_system();
  IF beat.fingerprint IS DISTINCT FROM before THEN
    beat.state := state;
    IF before IS NOT NULL THEN
      SELECT h.state INTO known FROM audit.heartbeat h WHERE h.state IS NOT NULL ORDER BY h.at DESC LIMIT 1;
      PERFORM audit.add_finding(current_user, 'fingerprint_changed', 'warning', jsonb_build_object(
        'before', before, 'after', beat.fingerprint,
        'parts', (SELECT jsonb_agg(part ORDER BY part) FROM jsonb_object_keys(state) AS part WHERE state -> part IS DISTINCT FROM known -> part)));
    END IF;
  END IF;
  PERFORM audit.define_now_and_then();
  INSERT INTO audit.heartbeat SELECT beat.*;
  DELETE FROM audit.heartbeat h WHERE h.at < clock_timestamp() - interval '1 day';
  -- WAL carries the rows to the vault; here they are not kept for ever. Waiting for this lock would hold up writers.
  IF pg_relation_size('audit.context') > 256 * 1024 * 1024 THEN
    BEGIN
      TRUNCATE audit.context;
    EXCEPTION WHEN lock_not_available THEN
      NULL;                            -- at the next beat
    END;
  END IF;
  RETURN jsonb_build_object('event', 'audit_heartbeat', 'database', current_database(), 'at', beat.at, 'lsn', beat.lsn,
                            'timeline', beat.timeline, 'system_identifier', beat.system_identifier, 'fingerprint', beat.fingerprint);
END $$;
