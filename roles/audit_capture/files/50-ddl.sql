-- DDL: what happened, what it did to the capture, and whether it may. The event triggers' own functions run as the caller
-- and pass on who that is; what they call asks PostgreSQL what happened, which only works inside an event trigger.

-- A mistake of ours must not stop somebody's DDL; only a refusal may.
CREATE OR REPLACE FUNCTION audit.not_captured(tag text, error text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE LOG 'AUDIT-GUARD: %', jsonb_build_object('kind', 'not_captured', 'severity', 'high', 'verdict', 'warned', 'at', clock_timestamp(),
    'db_user', session_user, 'application_name', current_setting('application_name'), 'detail', jsonb_build_object('tag', tag, 'error', error));
END $$;
CREATE OR REPLACE FUNCTION audit.ddl_end() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM audit.after_ddl(current_user, TG_TAG);
EXCEPTION
  WHEN SQLSTATE 'AU001' THEN RAISE;
  WHEN OTHERS THEN PERFORM audit.not_captured(TG_TAG, SQLERRM);
END $$;
CREATE OR REPLACE FUNCTION audit.ddl_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM audit.after_drop(current_user, TG_TAG);
EXCEPTION
  WHEN SQLSTATE 'AU001' THEN RAISE;
  WHEN OTHERS THEN PERFORM audit.not_captured(TG_TAG, SQLERRM);
END $$;
CREATE OR REPLACE FUNCTION audit.ddl_rewrite() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM audit.before_rewrite(current_user, TG_TAG);
EXCEPTION
  WHEN SQLSTATE 'AU001' THEN RAISE;
  WHEN OTHERS THEN PERFORM audit.not_captured(TG_TAG, SQLERRM);
END $$;

-- PostgreSQL refuses to drop or retype a column that a publication lists. So lists (policy `exclude`) are taken away before an
-- ALTER TABLE, whose table is not known yet, and audit.after_ddl() puts them back: no row is written in between.
CREATE OR REPLACE FUNCTION audit.ddl_alter() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one record;
  unlisted oid[] := '{}';
  busy text;
BEGIN
  IF audit.is_ours('postgres') THEN
    RETURN;
  END IF;
  busy := set_config('audit.attaching', pg_current_xact_id()::text, true);
  FOR one IN SELECT s.relid, n.nspname, c.relname FROM audit.published_state s JOIN pg_class c ON c.oid = s.relid
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE s.present AND s.same AND s.columns IS NOT NULL LOOP
    EXECUTE format('ALTER PUBLICATION tovplay_audit_rows DROP TABLE ONLY %I.%I', one.nspname, one.relname);
    unlisted := unlisted || one.relid;
  END LOOP;
  busy := set_config('audit.unlisted', unlisted::text, true);
  busy := set_config('audit.attaching', '', true);
EXCEPTION
  WHEN OTHERS THEN PERFORM audit.not_captured(TG_TAG, SQLERRM);
END $$;

CREATE OR REPLACE FUNCTION audit.add_ddl(
  caller name, event text, tag text, object_type text, schema_name text, object_name text, relation oid, columns jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO audit.ddl VALUES (
    pg_current_xact_id()::text::bigint, clock_timestamp(), session_user, caller, inet_client_addr(),
    current_setting('application_name'), audit.session_id(), left(nullif(current_setting('audit.ctx', true), ''), 2048),
    left(nullif(current_setting('audit.reason', true), ''), 1024), event, tag, audit.statement(audit.masked()), object_type,
    schema_name, object_name, relation, columns)
$$;

-- As `postgres`: only a superuser can give a table of another owner its trigger and publish it.
CREATE OR REPLACE FUNCTION audit.after_ddl(caller name, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  done record;
  touched oid[] := '{}';
  published oid[];
BEGIN
  IF audit.is_ours(caller) THEN
    RETURN;
  END IF;
  published := ARRAY(SELECT relid FROM audit.published_state WHERE present);
  IF tag = 'ALTER TABLE' THEN
    published := published || nullif(current_setting('audit.unlisted', true), '')::oid[];
  END IF;
  FOR done IN
    SELECT DISTINCT r.oid AS relid, c.command_tag ~ '^(CREATE TABLE|SELECT INTO)' AS is_new
    FROM pg_event_trigger_ddl_commands() c
    LEFT JOIN pg_trigger t ON c.classid = 'pg_trigger'::regclass AND t.oid = c.objid
    LEFT JOIN pg_index i ON c.classid = 'pg_class'::regclass AND i.indexrelid = c.objid
    JOIN pg_class r ON r.oid = coalesce(t.tgrelid, i.indrelid, c.objid) AND r.relkind IN ('r', 'p') AND r.relpersistence <> 't'
    WHERE c.classid IN ('pg_class'::regclass, 'pg_trigger'::regclass) AND NOT c.in_extension
  LOOP
    touched := touched || done.relid;
    IF done.is_new THEN
      PERFORM audit.new_table(caller, done.relid);
    END IF;
  END LOOP;
  FOR done IN
    SELECT a.relid FROM audit.attached a JOIN pg_class c ON c.oid = a.relid
    WHERE NOT EXISTS (SELECT FROM audit.relation r WHERE (r.relid, r.schema_name, r.table_name) = (a.relid, a.schema_name, a.table_name))
  LOOP
    PERFORM audit.follow(caller, done.relid, tag);
  END LOOP;
  PERFORM audit.attach(only_new => true);

  -- Columns only of tables whose rows travel: for the vault they mean "have a shadow of this shape".
  FOR done IN
    SELECT DISTINCT c.objid AS relid, c.command_tag, c.object_type, c.schema_name, c.object_identity,
           c.classid = 'pg_class'::regclass AND audit.is_published(c.objid) AS shaped
    FROM pg_event_trigger_ddl_commands() c
    WHERE NOT c.in_extension AND coalesce(c.schema_name, '') !~ '^pg_(temp|toast)'
  LOOP
    PERFORM audit.add_ddl(caller, 'ddl_command_end', done.command_tag, done.object_type, done.schema_name, done.object_identity,
                          done.relid, CASE WHEN done.shaped THEN audit.columns_of(done.relid) END);
  END LOOP;
  -- A table that ATTACH PARTITION has brought along, of which the command itself names only the parent.
  FOR done IN
    SELECT r.* FROM audit.published_state s JOIN audit.relation r ON r.relid = s.relid
    WHERE s.present AND s.relid <> ALL (published) AND s.relid <> ALL (touched)
  LOOP
    PERFORM audit.add_ddl(caller, 'ddl_command_end', tag, 'table', done.schema_name, done.relid::regclass::text, done.relid,
                          audit.columns_of(done.relid));
  END LOOP;
  PERFORM audit.inspect(caller, tag, touched);
  PERFORM audit.define_after(tag);
END $$;

-- An entry follows its table under another name; a partition that is detached stays tracked, as a table of its own.
CREATE OR REPLACE FUNCTION audit.follow(caller name, relation oid, tag text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before audit.attached;
  now_schema text;
  now_table text;
BEGIN
  SELECT * INTO before FROM audit.attached WHERE relid = relation;
  SELECT n.nspname, c.relname INTO now_schema, now_table FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation;
  IF NOT EXISTS (SELECT FROM audit.relation r WHERE r.relid = relation) THEN
    INSERT INTO audit.tracked SELECT now_schema, now_table, guard, max_delete, max_update, columns, 'discovered'
    FROM audit.tracked WHERE (schema_name, table_name) = (before.entry_schema, before.entry_table)
    ON CONFLICT DO NOTHING;
  END IF;
  PERFORM audit.verdict(
    caller, 'destructive_ddl', 'warn', format('%s of %I.%I', tag, before.schema_name, before.table_name),
    jsonb_build_object('event', 'renamed or detached', 'tag', tag, 'was', format('%I.%I', before.schema_name, before.table_name),
                       'is', format('%I.%I', now_schema, now_table), 'statement', audit.statement(audit.masked())));
END $$;

CREATE OR REPLACE FUNCTION audit.new_table(caller name, relation oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  schema text;
  named text;
  track boolean := (SELECT value = 'track' FROM audit.setting WHERE name = 'new_tables');
BEGIN
  SELECT n.nspname, c.relname INTO schema, named FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.oid = relation AND c.relpersistence = 'p' AND c.relkind IN ('r', 'p')
    AND n.nspname IN (SELECT schema_name FROM audit.tracked)
    AND NOT EXISTS (SELECT FROM audit.relation r WHERE r.relid = relation);
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF track THEN
    INSERT INTO audit.tracked (schema_name, table_name, origin) VALUES (schema, named, 'discovered');
  END IF;
  PERFORM audit.add_finding(caller, 'new_table', 'notice', jsonb_build_object(
    'table', format('%I.%I', schema, named), 'tracked', track,
    'remedy', CASE WHEN track THEN 'name it in audit_capture_databases, too' ELSE 'add it to audit_capture_databases' END));
END $$;

-- After each command: do the tables that it touched, and the publications, still have what they must?
CREATE OR REPLACE FUNCTION audit.inspect(caller name, tag text, touched oid[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  one record;
  statement text := audit.statement(audit.masked());
BEGIN
  FOR one IN
    SELECT r.guard, 'trigger_disabled' AS kind, format('%s of %I.%I, which leaves trigger %s off', tag, r.schema_name, r.table_name, s.tgname) AS message,
           jsonb_build_object('table', format('%I.%I', r.schema_name, r.table_name), 'trigger', s.tgname, 'enabled', s.tgenabled,
                              'tag', tag, 'statement', statement) AS detail
    FROM audit.trigger_state s JOIN audit.relation r ON r.relid = s.relid
    WHERE s.relid = ANY (touched) AND s.definition IS NOT NULL AND (NOT s.present OR NOT s.same OR s.tgenabled <> 'A')
    UNION ALL
    SELECT r.guard, 'trigger_disabled', format('%s, which puts a rule on %I.%I', tag, r.schema_name, r.table_name),
           jsonb_build_object('table', format('%I.%I', r.schema_name, r.table_name), 'rule', w.rulename, 'tag', tag, 'statement', statement)
    FROM pg_rewrite w JOIN audit.relation r ON r.relid = w.ev_class WHERE tag IN ('CREATE RULE', 'ALTER RULE')
    UNION ALL
    SELECT coalesce(r.guard, 'warn'), 'publication_changed', format('%s, which changes what is published of %s', tag, s.relid::regclass),
           jsonb_build_object('table', s.relid::regclass::text, 'wanted', s.wanted, 'present', s.present, 'tag', tag, 'statement', statement)
    FROM audit.published_state s LEFT JOIN audit.relation r ON r.relid = s.relid
    WHERE tag ~ 'PUBLICATION' AND (s.wanted, s.present) <> (true, true)
    UNION ALL
    SELECT r.guard, 'no_key', format('%s, which leaves %I.%I without a primary key', tag, r.schema_name, r.table_name),
           jsonb_build_object('table', format('%I.%I', r.schema_name, r.table_name), 'tag', tag, 'statement', statement,
                              'remedy', 'ALTER TABLE … ADD PRIMARY KEY')
    FROM audit.relation r JOIN pg_publication_rel m ON m.prrelid = r.relid
    JOIN pg_publication p ON p.oid = m.prpubid AND p.pubname = 'tovplay_audit_rows'
    WHERE r.relid = ANY (touched) AND r.key IS NULL AND r.relreplident <> 'f'
  LOOP
    PERFORM audit.verdict(caller, one.kind, one.guard, one.message, one.detail);
  END LOOP;
  -- Without a key PostgreSQL itself would refuse the application's next UPDATE: whole rows are published until there is one.
  FOR one IN SELECT r.* FROM audit.relation r JOIN pg_publication_rel m ON m.prrelid = r.relid
             JOIN pg_publication p ON p.oid = m.prpubid AND p.pubname = 'tovplay_audit_rows'
             WHERE r.relid = ANY (touched) AND r.key IS NULL AND r.relreplident <> 'f' LOOP
    INSERT INTO audit.setting VALUES ('full:' || one.relid, set_config('audit.attaching', pg_current_xact_id()::text, true))
    ON CONFLICT DO NOTHING;
    EXECUTE format('ALTER TABLE ONLY %I.%I REPLICA IDENTITY FULL', one.schema_name, one.table_name);
    statement := set_config('audit.attaching', '', true);
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION audit.after_drop(caller name, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  gone record;
BEGIN
  IF audit.is_ours(caller) THEN
    RETURN;
  END IF;
  PERFORM audit.undefine(tag);
  FOR gone IN
    WITH dropped AS MATERIALIZED (SELECT * FROM pg_event_trigger_dropped_objects()),
    known AS (
      SELECT d.*, a.relid AS tracked_relid, CASE WHEN a.relid IS NOT NULL THEN format('%I.%I', a.schema_name, a.table_name) END AS tracked_name,
             coalesce(t.guard, 'warn') AS guard
      FROM dropped d
      LEFT JOIN audit.attached a ON CASE
        WHEN d.classid = 'pg_class'::regclass THEN d.objid = a.relid
        WHEN d.object_type IN ('trigger', 'policy', 'rule') THEN (d.address_names[1], d.address_names[2]) = (a.schema_name, a.table_name)
        END
      LEFT JOIN audit.tracked t ON (t.schema_name, t.table_name) = (a.entry_schema, a.entry_table)
    )
    SELECT k.*,
      CASE
        WHEN object_type = 'table' AND tracked_relid IS NOT NULL THEN 'destructive_ddl'
        WHEN object_type = 'table column' AND tracked_relid IS NOT NULL
             AND NOT EXISTS (SELECT FROM dropped x WHERE x.classid = 'pg_class'::regclass AND x.objid = k.objid AND x.objsubid = 0) THEN 'destructive_ddl'
        WHEN object_type = 'trigger' AND address_names[3] IN ('audit_context', 'audit_guard', 'audit_guard_truncate') AND tracked_relid IS NOT NULL
             AND NOT EXISTS (SELECT FROM dropped x WHERE x.classid = 'pg_class'::regclass AND x.objid = tracked_relid AND x.objsubid = 0) THEN 'trigger_disabled'
        WHEN object_type = 'publication' AND object_identity IN ('tovplay_audit_rows', 'tovplay_audit_meta') THEN 'publication_changed'
        WHEN object_type = 'publication relation' AND object_identity ~ 'tovplay_audit_(rows|meta)'
             AND NOT EXISTS (SELECT FROM dropped x WHERE x.object_type IN ('table', 'publication')) THEN 'publication_changed'
        WHEN schema_name = 'audit' AND object_type IN ('function', 'table', 'view') THEN 'destructive_ddl'
      END AS kind
    FROM known k
    WHERE NOT is_temporary AND coalesce(schema_name, '') !~ '^pg_(temp|toast)'
      AND object_type NOT IN ('toast table', 'default value', 'internal') AND (object_type NOT IN ('index', 'type', 'sequence') OR original)
      AND (object_type <> 'table constraint' OR original) AND (object_type <> 'trigger' OR NOT address_names[3] ~ '^RI_')
  LOOP
    -- What only goes along with its table is not told apart.
    CONTINUE WHEN gone.kind IS NULL AND NOT gone.original AND gone.object_type IN ('trigger', 'publication relation', 'rule', 'policy');
    PERFORM audit.add_ddl(caller, 'sql_drop', tag, gone.object_type, gone.schema_name, gone.object_identity,
                          coalesce(gone.tracked_relid, gone.objid), NULL);
    IF gone.kind IS NOT NULL THEN
      PERFORM audit.verdict(
        caller, gone.kind, gone.guard, format('%s of %s', tag, gone.object_identity),
        jsonb_build_object('event', 'sql_drop', 'tag', tag, 'object_type', gone.object_type, 'object', gone.object_identity,
                           'table', gone.tracked_name, 'statement', audit.statement(audit.masked())));
    END IF;
  END LOOP;
END $$;

-- Never reads the table: in the middle of a rewrite its rows are garbage.
CREATE OR REPLACE FUNCTION audit.before_rewrite(caller name, tag text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  relation oid := pg_event_trigger_table_rewrite_oid();
  mode text;
BEGIN
  SELECT guard INTO mode FROM audit.relation r WHERE r.relid = relation;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  PERFORM audit.add_ddl(caller, 'table_rewrite', tag, 'table', (SELECT schema_name FROM audit.relation r WHERE r.relid = relation),
                        relation::regclass::text, relation, NULL);
  PERFORM audit.verdict(
    caller, 'destructive_ddl', mode, format('%s, which rewrites %s', tag, relation::regclass),
    jsonb_build_object('event', 'table_rewrite', 'tag', tag, 'table', relation::regclass::text,
                       'reason_code', pg_event_trigger_table_rewrite_reason(), 'statement', audit.statement(audit.masked())));
END $$;
