-- DDL of the audit's own, which the event triggers pass over: a superuser's, while attach() runs. Whoever else sets the
-- setting gains nothing, since the caller is another; and what a superuser hides from it, the heartbeat's fingerprint shows.
CREATE OR REPLACE FUNCTION audit.is_ours(caller name) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT caller = 'postgres' AND current_setting('audit.attaching', true) IS NOT DISTINCT FROM pg_current_xact_id()::text
$$;

-- Bring triggers and publications to what the views say. Only a superuser can: it needs the tables' owner's rights.

CREATE OR REPLACE FUNCTION audit.attach(only_new boolean) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one record;
  busy text := set_config('audit.attaching', pg_current_xact_id()::text, true);   -- see audit.is_ours()
BEGIN
  FOR one IN SELECT s.*, n.nspname, c.relname FROM audit.trigger_state s JOIN pg_class c ON c.oid = s.relid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE CASE WHEN only_new THEN definition IS NOT NULL AND NOT present
                        ELSE NOT (same AND present) OR tgenabled IS DISTINCT FROM 'A' END
             ORDER BY n.nspname, c.relname, s.tgname LOOP
    IF one.definition IS NULL THEN
      EXECUTE format('DROP TRIGGER %I ON %I.%I', one.tgname, one.nspname, one.relname);
      RETURN NEXT format('trigger %s off %I.%I', one.tgname, one.nspname, one.relname);
      CONTINUE;
    END IF;
    IF NOT (one.same AND one.present) THEN
      EXECUTE regexp_replace(one.definition, '^CREATE', 'CREATE OR REPLACE');
    END IF;
    EXECUTE format('ALTER TABLE ONLY %I.%I ENABLE ALWAYS TRIGGER %I', one.nspname, one.relname, one.tgname);
    RETURN NEXT format('trigger %s on %I.%I', one.tgname, one.nspname, one.relname);
  END LOOP;

  -- A table whose key comes back (or was changed in one go) needs its whole rows no more.
  FOR one IN SELECT * FROM audit.relation r WHERE r.relreplident = 'f' AND r.key IS NOT NULL
               AND EXISTS (SELECT FROM audit.setting WHERE name = 'full:' || r.relid) LOOP
    EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY DEFAULT', one.schema_name, one.table_name);
    DELETE FROM audit.setting WHERE name = 'full:' || one.relid;
    RETURN NEXT format('replica identity of %I.%I', one.schema_name, one.table_name);
  END LOOP;

  FOR one IN SELECT s.*, n.nspname, c.relname FROM audit.published_state s JOIN pg_class c ON c.oid = s.relid
             JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE (wanted AND NOT (present AND same)) OR (present AND NOT wanted AND NOT only_new)
             ORDER BY n.nspname, c.relname LOOP
    IF one.present THEN
      EXECUTE format('ALTER PUBLICATION tovplay_audit_rows DROP TABLE ONLY %I.%I', one.nspname, one.relname);
    END IF;
    IF one.wanted THEN
      EXECUTE format('ALTER PUBLICATION tovplay_audit_rows ADD TABLE ONLY %I.%I', one.nspname, one.relname)
        || (SELECT coalesce('(' || string_agg(quote_ident(name), ', ') || ')', '') FROM unnest(one.columns) AS name);
    END IF;
    RETURN NEXT format('publication of %I.%I', one.nspname, one.relname);
  END LOOP;

  DELETE FROM audit.attached a WHERE NOT EXISTS (SELECT FROM audit.relation r WHERE r.relid = a.relid);
  INSERT INTO audit.attached AS a SELECT relid, schema_name, table_name, entry_schema, entry_table FROM audit.relation
  ON CONFLICT (relid) DO UPDATE SET schema_name = excluded.schema_name, table_name = excluded.table_name,
                                    entry_schema = excluded.entry_schema, entry_table = excluded.entry_table
  WHERE (a.schema_name, a.table_name, a.entry_schema, a.entry_table)
        IS DISTINCT FROM (excluded.schema_name, excluded.table_name, excluded.entry_schema, excluded.entry_table);
  busy := set_config('audit.attaching', '', true);
END $$;

-- The converge: {"tables": [{schema, name, guard, max_delete, max_update, columns}], "new_tables": "report"}; says what it changed.
CREATE OR REPLACE FUNCTION audit.converge(wanted jsonb) RETURNS SETOF text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one text;
  replicator pg_roles;
  busy text := set_config('audit.attaching', pg_current_xact_id()::text, true);
BEGIN
  RETURN QUERY
    WITH entry AS (
      SELECT * FROM jsonb_to_recordset(wanted -> 'tables')
        AS e (schema text, name text, guard text, max_delete bigint, max_update bigint, columns jsonb)
    ), written AS (
      INSERT INTO audit.tracked AS t SELECT schema, name, guard, max_delete, max_update, columns FROM entry
      ON CONFLICT (schema_name, table_name) DO UPDATE SET guard = excluded.guard, max_delete = excluded.max_delete,
        max_update = excluded.max_update, columns = excluded.columns, origin = 'inventory'
      WHERE (t.guard, t.max_delete, t.max_update, t.columns, t.origin)
            IS DISTINCT FROM (excluded.guard, excluded.max_delete, excluded.max_update, excluded.columns, 'inventory')
      RETURNING format('entry %I.%I', t.schema_name, t.table_name) AS said
    ), gone AS (
      DELETE FROM audit.tracked t WHERE NOT EXISTS (SELECT FROM entry WHERE (schema, name) = (t.schema_name, t.table_name))
        AND (t.origin = 'inventory' OR to_regclass(format('%I.%I', t.schema_name, t.table_name)) IS NULL)
      RETURNING format('entry %I.%I is gone', t.schema_name, t.table_name)
    ), option AS (
      INSERT INTO audit.setting AS s VALUES ('new_tables', wanted ->> 'new_tables')
      ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value RETURNING 'new_tables ' || value
    )
    SELECT said FROM written UNION ALL TABLE gone UNION ALL TABLE option;

  FOR one IN SELECT word FROM (VALUES
      ('tovplay_audit_rows', 'insert, update, delete, truncate', true), ('tovplay_audit_meta', 'insert', false)) p (word, kinds, all_kinds)
      WHERE NOT EXISTS (SELECT FROM pg_publication x WHERE x.pubname = word AND x.pubinsert AND NOT x.puballtables
                          AND NOT x.pubviaroot AND (x.pubupdate, x.pubdelete, x.pubtruncate) = (all_kinds, all_kinds, all_kinds)) LOOP
    IF NOT EXISTS (SELECT FROM pg_publication WHERE pubname = one) THEN
      EXECUTE format('CREATE PUBLICATION %I', one);
    END IF;
    EXECUTE format('ALTER PUBLICATION %I SET (publish = %L, publish_via_partition_root = false)', one,
                   CASE one WHEN 'tovplay_audit_meta' THEN 'insert' ELSE 'insert, update, delete, truncate' END);
    RETURN NEXT 'publication ' || one;
  END LOOP;
  IF (SELECT array_agg(tablename::text ORDER BY tablename) FROM pg_publication_tables WHERE pubname = 'tovplay_audit_meta')
     IS DISTINCT FROM ARRAY['context', 'ddl', 'definition', 'finding', 'heartbeat'] THEN
    ALTER PUBLICATION tovplay_audit_meta SET TABLE audit.context, audit.ddl, audit.definition, audit.finding, audit.heartbeat;
    RETURN NEXT 'publication tovplay_audit_meta of its tables';
  END IF;

  SELECT * INTO replicator FROM pg_roles WHERE rolname = 'audit_replicator';
  IF NOT (replicator.rolcanlogin AND replicator.rolreplication) OR replicator.rolsuper OR replicator.rolcreaterole
     OR replicator.rolcreatedb OR replicator.rolbypassrls IS DISTINCT FROM true THEN
    ALTER ROLE audit_replicator LOGIN REPLICATION BYPASSRLS NOSUPERUSER NOCREATEROLE NOCREATEDB;
    RETURN NEXT 'attributes of audit_replicator';
  END IF;
  -- Rows travel as text, so it must not depend on how this server prints them.
  FOREACH one IN ARRAY ARRAY['TimeZone=UTC', 'DateStyle=ISO, YMD', 'IntervalStyle=postgres', 'extra_float_digits=1', 'bytea_output=hex',
                             'search_path=pg_catalog'] LOOP
    IF NOT coalesce(replicator.rolconfig, '{}') @> ARRAY[one] THEN
      EXECUTE format('ALTER ROLE audit_replicator SET %I = %L', split_part(one, '=', 1), split_part(one, '=', 2));
      RETURN NEXT 'setting ' || one || ' of audit_replicator';
    END IF;
  END LOOP;
  IF NOT pg_has_role('audit_replicator', 'pg_read_all_data', 'MEMBER') THEN
    GRANT pg_read_all_data TO audit_replicator;
    RETURN NEXT 'audit_replicator in pg_read_all_data';
  END IF;
  IF NOT has_database_privilege('audit_replicator', current_database(), 'CONNECT') THEN
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO audit_replicator', current_database());
    RETURN NEXT 'CONNECT of audit_replicator';
  END IF;

  -- A template cannot be dropped, WITH (FORCE) neither; but whoever has CREATEDB may copy one.
  IF NOT (SELECT datistemplate FROM pg_database WHERE datname = current_database()) THEN
    EXECUTE format('ALTER DATABASE %I IS_TEMPLATE true', current_database());
    RETURN NEXT 'IS_TEMPLATE';
  END IF;
  FOR one IN SELECT rolname FROM pg_roles WHERE rolcreatedb AND NOT rolsuper LOOP
    EXECUTE format('ALTER ROLE %I NOCREATEDB', one);
    RETURN NEXT 'no CREATEDB for ' || one;
  END LOOP;

  RETURN QUERY SELECT * FROM audit.attach(only_new => false);
  PERFORM audit.define(NULL);
END $$;
